/// \file
/// The robustness sweep: how often prediction and finding agree, over laws of the start and of the weights.
#pragma once

#include "programs/theorems/runs.hpp"

#include <attnflow/prediction/analyze.hpp>
#include <attnflow/systems/layers.hpp>

#include <Eigen/LU>

#include <array>

namespace laboratory {

constexpr std::array start_laws{"uniform", "Gaussian", "clustered", "heavy-tailed", "on a subspace"};
constexpr std::array value_laws{"I", "U[0, 1]", "symmetric", "U[-1, 1]", "paranormal"};
constexpr std::array form_laws{"I", "SPD", "generic"};
constexpr std::array layer_steps{0.01, 0.1, 0.5, 1.0};

inline Matrix start_by_law(Trial& trial, std::size_t law) {
  const Index d = trial.d, n = trial.n;
  Matrix x = attnflow::gaussian(trial.generator, n, d, 3);
  switch (law) {
    case 0:
      return trial.uniform_matrix(d, n, -5, 5);
    case 1:
      return x;
    case 2: {  // five crowds
      const Matrix centres = trial.uniform_matrix(d, 5, -5, 5);
      for (Index i = 0; i < n; ++i) x.col(i) = centres.col(i % 5) + x.col(i) / 30;
      return x;
    }
    case 3:  // each token on its own scale: the quotient of two normal numbers
      for (Index i = 0; i < n; ++i)
        x.col(i) /= std::max(0.05, std::abs(attnflow::gaussian(trial.generator, 1, 1)(0, 0)));
      return x;
    default:  // of half the dimension
      return trial.uniform_matrix(d, std::max<Index>(1, d / 2)) *
             attnflow::gaussian(trial.generator, n, std::max<Index>(1, d / 2), 3);
  }
}

inline Head<double> head_by_law(Trial& trial, std::size_t value, std::size_t form) {
  const Index d = trial.d;
  Head<double> head = Head<double>::identity(d);
  if (value == 1) head.V = trial.uniform_matrix(d, d, 0, 1);
  if (value == 2 || value == 3) head.V = trial.uniform_matrix(d, d);
  if (value == 2) head.V = (head.V + head.V.transpose()).eval() / 2;
  if (value == 4) {
    head.V(d - 1, d - 1) = -0.5;
    const Matrix B = oblique(trial, d);
    head.V = (B * head.V * B.inverse()).eval();
  }
  if (form == 1) head.Q = head.K = positive_definite(trial, d);
  if (form == 2) head.K = trial.uniform_matrix(d, d);
  return head;
}

/// The time by which a prediction is conclusive.
inline double horizon(const attnflow::Prediction& prediction) {
  if (prediction.rate > 0) return 14 / prediction.rate;
  return prediction.limit == attnflow::LimitCase::origin ? 100 : 5;
}

inline void record(Trial& trial, const std::string& label, const attnflow::Analysis& analysis) {
  if (analysis.prediction.limit == attnflow::LimitCase::none) {
    trial.count(label, "no theorem", 1);
    return;
  }
  if (!analysis.conclusive) {
    trial.count(label, "not conclusive", 1);
    return;
  }
  const double distance = *analysis.distance_to_prediction, expected = *analysis.expected_distance;
  trial.check(label, distance, expected);
  if (distance > expected) trial.count(label, distance <= 1000 * expected ? "late" : "apart", 1);
}

inline void sweep_continuous(Trial& trial, std::size_t value, std::size_t form) {
  for (std::size_t law = 0; law < start_laws.size(); ++law) {
    const Head<double> head = head_by_law(trial, value, form);
    const attnflow::Prediction prediction = attnflow::predict_limit(head);
    const Matrix start = start_by_law(trial, law);
    if (prediction.limit == attnflow::LimitCase::none) {
      trial.count(start_laws[law], "no theorem", 1);
      continue;
    }
    const double T = horizon(prediction);
    const bool unrescaled = prediction.limit == attnflow::LimitCase::origin;
    Matrix state = start;
    const attnflow::Report report =
        unrescaled ? integrate_any(AnyField::of(Unrescaled(Head<double>(head))), state, T, look_away)
                   : integrate_any(AnyField::of(Rescaled(head)), state, T, look_away);
    if (report.outcome != attnflow::Outcome::reached_end) {
      trial.count(start_laws[law], "ended early", 1);
      continue;
    }
    const auto variable = unrescaled ? attnflow::StateVariable::tokens : attnflow::StateVariable::rescaled;
    record(trial, start_laws[law], attnflow::analyze(head, T, start, state, {.variable = variable}));
  }
}

inline std::string step_label(const char* system, double step) {
  std::string text = std::string(system) + ", step " + std::to_string(step);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

inline void sweep_layers(Trial& trial, std::size_t value, std::size_t form) {
  const auto law = static_cast<std::size_t>(trial.uniform(0, static_cast<double>(start_laws.size())));
  const Head<double> head = head_by_law(trial, value, form);
  const attnflow::Prediction prediction = attnflow::predict_limit(head);
  const Matrix start = start_by_law(trial, law);
  for (const double step : layer_steps) {
    const std::string rescaled = step_label("RescaledLayers", step), tokens = step_label("Layers", step);
    if (prediction.limit == attnflow::LimitCase::none || prediction.rate <= 0) {
      trial.count(rescaled, "no theorem", 1);
      trial.count(tokens, "no theorem", 1);
      continue;
    }
    const auto layers = static_cast<long>(std::ceil(14 / std::log1p(step * prediction.rate)));
    const double t = static_cast<double>(layers) * step;
    Matrix z = start, x = start;
    const attnflow::RescaledLayers<double> one(head, step);
    const attnflow::Layers<double> other(head, step);
    for (long k = 0; k < layers; ++k) {
      one.apply(k, z);
      other.apply(x);
    }
    record(trial, rescaled, attnflow::analyze(head, t, start, z, {.layer_step = step}));
    record(trial, tokens,
           attnflow::analyze(head, t, start, x,
                             {.variable = attnflow::StateVariable::tokens, .layer_step = step}));
  }
}

inline std::vector<Experiment> sweep() {
  const std::vector<Size> sizes{{2, 20}, {3, 20}, {2, 5}, {8, 20}};
  std::vector<Experiment> flows, all_layers;
  for (std::size_t value = 0; value < value_laws.size(); ++value)
    for (std::size_t form = 0; form < form_laws.size(); ++form) {
      const std::string weights = std::string("V ") + value_laws[value] + ", M " + form_laws[form];
      Experiment flow{"sweep, " + weights, sizes, [=](Trial& t) { sweep_continuous(t, value, form); }, {}, 5};
      for (const char* law : start_laws)
        flow.checks.push_back({law, Kind::conjecture,
                               "flow, " + weights + ": analyze() agrees with the prediction",
                               "5 extent e^(-λT), as analyze() expects"});
      Experiment layers{
          "sweep of layers, " + weights, sizes, [=](Trial& t) { sweep_layers(t, value, form); }, {}, 5};
      for (const double step : layer_steps)
        for (const char* system : {"RescaledLayers", "Layers"})
          layers.checks.push_back({step_label(system, step), Kind::conjecture,
                                   "layers, " + weights + ": analyze() agrees with the prediction",
                                   "5 extent (1 + step λ)^(-k), as analyze() expects"});
      flows.push_back(std::move(flow));
      all_layers.push_back(std::move(layers));
    }
  flows.insert(flows.end(), all_layers.begin(), all_layers.end());
  return flows;
}

}  // namespace laboratory
