// The findings as a picture: how much of its tolerance each statement used up.
#pragma once

#include "gallery/exhibit.hpp"
#include "programs/theorems/laboratory.hpp"
#include "programs/theorems/report.hpp"

#include "figures/figure.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace laboratory {

/// Statements that were drawn, in the order of the table, by kind; each at worst residual / tolerance. What an
/// inequality has to spare has no place on a logarithmic axis: such statements stand at its foot.
inline figures::Figure picture(const std::vector<Row>& rows, const Settings& settings) {
  constexpr double foot = 1e-8;
  figures::Figure figure;
  figures::Figure::Points proved{.label = "theorems, lemmas"}, derived{.label = "derived from them"},
      open{.label = "conjectures, errata"};
  proved.colour = 0;
  derived.colour = 2;
  derived.mark = figures::Figure::Mark::square;
  open.colour = 1;
  open.mark = figures::Figure::Mark::triangle;
  double place = 0;
  for (const Row& row : rows) {
    if (is_sweep(row) || row.draws == 0) continue;
    auto& points = row.check.kind == Kind::theorem || row.check.kind == Kind::lemma ? proved
                   : is_asserted(row.check.kind)                                    ? derived
                                                                                    : open;
    const double share =
        row.worst.tolerance > 0 ? row.worst.residual / row.worst.tolerance : row.worst.residual;
    points.x.push_back(++place);
    points.y.push_back(std::max(share, foot));
  }
  figures::Figure::Line bound{.label = "tolerance",
                              .x = {0, place + 1},
                              .y = {1, 1},
                              .colour = figures::Figure::black,
                              .dashed = true};
  figures::Figure::Panel panel;
  panel.x = {.label = "statement, in the order of theorems.md", .low = 0, .high = place + 1, .whole = true};
  panel.y = {.label = "worst residual / its tolerance", .low = foot / 2, .logarithmic = true};
  panel.layers = {bound, proved, derived, open};
  figure.title = "Statements of arXiv:2305.05465 on random draws";
  figure.caption = std::to_string(settings.draws) + " draws of each, seed " + std::to_string(settings.seed) +
                   "; at the foot: 10⁻⁸ and less, and inequalities with room to spare";
  figure.panels = {panel};
  figure.panel_width = 760;
  figure.panel_height = 460;
  return figure;
}

/// Writes the picture and exhibit.json for the gallery. \returns the exit status.
inline int exhibit(const std::filesystem::path& folder, const std::vector<Row>& rows,
                   const Settings& settings, bool quiet) {
  gallery::Exhibit exhibit(
      folder, "theorems", "Every theorem on random draws",
      "Each statement of the paper is tried on random weights and starts, with tolerances that "
      "follow from its hypotheses.",
      quiet);
  long asserted = 0, failed = 0, draws = 0;
  for (const Row& row : rows) {
    if (is_asserted(row.check.kind)) ++asserted;
    if (row.failed()) ++failed;
    draws += row.draws;
  }
  exhibit.equal("statements that must hold and do not, of " + std::to_string(asserted),
                static_cast<double>(failed), 0);
  exhibit.note("draws in all", static_cast<double>(draws));
  exhibit.figure(picture(rows, settings));
  exhibit.wrote("data", "theorems.md");
  exhibit.wrote("data", "theorems.json");
  return exhibit.finish();
}

}  // namespace laboratory
