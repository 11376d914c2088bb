/// \file
/// Self-attention dynamics seen from the frame z = e^{−tV} x, in which tokens converge.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/systems/jacobian.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// out = e^{log_scale} E x in double, back to Scalar: overflow gives ±∞, never NaN. Scalars that are neither float nor
/// double stay what they are.
template <class Scalar, int Dim>
[[nodiscard]] Tokens<Scalar, Dim> apply_scaled(const ScaledMatrix<Dim>& E,
                                               const std::type_identity_t<TokenView<Scalar, Dim>>& tokens) {
  const auto x = tokens.map();
  if (x.cols() == 0) return x;
  if constexpr (!KernelScalar<Scalar>) {
    const int exponent = exponent_of(largest_number(x.data(), x.size()));
    Tokens<Scalar, Dim> scaled = x, y(x.rows(), x.cols());
    scale_by_power_of_two(scaled, -exponent);
    const detail::ColumnMajor<Scalar, Dim, Dim> matrix = E.matrix.template cast<Scalar>();
    multiply_entries(matrix.data(), scaled.data(), y.data(), x.rows(), x.cols());
    using Number = Value<Scalar>;
    const Number log =
        static_cast<Number>(E.log_scale) + static_cast<Number>(exponent) * std::numbers::ln2_v<Number>;
    const Number half = (std::min)(std::exp(log / 2), (std::numeric_limits<Number>::max)());
    y *= static_cast<Scalar>(half);
    y *= static_cast<Scalar>(half);
    return y;
  } else {
    const int exponent = exponent_of(static_cast<double>(x.cwiseAbs().maxCoeff()));
    detail::ColumnMajor<double, Dim, Eigen::Dynamic> y = x.template cast<double>();
    scale_by_power_of_two(y, -exponent);
    y = detail::product(E.matrix, y);
    const double log = E.log_scale + exponent * std::numbers::ln2;
    const double half = (std::min)(std::exp(0.5 * log), (std::numeric_limits<double>::max)());
    y = (y * half) * half;
    return y.template cast<Scalar>();
  }
}

/// The numbers of a head alone.
template <class Scalar, int Dim>
[[nodiscard]] Head<Scalar, Dim> without_derivatives(const Head<Scalar, Dim>& head) {
  return {without_derivatives(head.Q), without_derivatives(head.K), without_derivatives(head.value())};
}

}  // namespace detail

/// z = e^{−tV} x. Cost: one exponential and O(n d²). An entry beyond the range of Scalar becomes ±∞.
/// \throws std::invalid_argument unless x has d rows.
template <int Dim, class X>
requires TokenSource<X, typename X::Scalar, Dim>
[[nodiscard]] Tokens<typename X::Scalar, Dim> rescale(const MatrixExponential<Dim>& exponential, double t,
                                                      const X& x) {
  detail::require_dimension("rescale", x, exponential.dim());
  return detail::apply_scaled<typename X::Scalar>(exponential(-t), x);
}

/// x = e^{tV} z. Cost, range and errors as rescale().
template <int Dim, class Z>
requires TokenSource<Z, typename Z::Scalar, Dim>
[[nodiscard]] Tokens<typename Z::Scalar, Dim> unrescale(const MatrixExponential<Dim>& exponential, double t,
                                                        const Z& z) {
  detail::require_dimension("unrescale", z, exponential.dim());
  return detail::apply_scaled<typename Z::Scalar>(exponential(t), z);
}

/// Rescaled self-attention dynamics [GLPR23, §3, eq. (Rres)]: for z = e^{−tV} x,
///
///     żᵢ = ∑ⱼ Pᵢⱼ(t) V (zⱼ − zᵢ),   Pᵢⱼ(t) = softmaxⱼ(β ⟨Q e^{tV} zᵢ, K e^{tV} zⱼ⟩).
///
/// State: d × n. P is the matrix that x = e^{tV} z has. e^{tV} is a matrix with its logarithm apart, and
/// score differences are taken from differences of tokens: finite tokens have a velocity without NaN at every
/// t, ±∞ only where it is beyond the range of Scalar. Parts of e^{tV} below 10⁻¹⁶ of its norm (10⁻³⁰⁸ for a
/// diagonal V) are not resolved.
///
/// One head, and a law whose rows sum to one. One call costs O(n² d + n d²) time, O(n d) memory, and one matrix
/// exponential, some ten products of d × d matrices: for d of a hundred and more it takes most of the time. In the
/// coordinates of invariant_basis, y = basis⁻¹ z with the head {Q basis, K basis, blocks}, it takes next to none.
///
/// With a scalar that carries derivatives (Eigen::AutoDiffScalar) a velocity has those of the tokens. e^{tV} is held in
/// double, and so Q, K and V count as numbers: derivatives that they carry are dropped, all of them. TokenDynamics
/// has them.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class RescaledDynamics {
  static_assert(detail::rows_sum_to_one<Law>(),
                "RescaledDynamics needs a weight law whose rows sum to one, such as Softmax");
  static_assert(
      !StateMask<Mask>,
      "RescaledDynamics does not take Within: rescaled coordinates have other distances than tokens");

 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;

  /// \throws std::invalid_argument naming the matrix, unless the shapes of Q, K, V agree and all is finite; for Hardmax
  /// with Ties::all, whose rows do not sum to one.
  explicit RescaledDynamics(Head<Scalar_, Dim_> head, Law law = {}, Mask mask = {}, Bias bias = {})
      : head_(
            (head.validate("RescaledDynamics"), detail::validate_law(law), bias.validate(), std::move(head))),
        form_(detail::form_of(detail::without_derivatives(head_), law)),
        value_(detail::without_derivatives(head_.value())),
        exponential_(detail::in_double(head_.value())),
        law_(std::move(law)),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {
    detail::require_rows_of_one(law_, "RescaledDynamics");
  }

  /// Writes the velocity at (t, z) to dz, resized to fit. \pre z and dz are different objects, t is finite.
  /// \throws std::invalid_argument unless z has d rows.
  void operator()(double t, const State& z, State& dz) const {
    detail::require_dimension("RescaledDynamics", z, dim());
    evaluate(t, z, dz);
  }

  /// The same for tokens and velocities in memory of another owner: an Eigen::Map of a solver's buffers, columns of a larger
  /// matrix. What lies in memory as Tokens do is read and written in place; another stride costs a copy.
  /// \throws std::invalid_argument unless z has d rows and dz the shape of z, or can be resized to it.
  template <TokenSource<Scalar_, Dim_> Z, TokenTarget<Scalar_, Dim_> Out>
  void operator()(double t, const Z& z, Out&& dz) const {
    detail::require_dimension("RescaledDynamics", z, dim());
    detail::write_in_place<Scalar, Dim>("RescaledDynamics", z.rows(), z.cols(), dz,
                                        [&](auto& out) { evaluate(t, z, out); });
  }

  /// P at (t, z), rows summing to one. \throws std::invalid_argument if z has not d rows or a token is not finite.
  template <TokenSource<Scalar_, Dim_> Z>
  [[nodiscard]] SquareMatrix<Scalar> attention(double t, const Z& z) const {
    detail::require_dimension("RescaledDynamics", z, dim());
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    return detail::weights<Scalar, Dim>(form_, &flow, law_, mask_, bias_, detail::TokenView<Scalar, Dim>(z));
  }

  /// log P at (t, z), finite where P underflows. \throws as attention().
  template <TokenSource<Scalar_, Dim_> Z>
  [[nodiscard]] SquareMatrix<Scalar> log_attention(double t, const Z& z) const
      requires(Law::function == WeightFunction::exponential) {
    detail::require_dimension("RescaledDynamics", z, dim());
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    return detail::log_weights<Scalar>(form_, &flow, law_, mask_, bias_, detail::TokenView<Scalar, Dim>(z));
  }

  /// Log-normalisers and the token that each token attends to most. Cost: one drift.
  /// \throws std::invalid_argument if z has not d rows.
  template <TokenSource<Scalar_, Dim_> Z>
  [[nodiscard]] RowRecord rows(double t, const Z& z) const {
    detail::require_dimension("RescaledDynamics", z, dim());
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    State displacement;
    RowRecord record;
    detail::attend_scaled(form_, &flow, Weighted::displacements, law_, mask_, bias_, z, displacement,
                          &record);
    return record;
  }

  /// The derivative of the drift with respect to z, nd × nd (token i owns rows i d … i d + d − 1):
  /// that of TokenDynamics::jacobian for M_t = e^{tVᵀ} M e^{tV}, less V on the diagonal blocks.
  /// Cost: O(n² d² + n d³).
  /// \throws std::invalid_argument unless z has d rows and is finite, std::overflow_error where an entry is beyond double.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& z) const
      requires(KernelScalar<Scalar_>&& detail::HasKnownRows<Law>) {
    detail::require_dimension("RescaledDynamics::jacobian", z, dim());
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    ScaledMatrix<Dim> M = form_.M;
    M.matrix = (form_.beta * flow.matrix.transpose() * M.matrix * flow.matrix).eval();
    M.log_scale += 2 * flow.log_scale;
    Eigen::MatrixXd J = Eigen::MatrixXd::Zero(z.size(), z.size());
    detail::add_attention_jacobian<true>(attention(t, z), z, M, head_.value(), J);
    const Eigen::Index d = dim(), n = z.cols();
    for (Eigen::Index i = 0; i < n; ++i)
      if (detail::nearest_key(mask_, i, n) >= 0)
        J.block(i * d, i * d, d, d) -= head_.value().template cast<double>();
    detail::require_finite_jacobian(J, "RescaledDynamics");
    return J;
  }

  /// The largest step that an explicit method with error control should take: h ρ(V) ≤ 1.
  ///
  /// Late in a run row i is Boolean, żᵢ = V (z_leader − zᵢ), and leaders rest in their clusters. Beyond h
  /// ρ(V) ≈ 1.05 the stage values of DormandPrince5 overshoot the leader, take its place, and carry tokens
  /// out of the convex hull that the flow cannot leave; up to 1 every stage lies between token and leader.
  [[nodiscard]] double max_step() const noexcept {
    const double radius = exponential_.spectral_radius_bound();
    return radius > 0 ? 1 / radius : std::numeric_limits<double>::infinity();
  }

  /// True: a coordinate of z grows like e^{|λ| t}, and so does what a token gains in it when its leader changes. Error
  /// control measures that against the largest token in this coordinate.
  [[nodiscard]] static constexpr bool rows_have_one_scale() noexcept { return true; }

  /// Writes the velocity of a token whose x rests to its column of dz: żᵢ = −V zᵢ. \pre dz is as z.
  void rest(const State& z, Eigen::Index i, State& dz) const {
    State token = z.col(i), velocity;
    value_.apply(token, velocity);
    detail::scale_by_power_of_two(velocity, value_.exponent);
    dz.col(i) = -velocity;
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return head_.dim(); }
  /// The weights.
  [[nodiscard]] const Head<Scalar, Dim>& head() const noexcept { return head_; }
  /// t ↦ e^{tV}, for conversions between x and z.
  [[nodiscard]] const MatrixExponential<Dim>& exponential() const noexcept { return exponential_; }

 private:
  template <class Out>
  void evaluate(double t, const detail::TokenView<Scalar, Dim>& z, Out& dz) const {
    static constinit thread_local detail::Scratch<State> kept;
    State& displacement = *kept;
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    const int exponent = detail::attend_scaled(form_, &flow, Weighted::displacements, law_, mask_, bias_, z,
                                               displacement, nullptr) +
                         value_.exponent;
    value_.apply(displacement, dz);
    if (exponent != 0) detail::scale_by_power_of_two(dz, exponent);
  }

  Head<Scalar, Dim> head_;
  detail::FormOf<Scalar, Dim, Law> form_;
  detail::ScaledValue<Scalar, Dim> value_;
  MatrixExponential<Dim> exponential_;
  Law law_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}}  // namespace attnflow
