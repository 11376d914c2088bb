/// \file
/// e^{tV} for many t, as a matrix and a logarithm kept apart.
#pragma once

#include <attnflow/algebra/scaled_matrix.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <utility>

namespace attnflow::inline ATTNFLOW_ABI {

/// The map t ↦ e^{tV}, made once for a matrix V and evaluated at any finite t without overflow.
///
/// With μ = tr V / d and W = (V − μI)/‖V − μI‖₁, e^{tV} = e^{tμ} (e^{θW})^{2^s}, |θ| ≤ 1: a Taylor polynomial
/// of degree 19 (its remainder is below 2⁻⁵⁴ there; Paterson–Stockmeyer on the powers W², …, W⁵, which are
/// computed once) and s squarings, each followed by moving a power of two to the logarithm [MVL03, §3; HM11].
/// The relative error of the norm grows like ε(1 + |t| ‖V − μI‖). A diagonal V is exponentiated entry by
/// entry, a multiple of the identity exactly; entries smaller than 10⁻³⁰⁸ of the largest one become zero.
///
/// Cost of one evaluation: (3 + s) products of d × d matrices, s ≈ log₂(|t| ‖V − μI‖₁); O(d) if V is
/// diagonal.
template <int Dim = Eigen::Dynamic>
class MatrixExponential {
 public:
  using Matrix = typename ScaledMatrix<Dim>::Matrix;

  /// \throws std::invalid_argument unless V is square, of size at least 1, and finite.
  explicit MatrixExponential(const Matrix& V) : spectral_radius_bound_(0), diagonal_(V.diagonal()) {
    if (V.rows() < 1 || V.rows() != V.cols())
      throw std::invalid_argument("MatrixExponential: V must be square, of size at least 1");
    if (!V.allFinite()) throw std::invalid_argument("MatrixExponential: V has an entry that is not finite");
    spectral_radius_bound_ = bound_spectral_radius(V);
    is_diagonal_ = V.isDiagonal(0);
    for (Matrix& power : powers_) power.setZero(V.rows(), V.cols());
    if (is_diagonal_) return;
    // Work with V / 2^e: no sum below overflows.
    Matrix W = V;
    const int exponent = detail::exponent_of(V.cwiseAbs().maxCoeff());
    detail::scale_by_power_of_two(W, -exponent);
    const double mean = W.diagonal().mean();
    W.diagonal().array() -= mean;
    const double norm = W.cwiseAbs().colwise().sum().maxCoeff();
    shift_ = {mean, exponent};
    norm_ = {norm, exponent};
    if (norm == 0) return;  // what is off the diagonal is below 10⁻³⁰⁸ of it
    powers_[0] = W / norm;
    for (std::size_t k = 1; k < powers_.size(); ++k) powers_[k] = detail::product(powers_[k - 1], powers_[0]);
  }

  /// e^{tV}.  \pre t is finite.
  [[nodiscard]] ScaledMatrix<Dim> operator()(double t) const {
    if (is_diagonal_) return of_diagonal(t);
    const double tau = times(norm_, t);
    const int squarings = std::abs(tau) <= 1 ? 0 : std::ilogb(tau) + 1;
    Power power{taylor(std::ldexp(tau, -squarings)), 0};
    power.normalize();
    double gain = 0;  // of the last squaring
    for (int k = 0; k < squarings; ++k) {
      const Power last = power;
      power.square();
      if (power.matrix.cwiseAbs().maxCoeff() == 0) {
        // No exponential is zero: the square underflowed. Its direction has settled, and its norm is a power
        // of t.
        power = last;
        power.exponent += gain * (squarings - k);
        break;
      }
      gain = power.exponent - last.exponent;
    }
    const double log = power.exponent * std::numbers::ln2 + times(shift_, t);
    return {std::move(power.matrix), ScaledMatrix<Dim>::clamp_log(log)};
  }

  /// An upper bound of the spectral radius ρ(V), exact for a diagonal V and otherwise within a factor (d
  /// κ)^{1/1024}, κ the condition of the eigenvectors: ‖V^m‖^{1/m} with m = 1024 (Gelfand's formula); a
  /// smaller m where V is scaled so badly that powers underflow. It may be infinite, where V has entries of
  /// the order of 10³⁰⁸.
  [[nodiscard]] double spectral_radius_bound() const noexcept { return spectral_radius_bound_; }

  /// Whether V is a diagonal matrix, to the last bit.
  [[nodiscard]] bool is_diagonal() const noexcept { return is_diagonal_; }

 private:
  struct Number {  // mantissa · 2^exponent
    double mantissa = 0;
    int exponent = 0;
  };

  static double times(Number a, double t) noexcept {
    return ScaledMatrix<Dim>::clamp_log(std::ldexp(a.mantissa * t, a.exponent));
  }

  /// matrix · 2^exponent, the exponent an integer: squaring doubles it without rounding up to 2⁵³, whereas a
  /// logarithm would double its own error each time.
  struct Power {
    Matrix matrix;
    double exponent = 0;

    void normalize() {
      const int e = detail::exponent_of(matrix.cwiseAbs().maxCoeff());
      if (e == 0) return;
      detail::scale_by_power_of_two(matrix, -e);
      exponent += e;
    }
    void square() {
      matrix = detail::product(matrix, matrix);
      exponent *= 2;
      normalize();
    }
  };

  static double bound_spectral_radius(const Matrix& V) {
    if (V.isDiagonal(0)) return V.diagonal().cwiseAbs().maxCoeff();
    constexpr double smallest_normal = std::numeric_limits<double>::min();
    const auto least = [](const Matrix& m) {  // of the entries that are not zero
      return (m.array() == 0).select(std::numeric_limits<double>::infinity(), m.cwiseAbs()).minCoeff();
    };
    // V / 2^e: the root of a large power of V itself would be rounded at the size of its logarithm.
    Power power{V, 0};
    power.normalize();
    const int e = static_cast<int>(power.exponent);
    power.exponent = 0;
    // What underflow may have taken from an entry so far, relative to the largest one.
    double lost = least(V) < std::ldexp(smallest_normal, std::max(e, 0)) ? smallest_normal : 0;
    int doublings = 0;
    for (; doublings < 10; ++doublings) {
      const double least_product = least(power.matrix) * least(power.matrix);
      const Matrix square = detail::product(power.matrix, power.matrix);
      const double most = square.cwiseAbs().maxCoeff();
      const double rows = static_cast<double>(V.rows());
      lost = rows * (4 * lost + (least_product < smallest_normal ? smallest_normal : 0));
      if (lost > 0) {
        lost /= most;
        if (!(lost < 1e-6)) break;  // the last power still bounds ρ, the next one might not
      }
      power = {square, 2 * power.exponent};
      power.normalize();
    }
    const double norm = power.matrix.cwiseAbs().rowwise().sum().maxCoeff();
    if (norm == 0) return 0;  // nilpotent
    return std::ldexp(std::exp2(std::ldexp(std::log2(norm) + power.exponent, -doublings)), e);
  }

  ScaledMatrix<Dim> of_diagonal(double t) const {
    // t (vₖ − v), v the entry that leads: t vₖ and t v would both be rounded at their own size.
    const double leading = t >= 0 ? diagonal_.maxCoeff() : diagonal_.minCoeff();
    ScaledMatrix<Dim> result{Matrix::Identity(diagonal_.size(), diagonal_.size()),
                             ScaledMatrix<Dim>::clamp_log(t * leading)};
    for (Eigen::Index k = 0; k < diagonal_.size(); ++k)
      if (t != 0 && diagonal_[k] != leading) result.matrix(k, k) = std::exp(t * (diagonal_[k] - leading));
    return result;
  }

  /// ∑_{k ≤ 19} θᵏ Wᵏ / k!, in four blocks of five powers.
  Matrix taylor(double theta) const {
    std::array<double, 20> c{};
    c[0] = 1;
    for (std::size_t k = 1; k < c.size(); ++k) c[k] = c[k - 1] * theta / static_cast<double>(k);
    const auto block = [&](std::size_t first) {
      Matrix b = c[first + 1] * powers_[0];
      for (std::size_t k = 2; k < 5; ++k) b += c[first + k] * powers_[k - 1];
      b.diagonal().array() += c[first];
      return b;
    };
    Matrix sum = block(15);
    for (const std::size_t first : {10U, 5U, 0U}) sum = detail::product(powers_[4], sum) + block(first);
    return sum;
  }

  bool is_diagonal_ = false;
  double spectral_radius_bound_;
  Number shift_, norm_;
  Eigen::Matrix<double, Dim, 1> diagonal_;
  std::array<Matrix, 5> powers_;  // W, W², …, W⁵
};

}  // namespace attnflow::inline ATTNFLOW_ABI
