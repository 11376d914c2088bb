/// \file
/// The bilinear form of the polytope theorems: a checked M and its factor.
#pragma once

#include <attnflow/detail/finite_columns.hpp>
#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/numerics/scale.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// M and vertices, scaled by powers of two to entries up to 1, and M = L Lᵀ. (Factored by a plain loop:
/// d is small, and Eigen's decompositions take long to compile.)
struct FormAndVertices {
  Eigen::MatrixXd M;  ///< 2^{form_shift} M, symmetrised
  Eigen::MatrixXd L;  ///< lower triangle
  Eigen::MatrixXd V;  ///< 2^{shift} times the vertices
  int form_shift = 0;
  int shift = 0;
};

/// \throws std::invalid_argument in the name of `function`, unless the shapes agree, all is finite and M is
/// symmetric positive definite. The point takes part in the choice of the scale.
[[nodiscard]] inline FormAndVertices validated_form(const char* function, const Eigen::MatrixXd& M,
                                                    const Eigen::MatrixXd& vertices,
                                                    const Eigen::MatrixXd& point) {
  const Eigen::Index d = vertices.rows();
  if (M.rows() != d || M.cols() != d)
    refuse(function, ": M is ", M.rows(), " x ", M.cols(), ", expected ", d, " x ", d,
           ", as the vertices are in d = ", d);
  refuse_unless_finite(function, "M", M, "column");
  validate_point_and_hull(function, point, vertices);
  FormAndVertices out;
  out.form_shift = unit_shift(M);
  out.shift = (std::min)(unit_shift(vertices), unit_shift(point));
  out.M = scaled_by_power(M, out.form_shift);
  out.V = scaled_by_power(vertices, out.shift);
  for (Eigen::Index j = 0; j < d; ++j)
    for (Eigen::Index i = 0; i < j; ++i) {
      if (std::abs(out.M(i, j) - out.M(j, i)) > 1e-12)
        refuse(function, ": M(", i, ", ", j, ") is ", M(i, j), " and M(", j, ", ", i, ") is ", M(j, i),
               ", expected a symmetric matrix");
      out.M(i, j) = out.M(j, i) = 0.5 * (out.M(i, j) + out.M(j, i));
    }
  out.L = Eigen::MatrixXd::Zero(d, d);
  for (Eigen::Index j = 0; j < d; ++j) {
    const double pivot = out.M(j, j) - out.L.row(j).head(j).squaredNorm();
    if (!(pivot > static_cast<double>(d) * std::numeric_limits<double>::epsilon() * out.M(j, j)))
      refuse(function, ": M has no Cholesky factor, expected a positive definite matrix");
    out.L(j, j) = std::sqrt(pivot);
    for (Eigen::Index i = j + 1; i < d; ++i)
      out.L(i, j) = (out.M(i, j) - out.L.row(i).head(j).dot(out.L.row(j).head(j))) / out.L(j, j);
  }
  return out;
}

/// max_k ⟨Mx, vₖ − x⟩ of scaled things. The differences first: near a vertex they are exact.
[[nodiscard]] inline double scaled_residual(const FormAndVertices& form, const Eigen::VectorXd& x) {
  const Eigen::VectorXd Mx = image_of(form.M, x.data());
  double largest = -std::numeric_limits<double>::infinity();
  for (Eigen::Index k = 0; k < form.V.cols(); ++k) largest = (std::max)(largest, Mx.dot(form.V.col(k) - x));
  return largest;
}

}}}  // namespace attnflow::detail
