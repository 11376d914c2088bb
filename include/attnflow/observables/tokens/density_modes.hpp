/// \file
/// The modes of kernel densities of tokens, on the circle and on the line: a guess at how many clusters will last.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/observables/tokens/kernel_density.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

template <class Kernel, class Derived>
[[nodiscard]] std::vector<double> density_modes(const char* function, const char* name,
                                                const Eigen::MatrixBase<Derived>& points, double beta) {
  if (!(beta > 0) || !std::isfinite(beta))
    refuse(function, ": beta is ", beta, ", expected a positive finite number");
  std::vector<double> x;
  for (Eigen::Index j = 0; j < points.size(); ++j) {
    auto value = static_cast<double>(points(j));
    if (!std::isfinite(value))
      refuse(function, ": ", name, " ", j, " is ", value, ", expected a finite number");
    if constexpr (Kernel::periodic) {
      value = std::fmod(value, Kernel::turn);
      if (value < 0) value += Kernel::turn;
    }
    x.push_back(value);
  }
  if (x.empty()) return {};
  return KernelDensity<Kernel>(std::move(x), Kernel{beta}).modes();
}

}  // namespace detail

/// The modes of tokens on the circle at inverse temperature β, the local maxima of
///
///     g(θ) = ∑ⱼ e^{β cos(θ − θⱼ)},
///
/// in [0, 2π), increasing. What unnormalised attention does to a single token is to climb g: the modes are where a
/// token would rest if the others did not move, and their number is proposed as that of the clusters that last
/// [GRS24].
///
/// g′ is followed within reach of the tokens, where alone a maximum can be (β sin² u ≤ cos u for one of them), in
/// cells of 1/16 of that reach, about β^{−1/2}/16. Each is halved until bounds on g″ and g‴ prove that g′ has one
/// zero in it at most, but no more than 12 times: two maxima and the minimum between them are missed only if they are
/// nearer than 10⁻⁵ β^{−1/2}. (A density that is almost flat all over ends sooner, after 10⁵ cells and 50 for each of
/// the first.) A slope counts as zero up to 64 ε of its terms; where that is so all around, as for many equally
/// spaced tokens, the density is flat and has no modes. Each mode is found to the rounding of g′ over g″. Nothing
/// underflows: terms are relative to the largest at each place. Where cells are less than the spacing of numbers (β
/// of 10²⁸), tokens in reach of each other are one mode.
///
/// angles: a row or a column of n numbers, in any 2π-interval. O(16 n m) at most for terms from m tokens that count
/// at one place, those within √(80/β) of it or so, and O(100 √β m); more where cells are halved.
/// \throws std::invalid_argument unless β is positive and finite and all angles are finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar> &&(Derived::IsVectorAtCompileTime == 1)
    [[nodiscard]] std::vector<double> circle_density_modes(const Eigen::MatrixBase<Derived>& angles,
                                                           double beta) {
  return detail::density_modes<detail::CircleKernel>("circle_density_modes", "angle", angles, beta);
}

/// The modes on the line: the local maxima of the Gaussian kernel density with bandwidth β^{−1/2},
///
///     g(y) = ∑ⱼ e^{−β (y − xⱼ)²/2},
///
/// increasing. Of n Gaussian numbers with n^c ≤ β ≤ n^{2−c} there are of the order of √(β log β) [GRS24]. As
/// circle_density_modes, with the reach β^{−1/2}.
/// \throws std::invalid_argument unless β is positive and finite and all points are finite.
template <class Derived>
requires KernelScalar<typename Derived::Scalar> &&(Derived::IsVectorAtCompileTime == 1)
    [[nodiscard]] std::vector<double> line_density_modes(const Eigen::MatrixBase<Derived>& points,
                                                         double beta) {
  return detail::density_modes<detail::LineKernel>("line_density_modes", "point", points, beta);
}

}}  // namespace attnflow
