/// \file
/// Tokens whose masses move with them: attention as a gradient flow of mass and place.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/geometry/sphere.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Options of FisherRaoDynamics.
struct FisherRaoOptions {
  double beta = 1;          ///< β, at least 0
  double rate = 1;          ///< c, at least 0: how fast mass moves; 0 leaves it where it is
  bool normalized = false;  ///< velocities of (SA), divided by ∑ⱼ mⱼ kᵢⱼ, instead of (USA)
  bool repulsive = false;   ///< all velocities with the other sign: the energy falls

  /// \throws std::invalid_argument naming the field at fault.
  void validate() const {
    for (const auto& [name, value] : {std::pair{"beta", beta}, {"rate", rate}})
      if (!(value >= 0) || !std::isfinite(value))
        detail::refuse("FisherRaoOptions::", name, " is ", value, ", expected a finite number, at least 0");
  }
};

/// Attention on the unit sphere among tokens of masses m₁, …, mₙ that sum to one and move, too [Rig25]:
///
///     ẋᵢ = P(xᵢ) ∑ⱼ mⱼ kᵢⱼ xⱼ,   ṁᵢ = c mᵢ (Fᵢ − ∑ⱼ mⱼ Fⱼ),   kᵢⱼ = e^{β(⟨xᵢ, xⱼ⟩ − 1)},   Fᵢ = ∑ⱼ mⱼ (kᵢⱼ − 1)/β,
///
/// with ⟨xᵢ, xⱼ⟩ − 1 in place of (kᵢⱼ − 1)/β at β = 0. F is the first variation of the energy
///
///     E = (1/(2β)) ∑ᵢⱼ mᵢ mⱼ (kᵢⱼ − 1) ≤ 0
///
/// of the distribution ∑ᵢ mᵢ δ(xᵢ), which the flow ascends in the metric of Wasserstein, Fisher and Rao [CPSV18]:
///
///     dE/dt = ∑ᵢ mᵢ ‖ẋᵢ‖² + c ∑ᵢ mᵢ (Fᵢ − ∑ⱼ mⱼ Fⱼ)²,
///
/// with Zᵢ = ∑ⱼ mⱼ kᵢⱼ times ‖ẋᵢ‖² where velocities are `normalized`. For c = 0 and equal masses it is SphereDynamics
/// with Unnormalized{β, true} or Softmax{β}.
///
/// State: (d + 1) × n, a unit token above and ℓᵢ = log mᵢ below, up to a number common to all: mᵢ = e^{ℓᵢ} / ∑ⱼ e^{ℓⱼ}.
/// So masses are positive and sum to one by construction, whatever a stepper does, and one that is all but lost is still
/// told from zero. Tokens stay on the sphere as those of SphereDynamics do: to the order of the stepper. OnSphere is not
/// for this state, whose columns are no unit vectors.
///
/// ⟨xᵢ, xⱼ⟩ − 1 is taken as −‖xᵢ − xⱼ‖²/2: nothing overflows, and near a consensus nothing cancels. Equal tokens of
/// equal mass move alike. One call costs O(n² d) time and O(n d) memory, by plain loops: taken from log-normalisers of the
/// attention operator, F would lose its digits there, as kᵢⱼ − 1 is small against kᵢⱼ.
template <std::floating_point Scalar_, int Dim_ = Eigen::Dynamic>
class FisherRaoDynamics {
 public:
  /// The number type of the state.
  using Scalar = Scalar_;
  /// d, the dimension of the tokens, or Eigen::Dynamic.
  static constexpr int Dim = Dim_;
  /// Tokens and logarithms of masses, (d + 1) × n.
  using State = Tokens<Scalar, Dim == Eigen::Dynamic ? Eigen::Dynamic : Dim + 1>;
  /// n masses.
  using Masses = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

  /// \throws std::invalid_argument if an option is wrong, or beyond the range of Scalar.
  explicit FisherRaoDynamics(FisherRaoOptions options = {})
      : options_((static_cast<void>(options.validate()), options)) {
    const auto fits = [](double value) {  // compared in the widest type
      return static_cast<long double>(value) <=
             static_cast<long double>((std::numeric_limits<Scalar>::max)());
    };
    if (!fits(options.beta) || !fits(options.rate))
      detail::refuse("FisherRaoDynamics: beta is ", options.beta, " and rate ", options.rate,
                     ", expected numbers finite as those of the tokens' type");
  }

  /// A state of unit tokens (d × n) with positive masses, of any sum.
  /// \throws std::invalid_argument naming the token or mass at fault.
  [[nodiscard]] static State state(const Tokens<Scalar, Dim>& tokens, const Masses& masses) {
    const Eigen::Index d = tokens.rows(), n = tokens.cols();
    if (d < 1) detail::refuse("FisherRaoDynamics::state: tokens have no rows, expected at least one");
    if (masses.size() != n)
      detail::refuse("FisherRaoDynamics::state: there are ", masses.size(), " masses, expected ", n,
                     ", as there are tokens");
    const Scalar off = (std::max)(Scalar(1e-6), 8 * std::numeric_limits<Scalar>::epsilon());
    State s(d + 1, n);
    for (Eigen::Index i = 0; i < n; ++i) {
      const Scalar norm = tokens.col(i).norm();
      if (!(std::abs(norm - 1) <= off))
        detail::refuse("FisherRaoDynamics::state: token ", i, " has norm ", norm, ", expected 1");
      if (!(masses(i) > 0) || !std::isfinite(masses(i)))
        detail::refuse("FisherRaoDynamics::state: mass ", i, " is ", masses(i),
                       ", expected a positive finite number");
      s(d, i) = std::log(masses(i));
    }
    s.topRows(d) = tokens;
    return s;
  }
  /// The tokens of a state, d × n. \throws std::invalid_argument unless the state has d + 1 ≥ 2 rows.
  [[nodiscard]] static Tokens<Scalar, Dim> tokens(const State& s) {
    require_state(s);
    return s.topRows(s.rows() - 1);
  }
  /// The masses of a state, n numbers that sum to one. \throws as tokens().
  [[nodiscard]] static Masses masses(const State& s) {
    require_state(s);
    if (s.cols() == 0) return {};
    Masses m = s.row(s.rows() - 1).transpose();
    m = (m.array() - m.maxCoeff()).exp();
    return m / m.sum();
  }

  /// Writes the velocity at s to ds, resized to fit. \pre s and ds are different objects.
  /// \throws std::invalid_argument unless s has d + 1 ≥ 2 rows.
  void operator()(double /*t*/, const State& s, State& ds) const {
    require_state(s);
    struct Space {
      Tokens<Scalar, Dim> x, v;
      Masses m, variation, weight;
    };
    static constinit thread_local detail::Scratch<Space> kept;
    Space& space = *kept;
    Tokens<Scalar, Dim>&x = space.x, &v = space.v;
    Masses &m = space.m, &variation = space.variation, &weight = space.weight;
    const Eigen::Index d = s.rows() - 1, n = s.cols();
    ds.resize(d + 1, n);
    if (n == 0) return;
    x = s.topRows(d);
    m = masses(s);
    v.resize(d, n);
    variation.resize(n);
    weight.resize(n);
    const auto beta = static_cast<Scalar>(options_.beta);
    for (Eigen::Index i = 0; i < n; ++i) {
      Scalar first = 0, largest = -std::numeric_limits<Scalar>::infinity();
      for (Eigen::Index j = 0; j < n; ++j) {
        const Scalar u = less_one(x, i, j);
        first += m(j) * below_one(u, beta);
        weight(j) = beta * u + (options_.normalized ? s(d, j) : Scalar(0));
        if (!(weight(j) <= largest)) largest = weight(j);
      }
      variation(i) = first;
      // (USA) has mⱼ kᵢⱼ; of (SA) the largest weight is taken out, so that their sum is at least 1.
      Scalar sum = 0;
      auto velocity = v.col(i);
      velocity.setZero();
      for (Eigen::Index j = 0; j < n; ++j) {
        const Scalar w = options_.normalized ? std::exp(weight(j) - largest) : m(j) * std::exp(weight(j));
        sum += w;
        velocity += w * (x.col(j) - x.col(i));
      }
      if (options_.normalized) velocity /= sum;
    }
    sphere::project_tangent(x, v);
    const Scalar mean = m.dot(variation), sign = options_.repulsive ? Scalar(-1) : Scalar(1);
    ds.topRows(d) = sign * v;
    ds.row(d) = (sign * static_cast<Scalar>(options_.rate)) * (variation.array() - mean).matrix().transpose();
  }

  /// E, at most 0: 0 where all mass is in one place. Added up in double; 0 without tokens. O(n² d). \throws as
  /// tokens().
  [[nodiscard]] double energy(const State& s) const {
    const Tokens<Scalar, Dim> x = tokens(s);
    const Masses m = masses(s);
    const auto beta = static_cast<Scalar>(options_.beta);
    double sum = 0;
    for (Eigen::Index i = 0; i < x.cols(); ++i)
      for (Eigen::Index j = 0; j < x.cols(); ++j)
        sum += static_cast<double>(m(i)) * static_cast<double>(m(j)) *
               static_cast<double>(below_one(less_one(x, i, j), beta));
    return sum / 2;
  }

  /// β, c and the kind of flow.
  [[nodiscard]] const FisherRaoOptions& options() const noexcept { return options_; }

 private:
  static void require_state(const State& s) {
    if (s.rows() < 2)
      detail::refuse("FisherRaoDynamics: the state has ", s.rows(),
                     " rows, expected d + 1, at least 2: tokens above, logarithms of masses below");
  }
  /// ⟨xᵢ, xⱼ⟩ − 1 of unit tokens.
  static Scalar less_one(const Tokens<Scalar, Dim>& x, Eigen::Index i, Eigen::Index j) {
    return (x.col(i) - x.col(j)).squaredNorm() / -2;
  }
  /// (e^{βu} − 1)/β.
  static Scalar below_one(Scalar u, Scalar beta) { return beta == 0 ? u : std::expm1(beta * u) / beta; }

  FisherRaoOptions options_;
};

}}  // namespace attnflow
