// The systems, their laws, masks and biases behind one type: steppers are compiled once for all of them.
#pragma once

#include "programs/simulate/inputs.hpp"

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/hardmax.hpp>
#include <attnflow/attention/laws/l2_softmax.hpp>
#include <attnflow/attention/laws/linear.hpp>
#include <attnflow/attention/laws/relu_weights.hpp>
#include <attnflow/attention/laws/sigmoid.hpp>
#include <attnflow/attention/laws/sinkhorn.hpp>
#include <attnflow/attention/laws/softplus_weights.hpp>
#include <attnflow/attention/laws/sparsemax.hpp>
#include <attnflow/attention/laws/top_k.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/positions/rotary.hpp>
#include <attnflow/attention/within.hpp>
#include <attnflow/geometry/sphere.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/systems/frozen.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/sphere_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

namespace simulation {

using attnflow::SquareMatrix;

// --- Laws and masks chosen at run time: one instantiation for softmax and unnormalised weights under any mask ---

struct AnyLaw {
  static constexpr bool rows_sum_to_one = false;  // not for all of them
  static constexpr auto function = attnflow::WeightFunction::exponential;

  double beta = 1;
  bool normalized = true;  ///< softmax; otherwise exp(score) / n

  [[nodiscard]] double log_row_factor(double log_normalizer, Index n) const {
    return normalized ? 0 : attnflow::Unnormalized{.beta = beta}.log_row_factor(log_normalizer, n);
  }
};

/// ReLU and softplus weights.
struct AnyPositivePart {
  static constexpr auto function = attnflow::WeightFunction::pointwise;
  static constexpr auto rows = attnflow::RowScale::sum;

  double beta = 1;
  bool smooth = false;  ///< softplus

  template <class S>
  [[nodiscard]] S weight(const S& s) const {
    return smooth ? attnflow::SoftplusWeights{}.weight(s) : attnflow::ReluWeights{}.weight(s);
  }
};

/// Laws of whole rows.
struct AnyRowLaw {
  enum class Kind { top_k, sparsemax, entmax15 };
  static constexpr auto function = attnflow::WeightFunction::row;

  double beta = 1;
  Kind kind = Kind::top_k;
  Index k = 1;

  template <class S>
  void weigh_row(std::span<S> scores) const {
    switch (kind) {
      case Kind::top_k:
        return attnflow::TopK{.k = k}.weigh_row(scores);
      case Kind::sparsemax:
        return attnflow::Sparsemax{}.weigh_row(scores);
      case Kind::entmax15:
        return attnflow::Entmax15{}.weigh_row(scores);
    }
  }
};

struct AnyMask {
  enum class Kind { none, causal, strict_causal };
  Kind kind = Kind::none;

  [[nodiscard]] attnflow::KeyRange keys(Index i, Index n) const noexcept {
    switch (kind) {
      case Kind::causal:
        return attnflow::Causal{}.keys(i, n);
      case Kind::strict_causal:
        return attnflow::StrictCausal{}.keys(i, n);
      case Kind::none:
        break;
    }
    return attnflow::NoMask{}.keys(i, n);
  }
};

/// The same, of which tokens within a distance are left.
struct AnyNearMask : AnyMask {
  attnflow::Within near;

  [[nodiscard]] bool takes(const auto* query, const auto* key, Index d) const {
    return near.takes(query, key, d);
  }
  void validate() const { near.validate(); }
};

// --- A system, whichever it is -----------------------------------------------------------------------------

template <class Scalar>
struct Field {
  using State = Tokens<Scalar>;
  std::function<void(double, const State&, State&)> velocity;
  double longest_step = std::numeric_limits<double>::infinity();
  bool one_scale_in_row = false;  ///< see attnflow::RowScaledField

  void operator()(double t, const State& x, State& dx) const { velocity(t, x, dx); }
  [[nodiscard]] double max_step() const noexcept { return longest_step; }
  [[nodiscard]] bool rows_have_one_scale() const noexcept { return one_scale_in_row; }
};

/// A system ready to run, and what can be asked of it.
template <class Scalar>
struct Run {
  using State = Tokens<Scalar>;
  /// A matrix of weights for each head.
  using Attention = std::function<std::vector<SquareMatrix<Scalar>>(double, const State&)>;

  Field<Scalar> field;                ///< of all systems but layers,
  std::function<void(State&)> layer;  ///< of which this is one
  Attention attention;                ///< the weights of the law
  Attention
      pattern;  ///< the same as shares of a row, which no law takes out of range; none where it has no shares
  /// The coordinates that are integrated, where they are not those that are shown.
  std::optional<attnflow::InvariantBasis> coordinates;
  /// How far the columns of Sinkhorn's weights are from summing to one; none for other laws.
  std::function<double(double, const State&)> marginal_error;
  /// From the coordinates that are integrated to those that are shown.
  std::function<State(const State&)> shown = [](const State& x) { return x; };
};

template <class Scalar>
std::vector<Head<Scalar>> cast_heads(const std::vector<Head<double>>& heads) {
  std::vector<Head<Scalar>> result;
  for (const auto& h : heads)
    result.push_back({h.Q.template cast<Scalar>(), h.K.template cast<Scalar>(), h.V.template cast<Scalar>()});
  return result;
}

/// The rescaled system with one law, mask and bias.
template <class Scalar, class Law, class Mask, class Bias>
void set_rescaled(Run<Scalar>& run, Index frozen, const Head<Scalar>& head, const Law& law, const Mask& mask,
                  const Bias& bias) {
  using State = Tokens<Scalar>;
  using Dynamics = attnflow::RescaledDynamics<Scalar, Eigen::Dynamic, Law, Mask, Bias>;
  const auto system =
      std::make_shared<const attnflow::Frozen<Dynamics>>(Dynamics(head, law, mask, bias), frozen);
  run.field.velocity = [system](double t, const State& z, State& dz) { (*system)(t, z, dz); };
  run.field.longest_step = system->max_step();
  run.field.one_scale_in_row = system->rows_have_one_scale();
  run.attention = [system](double t, const State& z) {
    return std::vector<SquareMatrix<Scalar>>{system->attention(t, z)};
  };
  run.pattern = run.attention;
  if constexpr (std::is_same_v<Law, attnflow::Sinkhorn>)
    run.marginal_error = [system](double t, const State& z) {
      return system->system().rows(t, z).marginal_error;
    };
}

/// Rows of positive weights as shares.
template <class Scalar>
std::vector<SquareMatrix<Scalar>> shares_of(std::vector<SquareMatrix<Scalar>> weights) {
  for (SquareMatrix<Scalar>& w : weights)
    for (Index i = 0; i < w.rows(); ++i)
      if (const Scalar sum = w.row(i).sum(); sum > 0) w.row(i) /= sum;
  return weights;
}

/// The other systems: x in space or on the sphere, or layers, with one law, mask and bias.
template <class Scalar, class Law, class Mask, class Bias>
void set_drift(Run<Scalar>& run, const Options& o, const std::vector<Head<Scalar>>& heads, const Law& law,
               const Mask& mask, const Bias& bias) {
  using State = Tokens<Scalar>;
  constexpr int any = Eigen::Dynamic;
  const Index frozen = o.frozen.value_or(0);
  // Weights depend on where tokens are, not on how they move: those of all systems are these.
  using Drift = attnflow::TokenDynamics<Scalar, any, Law, Mask, Bias>;
  const auto weights_by = [&](const Law& weight_law) {
    const auto drift = std::make_shared<const Drift>(heads, weight_law, mask, bias);
    return [drift, count = heads.size()](double t, const State& x) {
      std::vector<SquareMatrix<Scalar>> weights;
      for (std::size_t h = 0; h < count; ++h) weights.push_back(drift->attention(t, x, h));
      return weights;
    };
  };
  run.attention = weights_by(law);
  if constexpr (std::is_same_v<Law, AnyLaw>)
    run.pattern = law.normalized ? run.attention : weights_by(Law{.beta = law.beta});
  else if constexpr (attnflow::detail::rows_sum_to_one<Law>())
    run.pattern = run.attention;
  else if constexpr (!std::is_same_v<Law, attnflow::Linear>)
    run.pattern = [attention = run.attention](double t, const State& x) {
      return shares_of(attention(t, x));
    };
  else  // weights of either sign are no shares
    run.pattern = [](double, const State&) { return std::vector<SquareMatrix<Scalar>>{}; };
  if constexpr (std::is_same_v<Law, attnflow::Sinkhorn>)
    run.marginal_error = [=](double, const State& x) {
      double largest = 0;
      State ignored;
      attnflow::RowRecord rows;
      for (const Head<Scalar>& head : heads) {
        attnflow::attend(head, law, mask, bias, x, ignored, &rows);
        if (!(rows.marginal_error <= largest)) largest = rows.marginal_error;  // NaN, too
      }
      return largest;
    };
  if (o.system == "layers") {
    using Layers = attnflow::Layers<Scalar, any, Law, Mask, Bias>;
    const auto layers =
        std::make_shared<const attnflow::Frozen<Layers>>(Layers(heads, *o.dt, law, mask, bias), frozen);
    run.layer = [layers](State& x) { layers->apply(x); };
  } else if (o.system == "sphere") {
    using Sphere = attnflow::SphereDynamics<Scalar, any, Law, Mask, Bias>;
    const auto system =
        std::make_shared<const attnflow::Frozen<Sphere>>(Sphere(heads, law, mask, bias), frozen);
    run.field.velocity = [system](double t, const State& x, State& dx) { (*system)(t, x, dx); };
  } else {
    const auto system =
        std::make_shared<const attnflow::Frozen<Drift>>(Drift(heads, law, mask, bias), frozen);
    run.field.velocity = [system](double t, const State& x, State& dx) { (*system)(t, x, dx); };
  }
}

/// The system that the options name, with one law, mask and bias.
template <class Scalar, class Law, class Mask, class Bias>
void set_system(Run<Scalar>& run, const Options& o, const std::vector<Head<Scalar>>& heads, const Law& law,
                const Mask& mask, const Bias& bias) {
  if (o.system != "rescaled") return set_drift(run, o, heads, law, mask, bias);
  if constexpr (std::is_same_v<Law, AnyLaw>)
    set_rescaled(run, o.frozen.value_or(0), heads[0], attnflow::Softmax{.beta = law.beta}, mask, bias);
  else if constexpr (attnflow::detail::rows_sum_to_one<Law>())
    set_rescaled(run, o.frozen.value_or(0), heads[0], law, mask, bias);
}

/// Sets up the system; moves x to the coordinates that are integrated, or onto the sphere.
template <class Scalar>
Run<Scalar> set_up(const Options& o, std::vector<Head<double>> heads, Tokens<Scalar>& x) {
  Run<Scalar> run;
  if (o.frozen.value_or(0) > x.cols())
    refuse("--frozen: ", *o.frozen, ", expected at most ", x.cols(), ", the number of tokens");
  if (o.system == "sphere") attnflow::sphere::normalize(x);
  if (o.system == "rescaled") {
    const attnflow::InvariantBasis coordinates =
        attnflow::invariant_basis(heads[0].V, attnflow::largest_basis_condition<Scalar>());
    if (!coordinates.is_identity) {
      run.coordinates = coordinates;
      heads[0] = {heads[0].Q * coordinates.basis, heads[0].K * coordinates.basis, coordinates.blocks};
      const Tokens<Scalar> start = x;
      x = (coordinates.inverse * start.template cast<double>()).template cast<Scalar>();
      const Tokens<Scalar> inside = x;
      run.shown = [=, basis = coordinates.basis](const Tokens<Scalar>& y) -> Tokens<Scalar> {
        if (y == inside) return start;
        return (basis * y.template cast<double>()).template cast<Scalar>();
      };
    }
  }
  const std::vector<Head<Scalar>> own = cast_heads<Scalar>(heads);
  if (is_plain(o)) {
    set_system(run, o, own, attnflow::Softmax{.beta = o.beta}, attnflow::NoMask{}, attnflow::NoBias{});
    return run;
  }
  const AnyMask mask{o.mask == "causal"          ? AnyMask::Kind::causal
                     : o.mask == "strict-causal" ? AnyMask::Kind::strict_causal
                                                 : AnyMask::Kind::none};
  const attnflow::Alibi bias{.slope = o.alibi.value_or(0)};
  const AnyLaw exponentials{.beta = o.beta, .normalized = o.law == "softmax"};
  if (o.rope) {
    for (const Head<Scalar>& head : own)
      if (head.Q.rows() % 2 != 0)
        refuse("--rope: Q has ", head.Q.rows(),
               " rows, expected an even number: rotary positions turn planes");
    set_drift(run, o, own, exponentials, mask, attnflow::Rotary{.base = *o.rope});
  } else if (o.within) {
    set_drift(run, o, own, exponentials, AnyNearMask{mask, {.radius = *o.within}}, bias);
  } else if (o.law == "hardmax")
    set_system(run, o, own, attnflow::Hardmax{.beta = o.beta}, mask, bias);
  else if (o.law == "sinkhorn")
    set_system(run, o, own, attnflow::Sinkhorn{.beta = o.beta}, attnflow::NoMask{}, bias);
  else if (o.law == "sigmoid")
    set_system(run, o, own, attnflow::Sigmoid{.beta = o.beta}, mask, bias);
  else if (o.law == "relu" || o.law == "softplus")
    set_system(run, o, own, AnyPositivePart{.beta = o.beta, .smooth = o.law == "softplus"}, mask, bias);
  else if (o.law == "top-k" || o.law == "sparsemax" || o.law == "entmax15")
    set_system(run, o, own,
               AnyRowLaw{.beta = o.beta,
                         .kind = o.law == "top-k"       ? AnyRowLaw::Kind::top_k
                                 : o.law == "sparsemax" ? AnyRowLaw::Kind::sparsemax
                                                        : AnyRowLaw::Kind::entmax15,
                         .k = o.law_k.value_or(1)},
               mask, bias);
  else if (o.law == "linear")
    set_system(run, o, own, attnflow::Linear{.beta = o.beta}, mask, bias);
  else if (o.law == "l2")
    set_system(run, o, own, attnflow::L2Softmax{.beta = o.beta}, mask, bias);
  else
    set_system(run, o, own, exponentials, mask, bias);
  return run;
}

}  // namespace simulation
