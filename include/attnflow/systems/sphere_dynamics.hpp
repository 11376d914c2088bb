/// \file
/// Self-attention dynamics on the unit sphere.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/geometry/sphere.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/types.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Self-attention on the unit sphere, for one head or several [GLPR25, eq. (SA), and (USA) with
/// Unnormalized]:
///
///     ẋᵢ = P(xᵢ) ∑ₕ ∑ⱼ wʰᵢⱼ Vₕ xⱼ,   P(x) y = y − (⟨x, y⟩ / ‖x‖²) x,   wʰ = law(⟨Qₕ xᵢ, Kₕ xⱼ⟩).
///
/// State: d × n, unit columns. The field is tangent, ⟨xᵢ, ẋᵢ⟩ ≈ ε ‖ẋᵢ‖, to the sphere of any radius, so the
/// exact flow keeps the norms; a stepper of the ambient space lets them drift at its order, and OnSphere
/// holds any stepper to norm one. Near a consensus, where drifts of size one cancel, velocities are right to
/// ε and still tangent.
///
/// For Q = K = V = I the energy E = ∑ᵢⱼ e^{β⟨xᵢ, xⱼ⟩} / (2 β n²) grows: dE/dt = ∑ᵢ ‖ẋᵢ‖² / n for
/// Unnormalized, and for Softmax each term weighs ∑ⱼ e^{β⟨xᵢ, xⱼ⟩} / n [GLPR25]. Tokens in an open
/// hemisphere {⟨x, w⟩ > 0} stay there: minᵢ ⟨xᵢ, w⟩ does not decrease. From almost every start all tokens
/// meet.
///
/// One call costs what TokenDynamics does, and O(n d) more.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class SphereDynamics {
 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;

  /// \throws std::invalid_argument naming the matrix, unless the shapes of Q, K, V agree and all is finite.
  explicit SphereDynamics(Head<Scalar_, Dim_> head, Law law = {}, Mask mask = {}, Bias bias = {})
      : SphereDynamics(std::vector<Head<Scalar, Dim>>{std::move(head)}, law, mask, bias) {}

  /// Several heads, all for tokens of one dimension. Errors as above, naming the head.
  explicit SphereDynamics(std::vector<Head<Scalar_, Dim_>> heads, Law law = {}, Mask mask = {},
                          Bias bias = {})
      : drift_(validated(std::move(heads)), law, mask, bias) {}

  /// Writes the velocity at x to dx, resized to fit. \pre x and dx are different objects.
  /// \throws std::invalid_argument unless x has d rows.
  void operator()(double t, const State& x, State& dx) const {
    detail::require_dimension("SphereDynamics", x, dim());
    drift_(t, x, dx);
    sphere::project_tangent(x, dx);
  }

  /// The same for tokens and velocities in memory of another owner: an Eigen::Map of a solver's buffers, columns of a larger
  /// matrix. What lies in memory as Tokens do is read and written in place; another stride costs a copy.
  /// \throws std::invalid_argument unless x has d rows and dx the shape of x, or can be resized to it.
  template <TokenSource<Scalar_, Dim_> X, TokenTarget<Scalar_, Dim_> Out>
  void operator()(double t, const X& x, Out&& dx) const {
    detail::require_dimension("SphereDynamics", x, dim());
    detail::write_in_place<Scalar, Dim>("SphereDynamics", x.rows(), x.cols(), dx, [&](auto& out) {
      const detail::TokenView<Scalar, Dim> view(x);
      drift_(t, view.map(), out);
      detail::project_columns<Scalar, Dim>(view.map(), out);
    });
  }

  /// P of one head at x. \throws std::invalid_argument if x has not d rows or a token is not finite,
  /// std::out_of_range if there is no such head.
  template <TokenSource<Scalar_, Dim_> X>
  [[nodiscard]] SquareMatrix<Scalar> attention(double t, const X& x, std::size_t head = 0) const {
    detail::require_dimension("SphereDynamics", x, dim());
    if (head >= heads().size())
      throw std::out_of_range("SphereDynamics::attention: head " + std::to_string(head) + " of " +
                              std::to_string(heads().size()));
    return drift_.attention(t, x, head);
  }

  /// The derivative of the field, nd × nd; token i owns rows and columns i d … i d + d − 1. With aᵢ the
  /// velocity before the projection,
  ///
  ///     ∂ẋᵢ/∂xₖ = P(xᵢ) ∂aᵢ/∂xₖ − δᵢₖ (⟨xᵢ, aᵢ⟩ I + xᵢ aᵢᵀ − 2 ⟨xᵢ, aᵢ⟩ xᵢ xᵢᵀ / ‖xᵢ‖²) / ‖xᵢ‖².
  ///
  /// Rows are tangent on the tangent space alone: for vᵢ ⟂ xᵢ the derivative along v has the radial part
  /// −⟨vᵢ, ẋᵢ⟩. Cost as TokenDynamics::jacobian. \pre no token is at the origin.
  /// \throws std::invalid_argument unless x has d rows and is finite, std::overflow_error where an entry of the drift's
  /// derivative is beyond double.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& x) const requires
      requires(const TokenDynamics<Scalar_, Dim_, Law, Mask, Bias>& f) {
    f.jacobian(t, x);
  }
  {
    detail::require_dimension("SphereDynamics::jacobian", x, dim());
    Eigen::MatrixXd J = drift_.jacobian(t, x);
    State drift;
    drift_(t, x, drift);
    project_jacobian(x, drift, J);
    return J;
  }

  /// Replaces each vector vᵢ by P(xᵢ) vᵢ, see sphere::project_tangent. \pre x and v are different objects.
  /// \throws std::invalid_argument unless x has d rows and v the shape of x.
  void project(const State& x, State& v) const {
    detail::require_dimension("SphereDynamics::project", x, dim());
    detail::require_shape("SphereDynamics::project", "v", v, x.rows(), x.cols());
    sphere::project_tangent(x, v);
  }
  /// Replaces the derivative J of a drift aᵢ by that of P(xᵢ) aᵢ. \pre no token is at the origin.
  /// \throws std::invalid_argument unless x has d rows, the drift the shape of x, and J is nd × nd.
  void project_jacobian(const State& x, const State& drift,
                        Eigen::MatrixXd& J) const requires KernelScalar<Scalar_> {
    detail::require_dimension("SphereDynamics::project_jacobian", x, dim());
    detail::require_shape("SphereDynamics::project_jacobian", "the drift", drift, x.rows(), x.cols());
    detail::require_shape("SphereDynamics::project_jacobian", "J", J, x.size(), x.size());
    detail::project_jacobian(x, drift, J);
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return drift_.dim(); }
  /// The weights of the heads, at least one.
  [[nodiscard]] const std::vector<Head<Scalar, Dim>>& heads() const noexcept { return drift_.heads(); }

 private:
  /// The heads, refused in this class's name.
  static std::vector<Head<Scalar, Dim>> validated(std::vector<Head<Scalar, Dim>> heads) {
    if (heads.empty()) detail::refuse("SphereDynamics: no head given, expected at least one");
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const std::string name =
          heads.size() == 1 ? "SphereDynamics" : "SphereDynamics, head " + std::to_string(h);
      heads[h].validate(name);
      if (heads[h].dim() != heads[0].dim())
        detail::refuse(name, ": V has d = ", heads[h].dim(), ", expected ", heads[0].dim(), " as in head 0");
    }
    return heads;
  }

  TokenDynamics<Scalar, Dim, Law, Mask, Bias> drift_;
};

}}  // namespace attnflow
