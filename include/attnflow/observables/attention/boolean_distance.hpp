/// \file
/// How far an attention matrix is from a Boolean one of two columns.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Distances of the rows of P to two basis vectors, in the ℓ¹ norm: 0 to 2.
struct BooleanDistance {
  double to_family = 0;                         ///< the second-largest over the rows: one row is free
  double to_pair = 0;                           ///< the largest over the rows
  Eigen::Index exceptional_row = -1;            ///< the first row that is farthest; −1 if all are Boolean
  std::array<Eigen::Index, 2> columns{-1, -1};  ///< the two columns, increasing if chosen; −1 without tokens

  friend bool operator==(const BooleanDistance&, const BooleanDistance&) = default;
};

namespace detail {

/// The distances of rows to basis vectors. 2(1 − Pᵢⱼ) is twice what row i gives to other columns. Summed up
/// like that it keeps its relative accuracy near a Boolean row, where 1 − Pᵢⱼ has lost all digits.
class RowDistances {
 public:
  explicit RowDistances(const Eigen::MatrixXd& P)
      : P_(P),
        argmax_(static_cast<std::size_t>(P.rows()), 0),
        most_(Eigen::VectorXd::Constant(P.rows(), -1)),
        rest_(Eigen::VectorXd::Zero(P.rows())) {
    for (Eigen::Index j = 0; j < P.cols(); ++j)
      for (Eigen::Index i = 0; i < P.rows(); ++i)
        if (P(i, j) > most_(i)) {
          most_(i) = P(i, j);
          argmax_[static_cast<std::size_t>(i)] = j;
        }
    for (Eigen::Index j = 0; j < P.cols(); ++j)
      for (Eigen::Index i = 0; i < P.rows(); ++i)
        if (argmax(i) != j) rest_(i) += P(i, j);
  }

  [[nodiscard]] Eigen::Index argmax(Eigen::Index i) const { return argmax_[static_cast<std::size_t>(i)]; }

  /// min(‖Pᵢ − e_a‖₁, ‖Pᵢ − e_b‖₁).
  [[nodiscard]] double operator()(Eigen::Index i, Eigen::Index a, Eigen::Index b) const {
    if (argmax(i) == a || argmax(i) == b) return 2 * rest_(i);
    return 2 * (most_(i) + (std::max)(rest_(i) - (std::max)(P_(i, a), P_(i, b)), 0.));
  }

  /// Over all rows; ends early, with what it has got, once the result cannot be better than `best`.
  [[nodiscard]] BooleanDistance over_rows(Eigen::Index a, Eigen::Index b,
                                          const BooleanDistance* best = nullptr) const {
    BooleanDistance found{.columns = {a, b}};
    for (Eigen::Index i = 0; i < P_.rows(); ++i) {
      const double distance = (*this)(i, a, b);
      if (distance > found.to_pair) {
        found.to_family = found.to_pair;
        found.to_pair = distance;
        found.exceptional_row = i;
      } else {
        found.to_family = (std::max)(found.to_family, distance);
      }
      if (best != nullptr && !better(found, *best)) break;
    }
    return found;
  }

  [[nodiscard]] static bool better(const BooleanDistance& a, const BooleanDistance& b) {
    return a.to_family < b.to_family || (a.to_family == b.to_family && a.to_pair < b.to_pair);
  }

 private:
  const Eigen::MatrixXd& P_;
  std::vector<Eigen::Index> argmax_;
  Eigen::VectorXd most_, rest_;  // of each row the largest entry, and the sum of the others
};

/// P in double. \throws std::invalid_argument unless it is square and its rows are probability vectors.
template <class Derived>
[[nodiscard]] Eigen::MatrixXd validated_weights(const Eigen::MatrixBase<Derived>& P) {
  if (P.rows() != P.cols())
    refuse("boolean_distance: P is ", P.rows(), " x ", P.cols(), ", expected a square matrix");
  const Eigen::MatrixXd weights = P.template cast<double>();
  for (Eigen::Index j = 0; j < P.cols(); ++j)
    for (Eigen::Index i = 0; i < P.rows(); ++i)
      if (!(weights(i, j) >= 0) || !std::isfinite(weights(i, j)))
        refuse("boolean_distance: P(", i, ", ", j, ") is ", weights(i, j), ", expected a number from 0 to 1");
  // What summing and rounding many weights may leave is far less.
  const double tolerance =
      std::sqrt(static_cast<double>(std::numeric_limits<typename Derived::Scalar>::epsilon()));
  for (Eigen::Index i = 0; i < P.rows(); ++i) {
    const double sum = weights.row(i).sum();
    if (!(std::abs(sum - 1) <= tolerance))
      refuse("boolean_distance: row ", i, " of P sums to ", sum, ", expected 1 up to ", tolerance);
  }
  return weights;
}

/// The best pair of arg-max columns, frequent ones first, as they leave least to look at afterwards.
[[nodiscard]] inline BooleanDistance best_pair(const Eigen::MatrixXd& P) {
  if (P.rows() == 0) return {};
  const RowDistances rows(P);
  std::vector<Eigen::Index> followers(static_cast<std::size_t>(P.cols()), 0);
  for (Eigen::Index i = 0; i < P.rows(); ++i) ++followers[static_cast<std::size_t>(rows.argmax(i))];
  std::vector<Eigen::Index> leading;
  for (Eigen::Index j = 0; j < P.cols(); ++j)
    if (followers[static_cast<std::size_t>(j)] > 0) leading.push_back(j);
  std::ranges::stable_sort(leading, std::ranges::greater{},
                           [&](Eigen::Index j) { return followers[static_cast<std::size_t>(j)]; });
  BooleanDistance best = rows.over_rows(leading[0], leading[leading.size() > 1 ? 1 : 0]);
  for (std::size_t a = 0; a < leading.size(); ++a)
    for (std::size_t b = a + 1; b < leading.size(); ++b) {
      const BooleanDistance next = rows.over_rows(leading[a], leading[b], &best);
      if (RowDistances::better(next, best)) best = next;
    }
  std::ranges::sort(best.columns);
  return best;
}

inline void validate_column(const char* name, Eigen::Index column, Eigen::Index n) {
  if (column < 0 || column >= n)
    refuse("boolean_distance: ", name, " is ", column, ", expected a column from 0 to ", n - 1);
}

}  // namespace detail

/// The distance of P to the Boolean matrices with ones in two given columns a = first and b = second, that is
/// for rows at the ℓ¹ distance δᵢ = 2(1 − max(Pᵢₐ, Pᵢᵦ)) from the nearer of two basis vectors
///
///     to_family = the second-largest δᵢ,   to_pair = max δᵢ.
///
/// The first is the distance to the family 𝒫 of [GLPR23, Thm 2.1], whose members have one row that may be
/// anything, the second that to its members of rank at most two, to which P(t) tends for almost every start.
/// For d = 1 the columns are those of the smallest and the largest token.
///
/// P: n × n, rows summing to one, n ≥ 1; first = second is allowed (rank one). Distances keep their relative
/// accuracy down to the smallest numbers, as δᵢ is summed from the other columns. O(n²) time and memory.
/// \throws std::invalid_argument unless P is square, its entries are not negative, its rows sum to one up to
/// √ε (of its own Scalar), and both columns exist.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] BooleanDistance boolean_distance(const Eigen::MatrixBase<Derived>& P, Eigen::Index first,
                                               Eigen::Index second) {
  const Eigen::MatrixXd weights = detail::validated_weights(P);
  detail::validate_column("first", first, P.cols());
  detail::validate_column("second", second, P.cols());
  return detail::RowDistances(weights).over_rows(first, second);
}

/// The same for the two columns that suit P best: of all pairs of columns that are the arg-max of some row,
/// the one with the smallest to_family, of equal ones that with the smallest to_pair.
///
/// Where to_family < 1 it is the minimum over all pairs of columns. Proof: let a pair have to_family < 1. Each
/// row but one then gives over half to a or b, which is its arg-max. If a column of the pair is nobody's
/// arg-max, those rows all follow the other one, and exchanging it for the arg-max of the row left out (or for
/// any) changes none of them. Otherwise to_family is an upper bound, and P is far from Boolean.
///
/// One arg-max column only: both columns are that one. n = 0: distances 0, no columns. O(n² + L² n) time at
/// worst for L arg-max columns, and mostly less, as a pair is given up at the first row that rules it out.
/// \throws std::invalid_argument unless P is square, its entries are not negative and its rows sum to one up
/// to √ε (of its own Scalar).
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] BooleanDistance boolean_distance(const Eigen::MatrixBase<Derived>& P) {
  return detail::best_pair(detail::validated_weights(P));
}

/// The same after columns of coincident tokens are added up: late in a run followers are equal to their leader
/// and share its weight. `columns` are then the first tokens of two clusters.
///
/// labels: n numbers from 0 to n − 1, equal for tokens of one cluster (as in Clusters::labels).
/// \throws std::invalid_argument as above, and unless there are n labels in range.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] BooleanDistance boolean_distance(const Eigen::MatrixBase<Derived>& P,
                                               std::span<const Eigen::Index> labels) {
  const Eigen::MatrixXd weights = detail::validated_weights(P);
  const detail::MergedColumns merged = detail::merged_columns("boolean_distance", "P", P.cols(), labels);
  BooleanDistance found = detail::best_pair(detail::add_columns(weights, merged));
  for (Eigen::Index& column : found.columns)
    if (column >= 0) column = merged.names[static_cast<std::size_t>(column)];
  return found;
}

/// The same for the clusters of two given tokens; `columns` are the first tokens of these clusters.
/// \throws std::invalid_argument as above.
template <class Derived>
requires KernelScalar<typename Derived::Scalar>
[[nodiscard]] BooleanDistance boolean_distance(const Eigen::MatrixBase<Derived>& P,
                                               std::span<const Eigen::Index> labels, Eigen::Index first,
                                               Eigen::Index second) {
  const Eigen::MatrixXd weights = detail::validated_weights(P);
  const detail::MergedColumns merged = detail::merged_columns("boolean_distance", "P", P.cols(), labels);
  detail::validate_column("first", first, P.cols());
  detail::validate_column("second", second, P.cols());
  const Eigen::MatrixXd sums = detail::add_columns(weights, merged);
  const auto target = [&](Eigen::Index j) { return merged.target[static_cast<std::size_t>(j)]; };
  BooleanDistance found = detail::RowDistances(sums).over_rows(target(first), target(second));
  for (Eigen::Index& column : found.columns) column = merged.names[static_cast<std::size_t>(column)];
  return found;
}

}}  // namespace attnflow
