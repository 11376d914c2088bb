/// \file
/// Rotary positions: queries and keys turned by angles that grow with the position.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Which two coordinates of a query or a key make a plane that turns, of d_k = 2h.
enum class RotaryPlanes {
  adjacent,  ///< 2k and 2k + 1, as in [SALPBL24]
  halves     ///< k and k + h, as many trained models have it
};

/// Rotary positions (RoPE) on a line [SALPBL24]: with R_p the rotation by the angle p θₖ in plane k, k < h = d_k / 2,
///
///     sᵢⱼ = β ⟨R_i Q xᵢ, R_j K xⱼ⟩ = β ⟨Q xᵢ, R_{j−i} K xⱼ⟩,   θₖ = base^{−k/h}.
///
/// It takes the place of a bias, in attend(), TokenDynamics, SphereDynamics, Layers and attention_matrix(). Values do not
/// turn. Cost: O((m + n) d_k) more than without it.
/// \throws std::invalid_argument where it is used, unless d_k is even.
struct Rotary {
  /// The angle falls from 1 in the first plane towards 1 / base in the last.
  double base = 10000;
  /// Which coordinates make a plane.
  RotaryPlanes planes = RotaryPlanes::adjacent;
  /// Positions add nothing else to a score.
  static constexpr double slope = 0;

  /// \throws std::invalid_argument unless the base is finite and positive.
  void validate() const {
    if (!(std::isfinite(base) && base > 0))
      detail::refuse("Rotary::base is ", base, ", expected a finite positive number");
  }
  /// The angle of plane k < h at position p; on a line it does not depend on the number of keys.
  [[nodiscard]] double angle(Eigen::Index k, Eigen::Index h, Eigen::Index p, Eigen::Index /*n*/) const {
    return static_cast<double>(p) * std::pow(base, -static_cast<double>(k) / static_cast<double>(h));
  }
};

/// Rotary positions on a ring of the n keys: plane k turns turns[k] times around it, θₖ = 2π turns[k] / n, so that scores
/// depend on j − i modulo n. Planes without an entry do not turn. Else as Rotary.
struct RingRotary {
  /// How often each plane turns; of any sign.
  std::vector<Eigen::Index> turns = {1};
  /// Which coordinates make a plane.
  RotaryPlanes planes = RotaryPlanes::adjacent;
  /// Positions add nothing else to a score.
  static constexpr double slope = 0;

  /// There is nothing to check.
  void validate() const noexcept {}
  /// The angle of plane k at position p of n, modulo 2π.
  [[nodiscard]] double angle(Eigen::Index k, Eigen::Index /*h*/, Eigen::Index p, Eigen::Index n) const {
    if (k >= static_cast<Eigen::Index>(turns.size()) || n < 1) return 0;
    const Eigen::Index share = (turns[static_cast<std::size_t>(k)] % n) * (p % n) % n;
    return 2 * std::numbers::pi * static_cast<double>(share) / static_cast<double>(n);
  }
};

namespace detail {

/// Refuses coordinates that do not make planes.
inline void require_planes(Eigen::Index d_k) {
  if (d_k % 2 != 0) refuse("rotary positions: d_k is ", d_k, ", expected an even number");
}

/// Turns the columns of d_k × m points, which stand at the positions first, first + 1, … of n.
/// Cost: O(m d_k).
template <class Scalar, RotatingPositions Positions>
void rotate(const Positions& positions, Scalar* points, Eigen::Index d_k, Eigen::Index m, Eigen::Index first,
            Eigen::Index n) {
  require_planes(d_k);
  using Number = Value<Scalar>;
  const Eigen::Index h = d_k / 2;
  const bool adjacent = positions.planes == RotaryPlanes::adjacent;
  for (Eigen::Index k = 0; k < h; ++k) {
    const Eigen::Index a = adjacent ? 2 * k : k, b = adjacent ? 2 * k + 1 : k + h;
    for (Eigen::Index i = 0; i < m; ++i) {
      const auto angle = static_cast<Number>(positions.angle(k, h, first + i, n));
      const auto cosine = static_cast<Scalar>(std::cos(angle)), sine = static_cast<Scalar>(std::sin(angle));
      Scalar &p = points[i * d_k + a], &q = points[i * d_k + b];
      const Scalar old = p;
      p *= cosine;
      p -= Scalar(q * sine);
      q *= cosine;
      q += Scalar(old * sine);
    }
  }
}

}  // namespace detail
}}  // namespace attnflow
