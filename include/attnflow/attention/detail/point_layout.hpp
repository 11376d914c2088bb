/// \file
/// A set of points as the kernels of attention read it.
#pragma once

#include <attnflow/attention/kernels/kernels.hpp>
#include <attnflow/detail/aligned_vector.hpp>
#include <attnflow/numerics/scaled_matrix.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// n points y₁ … yₙ in d coordinates: the keys of the operator, or its values, or tokens that are both. Several heads
/// share one layout of the tokens.
///
/// Kept are the points themselves, which exact rows take differences of, and the points less the middle c of the box
/// around them, which bounded rows read: no rounding there is larger than the cloud. Points so large that products of
/// them could overflow are kept in units of 2^exponent, and have no bounded rows.
///
/// The points may be differences from an `origin`, as the images K (x − c) of tokens are: the origin is then K c, and
/// what is meant is yⱼ + origin. Memory grows and never shrinks.
template <class Scalar>
class PointLayout {
 public:
  Eigen::Index n = 0, d = 0;
  bool finite = false;            ///< all points are; otherwise the rest is not set
  int exponent = 0;               ///< points() are in units of 2^exponent
  double largest = 0;             ///< the largest |coordinate|
  double radius = 0;              ///< at least maxⱼ |yⱼ − c|
  std::vector<Scalar> centre;     ///< c, d numbers
  AlignedVector<Scalar> centred;  ///< d × n: yⱼ − c, `step` apart
  Eigen::Index step = 0;
  std::vector<double> origin;  ///< d numbers, or none where it is zero

  /// Reads d × n points, column by column without gaps, which outlive the evaluation. Dim is d where that is known.
  /// \returns whether all are finite. Cost: O(n d).
  template <int Dim = Eigen::Dynamic>
  bool read(const Scalar* points, Eigen::Index rows, Eigen::Index columns);

  /// The points in units of 2^exponent, d × n.
  [[nodiscard]] const Scalar* points() const noexcept { return points_; }
  /// The points as they were given.
  [[nodiscard]] const Scalar* given() const noexcept { return given_; }
  /// At least the largest |coordinate| of what is meant, and of its differences from the middle.
  [[nodiscard]] double reach() const {
    double most = 0;
    for (const double x : origin) most = (std::max)(most, std::abs(x));
    return radius + largest + most;
  }
  /// Coordinate k of the origin.
  [[nodiscard]] double origin_of(Eigen::Index k) const {
    return origin.empty() ? 0 : origin[static_cast<std::size_t>(k)];
  }
  /// Coordinate k of c + origin.
  [[nodiscard]] double middle_of(Eigen::Index k) const {
    return static_cast<double>(centre[static_cast<std::size_t>(k)]) + origin_of(k);
  }

 private:
  const Scalar* given_ = nullptr;
  const Scalar* points_ = nullptr;
  std::vector<Scalar> scaled_, low_, high_;
};

template <class Scalar>
template <int Dim>
bool PointLayout<Scalar>::read(const Scalar* points, Eigen::Index rows, Eigen::Index columns) {
  given_ = points_ = points;
  d = rows;
  n = columns;
  exponent = 0;
  largest = radius = 0;
  origin.clear();
  finite = true;
  const auto width = static_cast<std::size_t>(d), size = static_cast<std::size_t>(n * d);
  centre.assign(width, Scalar(0));
  if (n == 0) return true;
  low_.resize(width);
  high_.resize(width);
  if constexpr (is_small<Dim>) {
    Scalar nothing = 0;
    for (std::size_t c = 0; c < Dim; ++c) nothing += find_interval(points + c, Dim, n, low_[c], high_[c]);
    finite = nothing == Scalar(0);
  } else {
    finite = token_kernels<Scalar>().find_box(points, d, n, low_.data(), high_.data());
  }
  if (!finite) return false;
  Scalar most = 0;
  for (std::size_t c = 0; c < width; ++c) most = (std::max)({most, -low_[c], high_[c]});
  largest = static_cast<double>(most);

  // Points as they are, unless their products could overflow.
  constexpr int comfortable = std::numeric_limits<Scalar>::max_exponent / 2;
  exponent = (std::max)(0, exponent_of(most) - comfortable);
  if (exponent > 0) {
    const Scalar shrink = std::ldexp(Scalar(1), -exponent);
    scaled_.resize(size);
    for (std::size_t k = 0; k < size; ++k) scaled_[k] = points[k] * shrink;
    points_ = scaled_.data();
    return true;
  }
  step = RowTask<Scalar>::key_step_for(d);
  centred.resize(static_cast<std::size_t>(n * step));
  Scalar half_width = 0;
  for (std::size_t c = 0; c < width; ++c) {
    const Scalar half = (high_[c] - low_[c]) / 2;
    centre[c] = low_[c] + half;
    half_width = (std::max)(half_width, half);
  }
  if (is_small<Dim> || d <= most_small_coordinates) {
    double square = 0;  // half the diagonal of the box is at most twice the radius
    for (std::size_t c = 0; c < width; ++c) {
      if (!(half_width > 0)) break;
      const double half = static_cast<double>(high_[c] - low_[c]) / (2 * static_cast<double>(half_width));
      square += half * half;
    }
    radius = std::sqrt(square) * static_cast<double>(half_width);
    for (std::size_t c = 0; c < width; ++c)
      for (std::size_t k = c; k < size; k += width) centred[k] = points[k] - centre[c];
    return true;
  }
  if constexpr (!is_small<Dim>) {
    // Squares in units of the box: they neither overflow nor vanish.
    const int box = exponent_of(half_width);
    const Scalar unit =
        std::ldexp(Scalar(1), (std::min)(-box, std::numeric_limits<Scalar>::max_exponent - 2));
    const Scalar square =
        token_kernels<Scalar>().shift(points, centre.data(), unit, d, n, centred.data(), step);
    radius = std::sqrt(static_cast<double>(square)) / static_cast<double>(unit);
  }
  return true;
}

}}}  // namespace attnflow::detail
