/// \file
/// The page that write_html() fills: its style, its markup and its program. Plain text; the program reads the
/// values that write_html() put into script elements, and says so in data-state and data-error of the root
/// element.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/io/detail/page/attention.hpp>
#include <attnflow/io/detail/page/axes.hpp>
#include <attnflow/io/detail/page/controls.hpp>
#include <attnflow/io/detail/page/drawing.hpp>
#include <attnflow/io/detail/page/export.hpp>
#include <attnflow/io/detail/page/hulls.hpp>
#include <attnflow/io/detail/page/marks.hpp>
#include <attnflow/io/detail/page/markup.hpp>
#include <attnflow/io/detail/page/model.hpp>
#include <attnflow/io/detail/page/panels.hpp>
#include <attnflow/io/detail/page/plane.hpp>
#include <attnflow/io/detail/page/pointers.hpp>
#include <attnflow/io/detail/page/space.hpp>
#include <attnflow/io/detail/page/start.hpp>
#include <attnflow/io/detail/page/style.hpp>

#include <array>
#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The program's parts in their order: each uses names of those before it (and of later ones once all have
/// run).
inline constexpr std::array<std::string_view, 13> page_program = {
    page_model, page_axes,   page_hulls,  page_drawing,  page_marks,    page_attention, page_plane,
    page_space, page_panels, page_export, page_controls, page_pointers, page_start};

}}}  // namespace attnflow::detail
