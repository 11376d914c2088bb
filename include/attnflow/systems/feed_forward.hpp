/// \file
/// Attention followed by a feed-forward part: ẏ = W σ(velocity + inner bias) + outer bias.
#pragma once

#include <attnflow/attention/generic/generic_rows.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/numerics/multiply.hpp>
#include <attnflow/numerics/norm_bound.hpp>
#include <attnflow/systems/activations.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <concepts>
#include <limits>
#include <string>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A system with a feed-forward part behind its attention [GLPR23, §8]: for RescaledDynamics
///
///     żᵢ = W σ(V ∑ⱼ Pᵢⱼ(t) (zⱼ − zᵢ) + b) + c,
///
/// and in general W σ(f(t, x) + b) + c for a field f: TokenDynamics gives x, and not z, such a part. σ acts
/// on each coordinate, W is d × d, and the biases b (inside) and c (outside) are zero unless given. W = I, σ
/// = id without biases is the system itself, to the bits.
///
/// The part is the same for all tokens, so relabelling tokens commutes with the flow, and equal tokens stay
/// equal. With σ(0) = 0 and no biases, tokens rest where the system's rest: at leaders of themselves. The
/// convex hull need not shrink, and z need not stay bounded. One call costs that of the system and O(n d²).
template <VectorField System_, Activation<typename System_::State::Scalar> Sigma = Relu>
class FeedForward {
 public:
  /// The system behind which the part stands.
  using System = System_;
  /// What a run moves: that of the system.
  using State = typename System::State;
  /// The number type of the state.
  using Scalar = typename State::Scalar;
  /// d, or Eigen::Dynamic where it is known at run time.
  static constexpr int Dim = State::RowsAtCompileTime;
  /// W, d × d.
  using Weights = detail::ColumnMajor<Scalar, Dim, Dim>;
  /// b and c, d numbers.
  using BiasVector = Eigen::Matrix<Scalar, Dim, 1>;

  /// \param W  d × d.
  /// \param bias_inside, bias_outside  b and c: d numbers, or none for zero.
  /// \throws std::invalid_argument naming the matrix or bias, unless the shapes agree with each other, and
  /// with system.dim() where the system has one, and all is finite.
  explicit FeedForward(System_ system, Weights W, Sigma activation = {}, BiasVector bias_inside = none(),
                       BiasVector bias_outside = none())
      : system_(std::move(system)),
        W_(std::move(W)),
        inside_(std::move(bias_inside)),
        outside_(std::move(bias_outside)),
        activation_(std::move(activation)) {
    if (W_.rows() < 1 || W_.rows() != W_.cols())
      detail::refuse("FeedForward: W is ", W_.rows(), " x ", W_.cols(),
                     ", expected a square matrix of size at least 1");
    if constexpr (requires { system_.dim(); })
      if (W_.rows() != system_.dim())
        detail::refuse("FeedForward: W is ", W_.rows(), " x ", W_.cols(), ", expected ", system_.dim(), " x ",
                       system_.dim(), ", the dimension of the system");
    if (!W_.allFinite()) detail::refuse("FeedForward: W has an entry that is not finite");
    complete(inside_, "bias_inside");
    complete(outside_, "bias_outside");
    if constexpr (std::floating_point<Scalar>) {  // others carry derivatives
      is_identity_ = W_.isIdentity(0);
      has_inside_ = !inside_.isZero(0);
      has_outside_ = !outside_.isZero(0);
    }
  }

  /// Writes the velocity at (t, x) to dx, resized to fit. \pre x and dx are different objects.
  /// \throws std::invalid_argument unless x has d rows.
  void operator()(double t, const State& x, State& dx) const {
    detail::require_dimension("FeedForward", x, dim());
    // Zero biases and W = I change nothing, and so do not make NaN of a velocity beyond the range of Scalar.
    if (is_identity_) {
      system_(t, x, dx);
      activate(dx);
    } else {
      static constinit thread_local detail::Scratch<State> kept;
      State& scratch = *kept;
      State inner;
      inner.swap(
          scratch);  // the system may hold another FeedForward of this type, behind a type that hides it
      system_(t, x, inner);
      activate(inner);
      if constexpr (KernelScalar<Scalar>) {
        detail::multiply(W_, inner, dx);
      } else {
        dx.resize(x.rows(), x.cols());
        detail::multiply_entries(detail::private_copy(W_).data(), inner.data(), dx.data(), x.rows(),
                                 x.cols());
      }
      inner.swap(scratch);
    }
    if (has_outside_) dx.colwise() += detail::private_copy(outside_);
  }

  /// P at (t, x): that of the system, which the feed-forward part leaves as it is.
  [[nodiscard]] auto attention(double t, const State& x) const requires requires(const System& s) {
    s.attention(t, x);
  }
  { return system_.attention(t, x); }

  /// The system's largest step, divided by sup |σ'| and a bound of ‖W‖, √(‖W‖₁ ‖W‖_∞) ≥ ‖W‖₂.
  ///
  /// Late in a run a follower's displacement u = zᵢ − z_leader obeys u̇ = −W D V u with a diagonal 0 ≤ |D| ≤
  /// sup |σ'|, so that ρ(W D V) ≤ sup |σ'| ‖W‖ ‖V‖. The system's h ρ(V) ≤ 1 then becomes h ρ(W D V) ≤ 1 for a
  /// normal V; for another V it is an estimate, and the error control has the last word.
  [[nodiscard]] double max_step() const noexcept requires
      StepBoundedField<System> && detail::BoundedSlope<Sigma> {
    const double growth = static_cast<double>(Sigma::slope) * detail::norm_bound(W_);
    const double step = static_cast<double>(system_.max_step());
    return growth > 0 ? step / growth : std::numeric_limits<double>::infinity();
  }

  /// As the system has it, see RowScaledField.
  [[nodiscard]] bool rows_have_one_scale() const requires RowScaledField<System> {
    return system_.rows_have_one_scale();
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return W_.rows(); }
  /// The system f.
  [[nodiscard]] const System& system() const noexcept { return system_; }
  /// W.
  [[nodiscard]] const Weights& weights() const noexcept { return W_; }
  /// σ.
  [[nodiscard]] const Sigma& activation() const noexcept { return activation_; }
  /// b, added before σ; d zeros where none was given.
  [[nodiscard]] const BiasVector& bias_inside() const noexcept { return inside_; }
  /// c, added after W; d zeros where none was given.
  [[nodiscard]] const BiasVector& bias_outside() const noexcept { return outside_; }

 private:
  static BiasVector none() { return BiasVector::Zero(Dim == Eigen::Dynamic ? 0 : Dim); }

  /// A bias that was not given becomes d zeros.
  void complete(BiasVector& bias, const std::string& name) const {
    const Eigen::Index d = W_.rows();
    if (bias.size() == 0) bias = BiasVector::Zero(d);
    if (bias.size() != d)
      detail::refuse("FeedForward: ", name, " has ", bias.size(), " entries, expected none or ", d,
                     ", as W has rows");
    if (!bias.allFinite()) detail::refuse("FeedForward: ", name, " has an entry that is not finite");
  }

  /// σ(y + b), in place.
  void activate(State& y) const {
    if (has_inside_) y.colwise() += detail::private_copy(inside_);
    y = y.unaryExpr([this](Scalar entry) { return activation_(entry); });
  }

  System system_;
  Weights W_;
  BiasVector inside_, outside_;
  [[no_unique_address]] Sigma activation_;
  bool is_identity_ = false, has_inside_ = true, has_outside_ = true;
};

}}  // namespace attnflow
