/// \file
/// A Matplotlib and a gnuplot script beside saved trajectories: write_figure_scripts().
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/detail/npy_header.hpp>
#include <attnflow/io/detail/utf8.hpp>
#include "figures/svg_text.hpp"

#include <bit>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace figures {

using attnflow::AtomicFile, attnflow::FileError, attnflow::detail::as_utf8, attnflow::detail::NpyFile,
    attnflow::detail::NpyLayout, attnflow::detail::read_npy_layout, attnflow::detail::refuse,
    attnflow::detail::shape_text, attnflow::detail::skip_wrong_byte;

/// What the scripts of write_figure_scripts() draw. Texts are UTF-8, with `_` and `^` as in Figure.
struct FigureScripts {
  std::string times = "times.npy";    ///< a file of the folder, shape (m,)
  std::string tokens = "tokens.npy";  ///< a file of the folder, shape (m, n, d)
  /// Above the figure; may be empty.
  std::string title = {};
  std::vector<std::string> axes = {};  ///< d names, or none: x_1, x_2, …
  std::string time = "t";              ///< names the axis of time, where d = 1
  Eigen::Index most =
      1000;  ///< of the tokens so many are drawn, evenly picked; gnuplot reads the file for each
};

/// The numbers of an .npy file as gnuplot reads them.
struct BinaryColumns : NpyLayout {
  [[nodiscard]] std::string endian() const {
    return (std::endian::native == std::endian::little) == header.swap ? "big" : "little";
  }
  [[nodiscard]] std::string type() const {
    if (header.kind == 'i') return header.element_size == 4 ? "int32" : "int64";
    return header.element_size == 4 ? "float" : "double";
  }
};

/// Of a file in C order. \throws FileError unless it is one with so many axes.
[[nodiscard]] inline BinaryColumns binary_columns(const std::filesystem::path& path, std::size_t axes) {
  NpyFile file(path);
  const BinaryColumns columns{read_npy_layout(file.in, file.size, path)};
  const std::vector<Eigen::Index>& shape = columns.header.shape;
  if (shape.size() != axes)
    throw FileError(path, "has the shape " + shape_text(shape) + ", expected " + std::to_string(axes) +
                              (axes == 1 ? " axis" : " axes"));
  if (columns.header.fortran_order) throw FileError(path, "is in Fortran order, expected C order");
  return columns;
}

/// A string of a gnuplot script, in double quotes. Single quotes would hold no quote at their start, and in double
/// quotes gnuplot runs what stands between backquotes; so these, control characters and bytes that are not UTF-8 are
/// octal numbers.
[[nodiscard]] inline std::string gnuplot_string(std::string_view text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const bool wrong = skip_wrong_byte(text, at);
    const auto byte = static_cast<unsigned char>(text[start]);
    if (wrong || byte < 0x20 || byte == 0x7f || byte == '`') {
      for (const int shift : {6, 3, 0}) out += static_cast<char>('0' + (byte >> shift & 7));
      out.insert(out.size() - 3, 1, '\\');
    } else {
      if (byte == '"' || byte == '\\') out += '\\';
      out += text.substr(start, at - start);
    }
  }
  return out + '"';
}

/// A string of a Python script. A byte that is not UTF-8 is the surrogate that stands for it in names of files.
[[nodiscard]] inline std::string python_string(std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "'";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const bool wrong = skip_wrong_byte(text, at);
    const auto byte = static_cast<unsigned char>(text[start]);
    if (wrong || byte < 0x20 || byte == 0x7f) {
      out += wrong ? "\\udc" : "\\x";
      out += {digits[byte >> 4], digits[byte & 15U]};
    } else {
      if (byte == '\'' || byte == '\\') out += '\\';
      out += text.substr(start, at - start);
    }
  }
  return out + '\'';
}

/// The name of a file of the folder as gnuplot takes it for one, and not for a command (`< ls`), for data in the script
/// (`-`) or for a formula (`+`).
[[nodiscard]] inline std::string gnuplot_file(const std::string& name) {
  return gnuplot_string(std::filesystem::path(name).is_absolute() ? name : "./" + name);
}

/// Text in one line: a control character is a space, and a byte that is not UTF-8 is U+FFFD.
[[nodiscard]] inline std::string in_one_line(std::string_view text) {
  std::string out = as_utf8(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return out;
}

/// The text with each of these characters behind a backslash.
[[nodiscard]] inline std::string behind_backslash(std::string_view text, std::string_view characters) {
  std::string out;
  for (const char c : text) {
    if (characters.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

/// The text in gnuplot's enhanced mode, as a string of a script.
[[nodiscard]] inline std::string gnuplot_text(std::string_view text) {
  std::string out;
  for (const Run& run : runs_of(in_one_line(text))) {
    const std::string piece = behind_backslash(run.text, R"(\_^{}@&~)");
    out += run.level == 0 ? piece : (run.level < 0 ? "_{" : "^{") + piece + '}';
  }
  return gnuplot_string(out);
}

/// The text with scripts in Matplotlib's mathematics, as a string of a script.
[[nodiscard]] inline std::string matplotlib_text(std::string_view text) {
  std::string out;
  for (const Run& run : runs_of(in_one_line(text))) {
    if (run.level == 0)
      out += behind_backslash(run.text, "$");
    else if (!run.text.empty())
      out += (run.level < 0 ? R"($_{\mathrm{)" : R"($^{\mathrm{)") +
             behind_backslash(run.text, R"(\_^{}$#% )") + "}}$";
  }
  return python_string(out);
}

/// Both scripts as text.
class ScriptWriter {
 public:
  ScriptWriter(const std::filesystem::path& folder, const FigureScripts& what)
      : what_(what),
        times_(binary_columns(folder / what.times, 1)),
        tokens_(binary_columns(folder / what.tokens, 3)) {
    m_ = tokens_.header.shape[0];
    n_ = tokens_.header.shape[1];
    d_ = tokens_.header.shape[2];
    if (times_.header.shape[0] != m_)
      throw FileError(folder / what.times, "has " + std::to_string(times_.header.shape[0]) +
                                               " times, expected " + std::to_string(m_) + " as " +
                                               what.tokens + " has states");
    if (m_ < 1 || n_ < 1 || d_ < 1)
      throw FileError(folder / what.tokens,
                      "has the shape " + shape_text(tokens_.header.shape) + ": nothing to draw");
    if (!what.axes.empty() && what.axes.size() != static_cast<std::size_t>(d_))
      refuse("FigureScripts::axes has ", what.axes.size(), " entries, expected none or d = ", d_);
    if (what.most < 1) refuse("FigureScripts::most is ", what.most, ", expected at least 1");
  }

  [[nodiscard]] std::string gnuplot() const {
    const std::string n = std::to_string(n_), records = std::to_string(m_ * n_);
    const auto clause = [&](const char* each, const char* style) {
      const std::string columns = d_ == 1 ? "(T[int($0)/" + n + " + 1]):1" : d_ == 2 ? "1:2" : "1:2:3";
      return "tokens binary endian=" + tokens_.endian() + " skip=" + std::to_string(tokens_.start) +
             " record=" + records + " \\\n    format='%" + std::to_string(d_) + tokens_.type() + "' using " +
             columns + " every " + each + " \\\n    with " + style + " notitle";
    };
    std::string out =
        "# Draws the trajectories with gnuplot 5.2 or later, in this folder:\n"
        "#   gnuplot plot.gp        writes plot.pdf\n"
        "#   gnuplot -e \"out='plot.png'\" plot.gp        or a name that ends in svg or pdf\n";
    out += "times = " + gnuplot_file(what_.times) + "   # shape (" + std::to_string(m_) + ",)\n";
    out += "tokens = " + gnuplot_file(what_.tokens) + "   # shape (" + std::to_string(m_) + ", " + n + ", " +
           std::to_string(d_) + "); the numbers start after " + std::to_string(tokens_.start) + " bytes\n";
    out +=
        "if (!exists('out')) out = 'plot.pdf'\n"
        "ending = out[strlen(out)-2:*]\n"
        "set encoding utf8\n"
        "if (ending eq 'png') { set terminal pngcairo size 900,700 fontscale 1.4 linewidth 1.6 } else {\n"
        "  if (ending eq 'svg') { set terminal svg size 640,500 } else { set terminal pdfcairo size "
        "15cm,11.5cm } }\n"
        "set output out\n";
    if (!what_.title.empty()) out += "set title " + gnuplot_text(what_.title) + '\n';
    out += "set xlabel " + gnuplot_text(d_ == 1 ? what_.time : axis(0)) + "\nset ylabel " +
           gnuplot_text(axis(d_ == 1 ? 0 : 1)) + '\n';
    if (d_ > 2)
      out += "set zlabel " + gnuplot_text(axis(2)) +
             "\nset view equal xyz\nset view 65,35,1.25\nset tics font ',9'\nset xyplane 0\nset xtics offset "
             "0,-0.4\nset ytics offset "
             "1,-0.2\nset grid\n";
    if (d_ == 2) out += "set size ratio -1\n";
    if (d_ == 1)
      out += "array T[" + std::to_string(m_) + "]\nstats times binary endian=" + times_.endian() +
             " skip=" + std::to_string(times_.start) + " record=" + std::to_string(m_) + " format='%" +
             times_.type() + "' using (T[int($0) + 1] = $1) nooutput\n";
    out += "# Token i is every " + n + "th record from the i-th on; the last " + n +
           " are where the tokens end.\n";
    const std::string step = std::to_string((n_ + what_.most - 1) / what_.most);
    out += d_ > 2 ? "splot" : "plot";
    out += " for [i=0:" + std::to_string(n_ - 1) + ':' + step + "] " +
           clause((n + "::i").c_str(), "lines linewidth 0.7 linecolor rgb '#808890'") + ", \\\n  " +
           clause((step + "::" + std::to_string((m_ - 1) * n_)).c_str(),
                  "points pointtype 7 pointsize 0.5 linecolor rgb '#0072b2'") +
           "\nset output\n";
    return out;
  }

  [[nodiscard]] std::string matplotlib() const {
    const Eigen::Index step = (n_ + what_.most - 1) / what_.most;
    std::string out =
        "#!/usr/bin/env python3\n"
        "# Draws the trajectories: python3 plot.py [plot.pdf, or a name that ends in png or svg]\n"
        "import sys\nfrom pathlib import Path\n\nimport matplotlib\n\nmatplotlib.use('Agg')\n"
        "import matplotlib.pyplot as plt\nimport numpy as np\n\nfolder = Path(__file__).parent\n";
    out += "times = np.load(folder / " + python_string(what_.times) + ")  # shape (" + std::to_string(m_) +
           ",)\n";
    out += "tokens = np.load(folder / " + python_string(what_.tokens) + ")  # shape (" + std::to_string(m_) +
           ", " + std::to_string(n_) + ", " + std::to_string(d_) + "): moment, token, coordinate\n";
    if (step > 1) out += "tokens = tokens[:, ::" + std::to_string(step) + "]\n";
    out += "\nfigure = plt.figure(figsize=(6, 4.6))\naxes = figure.add_subplot(";
    out += d_ > 2 ? "projection='3d')\n" : ")\n";
    if (d_ == 1)
      out +=
          "axes.plot(times, tokens[:, :, 0], color='0.55', linewidth=0.7)\n"
          "axes.plot(np.full(tokens.shape[1], times[-1]), tokens[-1, :, 0], 'o', markersize=3)\n";
    if (d_ == 2)
      out +=
          "axes.plot(tokens[:, :, 0], tokens[:, :, 1], color='0.55', linewidth=0.7)\n"
          "axes.plot(tokens[-1, :, 0], tokens[-1, :, 1], 'o', markersize=3)\naxes.set_aspect('equal')\n";
    if (d_ > 2)
      out +=
          "for token in tokens.transpose(1, 2, 0):\n    axes.plot(*token[:3], color='0.55', linewidth=0.7)\n"
          "axes.plot(*tokens[-1].T[:3], 'o', markersize=3)\n# equal units:\n"
          "axes.set_box_aspect(np.ptp([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()], axis=1), "
          "zoom=0.9)\n";
    if (!what_.title.empty()) out += "axes.set_title(" + matplotlib_text(what_.title) + ")\n";
    out += "axes.set_xlabel(" + matplotlib_text(d_ == 1 ? what_.time : axis(0)) + ")\naxes.set_ylabel(" +
           matplotlib_text(axis(d_ == 1 ? 0 : 1)) + ")\n";
    if (d_ > 2) out += "axes.set_zlabel(" + matplotlib_text(axis(2)) + ")\n";
    // A tight box would cut the label of the third axis off.
    out += "figure.savefig(sys.argv[1] if len(sys.argv) > 1 else folder / 'plot.pdf', ";
    return out + (d_ > 2 ? "" : "bbox_inches='tight', ") + "dpi=150)\n";
  }

 private:
  [[nodiscard]] std::string axis(Eigen::Index k) const {
    return what_.axes.empty() ? "x_" + std::to_string(k + 1) : what_.axes[static_cast<std::size_t>(k)];
  }

  const FigureScripts& what_;
  BinaryColumns times_, tokens_;
  Eigen::Index m_ = 0, n_ = 0, d_ = 0;
};

/// Writes plot.py (Matplotlib) and plot.gp (gnuplot) into the folder, for those who prefer these tools: each
/// draws the trajectories of the tokens and where they end, to PDF, PNG or SVG. With d = 1 against time, with
/// d = 2 in the plane, with more in the space of the first three coordinates; one unit is equally long along
/// the axes. The scripts read the .npy files when they run; only shapes and headers are read here, so the
/// files must be there and stay as they are. Floating-point or integer numbers in C order.
/// \throws FileError if a file is missing, of another shape, or cannot be written; std::invalid_argument
/// naming the field of FigureScripts at fault.
inline void write_figure_scripts(const std::filesystem::path& folder, const FigureScripts& what = {}) {
  const ScriptWriter scripts(folder, what);
  AtomicFile gnuplot(folder / "plot.gp"), python(folder / "plot.py");
  gnuplot.write(scripts.gnuplot());
  python.write(scripts.matplotlib());
  gnuplot.commit();
  python.commit();
}

}  // namespace figures
