// report.json: options as used, prediction, finding.
#pragma once

#include "programs/simulate/models.hpp"

#include <attnflow/prediction/analyze.hpp>
#include <attnflow/simd/level.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace simulation {

using Json = nlohmann::ordered_json;

/// As it stands in a file: names of files may hold bytes that are not UTF-8, which JSON cannot.
inline std::string text_of(const Json& document) {
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

/// A number of the report: what is not finite is null.
inline Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

template <class T, class Read>
Json optional_json(const std::optional<T>& value, const Read& read) {
  return value ? Json(read(*value)) : Json(nullptr);
}

/// Whether the theorems of [GLPR23] are of such a system: softmax of all scores as they are, in ℝᵈ.
inline bool theory_speaks_of(const Options& o) {
  return is_plain(o) && o.system != "sphere" && o.frozen.value_or(0) == 0;
}

/// Why they are not.
inline std::string outside_theory(const Options& o) {
  std::string because;
  const auto add = [&](bool holds, const std::string& what) {
    if (holds) because += (because.empty() ? "" : ", ") + what;
  };
  add(o.system == "sphere", "tokens on the unit sphere");
  add(o.law != "softmax",
      (rows_sum_to_one(o) ? "another weight law (--law " : "weights that do not sum to one (--law ") + o.law +
          ")");
  add(o.mask != "none", "a mask (--mask " + o.mask + ")");
  add(o.alibi.value_or(0) != 0, "a positional bias (--alibi)");
  add(o.rope.has_value(), "rotary positions (--rope)");
  add(o.within.has_value(), "a mask of distances (--within)");
  add(o.frozen.value_or(0) > 0, "frozen tokens (--frozen)");
  return "the theorems of arXiv:2305.05465 are of softmax attention in R^d without mask and bias; here: " +
         because;
}

/// What is known of such a system otherwise.
inline std::string expected_of(const Options& o, const std::vector<Head<double>>& heads) {
  const Head<double>& h = heads[0];
  if (o.system != "sphere" || heads.size() > 1 || h.dim() < 2 || o.alibi.value_or(0) != 0 || o.rope ||
      o.within || o.frozen.value_or(0) > 0 || !(o.beta >= 0) || !h.V.isIdentity(0))
    return "";
  if (o.mask == "none" && h.Q.isIdentity(0) && h.K.isIdentity(0) &&
      (o.law == "softmax" || o.law == "unnormalized"))
    return "all tokens meet, from almost every start (Q = K = V = I, β ≥ 0; arXiv:2312.10794)";
  if (o.mask == "causal" && o.law == "softmax")
    return "all tokens converge to the first, which rests, from almost every start (V = I, β ≥ 0; "
           "arXiv:2411.04990)";
  return "";
}

/// What the states of the run are, and how exact. The answer refers to run.coordinates.
template <class Scalar>
attnflow::AnalyzeOptions analyze_options(const Options& o, const Run<Scalar>& run) {
  attnflow::AnalyzeOptions options{.beta = o.beta};
  if (o.system != "rescaled") options.variable = attnflow::StateVariable::tokens;
  if (o.system == "sphere") options.variable = attnflow::StateVariable::unit_tokens;
  if (!theory_speaks_of(o)) options.outside_theory = outside_theory(o);
  if (o.system == "layers") options.layer_step = *o.dt;
  options.coordinates = run.coordinates ? &*run.coordinates : nullptr;
  if (o.rtol) options.accuracy = std::max(options.accuracy, 10 * *o.rtol);
  if (o.precision == "float") options.accuracy = std::max(options.accuracy, 1e-4);
  return options;
}

inline Json json_of(const attnflow::Prediction& prediction) {
  Json margins = Json::object(), hypotheses = Json::array();
  for (const auto& h : prediction.hypotheses) {
    margins[h.name] = number(h.margin);
    hypotheses.push_back({{"name", h.name},
                          {"meaning", h.meaning},
                          {"margin", number(h.margin)},
                          {"needed", number(h.needed)},
                          {"holds", h.holds()}});
  }
  const auto text = [](const std::string& s) { return s.empty() ? Json(nullptr) : Json(s); };
  return {{"case", attnflow::name_of(prediction.limit)},
          {"reference", text(prediction.reference)},
          {"reason", prediction.reason},
          {"conjecture", text(prediction.conjecture)},
          {"margins", std::move(margins)},
          {"hypotheses", std::move(hypotheses)},
          {"rate", prediction.rate > 0 ? number(prediction.rate) : Json(nullptr)},
          {"unstable_dimension", prediction.unstable_dimension}};
}

inline Json json_of(const attnflow::Analysis& analysis, Index n) {
  const attnflow::Finding& f = analysis.found;
  const bool seen = n <= attnflow::AnalyzeOptions{}.most_tokens;
  const auto same = [](const auto& value) { return value; };
  return {{"clusters", f.clusters.count()},
          {"cluster_tolerance", f.cluster_tolerance},
          {"cluster_gap", optional_json(f.gap, [](const auto& gap) { return number(gap.ratio); })},
          {"labels", f.clusters.labels},
          {"sizes", f.clusters.sizes},
          {"leaders", seen ? Json(f.leaders) : Json(nullptr)},
          {"decision_margin", seen ? number(f.decision_margin) : Json(nullptr)},
          {"hull_vertices", optional_json(f.hull_vertices, same)},
          {"hyperplane_levels", f.levels.empty() ? Json(nullptr) : Json(f.levels)},
          {"boolean_distance", optional_json(f.boolean, [](const auto& b) { return b.to_family; })},
          {"boolean_distance_to_pair", optional_json(f.boolean, [](const auto& b) { return b.to_pair; })},
          {"rank", optional_json(f.rank, [](const auto& r) { return r.rank; })},
          {"effective_rank", optional_json(f.rank, [](const auto& r) { return r.entropy_rank; })},
          {"stable_rank", optional_json(f.rank, [](const auto& r) { return r.stable_rank; })},
          {"self_attention", optional_json(f.self_attention, number)},
          {"distance_to_prediction", optional_json(analysis.distance_to_prediction, number)},
          {"expected_distance", optional_json(analysis.expected_distance, number)},
          {"decided_since", optional_json(analysis.decided_since, number)},
          {"candidate_sets_left_out", number(analysis.candidate_sets_left_out)},
          {"agrees", analysis.conclusive ? Json(analysis.agrees()) : Json(nullptr)}};
}

inline const char* name_of(attnflow::Outcome outcome) {
  switch (outcome) {
    case attnflow::Outcome::reached_end:
      return "reached_end";
    case attnflow::Outcome::stopped_by_observer:
      return "stopped";
    case attnflow::Outcome::step_limit:
      return "step_limit";
    case attnflow::Outcome::non_finite:
      return "non_finite";
  }
  return "unknown";
}

/// Why a run ended as it did.
inline std::string_view meaning_of(const attnflow::Report& report) {
  if (!report.reason.empty()) return report.reason;
  switch (report.outcome) {
    case attnflow::Outcome::reached_end:
      return "all was computed";
    case attnflow::Outcome::stopped_by_observer:
      return "by a signal";
    case attnflow::Outcome::step_limit:
      return "too many steps, or too small ones, would be needed to go on";
    case attnflow::Outcome::non_finite:
      return "the next numbers are beyond the range of the precision";
  }
  return "unknown";
}

inline Json resolved(const Options& o, Index n, Index d, std::size_t heads, std::size_t saved) {
  const auto text = [](const std::string& s) { return s.empty() ? Json(nullptr) : Json(s); };
  const auto number = [](const std::optional<double>& v) { return v ? Json(*v) : Json(nullptr); };
  return {{"tokens", text(o.tokens)},
          {"uniform_box", text(o.uniform_box)},
          {"gaussian", text(o.gaussian)},
          {"uniform_sphere", text(o.uniform_sphere)},
          {"seed", o.seed},
          {"n", n},
          {"d", d},
          {"heads", heads},
          {"query", text(o.query)},
          {"key", text(o.key)},
          {"value", text(o.value)},
          {"system", o.system},
          {"law", o.law},
          {"beta", o.beta},
          {"mask", o.mask},
          {"law_k", o.law_k ? Json(*o.law_k) : Json()},
          {"alibi", number(o.alibi)},
          {"rope", number(o.rope)},
          {"within", number(o.within)},
          {"frozen", o.frozen ? Json(*o.frozen) : Json()},
          {"stepper", o.system == "layers" ? Json(nullptr) : Json(o.stepper)},
          {"dt", number(o.dt)},
          {"rtol", number(o.rtol)},
          {"atol", number(o.atol)},
          {"t_end", o.t_end},
          {"save_every", number(o.save_every)},
          {"times", text(o.times)},
          {"saved_times", saved},
          {"attention", o.attention},
          {"precision", o.precision},
          {"threads", attnflow::threads()},
          {"simd", std::string(attnflow::name_of(attnflow::simd_level()))},
          {"out", o.out},
          {"checkpoint", text(o.checkpoint)},
          {"checkpoint_every", number(o.checkpoint_every)},
          {"resume", text(o.resume)}};
}

}  // namespace simulation
