/// \file
/// Masks: which tokens a token attends to.
#pragma once

#include <attnflow/attention/concepts.hpp>

#include <algorithm>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A token attends to itself and to those before it: j ≤ i.
struct Causal {
  /// 0, …, i.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index i, Eigen::Index /*n*/) const noexcept {
    return {0, i + 1};
  }
};

/// A token attends to those before it: j < i. The first has nothing to attend to.
struct StrictCausal {
  /// 0, …, i − 1.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index i, Eigen::Index /*n*/) const noexcept { return {0, i}; }
};

/// A token attends to its neighbours in the sequence: i − before ≤ j ≤ i + after. {w, w} is the band |i − j| ≤ w, {w, 0}
/// a causal window. Negative numbers leave out what is near: {-1, 3} attends to the three that follow.
struct Band {
  /// How many tokens before i, and after it, belong to the band.
  Eigen::Index before = 1, after = 1;

  /// What of i − before, …, i + after there is.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index i, Eigen::Index n) const noexcept {
    // Compared before they are added: every number is allowed.
    const Eigen::Index begin = before >= i ? 0 : before <= i - n ? n : i - before;
    const Eigen::Index end = after >= n - 1 - i ? n : after < -i ? 0 : i + after + 1;
    return {begin, (std::max)(begin, end)};
  }
  /// Whether i attends to j wherever j attends to i.
  [[nodiscard]] constexpr bool symmetric() const noexcept { return before == after; }
};

/// A token attends to all others: j ≠ i. One token alone has nothing to attend to.
struct ExcludeSelf {
  /// All: 0, …, n − 1, of which attends() leaves out i.
  [[nodiscard]] constexpr KeyRange keys(Eigen::Index /*i*/, Eigen::Index n) const noexcept { return {0, n}; }
  /// j ≠ i.
  [[nodiscard]] constexpr bool attends(Eigen::Index i, Eigen::Index j) const noexcept { return i != j; }
  /// The mask is symmetric.
  [[nodiscard]] constexpr bool symmetric() const noexcept { return true; }
};

namespace detail {

/// The range of keys of query i that there are: a query may stand behind all n keys.
template <class Mask>
[[nodiscard]] KeyRange key_range(const Mask& mask, Eigen::Index i, Eigen::Index n) {
  static_assert(!StateMask<Mask>, "this system does not take a mask of the tokens' distances (Within)");
  KeyRange range = mask.keys(i, n);
  range.end = (std::min)(range.end, n);
  return range;
}

/// Whether a mask leaves key j to query i, for j in key_range(mask, i, n).
template <class Mask>
[[nodiscard]] bool is_attended(const Mask& mask, Eigen::Index i, Eigen::Index j) {
  if constexpr (PickingMask<Mask>)
    return mask.attends(i, j);
  else
    return static_cast<void>(mask), static_cast<void>(i), static_cast<void>(j), true;
}

/// The key nearest to i that the mask leaves to query i; −1 if there is none.
template <class Mask>
[[nodiscard]] Eigen::Index nearest_key(const Mask& mask, Eigen::Index i, Eigen::Index n) {
  const KeyRange range = key_range(mask, i, n);
  if (range.begin >= range.end) return -1;
  const Eigen::Index middle = std::clamp(i, range.begin, range.end - 1);
  for (Eigen::Index step = 0; step < range.end - range.begin; ++step) {
    if (middle - step >= range.begin && is_attended(mask, i, middle - step)) return middle - step;
    if (middle + step < range.end && is_attended(mask, i, middle + step)) return middle + step;
  }
  return -1;
}

}  // namespace detail
}}  // namespace attnflow
