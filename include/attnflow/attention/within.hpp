/// \file
/// Bounded confidence: a mask of the tokens' distances.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/detail/value_of.hpp>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A token attends to those within a distance: ‖xᵢ − xⱼ‖ ≤ radius, itself included (bounded confidence, as in the model of
/// Hegselmann and Krause). Between queries and keys that are given as such the distance is ‖qᵢ − kⱼ‖. It is taken of the
/// tokens at each evaluation; velocities jump where a token enters. Cost: O(m n d) beside the operator's own.
///
/// Positions do not matter. Rescaled coordinates have other distances: RescaledDynamics and RescaledLayers do not take it.
struct Within {
  /// The largest distance; ∞ is no mask.
  double radius = 1;

  /// All: 0, …, n − 1, of which near tokens are picked.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index /*i*/, Eigen::Index n) const noexcept { return {0, n}; }
  /// The mask is symmetric.
  [[nodiscard]] constexpr bool symmetric() const noexcept { return true; }
  /// \throws std::invalid_argument unless the radius is positive.
  void validate() const {
    if (!(radius > 0)) detail::refuse("Within::radius is ", radius, ", expected a positive number");
  }

  /// Whether a key is near enough; both have d coordinates.
  template <class Scalar>
  [[nodiscard]] bool takes(const Scalar* query, const Scalar* key, Eigen::Index d) const {
    double sum = 0;
    for (Eigen::Index c = 0; c < d; ++c) {
      // In units of the radius, halved before the difference: nothing overflows that is near.
      const double part = (static_cast<double>(detail::value_of(query[c])) / 2 -
                           static_cast<double>(detail::value_of(key[c])) / 2) /
                          radius;
      sum += part * part;
    }
    return sum <= 0.25;
  }
};

namespace detail {

/// A mask of the state at the points of one evaluation.
template <class Scalar, int Dim, StateMask Mask>
struct BoundMask {
  const Mask& mask;
  const PointViews<Scalar, Dim>& points;

  [[nodiscard]] KeyRange keys(Eigen::Index i, Eigen::Index n) const { return mask.keys(i, n); }
  [[nodiscard]] bool attends(Eigen::Index i, Eigen::Index j) const {
    const Eigen::Index d = points.keys.rows();
    return mask.takes(points.queries.data() + (i - points.first_position) * d, points.keys.data() + j * d, d);
  }
  [[nodiscard]] bool symmetric() const { return mask.symmetric(); }
};

/// The mask itself, or a mask of the state bound to the points of an evaluation, which live as long as the result.
template <class Scalar, int Dim, class Mask>
[[nodiscard]] decltype(auto) bound_mask(const Mask& mask, const PointViews<Scalar, Dim>& points) {
  if constexpr (StateMask<Mask>) {
    mask.validate();
    return BoundMask<Scalar, Dim, Mask>{mask, points};
  } else {
    static_cast<void>(points);
    return (mask);
  }
}

}  // namespace detail
}}  // namespace attnflow
