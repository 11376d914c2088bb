/// \file
/// Attention on the circle by the Fourier series of its kernel.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/detail/aligned_vector.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/numerics/bessel.hpp>
#include <attnflow/parallel/threads.hpp>
#include <attnflow/systems/detail/series_kernels.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The field of CircleDynamics in O(n K) instead of O(n²), by the series of its kernel [OLBC10, 10.35.2]: with the
/// scaled Bessel functions bₖ = e^{−|β|} Iₖ(β) and the moments mₖ = (1/n) ∑ⱼ e^{ikθⱼ}, for k = 1 … K,
///
///     (1/n) ∑ⱼ e^{β cos(θⱼ−θᵢ) − |β|} sin(θⱼ − θᵢ) = Im ∑ₖ (bₖ₋₁ − bₖ₊₁) mₖ e^{−ikθᵢ} =: Fᵢ,   bₖ₋₁ − bₖ₊₁ = 2k bₖ/β,
///     (1/n) ∑ⱼ e^{β cos(θⱼ−θᵢ) − |β|} = b₀ + 2 Re ∑ₖ bₖ mₖ e^{−ikθᵢ} =: Zᵢ,
///
/// θ̇ᵢ = v e^{|β|} Fᵢ for Unnormalized (with less_one: v Fᵢ, if β ≥ 0) and v Fᵢ/Zᵢ for Softmax. State: 1 × n, angles.
/// Nothing of size e^{|β|} occurs but in the result.
///
/// What is left out of F is at most bₖ + bₖ₊₁ at k = K, the sum of all later coefficients. K is the least for which
/// that is within `tolerance` of the largest force of one token on another, F* = maxᵤ e^{|β|(cos u − 1)} |sin u|, about
/// 0.6/√|β|, and what is left out of Z within the tolerance of 1: about 9 √|β| + 10 for the default, ε of Scalar.
/// Rounding adds some 4 √(1 + |β|) ε F* with ε of double. So |error of θ̇ᵢ| ≤ (tolerance + 4 √(1 + |β|) ε) F* times the
/// same factors as Fᵢ, and for softmax that (1 + |θ̇ᵢ|/F*) / Zᵢ, where 1/n ≤ Zᵢ ≤ 1.
///
/// When not to use it: these errors are relative to the largest force that there can be, not to that which there is.
/// For the first clustering of many tokens they are nothing. But in a metastable state, where clusters move by forces
/// of relative size e^{−β(1 − cos u)} down to e^{−2β}, they are all there is from about β = 20 on; and equal tokens
/// stay equal, but are not without force on each other. There, and near a consensus, CircleDynamics.
///
/// One call costs O(n K) time, where K is still about 4 √|β| for a tolerance of 10⁻³, and O(n + K) memory, kept by the
/// thread as scratch space. Tokens are shared out among threads; the bits do not depend on how many there are.
template <KernelScalar Scalar_, WeightLaw Law = Softmax>
class CircleSeries {
 public:
  using Scalar = Scalar_;
  /// A token is one number.
  static constexpr int Dim = 1;
  using State = Tokens<Scalar, 1>;

  /// \param value      v, by which forces are multiplied.
  /// \param tolerance  of the series, relative to the largest force.
  /// \throws std::invalid_argument unless the law is valid, |β| ≤ 10⁸, β ≥ 0 where rows are divided by Z (which is below
  /// the rounding where all tokens repel), v is finite and the tolerance in [10⁻¹⁸, 0.1].
  explicit CircleSeries(Law law = {}, double value = 1,
                        double tolerance = static_cast<double>(std::numeric_limits<Scalar_>::epsilon()))
      : law_(std::move(law)), value_(value) {
    detail::validate_law(law_);
    const double beta = law_.beta;
    if (!(std::abs(beta) <= 1e8))
      detail::refuse("CircleSeries: beta is ", beta, ", expected at most 1e8 in modulus");
    if (divides && beta < 0)
      detail::refuse("CircleSeries: beta is ", beta,
                     ", expected at least 0 for a law that divides by row sums");
    if (!std::isfinite(value)) detail::refuse("CircleSeries: value is ", value, ", expected a finite number");
    if (!(tolerance >= 1e-18 && tolerance <= 0.1))
      detail::refuse("CircleSeries: tolerance is ", tolerance, ", expected a number from 1e-18 to 0.1");
    choose_coefficients(beta, tolerance);
  }

  /// Writes the velocities of the angles to dtheta, resized to fit. An angle that is not finite makes all NaN; a velocity
  /// beyond the range of Scalar is infinite.
  void operator()(double /*t*/, const State& theta, State& dtheta) const {
    const Eigen::Index n = theta.cols();
    dtheta.resize(1, n);
    if (n == 0) return;
    Scratch& s = scratch();
    const detail::SeriesKernels kernels = detail::series_kernels_at(simd_level());
    // A part is what one thread takes at a time: at least 1024 tokens, and at most 256 parts, whose sums are added in
    // order.
    const Eigen::Index least = 1024, part = (std::max)(least, (n + 256 * 64 - 1) / (256 * 64) * 64),
                       parts = (n + part - 1) / part;
    const auto count = static_cast<std::size_t>(parts * part), K = static_cast<std::size_t>(terms());
    const double work = 40 * static_cast<double>(n) + 0.3 * static_cast<double>(n) * static_cast<double>(K);
    for (auto* v : {&s.re, &s.im, &s.odd, &s.even}) v->resize(count);
    s.sums.resize(2 * K * static_cast<std::size_t>(parts));
    detail::parallel_for(parts, work, [&](Eigen::Index p) {
      static constinit thread_local detail::Scratch<detail::AlignedVector<double>> kept;
      detail::AlignedVector<double>& lanes = *kept;
      lanes.resize(2 * K * static_cast<std::size_t>(kernels.width));
      const Eigen::Index first = p * part, last = (std::min)(n, first + part), end = padded(last, kernels);
      place(theta, first, last, end, kernels, s);
      kernels.sum_powers(s.re.data() + first, s.im.data() + first, end - first, terms(), lanes.data(),
                         s.sums.data() + 2 * K * static_cast<std::size_t>(p));
    });
    // m̄ₖ e^{ikθ} has the real part of mₖ e^{−ikθ} and minus its imaginary part.
    s.a.resize(2 * K);
    s.b.resize(2 * K);
    for (std::size_t k = 0; k < K; ++k) {
      double re = 0, im = 0;
      for (std::size_t p = 0; p < static_cast<std::size_t>(parts); ++p) {
        re += s.sums[2 * (p * K + k)];
        im += s.sums[2 * (p * K + k) + 1];
      }
      const double force = -odd_[k] / static_cast<double>(n), weight = even_[k + 1] / static_cast<double>(n);
      s.a[2 * k] = force * re;
      s.a[2 * k + 1] = -force * im;
      s.b[2 * k] = weight * re;
      s.b[2 * k + 1] = -weight * im;
    }
    detail::parallel_for(parts, work, [&](Eigen::Index p) {
      const Eigen::Index first = p * part, last = (std::min)(n, first + part);
      kernels.evaluate(s.re.data() + first, s.im.data() + first, padded(last, kernels) - first, terms(),
                       s.a.data(), divides ? s.b.data() : nullptr, s.odd.data() + first,
                       s.even.data() + first);
      for (Eigen::Index i = first; i < last; ++i)
        dtheta(0, i) = velocity(s.odd[static_cast<std::size_t>(i)], s.even[static_cast<std::size_t>(i)], n);
    });
  }

  /// K, the number of terms of the series.
  [[nodiscard]] Eigen::Index terms() const noexcept { return static_cast<Eigen::Index>(odd_.size()); }
  /// F*, the largest force of one token on another as F has it: times e^{|β|} for Unnormalized.
  [[nodiscard]] double largest_force() const noexcept { return largest_force_; }
  /// 1, the dimension of the tokens.
  [[nodiscard]] static constexpr Eigen::Index dim() noexcept { return 1; }
  /// The weight law, with its β.
  [[nodiscard]] const Law& law() const noexcept { return law_; }
  /// v, by which forces are multiplied.
  [[nodiscard]] double value() const noexcept { return value_; }

 private:
  static constexpr bool divides = !std::is_same_v<Law, Unnormalized>;

  struct Scratch {
    detail::AlignedVector<double> re, im, odd, even;  // points, F and Z − b₀
    std::vector<double> sums, a, b;
  };
  static Scratch& scratch() {
    static constinit thread_local detail::Scratch<Scratch> kept;
    return *kept;
  }
  static Eigen::Index padded(Eigen::Index last, const detail::SeriesKernels& kernels) {
    return (last + kernels.width - 1) / kernels.width * kernels.width;
  }

  /// The points of the angles first … last − 1; zeros, which have no powers, fill the last pack.
  static void place(const State& theta, Eigen::Index first, Eigen::Index last, Eigen::Index end,
                    const detail::SeriesKernels& kernels, Scratch& s) {
    double *angle = s.odd.data(), *re = s.re.data(), *im = s.im.data();
    for (Eigen::Index j = first; j < end; ++j) angle[j] = j < last ? static_cast<double>(theta(0, j)) : 0;
    kernels.points(angle + first, end - first, re + first, im + first);
    for (Eigen::Index j = first; j < last; ++j)
      if (!(std::abs(angle[j]) <= detail::largest_quick_angle)) {
        re[j] = std::cos(angle[j]);
        im[j] = std::sin(angle[j]);
      }
    for (Eigen::Index j = last; j < end; ++j) re[j] = im[j] = 0;
  }

  void choose_coefficients(double beta, double tolerance) {
    const double size = std::abs(beta);
    // e^{|β|(cos u − 1)} sin u is largest where |β| sin² u = cos u.
    const double cosine = 2 * size / (1 + std::sqrt(1 + 4 * size * size)),
                 square = 2 / (1 + std::sqrt(1 + 4 * size * size));
    largest_force_ = std::sqrt(square) * std::exp(-size * square / (1 + cosine));
    int count = static_cast<int>(12 + 10 * std::sqrt(size));
    std::vector<double> b;
    std::size_t K = 0;
    for (;; count *= 2) {
      b = scaled_bessel_series(count, size);
      // ∑_{k>K} (bₖ₋₁ − bₖ₊₁) = b_K + b_{K+1}, and 2 bₖ = (β/k) (bₖ₋₁ − bₖ₊₁).
      const auto enough = [&](std::size_t k) {
        const double left = b[k] + b[k + 1];
        return left <= tolerance * largest_force_ && left * size / static_cast<double>(k + 1) <= tolerance;
      };
      for (K = 1; K + 2 < b.size() && !enough(K);) ++K;
      if (K + 2 < b.size()) break;
    }
    const double sign = beta < 0 ? -1 : 1;  // Iₖ(−β) = (−1)ᵏ Iₖ(β)
    even_.push_back(b[0]);
    for (std::size_t k = 1; k <= K; ++k) {
      const double alternating = k % 2 == 0 ? sign : 1;
      // For large β differences of neighbours cancel; for small ones β may be 0.
      odd_.push_back(alternating *
                     (size > 1 ? 2 * static_cast<double>(k) * b[k] / size : b[k - 1] - b[k + 1]));
      even_.push_back(2 * b[k]);
    }
  }

  /// θ̇ from F and Z − b₀.
  [[nodiscard]] Scalar velocity(double force, double even, Eigen::Index n) const {
    double result = value_ * force;
    if constexpr (!divides) {
      const double size = std::abs(law_.beta), growth = law_.less_one ? size - law_.beta : size;
      if (growth != 0 && result != 0) result *= std::exp(growth);
    } else {
      const double mean =
          (std::max)(even_[0] + even, 1 / static_cast<double>(n));  // a token's own weight is 1
      result /= mean;
      if constexpr (!detail::rows_sum_to_one<Law>()) {
        const double log_normalizer = law_.beta + std::log(mean * static_cast<double>(n));
        if (result != 0) result *= std::exp(static_cast<double>(law_.log_row_factor(log_normalizer, n)));
      }
      if (std::isnan(even)) result = even;
    }
    return static_cast<Scalar>(result);
  }

  Law law_;
  double value_, largest_force_ = 1;
  std::vector<double> odd_;   // bₖ₋₁ − bₖ₊₁, k = 1 … K
  std::vector<double> even_;  // b₀, 2 bₖ
};

}}  // namespace attnflow
