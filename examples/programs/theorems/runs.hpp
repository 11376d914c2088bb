/// \file
/// What the statements share: random weights, paths with every step kept, and when rows have decided.
#pragma once

#include "programs/theorems/laboratory.hpp"

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/prediction/definiteness.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/types.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace laboratory {

using attnflow::Head;
using Rescaled = attnflow::RescaledDynamics<double>;
using Unrescaled = attnflow::TokenDynamics<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double epsilon = std::numeric_limits<double>::epsilon();
constexpr double rtol = 1e-9, atol = 1e-11;

/// What the integrator may err in one coordinate and one step at states of this size.
inline double allowance(const Matrix& x) { return atol + rtol * x.cwiseAbs().maxCoeff(); }

/// The same for the length of a token.
inline double length_allowance(const Matrix& x) {
  return std::sqrt(static_cast<double>(x.rows())) * allowance(x);
}

/// ‖A‖, the largest singular value.
inline double operator_norm(const Matrix& A) {
  return std::sqrt(std::max(0.0, attnflow::definiteness(A.transpose() * A).largest));
}

/// The largest distance between two coordinates in the same row; bounds no more than a factor √d below the diameter.
inline double diameter(const Matrix& x) { return (x.rowwise().maxCoeff() - x.rowwise().minCoeff()).norm(); }

/// The distance between the two columns that are nearest to each other; infinite for one.
inline double smallest_separation(const Matrix& x) {
  double least = infinity;
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < i; ++j) least = std::min(least, (x.col(i) - x.col(j)).norm());
  return least;
}

inline Matrix identity(Index d) { return Matrix::Identity(d, d); }

/// A symmetric positive definite with eigenvalues from 0.3 to about 2.
inline Matrix positive_definite(Trial& trial, Index d) {
  const Matrix B = trial.uniform_matrix(d, d);
  return B * B.transpose() / static_cast<double>(d) + 0.3 * identity(d);
}

/// An orthogonal matrix: random columns, orthonormalised one after the other.
inline Matrix orthogonal(Trial& trial, Index d) {
  Matrix B = attnflow::gaussian(trial.generator, d, d);
  for (Index k = 0; k < d; ++k) {
    for (int pass = 0; pass < 2; ++pass)
      for (Index j = 0; j < k; ++j) B.col(k) -= B.col(j) * B.col(j).dot(B.col(k));
    B.col(k).normalize();
  }
  return B;
}

/// An oblique basis: unit columns, not orthogonal, of moderate condition.
inline Matrix oblique(Trial& trial, Index d) {
  Matrix B = orthogonal(trial, d) + 0.5 * trial.uniform_matrix(d, d) / std::sqrt(static_cast<double>(d));
  B.colwise().normalize();
  return B;
}

/// Records the margins of the theorem that is expected to apply, and draws again where it does not.
inline attnflow::Prediction require_prediction(Trial& trial, const Head<double>& head,
                                               attnflow::LimitCase expected) {
  attnflow::Prediction prediction = attnflow::predict_limit(head);
  trial.exclude_if(prediction.limit != expected, "the hypotheses of the theorem do not hold");
  trial.margins_of(prediction.hypotheses);
  return prediction;
}

/// A solution with the state at the end of every step.
struct Path {
  std::vector<double> t;
  std::vector<Matrix> x;

  [[nodiscard]] std::size_t size() const noexcept { return t.size(); }
  [[nodiscard]] const Matrix& start() const { return x.front(); }
  [[nodiscard]] const Matrix& end() const { return x.back(); }
  [[nodiscard]] double duration() const { return t.back() - t.front(); }
  /// The first step at or after a time.
  [[nodiscard]] std::size_t at(double time) const {
    const auto place = std::ranges::lower_bound(t, time);
    return place == t.end() ? t.size() - 1 : static_cast<std::size_t>(place - t.begin());
  }
  /// What all steps may have erred together, if errors do not grow.
  [[nodiscard]] double total_allowance() const {
    double total = 0;
    for (const Matrix& state : x) total += length_allowance(state);
    return total;
  }
};

/// More steps than any run takes that is not stiff. Tokens that slide along a tie of two leaders, in shares of P that
/// stay mixed, are: the scores of the tie change like e^{2λt}, and explicit steps must be as short as that.
constexpr long most_steps = 20'000;

/// Draws again what is too stiff.
inline void require_reached(const attnflow::Report& report) {
  if (report.outcome == attnflow::Outcome::step_limit)
    throw Excluded{"over 20000 steps: too stiff, as tokens slide along a tie of leaders"};
  if (report.outcome == attnflow::Outcome::non_finite)
    throw std::runtime_error("a state is not finite after t = " + std::to_string(report.t));
}

/// Any field behind one type: what integrates it is compiled once.
struct AnyField {
  using State = Matrix;
  std::function<void(double, const Matrix&, Matrix&)> velocity;
  double longest_step = infinity;
  void operator()(double t, const Matrix& x, Matrix& dx) const { velocity(t, x, dx); }
  [[nodiscard]] double max_step() const noexcept { return longest_step; }

  /// \pre the field outlives this.
  template <class Field>
  static AnyField of(const Field& field) {
    AnyField any{[&field](double t, const Matrix& x, Matrix& dx) { field(t, x, dx); }};
    if constexpr (attnflow::StepBoundedField<Field>) any.longest_step = field.max_step();
    return any;
  }
};

using Look = std::function<attnflow::Flow(double, const Matrix&)>;

inline attnflow::Report integrate_any(const AnyField& field, Matrix& x, double to, Look look,
                                      double relative = rtol, long max_steps = most_steps) {
  return attnflow::integrate(
      field, attnflow::DormandPrince5<Matrix>{}, x,
      attnflow::AdaptiveSteps{
          .to = to, .rtol = relative, .atol = relative * (atol / rtol), .max_steps = max_steps},
      look);
}

/// Equal steps of the classical Runge–Kutta method, for fields that are not smooth or runs that are only looked at.
inline bool integrate_equal_steps(const AnyField& field, Matrix& x, double to, double step, Look look) {
  return attnflow::integrate(field, attnflow::RungeKutta4<Matrix>{}, x,
                             attnflow::FixedSteps{.to = to, .step = step}, look)
             .outcome == attnflow::Outcome::reached_end;
}

inline attnflow::Flow look_away(double /*t*/, const Matrix& /*state*/) { return attnflow::Flow::proceed; }

/// Keeps every step.
template <class Field>
Path follow(const Field& field, const Matrix& start, double to) {
  Path path;
  Matrix x = start;
  require_reached(integrate_any(AnyField::of(field), x, to, [&](double t, const Matrix& state) {
    path.t.push_back(t);
    path.x.push_back(state);
    return attnflow::Flow::proceed;
  }));
  return path;
}

/// The state at the end, or at the first step at which stop(x) holds.
template <class Field, class Stop>
double advance(const Field& field, Matrix& x, double to, const Stop& stop, double relative = rtol) {
  const attnflow::Report report = integrate_any(
      AnyField::of(field), x, to,
      [&](double, const Matrix& state) {
        return stop(state) ? attnflow::Flow::stop : attnflow::Flow::proceed;
      },
      relative);
  require_reached(report);
  return report.t;
}

template <class Field>
Matrix state_at(const Field& field, const Matrix& start, double to) {
  Matrix x = start;
  advance(field, x, to, [](const Matrix&) { return false; });
  return x;
}

/// Whom each token follows at the end, and since when.
///
/// Row i is decided from time tᵢ if from then on it gives less than 10⁻⁶ to all tokens but its leader l, and l
/// leads itself. With ηᵢ = 1 − Pᵢₗ, what the row gives to others, żᵢ − ż_l = V (z_l − zᵢ) + V (what ηᵢ and η_l
/// move), so in z, for V = λI and tokens in a set of diameter D,
///
///     ‖zᵢ − z_l‖(T) ≤ ‖zᵢ − z_l‖(tᵢ) e^{−λ(T − tᵢ)} + D ∫ (ηᵢ + η_l)(s) λ e^{−λ(T − s)} ds over [tᵢ, T].
///
/// It speaks of P alone, not of positions.
struct Decision {
  static constexpr double small = 1e-6;
  Matrix P;  ///< at the end
  std::vector<Index> leader;
  std::vector<double> since;  ///< ∞: not decided
  std::vector<double> times;  ///< at which P was looked at, decreasing
  std::vector<Vector> given;  ///< and what rows gave to others than their leader then

  [[nodiscard]] bool decided(Index i) const { return since[static_cast<std::size_t>(i)] < infinity; }
  [[nodiscard]] Index leader_of(Index i) const { return leader[static_cast<std::size_t>(i)]; }
  [[nodiscard]] double since_of(Index i) const { return since[static_cast<std::size_t>(i)]; }
  [[nodiscard]] Index undecided() const { return std::ranges::count(since, infinity); }
  /// When the last of those that did decide.
  [[nodiscard]] double last() const {
    double latest = 0;
    for (const double t : since)
      if (t < infinity) latest = std::max(latest, t);
    return latest;
  }
  /// ∫ (ηᵢ + η_l)(s) λ e^{−λ(to − s)} ds over [from, to]: between two looks the larger of both.
  [[nodiscard]] double strayed(Index i, double lambda, double from, double to) const {
    const Index l = leader_of(i);
    double sum = 0;
    for (std::size_t k = 0; k + 1 < times.size(); ++k) {
      const double end = std::min(times[k], to), begin = std::max(times[k + 1], from);
      if (begin >= end) continue;
      const double eta = std::max(given[k](i) + given[k](l), given[k + 1](i) + given[k + 1](l));
      sum += eta * (std::exp(-lambda * (to - end)) - std::exp(-lambda * (to - begin)));
    }
    return sum;
  }
  /// What is left at the end of a distance to the leader that was `size` at most: the bound above, with factor 2.
  [[nodiscard]] double left_of(Index i, double lambda, double size) const {
    const double T = times.front(), from = since_of(i);
    return 2 * size * std::exp(-lambda * (T - from)) + size * strayed(i, lambda, from, T);
  }
  /// The leaders of decided rows, increasing.
  [[nodiscard]] std::vector<Index> leaders() const {
    std::vector<Index> all;
    for (std::size_t i = 0; i < leader.size(); ++i)
      if (since[i] < infinity) all.push_back(leader[i]);
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }
};

inline double given_to_others(const Matrix& P, Index i, Index leader) {
  double rest = 0;
  for (Index j = 0; j < P.cols(); ++j)
    if (j != leader) rest += P(i, j);
  return rest;
}

/// Looks at P backwards from the end of a path, at steps at least `spacing` apart.
template <class Attention>
Decision decide(const Attention& attention, const Path& path, double spacing) {
  const Index n = path.end().cols();
  Decision found;
  found.P = attention(path.t.back(), path.end());
  found.leader.resize(static_cast<std::size_t>(n));
  found.since.assign(static_cast<std::size_t>(n), infinity);
  for (Index i = 0; i < n; ++i) found.P.row(i).maxCoeff(&found.leader[static_cast<std::size_t>(i)]);
  std::vector<bool> open(static_cast<std::size_t>(n), true);
  bool any_open = true;
  double looked_at = infinity;
  for (std::size_t k = path.size(); k-- > 0 && any_open;) {
    if (path.t[k] > looked_at - spacing && k > 0) continue;
    looked_at = path.t[k];
    const Matrix P = k + 1 == path.size() ? found.P : Matrix(attention(path.t[k], path.x[k]));
    any_open = false;
    found.times.push_back(path.t[k]);
    found.given.emplace_back(n);
    for (Index i = 0; i < n; ++i) {
      const auto row = static_cast<std::size_t>(i);
      found.given.back()(i) = given_to_others(P, i, found.leader[row]);
      if (!open[row]) continue;
      open[row] = found.given.back()(i) <= Decision::small;
      if (open[row]) found.since[row] = path.t[k];
      any_open = any_open || open[row];
    }
  }
  std::vector<double> since = found.since;
  for (Index i = 0; i < n; ++i) {  // and the leader must have become one
    const Index l = found.leader_of(i);
    double& own = since[static_cast<std::size_t>(i)];
    own = found.leader_of(l) == l ? std::max(own, found.since_of(l)) : infinity;
  }
  found.since = since;
  return found;
}

inline Decision decide(const Rescaled& field, const Path& path, double spacing) {
  return decide([&](double t, const Matrix& z) { return field.attention(t, z); }, path, spacing);
}

/// The largest increase in one step of a quantity measure(state) ≥ …, each beside allowed(state).
template <class Quantity, class Allowed>
Worst largest_increase(const Path& path, const Quantity& quantity, const Allowed& allowed) {
  Worst worst;
  double before = quantity(path.start());
  for (std::size_t k = 1; k < path.size(); ++k) {
    const double after = quantity(path.x[k]);
    worst.see(after - before, allowed(path.x[k - 1]));
    before = after;
  }
  return worst;
}

/// Support functions of the hull in random directions: the largest increase in one step.
inline Worst support_growth(Trial& trial, const Path& path, Index directions = 32) {
  Matrix U = attnflow::uniform_sphere(trial.generator, directions, path.start().rows());
  Worst worst;
  Vector before = (U.transpose() * path.start()).rowwise().maxCoeff();
  for (std::size_t k = 1; k < path.size(); ++k) {
    const Vector after = (U.transpose() * path.x[k]).rowwise().maxCoeff();
    worst.see((after - before).maxCoeff(), 2 * length_allowance(path.x[k - 1]));
    before = after;
  }
  return worst;
}

}  // namespace laboratory
