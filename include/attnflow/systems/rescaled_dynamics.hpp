/// \file
/// Self-attention dynamics seen from the frame z = e^{−tV} x, in which tokens converge.
#pragma once

#include <attnflow/algebra/matrix_exponential.hpp>
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/systems/jacobian.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

namespace attnflow::inline ATTNFLOW_ABI {

namespace detail {

/// out = e^{log_scale} E x in double, back to Scalar: overflow gives ±∞, never NaN.
template <class Scalar, int Dim>
[[nodiscard]] Tokens<Scalar, Dim> apply_scaled(const ScaledMatrix<Dim>& E, const Tokens<Scalar, Dim>& x) {
  if (x.cols() == 0) return x;
  const int exponent = exponent_of(static_cast<double>(x.cwiseAbs().maxCoeff()));
  ColumnMajor<double, Dim, Eigen::Dynamic> y = x.template cast<double>();
  scale_by_power_of_two(y, -exponent);
  y = detail::product(E.matrix, y);
  const double log = E.log_scale + exponent * std::numbers::ln2;
  const double half = std::min(std::exp(0.5 * log), std::numeric_limits<double>::max());
  y = (y * half) * half;
  return y.template cast<Scalar>();
}

}  // namespace detail

/// z = e^{−tV} x. Cost: one exponential and O(n d²). An entry beyond the range of Scalar becomes ±∞.
template <class Scalar, int Dim>
[[nodiscard]] Tokens<Scalar, Dim> rescale(const MatrixExponential<Dim>& exponential, double t,
                                          const Tokens<Scalar, Dim>& x) {
  return detail::apply_scaled(exponential(-t), x);
}

/// x = e^{tV} z. Cost and range as rescale().
template <class Scalar, int Dim>
[[nodiscard]] Tokens<Scalar, Dim> unrescale(const MatrixExponential<Dim>& exponential, double t,
                                            const Tokens<Scalar, Dim>& z) {
  return detail::apply_scaled(exponential(t), z);
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
/// One head, and a law whose rows sum to one. One call costs O(n² d + n d²) time, O(n d) memory, and one
/// matrix exponential.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw<Scalar_> Law = Softmax<Scalar_>,
          AttentionMask Mask = NoMask, PositionalBias Bias = NoBias>
class RescaledDynamics {
  static_assert(Law::rows_sum_to_one,
                "RescaledDynamics needs a weight law whose rows sum to one, such as Softmax");

 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;

  /// \throws std::invalid_argument naming the matrix, unless the shapes of Q, K, V agree and all is finite.
  explicit RescaledDynamics(Head<Scalar_, Dim_> head, Law law = {}, Mask mask = {}, Bias bias = {})
      : head_((head.validate("RescaledDynamics"), law.validate(), bias.validate(), std::move(head))),
        form_(score_form(head_, law.beta)),
        value_(head_.V),
        exponential_(head_.V.template cast<double>()),
        law_(std::move(law)),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {}

  /// Writes the velocity at (t, z) to dz, resized to fit. \pre z and dz are different objects, z has d rows,
  /// t is finite.
  void operator()(double t, const State& z, State& dz) const {
    eigen_assert(z.rows() == dim());
    static thread_local State displacement;
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    const int exponent = detail::attend_scaled(form_, &flow, Weighted::displacements, law_, mask_, bias_, z,
                                               displacement, nullptr) +
                         value_.exponent;
    value_.apply(displacement, dz);
    if (exponent != 0) detail::scale_by_power_of_two(dz, exponent);
  }

  /// P at (t, z), rows summing to one. \throws std::invalid_argument if a token is not finite.
  [[nodiscard]] SquareMatrix<Scalar> attention(double t, const State& z) const {
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    return detail::weights(form_, &flow, law_, mask_, bias_, z);
  }

  /// log P at (t, z), finite where P underflows. \throws std::invalid_argument if a token is not finite.
  [[nodiscard]] SquareMatrix<Scalar> log_attention(double t, const State& z) const {
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    return detail::log_weights(form_, &flow, law_, mask_, bias_, z);
  }

  /// Log-normalisers and the token that each token attends to most. Cost: one drift.
  [[nodiscard]] RowRecord rows(double t, const State& z) const {
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    State displacement;
    RowRecord record;
    detail::attend_scaled(form_, &flow, Weighted::displacements, law_, mask_, bias_, z, displacement,
                          &record);
    return record;
  }

  /// The derivative of the drift with respect to z, nd × nd (token i owns rows i d … i d + d − 1):
  /// that of detail::add_attention_jacobian for M_t = e^{tVᵀ} M e^{tV}, less V on the diagonal blocks.
  /// \throws std::overflow_error where an entry is beyond double.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& z) const {
    const ScaledMatrix<Dim>& flow = exponential_.recall(t);
    ScaledMatrix<Dim> M = form_.M;
    M.matrix = (form_.beta * flow.matrix.transpose() * M.matrix * flow.matrix).eval();
    M.log_scale += 2 * flow.log_scale;
    Eigen::MatrixXd J = Eigen::MatrixXd::Zero(z.size(), z.size());
    detail::add_attention_jacobian<true>(attention(t, z), z, M, head_.V, J);
    const Eigen::Index d = dim(), n = z.cols();
    for (Eigen::Index i = 0; i < n; ++i)
      if (const KeyRange range = mask_.keys(i, n); range.begin < range.end)
        J.block(i * d, i * d, d, d) -= head_.V.template cast<double>();
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

  [[nodiscard]] Eigen::Index dim() const noexcept { return head_.dim(); }
  [[nodiscard]] const Head<Scalar, Dim>& head() const noexcept { return head_; }
  /// t ↦ e^{tV}, for conversions between x and z.
  [[nodiscard]] const MatrixExponential<Dim>& exponential() const noexcept { return exponential_; }

 private:
  Head<Scalar, Dim> head_;
  ScoreForm<Dim> form_;
  detail::ScaledValue<Scalar, Dim> value_;
  MatrixExponential<Dim> exponential_;
  Law law_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}  // namespace attnflow::inline ATTNFLOW_ABI
