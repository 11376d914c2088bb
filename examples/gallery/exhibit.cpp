#include "gallery/exhibit.hpp"

#include "gallery/program.hpp"
#include "gallery/run.hpp"

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/io/npy.hpp>
#include "figures/figure_scripts.hpp"
#include "figures/svg.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

namespace gallery {

namespace {

std::string compact(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

[[noreturn]] void refuse(const std::string& program, const std::string& mistake) {
  std::cerr << program << ": " << attnflow::detail::printable(mistake, false) << '\n';  // one line
  std::exit(2);
}

}  // namespace

Exhibit::Exhibit(std::filesystem::path folder, std::string name, std::string title, std::string sentence,
                 bool quiet)
    : name_(std::move(name)),
      title_(std::move(title)),
      sentence_(std::move(sentence)),
      folder_(std::move(folder)),
      quiet_(quiet),
      terminal_(programs::stderr_is_terminal()) {
  try {
    make_folder(folder_.string(), "exhibit.json");
  } catch (const std::runtime_error& mistake) {
    refuse(name_, mistake.what());
  }
  std::error_code error;
  std::filesystem::remove(folder_ / "exhibit.json", error);  // of an earlier run: this one may not end
}

Exhibit::Exhibit(int argc, char** argv, std::string name, std::string title, std::string sentence)
    : Exhibit(
          [&] {
            const std::string mistake = programs::mistake_of_values(
                argc, argv, [](std::string_view option) { return option == "--out"; });
            if (!mistake.empty()) refuse(name, mistake);
            std::filesystem::path folder = name;
            for (int k = 1; k < argc; ++k) {
              const std::string_view option = argv[k];
              if (option == "--quiet") continue;
              if (option == "--help") {
                std::cout << title << "\n" << sentence << "\n\nusage: " << name << " [--out DIR] [--quiet]\n";
                std::exit(programs::said_all(name.c_str()) ? 0 : 2);
              }
              if (option == "--out" && k + 1 == argc) refuse(name, "--out: without a value, expected one");
              if (option != "--out")
                refuse(name, "unexpected '" + std::string(option) + "', expected [--out DIR] [--quiet]");
              folder = argv[++k];
            }
            return folder;
          }(),
          name, std::move(title), std::move(sentence)) {
  for (int k = 1; k < argc; ++k) quiet_ = quiet_ || std::string_view(argv[k]) == "--quiet";
}

void Exhibit::claim(const std::string& text, double value, const std::string& expected, bool holds) {
  claims_.push_back({text, expected, value, true, holds});
}
void Exhibit::at_most(const std::string& text, double value, double bound) {
  claim(text, value, "at most " + compact(bound), value <= bound);
}
void Exhibit::at_least(const std::string& text, double value, double bound) {
  claim(text, value, "at least " + compact(bound), value >= bound);
}
void Exhibit::equal(const std::string& text, double value, double expected) {
  claim(text, value, compact(expected), value == expected);
}
void Exhibit::note(const std::string& text, double value) {
  claims_.push_back({text, "", value, false, true});
}

void Exhibit::wrote(const std::string& kind, const std::string& file) { files_.push_back({kind, file}); }

void Exhibit::figure(const figures::Figure& figure, const std::string& name) {
  figures::write_svg(folder_ / (name + ".svg"), figure);
  wrote("figure", name + ".svg");
}

void Exhibit::page(const attnflow::View& view, const std::string& name) {
  attnflow::write_html(folder_ / (name + ".html"), view);
  wrote("page", name + ".html");
}

void Exhibit::data(const Run& run, const std::string& name) {
  const Eigen::Index n = run.z.front().cols(), d = run.z.front().rows();
  const std::filesystem::path folder = folder_ / name;
  std::filesystem::create_directories(folder);
  attnflow::NpyWriter<double> tokens(folder / "tokens.npy", {n, d});
  for (const Eigen::MatrixXd& z : run.z)
    tokens.append(std::span(z.data(), static_cast<std::size_t>(z.size())));
  tokens.finish();
  attnflow::save_npy<double>(folder / "times.npy", {static_cast<Eigen::Index>(run.times.size())}, run.times);
  figures::FigureScripts scripts{.title = title_};
  for (Eigen::Index c = 1; c <= d; ++c)
    scripts.axes.push_back(std::string("z_{").append(std::to_string(c)).append("}"));
  figures::write_figure_scripts(folder, scripts);
  for (const char* file : {"times.npy", "tokens.npy"}) wrote("data", name + "/" + file);
  for (const char* file : {"plot.py", "plot.gp"}) wrote("script", name + "/" + file);
}

void Exhibit::data(const Eigen::MatrixXd& table, const std::string& name) {
  const Eigen::MatrixXd rows = table.transpose();  // C order
  attnflow::save_npy<double>(folder_ / (name + ".npy"), {table.rows(), table.cols()},
                             std::span(rows.data(), static_cast<std::size_t>(rows.size())));
  wrote("data", name + ".npy");
}

void Exhibit::progress(double share) {
  if (quiet_ || !terminal_) return;
  const int filled = static_cast<int>(std::lround(share * 30));
  std::cerr << "\r[" << std::string(static_cast<std::size_t>(filled), '#')
            << std::string(static_cast<std::size_t>(30 - filled), ' ') << "] " << name_ << std::flush;
  if (share >= 1) std::cerr << '\r' << std::string(34 + name_.size(), ' ') << '\r' << std::flush;
}

int Exhibit::finish() {
  bool passed = true;
  nlohmann::ordered_json claims = nlohmann::ordered_json::array(), files = nlohmann::ordered_json::array();
  for (const Claim& c : claims_) {
    passed = passed && c.holds;
    claims.push_back({{"text", c.text},
                      {"value", c.value},  // null where it is not finite
                      {"expected", c.expected},
                      {"claimed", c.claimed},
                      {"holds", c.holds}});
    if (quiet_ && c.holds) continue;
    std::cout << (!c.claimed ? "       "
                  : c.holds  ? "holds  "
                             : "FAILS  ")
              << c.text << ": " << compact(c.value) << (c.claimed ? ", expected " + c.expected : "") << '\n';
  }
  for (const File& f : files_) files.push_back({{"kind", f.kind}, {"file", f.name}});
  const nlohmann::ordered_json exhibit{{"name", name_},    {"title", title_},  {"sentence", sentence_},
                                       {"passed", passed}, {"claims", claims}, {"files", files}};
  attnflow::AtomicFile file(folder_ / "exhibit.json");
  file.write(exhibit.dump(2) + "\n");
  file.commit();
  if (!quiet_) std::cout << "written: " << folder_.string() << '\n';
  if (!programs::said_all(name_.c_str())) return 2;
  return passed ? 0 : 1;
}

}  // namespace gallery
