/// \file
/// A system some of whose tokens rest: a prompt.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/systems/driven.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Any system, some tokens of which act on the others and do not move: with the frozen tokens F,
///
///     ẋᵢ = 0 for i ∈ F,   ẋᵢ = fᵢ(t, x) for others.
///
/// What rests is x, in the frame of RescaledDynamics too, where żᵢ = −V zᵢ then. Under a causal mask the frozen first tokens
/// are a prompt whose keys and values a decoder keeps. Parts of a drift belong inside: Frozen around Driven.
/// For fields, and for layers that move x: Layers, ConvexLayers. One call costs that of the system.
template <class System_>
class Frozen {
  static_assert(
      !requires(const System_& layers, const typename System_::State& z) { layers.unrescale(0, z); },
      "Frozen does not take RescaledLayers, whose tokens are not x: freeze those of Layers");

 public:
  /// The system whose tokens are frozen.
  using System = System_;
  /// What a run moves: that of the system.
  using State = typename System::State;
  /// The number type of the state.
  using Scalar = typename State::Scalar;

  /// Freezes the first `count` tokens.
  /// \throws std::invalid_argument if count is negative.
  Frozen(System_ system, Eigen::Index count) : system_(std::move(system)) {
    if (count < 0) detail::refuse("Frozen: count is ", count, ", expected at least 0");
    tokens_.resize(static_cast<std::size_t>(count));
    std::iota(tokens_.begin(), tokens_.end(), Eigen::Index(0));
  }
  /// Freezes tokens by their indices, in any order.
  /// \throws std::invalid_argument if an index is negative.
  Frozen(System_ system, std::vector<Eigen::Index> tokens)
      : system_(std::move(system)), tokens_(std::move(tokens)) {
    std::sort(tokens_.begin(), tokens_.end());
    if (!tokens_.empty() && tokens_.front() < 0)
      detail::refuse("Frozen: a token is ", tokens_.front(), ", expected at least 0");
  }

  /// Writes the velocity at (t, x) to dx, resized to fit. \pre x and dx are different objects.
  /// \throws std::invalid_argument unless there are as many tokens as indices ask for, or as the system does.
  void operator()(double t, const State& x, State& dx) const requires VectorField<System_> {
    require_tokens(x);
    system_(t, x, dx);
    stop(x, dx);
  }

  /// One layer, of which frozen tokens see nothing. Errors as above.
  void apply(State& x) const requires requires(const System_& layers) { layers.apply(x); }
  {
    keep(x, [&] { system_.apply(x); });
  }
  /// Layer k. Errors as above.
  void apply(long k, State& x) const requires requires(const System_& layers) { layers.apply(k, x); }
  {
    keep(x, [&] { system_.apply(k, x); });
  }

  /// P at (t, x): that of the system, in which frozen tokens have rows, too.
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

  /// The derivative of the velocity, nd × nd: that of the system, with rows of frozen tokens in their place.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& x) const requires
      requires(const System_& system) {
    system.jacobian(t, x);
  }
  {
    require_tokens(x);
    Eigen::MatrixXd J = system_.jacobian(t, x);
    const Eigen::Index d = x.rows();
    for (const Eigen::Index i : tokens_) {
      J.middleRows(i * d, d).setZero();
      if constexpr (rests_by_moving)
        J.block(i * d, i * d, d, d) = -system_.head().value().template cast<double>();
    }
    return J;
  }

  /// As the system has it, see StepBoundedField.
  [[nodiscard]] double max_step() const requires StepBoundedField<System_> {
    return static_cast<double>(system_.max_step());
  }
  /// As the system has it, see RowScaledField.
  [[nodiscard]] bool rows_have_one_scale() const requires RowScaledField<System_> {
    return system_.rows_have_one_scale();
  }
  /// Projects vectors at x as the system does; those of frozen tokens are zero.
  void project(const State& x, State& v) const requires TangentField<System_> {
    system_.project(x, v);
    stop(x, v);
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept requires requires(const System_& system) { system.dim(); }
  { return system_.dim(); }
  /// The system with all its tokens free.
  [[nodiscard]] const System& system() const noexcept { return system_; }
  /// The indices of the frozen tokens, in order.
  [[nodiscard]] const std::vector<Eigen::Index>& tokens() const noexcept { return tokens_; }

 private:
  /// Whether a token whose x rests moves in the coordinates of the system.
  static constexpr bool rests_by_moving = requires(const System_& system, const State& x, State& dx) {
    system.rest(x, Eigen::Index(0), dx);
  };

  void require_tokens(const State& x) const {
    if (!tokens_.empty() && tokens_.back() >= x.cols())
      detail::refuse("Frozen: token ", tokens_.back(), " is to be frozen, but there are ", x.cols(),
                     " tokens");
  }
  void stop(const State& x, State& dx) const {
    for (const Eigen::Index i : tokens_)
      if constexpr (rests_by_moving)
        system_.rest(x, i, dx);
      else
        dx.col(i).setConstant(Scalar(0)), static_cast<void>(x);
  }
  template <class Apply>
  void keep(State& x, const Apply& apply) const {
    require_tokens(x);
    std::vector<State> kept;
    for (const Eigen::Index i : tokens_) kept.push_back(x.col(i));
    apply();
    for (std::size_t k = 0; k < tokens_.size(); ++k) x.col(tokens_[k]) = kept[k];
  }

  System system_;
  std::vector<Eigen::Index> tokens_;
};

}}  // namespace attnflow
