// What every example of the gallery does beside its idea: options, a folder, claims with their numbers, files
// that the gallery finds.
#pragma once

#include <attnflow/io/view.hpp>
#include "figures/figure.hpp"

#include <Eigen/Core>

#include <filesystem>
#include <string>
#include <vector>

namespace gallery {

struct Run;

/// One picture of the gallery. Its program is
///
///     int main(int argc, char** argv) {
///       gallery::Exhibit exhibit(argc, argv, "polytope", "Tokens run to the vertices of a polytope", "One sentence.");
///       …                                     // compute
///       exhibit.at_most("distance to the vertices", distance, 1e-3);
///       exhibit.figure(figure);
///       return exhibit.finish();
///     }
///
/// and understands `--out DIR` (else a folder of its name) and `--quiet`. A wrong option ends it with status 2.
class Exhibit {
 public:
  Exhibit(int argc, char** argv, std::string name, std::string title, std::string sentence);
  /// For a program that reads its own options.
  Exhibit(std::filesystem::path folder, std::string name, std::string title, std::string sentence,
          bool quiet = false);

  /// What the example asserts, the number it measured, what was expected of it, and whether that is so.
  void claim(const std::string& text, double value, const std::string& expected, bool holds);
  void at_most(const std::string& text, double value, double bound);
  void at_least(const std::string& text, double value, double bound);
  void equal(const std::string& text, double value, double expected);
  /// A number worth telling of which nothing is claimed.
  void note(const std::string& text, double value);

  /// Writes figure.svg, the picture of the gallery; more figures have names of their own.
  void figure(const figures::Figure& figure, const std::string& name = "figure");
  /// Writes NAME.html.
  void page(const attnflow::View& view, const std::string& name = "view");
  /// Writes NAME/times.npy (m,), NAME/tokens.npy (m, n, d), and scripts for Matplotlib and gnuplot that draw them.
  void data(const Run& run, const std::string& name = "run");
  /// Writes NAME.npy of shape (rows, columns).
  void data(const Eigen::MatrixXd& table, const std::string& name);
  /// Names a file that the program has written into the folder itself.
  void wrote(const std::string& kind, const std::string& file);
  /// Says on a terminal how far the program is, from 0 to 1.
  void progress(double share);

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

  /// Prints the claims and writes exhibit.json, last of all files. \returns the exit status: 0 if all claims hold, 1 if not, 2 if
  /// standard output cannot be written.
  int finish();

 private:
  struct Claim {
    std::string text, expected;
    double value;
    bool claimed, holds;
  };
  struct File {
    std::string kind, name;  // figure, page, data or script; in the folder
  };

  std::string name_, title_, sentence_;
  std::filesystem::path folder_;
  bool quiet_ = false, terminal_ = false;
  std::vector<Claim> claims_;
  std::vector<File> files_;
};

}  // namespace gallery
