/// \file
/// A system with further parts of its drift: ẋ = attention + f₁ + f₂ + ….
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/systems/drift_parts.hpp>

#include <Eigen/Core>

#include <cmath>
#include <concepts>
#include <cstddef>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A field whose velocities are tangent to something, and which projects vectors to that: SphereDynamics.
template <class F>
concept TangentField = VectorField<F> &&
    requires(const F& f, const typename F::State& x, typename F::State& v) {
  { f.project(x, v) } -> std::same_as<void>;
};

/// A system with one or more parts beside its attention, such as ExternalField, ResidualInput, LinearPart, Perceptron,
/// or a user's (see DriftPart):
///
///     ẋᵢ = attentionᵢ + ∑ₚ fᵢᵖ(t, x);   on the sphere   ẋᵢ = P(xᵢ) (∑ⱼ wᵢⱼ V xⱼ + ∑ₚ fᵢᵖ(t, x)).
///
/// Parts are added, and the sum is what a stepper integrates; one after the other within a step (Lie–Trotter), as
/// sub-layers of a network are, would be a first-order splitting of it, and is not done. A part sees what the system
/// moves: with RescaledDynamics that is z, and f is added to ż.
///
/// The parts of the library treat tokens alike but for those given token by token (ExternalField with d × n numbers,
/// ResidualInput). One call costs that of the system and of the parts.
template <VectorField System_, DriftPart<typename System_::State>... Parts>
requires(sizeof...(Parts) > 0) class Driven {
 public:
  /// The system with the attention.
  using System = System_;
  /// What a run moves: that of the system.
  using State = typename System::State;
  /// The number type of the state.
  using Scalar = typename State::Scalar;
  /// d, or Eigen::Dynamic where it is known at run time.
  static constexpr int Dim = State::RowsAtCompileTime;

  /// \throws std::invalid_argument naming the part by its place, from 0, unless all are for the system's dimension.
  explicit Driven(System_ system, Parts... parts) : system_(std::move(system)), parts_(std::move(parts)...) {
    if constexpr (requires { system_.dim(); }) {
      int place = 0;
      for_each_part([&](const auto& part) {
        if constexpr (requires { part.dim(); })
          if (part.dim() != system_.dim())
            detail::refuse("Driven: part ", place, " is for tokens in dimension ", part.dim(), ", expected ",
                           system_.dim(), ", the dimension of the system");
        ++place;
      });
    }
  }

  /// Writes the velocity at (t, x) to dx, resized to fit. \pre x and dx are different objects.
  /// \throws std::invalid_argument unless x has d rows, or if a part is for another number of tokens.
  void operator()(double t, const State& x, State& dx) const {
    system_(t, x, dx);
    for_each_part([&](const auto& part) { part.add(t, x, dx); });
    if constexpr (TangentField<System_>) system_.project(x, dx);
  }

  /// P at (t, x): that of the system.
  [[nodiscard]] auto attention(double t, const State& x) const requires requires(const System_& system) {
    system.attention(t, x);
  }
  { return system_.attention(t, x); }
  /// P of one head at (t, x): that of the system.
  [[nodiscard]] auto attention(double t, const State& x, std::size_t head) const requires
      requires(const System_& system) {
    system.attention(t, x, head);
  }
  { return system_.attention(t, x, head); }

  /// The derivative of the velocity, nd × nd; token i owns rows and columns i d … i d + d − 1. On the sphere that of the
  /// projected sum, see SphereDynamics::jacobian. Where every part has one, too.
  /// \throws std::overflow_error where an entry is beyond double.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& x) const
      requires(DifferentiablePart<Parts, typename System_::State>&&...) &&
      requires(const System_& system) {
    { system.jacobian(t, x) } -> std::convertible_to<Eigen::MatrixXd>;
  }
  {
    Eigen::MatrixXd J = system_.jacobian(t, x), parts = Eigen::MatrixXd::Zero(J.rows(), J.cols());
    for_each_part([&](const auto& part) { part.add_jacobian(t, x, parts); });
    if constexpr (TangentField<System_>) {
      State drift = State::Zero(x.rows(), x.cols());
      for_each_part([&](const auto& part) { part.add(t, x, drift); });
      system_.project_jacobian(x, drift, parts);
    }
    J += parts;
    if (!J.allFinite()) throw std::overflow_error("Driven::jacobian: an entry is beyond the range of double");
    return J;
  }

  /// The system's largest step h, with the parts 1 / (1/h + ∑ₚ Lₚ), Lₚ their Lipschitz constants: what moves at the
  /// rates 1/h and Lₚ at most moves at their sum. A part that names none counts as none, and the error control has the
  /// last word.
  [[nodiscard]] double max_step() const requires StepBoundedField<System_> {
    const auto step = static_cast<double>(system_.max_step());
    double rate = 0;
    for_each_part([&](const auto& part) {
      if constexpr (requires { part.lipschitz(); }) rate += static_cast<double>(part.lipschitz());
    });
    return std::isfinite(step) && rate > 0 ? 1 / (1 / step + rate) : step;
  }

  /// As the system has it, see RowScaledField.
  [[nodiscard]] bool rows_have_one_scale() const requires RowScaledField<System_> {
    return system_.rows_have_one_scale();
  }

  /// Projects vectors at x as the system does.
  void project(const State& x, State& v) const requires TangentField<System_> { system_.project(x, v); }
  /// Of a drift and its derivative, the derivative of the projected drift, as the system has it.
  void project_jacobian(const State& x, const State& drift,
                        Eigen::MatrixXd& J) const requires TangentField<System_> {
    system_.project_jacobian(x, drift, J);
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept requires requires(const System_& system) { system.dim(); }
  { return system_.dim(); }
  /// The system with the attention.
  [[nodiscard]] const System& system() const noexcept { return system_; }
  /// The parts, in the order in which they are added.
  [[nodiscard]] const std::tuple<Parts...>& parts() const noexcept { return parts_; }

 private:
  template <class Call>
  void for_each_part(const Call& call) const {
    std::apply([&](const Parts&... part) { (call(part), ...); }, parts_);
  }

  System system_;
  std::tuple<Parts...> parts_;
};

}}  // namespace attnflow
