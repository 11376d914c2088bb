/// \file
/// e^{tV} for many t, as a matrix and a logarithm kept apart.
#pragma once

#include <attnflow/detail/scratch.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// Moves a power of two from the matrix to the exponent, an integer: squaring doubles it without rounding up to 2⁵³,
/// whereas a logarithm would double its own error each time. \returns the largest entry before.
template <class Matrix>
double take_out_exponent(Matrix& matrix, double& exponent) {
  const double largest = matrix.cwiseAbs().maxCoeff();
  const int e = exponent_of(largest);
  if (e == 0) return largest;
  scale_by_power_of_two(matrix, -e);
  exponent += e;
  return largest;
}

/// See MatrixExponential::spectral_radius_bound; d is at most Most.
template <int Most>
[[nodiscard]] double bound_spectral_radius(const Eigen::MatrixXd& V) {
  const Eigen::Index d = V.rows();
  const auto each = [d](const Eigen::MatrixXd& m, auto&& look) {
    for (Eigen::Index j = 0; j < d; ++j)
      for (Eigen::Index i = 0; i < d; ++i) look(std::abs(m(i, j)), i, j);
  };
  double off_diagonal = 0, largest = 0;
  each(V, [&](double size, Eigen::Index i, Eigen::Index j) {
    largest = (std::max)(largest, size);
    if (i != j) off_diagonal = (std::max)(off_diagonal, size);
  });
  if (off_diagonal == 0) return largest;
  constexpr double smallest_normal = (std::numeric_limits<double>::min)();
  const auto least = [&](const Eigen::MatrixXd& m) {  // of the entries that are not zero
    double found = std::numeric_limits<double>::infinity();
    each(m, [&](double size, Eigen::Index, Eigen::Index) {
      if (size != 0) found = (std::min)(found, size);
    });
    return found;
  };
  // V / 2^e: the root of a large power of V itself would be rounded at the size of its logarithm.
  Eigen::MatrixXd power = V;
  double exponent = 0;
  take_out_exponent(power, exponent);
  const int e = static_cast<int>(exponent);
  exponent = 0;
  // What underflow may have taken from an entry so far, relative to the largest one.
  double lost = least(V) < std::ldexp(smallest_normal, (std::max)(e, 0)) ? smallest_normal : 0;
  int doublings = 0;
  for (; doublings < 10; ++doublings) {
    const double least_product = least(power) * least(power);
    Eigen::MatrixXd square(d, d);
    multiply<Most>(power.data(), power.data(), square.data(), d, d);
    lost = static_cast<double>(d) * (4 * lost + (least_product < smallest_normal ? smallest_normal : 0));
    if (lost > 0) {
      double most = 0;
      each(square, [&](double size, Eigen::Index, Eigen::Index) { most = (std::max)(most, size); });
      lost /= most;
      if (!(lost < 1e-6)) break;  // the last power still bounds ρ, the next one might not
    }
    power = square;
    exponent *= 2;
    take_out_exponent(power, exponent);
  }
  double norm = 0;
  for (Eigen::Index i = 0; i < d; ++i) {
    double sum = 0;
    for (Eigen::Index j = 0; j < d; ++j) sum += std::abs(power(i, j));
    norm = (std::max)(norm, sum);
  }
  if (norm == 0) return 0;  // nilpotent
  return std::ldexp(std::exp2(std::ldexp(std::log2(norm) + exponent, -doublings)), e);
}

}  // namespace detail

/// The map t ↦ e^{tV}, made once for a matrix V and evaluated at any finite t without overflow.
///
/// With μ = tr V / d and W = (V − μI)/‖V − μI‖₁, e^{tV} = e^{tμ} (e^{θW})^{2^s}, |θ| ≤ 1: a Taylor polynomial
/// of degree 19 (its remainder is below 2⁻⁵⁴ there; Paterson–Stockmeyer on the powers W², …, W⁵, which are
/// computed once) and s squarings, each followed by moving a power of two to the logarithm
/// [MVL03, §3; AMH11].
/// The relative error of the norm grows like ε(1 + |t| ‖V − μI‖). A V of blocks, a and (a b; −b a) on the diagonal and zero
/// elsewhere, as invariant_basis gives them, is exponentiated block by block, e^{ta} and e^{ta} (cos tb, sin tb; −sin tb,
/// cos tb); a multiple of the identity exactly. Entries smaller than 10⁻³⁰⁸ of the largest one become zero.
///
/// Cost of one evaluation: (3 + s) products of d × d matrices, s ≈ log₂(|t| ‖V − μI‖₁); for a V of blocks no product, d
/// exponentials and the d² entries of the result. So for large d it pays to go to coordinates in which V is of blocks.
template <int Dim = Eigen::Dynamic>
class MatrixExponential {
 public:
  /// d × d.
  using Matrix = typename ScaledMatrix<Dim>::Matrix;

  /// \throws std::invalid_argument unless V is square, of size at least 1, and finite.
  explicit MatrixExponential(const Matrix& V) : spectral_radius_bound_(0), diagonal_(V.diagonal()) {
    if (V.rows() < 1 || V.rows() != V.cols())
      throw std::invalid_argument("MatrixExponential: V must be square, of size at least 1");
    if (!V.allFinite()) throw std::invalid_argument("MatrixExponential: V has an entry that is not finite");
    if constexpr (Dim != Eigen::Dynamic)
      for (Matrix& power : powers_) power.setZero();
    find_turns(V);
    if (has_blocks_) {
      for (Eigen::Index k = 0; k < V.rows(); ++k)
        spectral_radius_bound_ = (std::max)(spectral_radius_bound_, std::hypot(diagonal_(k), turns_(k)));
      return;
    }
    spectral_radius_bound_ = detail::bound_spectral_radius<Dim>(V);
    for (Matrix& power : powers_) power.setZero(V.rows(), V.cols());
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
    ScaledMatrix<Dim> result;
    evaluate(t, result);
    return result;
  }

  /// The same, remembered: a thread keeps the last four that it asked for, of any V, and stages of a step
  /// that share a time share one evaluation. Nothing is allocated once four of that size have been evaluated.
  /// The reference holds until the thread asks again.
  [[nodiscard]] const ScaledMatrix<Dim>& recall(double t) const {
    struct Entry {
      std::uint64_t id = 0;
      double t = 0;
      ScaledMatrix<Dim> value;
    };
    static constinit thread_local detail::Scratch<std::array<Entry, 4>> kept;
    static constinit thread_local std::size_t oldest = 0;
    std::array<Entry, 4>& entries = *kept;
    for (const Entry& entry : entries)
      if (entry.id == id_ && entry.t == t) return entry.value;
    Entry& entry = entries[oldest];
    entry.id = 0;
    evaluate(t, entry.value);
    entry.id = id_;
    entry.t = t;
    oldest = (oldest + 1) % entries.size();
    return entry.value;
  }

  /// An upper bound of the spectral radius ρ(V), exact for a V of blocks and otherwise within a factor (d
  /// κ)^{1/1024}, κ the condition of the eigenvectors: ‖V^m‖^{1/m} with m = 1024 (Gelfand's formula); a
  /// smaller m where V is scaled so badly that powers underflow. It may be infinite, where V has entries of
  /// the order of 10³⁰⁸.
  [[nodiscard]] double spectral_radius_bound() const noexcept { return spectral_radius_bound_; }

  /// d, the size of V.
  [[nodiscard]] Eigen::Index dim() const noexcept { return diagonal_.size(); }
  /// Whether V is a diagonal matrix, to the last bit.
  [[nodiscard]] bool is_diagonal() const noexcept { return has_blocks_ && turns_.isZero(0); }

 private:
  struct Number {  // mantissa · 2^exponent
    double mantissa = 0;
    int exponent = 0;
  };

  static double times(Number a, double t) noexcept {
    return ScaledMatrix<Dim>::clamp_log(std::ldexp(a.mantissa * t, a.exponent));
  }

  /// What evaluations need beside their result, of this thread.
  struct Workspace {
    Matrix product, block;
  };
  static Workspace& workspace() {
    static constinit thread_local detail::Scratch<Workspace> kept;
    return *kept;
  }

  void evaluate(double t, ScaledMatrix<Dim>& result) const {
    if (has_blocks_) return evaluate_blocks(t, result);
    const double tau = times(norm_, t);
    const int squarings = std::abs(tau) <= 1 ? 0 : std::ilogb(tau) + 1;
    Matrix& power = result.matrix;
    Matrix& other = workspace().product;
    taylor(std::ldexp(tau, -squarings), power);
    double exponent = 0, gain = 0;  // gain: of the last squaring
    detail::take_out_exponent(power, exponent);
    for (int k = 0; k < squarings; ++k) {
      const double last = exponent;
      detail::multiply(power, power, other);
      power.swap(other);
      exponent *= 2;
      if (detail::take_out_exponent(power, exponent) == 0) {
        // No exponential is zero: the square underflowed. Its direction has settled, and its norm is a power
        // of t.
        power.swap(other);
        exponent = last + gain * (squarings - k);
        break;
      }
      gain = exponent - last;
    }
    result.log_scale = ScaledMatrix<Dim>::clamp_log(exponent * std::numbers::ln2 + times(shift_, t));
  }

  /// Whether V is of blocks; where rows k and k + 1 are a block (a b; −b a), turns_ has b at k, and 0 elsewhere.
  void find_turns(const Matrix& V) {
    const Eigen::Index d = V.rows();
    turns_.setZero(d);
    for (Eigen::Index k = 0; k + 1 < d; ++k)
      if (V(k, k + 1) != 0 && V(k + 1, k) == -V(k, k + 1) && V(k, k) == V(k + 1, k + 1)) {
        turns_(k) = V(k, k + 1);
        ++k;
      }
    has_blocks_ = true;
    for (Eigen::Index j = 0; j < d; ++j)
      for (Eigen::Index i = 0; i < d; ++i) {
        const bool in_block = i == j || (i + 1 == j && turns_(i) != 0) || (j + 1 == i && turns_(j) != 0);
        if (V(i, j) != 0 && !in_block) has_blocks_ = false;
      }
  }

  void evaluate_blocks(double t, ScaledMatrix<Dim>& result) const {
    // t (aₖ − a), a the entry that leads: t aₖ and t a would both be rounded at their own size.
    const Eigen::Index d = diagonal_.size();
    const double leading = t >= 0 ? diagonal_.maxCoeff() : diagonal_.minCoeff();
    Matrix& E = result.matrix;
    E.setIdentity(d, d);
    result.log_scale = ScaledMatrix<Dim>::clamp_log(t * leading);
    if (t == 0) return;
    for (Eigen::Index k = 0; k < d; ++k) {
      const double factor = diagonal_[k] == leading ? 1 : std::exp(t * (diagonal_[k] - leading));
      E(k, k) = factor;
      if (turns_[k] == 0) continue;
      const double angle = ScaledMatrix<Dim>::clamp_log(t * turns_[k]);
      E(k, k) = E(k + 1, k + 1) = factor * std::cos(angle);
      E(k, k + 1) = factor * std::sin(angle);
      E(k + 1, k) = -E(k, k + 1);
      ++k;
    }
  }

  /// sum = ∑_{k ≤ 19} θᵏ Wᵏ / k!, in four blocks of five powers.
  void taylor(double theta, Matrix& sum) const {
    static constexpr std::array<double, 20> reciprocal = [] {
      std::array<double, 20> r{};
      for (std::size_t k = 1; k < r.size(); ++k) r[k] = 1 / static_cast<double>(k);
      return r;
    }();
    std::array<double, 20> c{};
    c[0] = 1;
    for (std::size_t k = 1; k < c.size(); ++k) c[k] = c[k - 1] * (theta * reciprocal[k]);
    Matrix& product = workspace().product;
    Matrix& block = workspace().block;
    const auto fill = [&](Matrix& b, std::size_t first) {
      b = c[first + 1] * powers_[0] + c[first + 2] * powers_[1] + c[first + 3] * powers_[2] +
          c[first + 4] * powers_[3];
      b.diagonal().array() += c[first];
    };
    fill(sum, 15);
    for (const std::size_t first : {10U, 5U, 0U}) {
      detail::multiply(powers_[4], sum, product);
      fill(block, first);
      sum = product + block;
    }
  }

  /// A number that no other V of this process has; copies share it.
  static std::uint64_t new_id() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  std::uint64_t id_ = new_id();
  bool has_blocks_ = false;
  double spectral_radius_bound_;
  Number shift_, norm_;
  Eigen::Matrix<double, Dim, 1> diagonal_, turns_;  // see find_turns
  std::array<Matrix, 5> powers_;                    // W, W², …, W⁵
};

}}  // namespace attnflow
