// Trajectories that others computed, as a page that plays and a figure:
//
//     render x.npy times.npy --attention P.npy --out view.html --svg figure.svg

#include "programs/render/figure.hpp"
#include "programs/render/page.hpp"
#include "programs/render/recording.hpp"

#include <attnflow/io/html.hpp>
#include "figures/svg.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <iostream>
#include <new>

namespace {

void run(render::Options o) {
  const render::Recording recording = render::read(o);
  render::check_outputs(o);
  if (o.title.empty()) o.title = render::fs::path(o.tokens).filename().string();
  const attnflow::View view = render::view_of(recording, o);
  if (!o.svg.empty()) figures::write_svg(o.svg, render::Trajectories(recording, view).figure());
  attnflow::write_html(o.out, view);

  const auto strange = std::ranges::count_if(recording.positions, [](double v) { return !std::isfinite(v); });
  if (strange > 0)
    std::cerr << "render: " << attnflow::detail::printable(o.tokens, false) << " has " << strange
              << " numbers that are not finite: these tokens are not drawn at these moments\n";
  std::cout << recording.n << " tokens in dimension " << recording.d << " at " << recording.m
            << " moments\nwritten: " << o.out << '\n';
  if (!o.svg.empty()) std::cout << "written: " << o.svg << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  programs::report_files_that_are_too_large();
  try {
    run(render::parse(argc, argv));
    return programs::said_all("render") ? 0 : 3;
  } catch (const std::bad_alloc&) {
    std::cerr << "render: not enough memory for arrays of this size\n";
  } catch (const std::exception& error) {
    std::cerr << "render: " << attnflow::detail::printable(error.what(), false) << '\n';  // one line
  }
  return 2;
}
