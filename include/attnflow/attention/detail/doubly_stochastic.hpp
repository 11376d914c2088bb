/// \file
/// The doubly stochastic scaling of a matrix of exponentials, by Newton's method on its dual problem.
#pragma once

#include <attnflow/attention/detail/balance.hpp>
#include <attnflow/attention/generic/generic_rows.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/scratch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// A weight Pᵢⱼ of the row i in whose list it stands.
template <class Number>
struct ListedWeight {
  Eigen::Index key;  ///< j
  Number weight;
};
/// The weights of each row that count, by their keys; none for a row with nothing to attend to.
template <class Number>
using ListedRows = std::vector<std::vector<ListedWeight<Number>>>;

/// The matrix H + diag(ground), H = ∑ᵢ mᵢ (diag(pᵢ) − pᵢ pᵢᵀ) for the rows pᵢ of P: the Laplacian of a graph whose edges
/// have the weights ∑ᵢ mᵢ Pᵢⱼ Pᵢₖ, with an edge from each node to the ground. Eliminated without a subtraction, as in
/// [GTH85]: solutions keep their relative accuracy where weights differ by hundreds of orders of magnitude.
/// Cost: O(n³) time, n² numbers.
template <class Number>
class GroundedLaplacian {
 public:
  GroundedLaplacian(const ListedRows<Number>& rows, const std::vector<Number>& masses,
                    const std::vector<Number>& ground)
      : n_(static_cast<Eigen::Index>(rows.size())), pivots_(rows.size()), edges_(n_, n_) {
    edges_.setConstant(Number(0));
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (auto left = rows[i].begin(); left != rows[i].end(); ++left) {
        const Number factor = masses[i] * left->weight;
        Number* column = edges_.data() + left->key * n_;
        for (auto right = left + 1; right != rows[i].end(); ++right)
          column[right->key] += factor * right->weight;
      }
    std::vector<Number> to_ground = ground;
    for (Eigen::Index k = 0; k < n_; ++k) {
      Number* column = edges_.data() + k * n_;
      Number& pivot = pivots_[static_cast<std::size_t>(k)];
      pivot = to_ground[static_cast<std::size_t>(k)];
      for (Eigen::Index i = k + 1; i < n_; ++i) pivot += column[i];
      if (!(pivot > 0)) continue;
      for (Eigen::Index j = k + 1; j < n_; ++j) {
        const Number share = column[j] / pivot;
        if (share == 0) continue;
        Number* target = edges_.data() + j * n_;
        for (Eigen::Index i = j + 1; i < n_; ++i) target[i] += share * column[i];
        to_ground[static_cast<std::size_t>(j)] += share * to_ground[static_cast<std::size_t>(k)];
      }
      for (Eigen::Index i = k + 1; i < n_; ++i) column[i] /= pivot;
    }
  }

  /// The solution of (H + diag(ground)) y = r, for numbers r or what carries derivatives.
  template <class Scalar>
  [[nodiscard]] std::vector<Scalar> solve(std::vector<Scalar> r) const {
    for (Eigen::Index k = 0; k < n_; ++k)
      for (Eigen::Index i = k + 1; i < n_; ++i) add(r, i, k, edges_(i, k));
    for (Eigen::Index k = n_; k-- > 0;) {
      Scalar& entry = r[static_cast<std::size_t>(k)];
      const Number pivot = pivots_[static_cast<std::size_t>(k)];
      entry *= static_cast<Scalar>(pivot > 0 ? 1 / pivot : Number(0));
      for (Eigen::Index i = k + 1; i < n_; ++i) add(r, k, i, edges_(i, k));
    }
    return r;
  }

 private:
  template <class Scalar>
  static void add(std::vector<Scalar>& r, Eigen::Index to, Eigen::Index from, Number factor) {
    if (factor == 0) return;
    const Scalar term = r[static_cast<std::size_t>(from)] * static_cast<Scalar>(factor);
    r[static_cast<std::size_t>(to)] += term;
  }

  Eigen::Index n_;
  std::vector<Number> pivots_;
  ColumnMajor<Number, Eigen::Dynamic, Eigen::Dynamic> edges_;  // below the diagonal
};

/// The solution of the same system by conjugate gradients, to a relative residual: two passes over the lists a step.
template <class Number>
[[nodiscard]] std::vector<Number> solve_by_conjugate_gradients(const ListedRows<Number>& rows,
                                                               const std::vector<Number>& masses,
                                                               const std::vector<Number>& ground,
                                                               std::vector<Number> r, Number reduction) {
  const std::size_t n = rows.size();
  std::vector<Number> diagonal = ground, y(n, Number(0)), z(n), direction, image(n);
  for (std::size_t i = 0; i < n; ++i) {
    Number sum = 0, largest = 0;
    Eigen::Index leader = -1;
    for (const auto& [key, weight] : rows[i])
      if (weight > largest) largest = weight, leader = key;
    for (const auto& [key, weight] : rows[i])
      if (key != leader) sum += weight;
    for (const auto& [key, weight] : rows[i])  // 1 − w, for the largest as the sum of the others
      diagonal[static_cast<std::size_t>(key)] += masses[i] * weight * (key == leader ? sum : 1 - weight);
  }
  const auto precondition = [&] {
    Number product = 0;
    for (std::size_t j = 0; j < n; ++j) {
      z[j] = diagonal[j] > 0 ? r[j] / diagonal[j] : Number(0);
      product += r[j] * z[j];
    }
    return product;
  };
  Number product = precondition();
  const Number goal = reduction * reduction * product;
  direction = z;
  for (int step = 0; step < 1000 && product > goal; ++step) {
    for (std::size_t j = 0; j < n; ++j) image[j] = ground[j] * direction[j];
    for (std::size_t i = 0; i < n; ++i) {
      Number mean = 0;
      for (const auto& [key, weight] : rows[i]) mean += weight * direction[static_cast<std::size_t>(key)];
      for (const auto& [key, weight] : rows[i])
        image[static_cast<std::size_t>(key)] +=
            masses[i] * weight * (direction[static_cast<std::size_t>(key)] - mean);
    }
    Number curvature = 0;
    for (std::size_t j = 0; j < n; ++j) curvature += direction[j] * image[j];
    if (!(curvature > 0)) break;
    const Number length = product / curvature;
    for (std::size_t j = 0; j < n; ++j) {
      y[j] += length * direction[j];
      r[j] -= length * image[j];
    }
    const Number next = precondition(), ratio = next / product;
    product = next;
    for (std::size_t j = 0; j < n; ++j) direction[j] = z[j] + ratio * direction[j];
  }
  return y;
}

/// The weights of all rows, made of scores, and their columns cⱼ = ∑ᵢ mᵢ Pᵢⱼ. Weights below 10⁻²⁰ mⱼ do not count.
template <class Number, class Rows>
void list_rows(const Rows& scores, Eigen::Index d, const std::vector<Number>& masses,
               ListedRows<Number>& rows, std::vector<Number>& columns) {
  const std::size_t n = masses.size();
  for_each_generic_row<Number>(
      static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(n), d, [&](Eigen::Index i) {
        static constinit thread_local Scratch<GenericRow<Number>> kept;
        GenericRow<Number>& row = *kept;
        auto& list = rows[static_cast<std::size_t>(i)];
        list.clear();
        scores.make(i, row);
        if (row.empty) return;
        Number sum = 0;
        for (Number& entry : row.difference) sum += entry = std::exp(entry);
        for (Eigen::Index j = row.range.begin; j < row.range.end; ++j) {
          const Number weight = row.difference[static_cast<std::size_t>(j - row.range.begin)] / sum;
          if (weight >= Number(1e-20) * masses[static_cast<std::size_t>(j)]) list.push_back({j, weight});
        }
      });
  columns.assign(n, Number(0));
  for (std::size_t i = 0; i < n; ++i)
    for (const auto& [key, weight] : rows[i]) columns[static_cast<std::size_t>(key)] += masses[i] * weight;
}

/// The largest difference of two scores of one row, masses included; ∞ where it is no number.
template <class Number, class Rows>
[[nodiscard]] Number largest_spread(const Rows& scores, Eigen::Index n, Eigen::Index d) {
  std::vector<Number> spreads(static_cast<std::size_t>(n), Number(0));
  for_each_generic_row<Number>(n, n, d, [&](Eigen::Index i) {
    static constinit thread_local Scratch<GenericRow<Number>> kept;
    GenericRow<Number>& row = *kept;
    scores.make(i, row);
    if (row.empty) return;
    Number& spread = spreads[static_cast<std::size_t>(i)];
    for (Eigen::Index j = row.range.begin; j < row.range.end; ++j)
      if (scores.takes(i, j))
        spread = (std::max)(spread, -row.difference[static_cast<std::size_t>(j - row.range.begin)]);
    if (!std::isfinite(row.largest_score)) spread = std::numeric_limits<Number>::infinity();
  });
  return *std::max_element(spreads.begin(), spreads.end());
}

/// The scaling itself: g, as terms and corrections of keys (see GenericRows), for which every column of
///
///     Pᵢⱼ = mⱼ e^{sᵢⱼ + gⱼ} / ∑ₗ mₗ e^{sᵢₗ + gₗ}   has   |∑ᵢ mᵢ Pᵢⱼ − mⱼ| ≤ tolerance mⱼ,
///
/// beside what a sum of n numbers is rounded by. It is the minimum of the convex ψ(g) = ∑ᵢ mᵢ log ∑ⱼ mⱼ e^{sᵢⱼ + gⱼ} − ∑ⱼ mⱼ
/// gⱼ with ∇ψ = c − m, found by Newton's method with the step length log(1 + ρ)/ρ, ρ = maxⱼ yⱼ − minⱼ yⱼ, with which ψ falls
/// for certain [ST19]. It starts from scores so small that every column has a weight, and ends each time with twice as
/// large ones, or up to 16 times where the scale before did not move g. The ground of the system keeps groups of tokens that hardly see
/// each other from moving far.
///
/// Terms are fixed at the last of these scales, so that they are rounded once and for all, and what still changes are
/// the corrections, which are small: columns sum to one to rounding at scores of any size.
///
/// Where it does not reach the tolerance, key_terms are NaN and marginal_error is what it is: there may be no such
/// scaling (a mask under which some tokens see fewer others than they are), or scores have no logarithms.
template <class Number, int Dim, class Mask>
[[nodiscard]] Balance<Number> balance_by_newton(const GenericForm<Number, Dim>& form,
                                                const std::type_identity_t<ScaledMatrix<Dim>>* flow,
                                                const Mask& mask, double slope,
                                                const TokenView<Number, Dim>& x,
                                                const std::vector<Number>& log_masses, double tolerance,
                                                ListedRows<Number>& rows, std::vector<Number>& masses) {
  constexpr int most_steps = 300;               // at one scale
  constexpr std::size_t most_eliminated = 300;  // above, conjugate gradients take less time
  const Eigen::Index n = x.cols(), d = x.rows();
  const auto count = static_cast<std::size_t>(n);
  const Number allowed = (std::max)(static_cast<Number>(tolerance),
                                    std::numeric_limits<Number>::epsilon() * static_cast<Number>(4 + n));
  Balance<Number> result;
  result.marginal_error = std::numeric_limits<double>::infinity();
  rows.resize(count);
  masses.assign(count, Number(1));
  for (std::size_t j = 0; j < log_masses.size(); ++j) masses[j] = std::exp(log_masses[j]);
  std::vector<Number> g(count, Number(0)), columns, r(count), ground(count), &y = result.corrections;
  std::vector<Number>& terms = result.key_terms;
  GenericForm<Number, Dim> scaled = form;
  const auto scores_at = [&](Number scale) {
    scaled.beta = form.beta * static_cast<double>(scale);
    terms = g;
    for (std::size_t j = 0; j < log_masses.size(); ++j) terms[j] += log_masses[j];
    y.assign(count, Number(0));
    return GenericRows<Number, Dim, Mask>(scaled, flow, mask, slope * static_cast<double>(scale), x, terms,
                                          y);
  };
  const Number spread = largest_spread<Number>(scores_at(Number(1)), n, d);
  bool met = false;
  Number scale = spread > 8 ? 8 / spread : Number(1), growth = 2;
  while (scale > 0) {
    const auto scores = scores_at(scale);
    int steps = 0;
    for (;; ++steps) {
      list_rows(scores, d, masses, rows, columns);
      Number error = 0;
      for (std::size_t j = 0; j < count; ++j) {
        r[j] = rows[j].empty() ? Number(0)
                               : masses[j] - columns[j];  // nobody attends to j: the mask is symmetric
        if (!(std::abs(r[j]) <= error * masses[j])) error = std::abs(r[j]) / masses[j];
      }
      result.marginal_error = static_cast<double>(error);
      met = error <= (scale < 1 ? Number(0.3) : allowed);
      if (met || steps == most_steps || !std::isfinite(error)) break;
      for (std::size_t j = 0; j < count; ++j) ground[j] = Number(1e-3) * error * masses[j];
      const std::vector<Number> step =
          count <= most_eliminated
              ? GroundedLaplacian<Number>(rows, masses, ground).solve(r)
              : solve_by_conjugate_gradients(rows, masses, ground, r, (std::min)(error, Number(0.1)));
      const auto [least, most] = std::minmax_element(step.begin(), step.end());
      const Number range = *most - *least;
      const Number length = range > 0 ? std::log1p(range) / range : Number(1);
      for (std::size_t j = 0; j < count; ++j) y[j] += length * step[j];
    }
    result.iterations += steps;
    if (!met || scale >= 1) break;
    growth = steps == 0 ? (std::min)(growth * growth, Number(16)) : Number(2);
    const Number next = (std::min)(scale * growth, Number(1)), factor = next / scale;
    for (std::size_t j = 0; j < count; ++j) g[j] = factor * (g[j] + y[j]);
    scale = next;
  }
  Number largest = -std::numeric_limits<Number>::infinity();
  for (std::size_t j = 0; j < count; ++j)
    if (!rows[j].empty()) largest = (std::max)(largest, g[j] + y[j]);
  if (std::isfinite(largest)) result.largest = static_cast<double>(largest);
  if (!met) terms.assign(count, std::numeric_limits<Number>::quiet_NaN());
  return result;
}

}}}  // namespace attnflow::detail
