/// \file
/// Boost.odeint both ways: fields of ours in its steppers, systems of its in ours.
///
/// Needs the headers of Boost, which nothing else in the library does; attnflow.hpp leaves it out. Tokens become states
/// that odeint's steppers take as they are, explicit ones with and without error control and dense output,
/// Bulirsch–Stoer and multistep ones:
///
///     runge_kutta4<State> stepper;
///     integrate_const(stepper, odeint_system(field), x, 0.0, 10.0, 0.1);
///     integrate_adaptive(make_controlled<runge_kutta_dopri5<State>>(1e-9, 1e-9), odeint_system(field), x, 0.0, 10.0, 0.1);
///
/// odeint knows no StepBoundedField: give its controlled steppers field.max_step() as their largest step.
#pragma once

#include <attnflow/integrators/concepts.hpp>
#include <attnflow/types.hpp>

#include <boost/numeric/odeint/algebra/algebra_dispatcher.hpp>
#include <boost/numeric/odeint/util/copy.hpp>
#include <boost/numeric/odeint/util/is_resizeable.hpp>
#include <boost/numeric/odeint/util/resize.hpp>
#include <boost/numeric/odeint/util/same_size.hpp>

#include <Eigen/Core>

#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// A field as odeint calls it: system(x, dxdt, t). It refers to the field, which has to outlive it, and is as cheap to
/// copy as odeint likes systems to be.
template <VectorField F>
class OdeintSystem {
 public:
  using State = typename F::State;
  /// \pre the field outlives the system.
  explicit OdeintSystem(const F& field) noexcept : field_(&field) {}
  /// Writes f(t, x) to dxdt.
  void operator()(const State& x, State& dxdt, double t) const { (*field_)(t, x, dxdt); }

 private:
  const F* field_;
};

/// A field for odeint's steppers. \pre the field outlives what is returned.
template <VectorField F>
[[nodiscard]] OdeintSystem<F> odeint_system(const F& field) noexcept {
  return OdeintSystem<F>(field);
}
template <VectorField F>
void odeint_system(const F&& field) = delete;  // a system refers to its field: keep the field in a variable

/// What odeint takes for a system: a const call system(x, dxdt, t) that writes to a dxdt of the shape of x.
template <class S, class State>
concept OdeintCallable = requires(const S& system, const State& x, State& dxdt, double t) {
  system(x, dxdt, t);
};

/// A system of odeint as a VectorField: for integrate(), with our steppers, observers and outcomes.
template <StateMatrix State_, OdeintCallable<State_> System>
class OdeintField {
 public:
  using State = State_;
  /// \param system  called as system(x, dx, t).
  explicit OdeintField(System system) : system_(std::move(system)) {}
  /// Writes what the system gives at (t, x) to dx, resized to fit.
  void operator()(double t, const State& x, State& dx) const {
    dx.resize(x.rows(), x.cols());
    system_(x, dx, t);
  }

 private:
  System system_;
};

/// A system of odeint on states of this type. It is kept by value; std::ref(system) keeps a reference, also to one
/// whose call is not const.
template <StateMatrix State, OdeintCallable<State> System>
[[nodiscard]] OdeintField<State, System> from_odeint(System system) {
  return OdeintField<State, System>(std::move(system));
}

/// odeint's algebra on tokens: each operation entry by entry, in the order of memory, without temporaries.
struct TokenAlgebra {
  // clang-format off
  template <class... A> static void for_each1(A&&... a) { spread(a...); }
  template <class... A> static void for_each2(A&&... a) { spread(a...); }
  template <class... A> static void for_each3(A&&... a) { spread(a...); }
  template <class... A> static void for_each4(A&&... a) { spread(a...); }
  template <class... A> static void for_each5(A&&... a) { spread(a...); }
  template <class... A> static void for_each6(A&&... a) { spread(a...); }
  template <class... A> static void for_each7(A&&... a) { spread(a...); }
  template <class... A> static void for_each8(A&&... a) { spread(a...); }
  template <class... A> static void for_each9(A&&... a) { spread(a...); }
  template <class... A> static void for_each10(A&&... a) { spread(a...); }
  template <class... A> static void for_each11(A&&... a) { spread(a...); }
  template <class... A> static void for_each12(A&&... a) { spread(a...); }
  template <class... A> static void for_each13(A&&... a) { spread(a...); }
  template <class... A> static void for_each14(A&&... a) { spread(a...); }
  template <class... A> static void for_each15(A&&... a) { spread(a...); }
  // clang-format on

  /// The largest |entry|; ∞ if one is NaN, so that a step with such an error is rejected (no NaN is above a bound).
  template <class State>
  [[nodiscard]] static typename State::Scalar norm_inf(const State& x) {
    using Scalar = typename State::Scalar;
    Scalar largest = 0;
    for (Eigen::Index k = 0; k < x.size(); ++k) {
      const Scalar size = std::abs(x.data()[k]);
      if (!(size <= largest)) largest = std::isnan(size) ? std::numeric_limits<Scalar>::infinity() : size;
    }
    return largest;
  }

 private:
  /// Of states and an operation, which comes last: operation(entries…) for each entry.
  template <class... A>
  static void spread(A&... arguments) {
    const auto all = std::tie(arguments...);
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      auto& operation = std::get<sizeof...(I)>(all);
      const Eigen::Index size = std::get<0>(all).size();
      eigen_assert(((std::get<I>(all).size() == size) && ...));
      for (Eigen::Index k = 0; k < size; ++k) operation(std::get<I>(all).data()[k]...);
    }
    (std::make_index_sequence<sizeof...(A) - 1>{});
  }
};

namespace detail {
/// Tokens, of whatever options.
template <class M>
concept OdeintTokens = std::floating_point<typename M::Scalar> &&
    (int{M::ColsAtCompileTime} == Eigen::Dynamic);
}  // namespace detail

}}  // namespace attnflow

// What odeint asks about a state, answered for matrices with any number of columns. Column vectors are left to odeint's
// own external/eigen/eigen.hpp, which may be included as well.
namespace boost::numeric::odeint {

template <class S, int R, int C, int O, int MR, int MC>
requires attnflow::detail::OdeintTokens<Eigen::Matrix<S, R, C, O, MR, MC>>
struct algebra_dispatcher<Eigen::Matrix<S, R, C, O, MR, MC>> {
  using algebra_type = attnflow::TokenAlgebra;
};

template <class S, int R, int C, int O, int MR, int MC>
requires attnflow::detail::OdeintTokens<Eigen::Matrix<S, R, C, O, MR, MC>>
struct is_resizeable<Eigen::Matrix<S, R, C, O, MR, MC>> : boost::true_type {
};

template <class S, int R, int C, int O, int MR, int MC>
requires attnflow::detail::OdeintTokens<Eigen::Matrix<S, R, C, O, MR, MC>>
struct same_size_impl<Eigen::Matrix<S, R, C, O, MR, MC>, Eigen::Matrix<S, R, C, O, MR, MC>> {
  using State = Eigen::Matrix<S, R, C, O, MR, MC>;
  static bool same_size(const State& a, const State& b) {
    return a.rows() == b.rows() && a.cols() == b.cols();
  }
};

template <class S, int R, int C, int O, int MR, int MC>
requires attnflow::detail::OdeintTokens<Eigen::Matrix<S, R, C, O, MR, MC>>
struct resize_impl<Eigen::Matrix<S, R, C, O, MR, MC>, Eigen::Matrix<S, R, C, O, MR, MC>> {
  using State = Eigen::Matrix<S, R, C, O, MR, MC>;
  static void resize(State& to, const State& as) { to.resize(as.rows(), as.cols()); }
};

template <class S, int R, int C, int O, int MR, int MC>
requires attnflow::detail::OdeintTokens<Eigen::Matrix<S, R, C, O, MR, MC>>
struct copy_impl<Eigen::Matrix<S, R, C, O, MR, MC>, Eigen::Matrix<S, R, C, O, MR, MC>> {
  using State = Eigen::Matrix<S, R, C, O, MR, MC>;
  static void copy(const State& from, State& to) { to = from; }
};

}  // namespace boost::numeric::odeint
