/// \file
/// Tokens seen in the subspaces that a prediction speaks of.
#pragma once

#include <attnflow/numerics/linear_systems.hpp>
#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/prediction/predict_limit.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cmath>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// How the states of a run relate to z: by a time that is continuous or made of layers, and by coordinates.
struct Frame {
  bool rescaled = true;                         ///< states are z; otherwise x
  double layer_step = 0;                        ///< positive: x = Rᵏ z with R = I + step V and k = t / step
  const InvariantBasis* coordinates = nullptr;  ///< states are y, with z (or x) = basis · y

  [[nodiscard]] bool has_basis() const noexcept {
    return coordinates != nullptr && !coordinates->is_identity;
  }
  [[nodiscard]] long layer(double t) const { return std::lround(t / layer_step); }
  /// The logarithm of the factor by which x along an eigenvector of λ has grown by time t.
  [[nodiscard]] double log_growth(double lambda, double t) const {
    return layer_step > 0 ? static_cast<double>(layer(t)) * std::log1p(layer_step * lambda) : lambda * t;
  }
};

/// A head in the coordinates of the states: x = basis · y turns V into basis⁻¹ V basis, Q into Q basis.
[[nodiscard]] inline Head<double> in_coordinates(const Head<double>& head, const Frame& frame) {
  if (!frame.has_basis()) return head;
  const InvariantBasis& c = *frame.coordinates;
  return {product_of(head.Q, c.basis), product_of(head.K, c.basis), c.blocks};
}

/// x(t) = growth · x(0) for a token that attends to itself only: e^{tV}, of layers (I + ΔtV)^k.
[[nodiscard]] inline ScaledMatrix<> growth_of(const Eigen::MatrixXd& V, const Frame& frame, double t) {
  if (!(frame.layer_step > 0)) return MatrixExponential<>(V)(t);
  const Eigen::Index d = V.rows();
  ScaledMatrix<> power = ScaledMatrix<>::identity(d);
  ScaledMatrix<> base =
      ScaledMatrix<>::of(Eigen::MatrixXd(Eigen::MatrixXd::Identity(d, d) + frame.layer_step * V));
  for (long k = frame.layer(t); k > 0; k /= 2) {
    if (k % 2 != 0) power.premultiply(base);
    if (k > 1) base.square();
  }
  return power;
}

/// The coordinates of z in the part ℱ of a splitting, orthonormal in the original space: a = map · state, d_ℱ
/// × n, for states that are z; for states x also e^{−tV|ℱ} has to be applied, which is where `value` comes
/// in.
struct PartCoordinates {
  Eigen::MatrixXd map;  ///< m × d
  Eigen::MatrixXd basis;  ///< d × m: an orthonormal basis of ℱ in the original space, z ≡ basis · a modulo 𝒢
  Eigen::MatrixXd value;  ///< m × m: V on ℱ in these coordinates

  /// \param split  of V in the coordinates of the states.
  static PartCoordinates of(const InvariantSplitting& split, const Frame& frame) {
    if (!frame.has_basis()) return {split.inside_dual, split.inside, split.V_inside};
    const Eigen::MatrixXd image = product_of(frame.coordinates->basis, split.inside);
    // image = basis · R with RᵀR the Gram matrix; R a keeps lengths.
    const auto [R, inverse] = cholesky(transposed_product(image, image));
    return {product_of(R, split.inside_dual), product_of(image, inverse),
            product_of(product_of(R, split.V_inside), inverse)};
  }

  /// The coordinates of z at time t from a state, in double.
  [[nodiscard]] Eigen::MatrixXd of_state(const Frame& frame, double t, const Eigen::MatrixXd& state) const {
    const Tokens<double> a = product_of(map, state);
    if (frame.rescaled || a.size() == 0 || t == 0) return a;
    if (frame.layer_step > 0)
      return RescaledLayers<double>(Head<double>::with_value(value), frame.layer_step)
          .rescale(frame.layer(t), a);
    return rescale(MatrixExponential<>(value), t, a);
  }
};

/// x from a state at time t, in the original coordinates.
[[nodiscard]] inline Eigen::MatrixXd tokens_of_state(const Eigen::MatrixXd& V, const Frame& frame, double t,
                                                     const Eigen::MatrixXd& state) {
  const Tokens<double> own =
      frame.has_basis() ? Eigen::MatrixXd(product_of(frame.coordinates->basis, state)) : state;
  if (!frame.rescaled) return own;
  if (frame.layer_step > 0)
    return RescaledLayers<double>(Head<double>::with_value(V), frame.layer_step)
        .unrescale(frame.layer(t), own);
  return unrescale(MatrixExponential<>(V), t, own);
}

/// The diagonal of the bounding box, 0 without tokens.
[[nodiscard]] inline double extent_of(const Eigen::MatrixXd& a) {
  if (a.size() == 0) return 0;
  return (a.rowwise().maxCoeff() - a.rowwise().minCoeff()).norm();
}

}}}  // namespace attnflow::detail
