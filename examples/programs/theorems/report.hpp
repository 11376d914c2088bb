/// \file
/// The table of findings: on the terminal, as Markdown and as JSON.
#pragma once

#include "programs/theorems/laboratory.hpp"

#include <attnflow/io/atomic_file.hpp>
#include <attnflow/version.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace laboratory {

using Json = nlohmann::ordered_json;

inline std::string short_number(double value) {
  std::ostringstream text;
  text.precision(2);
  text << value;
  return text.str();
}

inline std::string margins_of(const Row& row) {
  std::string text;
  for (const auto& [name, value] : row.margins)
    text += (text.empty() ? "" : ", ") + name + " " + short_number(value);
  return text;
}

/// Counts, numbers, exclusions and skipped tokens in words.
inline std::string found_of(const Row& row) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  for (const auto& [what, histogram] : row.counts) {
    std::string part = what + ":";
    for (const auto& [value, times] : histogram)
      part += " " + std::to_string(value) + " (" + std::to_string(times) + " times)";
    add(part);
  }
  for (const auto& [what, three] : row.numbers)
    add(what + ": " + short_number(three[0]) + " to " + short_number(three[2]) + ", mean " +
        short_number(three[1]));
  if (row.skipped > 0) add(std::to_string(row.skipped) + " tokens not decided, left out");
  for (const auto& [why, draws] : row.left_out) add(std::to_string(draws) + " draws left out: " + why);
  for (const auto& [rule, times] : row.rules) add("redrawn " + std::to_string(times) + " times: " + rule);
  for (const auto& error : row.errors) add("ERROR " + error);
  return text;
}

inline std::string markdown_cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

inline bool is_sweep(const Row& row) { return row.experiment.starts_with("sweep"); }

/// The statements, one row each.
inline std::string markdown_table(const std::vector<Row>& rows) {
  std::ostringstream out;
  out << "| label | kind | statement | margins met | draws | passed | excluded | worst residual | its "
         "tolerance | "
         "tolerance | found | seconds |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Row& row : rows) {
    if (is_sweep(row)) continue;
    out << "| " << markdown_cell(row.check.label) << " | " << name_of(row.check.kind) << " | "
        << markdown_cell(row.check.says) << " | " << margins_of(row) << " | " << row.draws << " | "
        << (row.failed() ? "**" : "") << row.passed << (row.failed() ? "** FAILED" : "") << " | "
        << row.excluded << " | ";
    if (row.draws > 0)
      out << short_number(row.worst.residual) << " | " << short_number(row.worst.tolerance) << " | ";
    else
      out << " | | ";
    out << markdown_cell(row.check.tolerance) << " | " << markdown_cell(found_of(row)) << " | "
        << short_number(row.seconds) << " |\n";
  }
  return out.str();
}

/// What a cell of the sweep says: the share of draws in which the finding agrees.
inline std::string share_of(const Row& row) {
  if (!row.errors.empty()) return "ERROR " + row.errors.front();
  std::string text = row.draws > 0 ? std::to_string(row.passed) + " of " + std::to_string(row.draws) : "none";
  for (const auto& [what, histogram] : row.counts) {
    if (what == "no theorem") continue;
    long times = 0;
    for (const auto& [value, seen] : histogram) times += seen;
    text += ", " + std::to_string(times) + " " + what;
  }
  return text;
}

/// The sweep: a row for each experiment, a column for each of its checks.
inline std::string sweep_tables(const std::vector<Row>& rows) {
  std::ostringstream out;
  std::vector<std::string> labels;
  for (std::size_t k = 0; k < rows.size();) {
    if (!is_sweep(rows[k])) {
      ++k;
      continue;
    }
    std::size_t end = k;
    std::vector<std::string> own;
    while (end < rows.size() && rows[end].experiment == rows[k].experiment)
      own.push_back(rows[end++].check.label);
    if (own != labels) {
      labels = own;
      out << "\n| weights |";
      for (const auto& label : labels) out << ' ' << label << " |";
      out << "\n|---|";
      for (std::size_t c = 0; c < labels.size(); ++c) out << "---|";
      out << '\n';
    }
    out << "| " << rows[k].experiment << " |";
    for (; k < end; ++k) out << ' ' << markdown_cell(share_of(rows[k])) << " |";
    out << '\n';
  }
  return out.str();
}

inline std::string report_text(const std::vector<Row>& rows) {
  std::string text = markdown_table(rows);
  const std::string tables = sweep_tables(rows);
  if (!tables.empty())
    text +=
        "\nShare of draws in which analyze() agrees with the prediction, of those for which a theorem "
        "applies. "
        "`late`: within 1000 times\nthe distance expected, that is, decided up to 7/λ later; `apart`: "
        "farther; `ended "
        "early`: the integrator gave up.\n" +
        tables;
  return text;
}

inline Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

inline Json json_of(const Row& row) {
  Json margins = Json::object(), counts = Json::object(), numbers = Json::object(), rules = Json::object(),
       left_out = Json::object();
  for (const auto& [name, value] : row.margins) margins[name] = json_number(value);
  for (const auto& [what, histogram] : row.counts)
    for (const auto& [value, times] : histogram) counts[what][std::to_string(value)] = times;
  for (const auto& [what, three] : row.numbers)
    numbers[what] = {
        {"least", json_number(three[0])}, {"mean", json_number(three[1])}, {"most", json_number(three[2])}};
  for (const auto& [rule, times] : row.rules) rules[rule] = times;
  for (const auto& [why, draws] : row.left_out) left_out[why] = draws;
  return {{"label", row.check.label},
          {"kind", name_of(row.check.kind)},
          {"statement", row.check.says},
          {"experiment", row.experiment},
          {"margins", margins},
          {"draws", row.draws},
          {"passed", row.passed},
          {"failed", row.failed()},
          {"excluded", row.excluded},
          {"exclusions", rules},
          {"draws_left_out", left_out},
          {"tokens_left_out", row.skipped},
          {"worst_residual", row.draws > 0 ? json_number(row.worst.residual) : Json(nullptr)},
          {"worst_tolerance", row.draws > 0 ? json_number(row.worst.tolerance) : Json(nullptr)},
          {"tolerance", row.check.tolerance},
          {"counts", counts},
          {"numbers", numbers},
          {"errors", row.errors},
          {"experiment_seconds", row.seconds}};
}

inline void save_text(const std::filesystem::path& path, const std::string& text) {
  attnflow::AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace laboratory
