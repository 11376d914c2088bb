/// \file
/// Figures for papers and talks as SVG: svg(), write_svg().
#pragma once

#include <attnflow/io/atomic_file.hpp>
#include "figures/figure.hpp"
#include "figures/svg_panel.hpp"
#include "figures/svg_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace figures {

using attnflow::AtomicFile;

/// Panels in a grid. Those of a row share the space above and below their frames, those of a column the space
/// beside them, so that the frames are in line.
class FigureLayout {
 public:
  explicit FigureLayout(const Figure& figure) : figure_(figure) {
    const std::size_t count = figure.panels.size();
    columns_ = figure.columns > 0
                   ? static_cast<std::size_t>(figure.columns)
                   : static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(count))));
    columns_ = std::max<std::size_t>((std::min)(columns_, count), 1);
    rows_ = (count + columns_ - 1) / columns_;
    for (std::size_t k = 0; k < count; ++k)
      panels_.emplace_back(figure.panels[k], k, count > 1, figure.panel_width, figure.panel_height);
    arrange();
    for (PanelWriter& panel : panels_) panel.place_legend();
    arrange();
  }

  [[nodiscard]] std::string text() const {
    const double width = figure_.panel_width * static_cast<double>(columns_), room = width - 40;
    const std::vector<std::string> title = wrapped(figure_.title, 17, room),
                                   caption = wrapped(figure_.caption, 11.5, room);
    const double above = title.empty() ? 4 : 16 + 22 * static_cast<double>(title.size());
    const double panels = figure_.panel_height * static_cast<double>(rows_);
    const double below = caption.empty() ? 4 : 12 + 16 * static_cast<double>(caption.size());
    const std::string w = px(width), h = px(above + panels + below);
    std::string out =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"" +
        w + "\" height=\"" + h + "\" viewBox=\"0 0 " + w + ' ' + h +
        "\" role=\"img\" font-family=\"'DejaVu Sans', Verdana, sans-serif\" fill=\"#111\">\n<title>" +
        spoken(figure_.title) + "</title>\n<desc>" + description() + "</desc>\n<rect width=\"" + w +
        "\" height=\"" + h + "\" fill=\"#fff\"/>\n";
    double y = 28;
    for (const std::string& line : title) {
      out += text_element(width / 2, y, line, fitting_size(line, 17, room),
                          " class=\"title\" text-anchor=\"middle\"");
      y += 22;
    }
    for (std::size_t k = 0; k < panels_.size(); ++k) {
      const std::size_t row = k / columns_, column = k % columns_;
      out += "<g class=\"panel\" transform=\"translate(" +
             px(figure_.panel_width * static_cast<double>(column)) + ' ' +
             px(above + figure_.panel_height * static_cast<double>(row)) + ")\">\n" + panels_[k].text() +
             "</g>\n";
    }
    y = above + panels + 16;
    for (const std::string& line : caption) {
      out += text_element(20, y, line, fitting_size(line, 11.5, room), " class=\"caption\" fill=\"#333\"");
      y += 16;
    }
    return out + "</svg>\n";
  }

 private:
  void arrange() {
    // Which ticks have room decides the margins, and they decide the room: twice is enough.
    for (int pass = 0; pass < 2; ++pass) {
      std::vector<Margins> row(rows_), column(columns_);
      for (std::size_t k = 0; k < panels_.size(); ++k) {
        const Margins m = panels_[k].margins();
        row[k / columns_].cover(m);
        column[k % columns_].cover(m);
      }
      for (std::size_t k = 0; k < panels_.size(); ++k) {
        const Margins &r = row[k / columns_], &c = column[k % columns_];
        panels_[k].fit({c.left, c.right, r.top, r.bottom, r.factor});
      }
    }
  }
  [[nodiscard]] std::string description() const {
    std::string out = spoken(figure_.caption);
    for (const Figure::Panel& p : figure_.panels)
      for (const std::string* const text : {&p.title, &p.x.label, &p.y.label, &p.z.label})
        if (!text->empty()) out += (out.empty() ? "" : text == &p.title ? "; " : ", ") + spoken(*text);
    return out;
  }

  const Figure& figure_;
  std::size_t columns_ = 1, rows_ = 0;
  std::vector<PanelWriter> panels_;
};

/// The figure as an SVG document: panels in a grid, with letters where there are several; axes with ticks
/// at round numbers, legends where they cover nothing. No script, no font from elsewhere, no ids (which would
/// clash where one page holds several pictures), and the same bytes for the same figure. A point is an
/// element of class "point" whose data-k is its number in its layer; of more than 20 000 in a layer each
/// colour is one path. What is beyond the frame is not in the file. Positions have hundredths of a pixel.
/// Time and size are linear in the numbers drawn; a heat map takes at most some 350 kB.
/// \throws std::invalid_argument as Figure::validate().
[[nodiscard]] inline std::string svg(const Figure& figure) {
  figure.validate();
  return FigureLayout(figure).text();
}

/// The same to a file, whole or not at all. \throws also FileError if it cannot be written.
inline void write_svg(const std::filesystem::path& path, const Figure& figure) {
  const std::string text = svg(figure);
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace figures
