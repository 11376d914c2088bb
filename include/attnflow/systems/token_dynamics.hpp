/// \file
/// Self-attention dynamics of the tokens themselves.
#pragma once

#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/token_view.hpp>
#include <attnflow/detail/scratch.hpp>
#include <attnflow/systems/jacobian.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

namespace detail {

/// The heads of one layer, validated, each with its operator.
template <class Scalar, int Dim, class Law, class Bias = NoBias>
struct HeadBank {
  std::vector<Head<Scalar, Dim>> heads;
  std::vector<HeadOperator<Scalar, Dim, Law, Bias>> operators;

  HeadBank(std::vector<Head<Scalar, Dim>> given, const Law& law, const std::string& owner)
      : heads(std::move(given)) {
    if (heads.empty()) refuse(owner, ": no head given, expected at least one");
    operators.reserve(heads.size());
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const std::string name = heads.size() == 1 ? owner : owner + ", head " + std::to_string(h);
      heads[h].validate(name);
      if (heads[h].dim() != heads[0].dim())
        refuse(name, ": V has d = ", heads[h].dim(), ", expected ", heads[0].dim(), " as in head 0");
      operators.emplace_back(heads[h], law);
    }
  }

  /// outᵢ = ∑ₕ ∑ⱼ wʰᵢⱼ Oₕ Vₕ xⱼ for queries on tokens x, to Tokens or to a map of their shape. The tokens are laid out once
  /// for all heads.
  template <class Mask, class Out>
  void attend(const Law& law, const Mask& mask, const Bias& bias, const PointViews<Scalar, Dim>& views,
              Out& out) const {
    static constinit thread_local Scratch<Tokens<Scalar, Dim>> kept_sums, kept_update;
    Tokens<Scalar, Dim>&sums = *kept_sums, &update = *kept_update;
    int unit = 0;          // out is in units of 2^unit
    bool counted = false;  // whether out has a head whose unit counts: one that is not zero
    const auto add_heads = [&](const auto& attend_head) {
      for (std::size_t h = 0; h < operators.size(); ++h) {
        const bool counts = !operators[h].vanishes;
        const int exponent = h == 0 ? attend_head(operators[h], out) : attend_head(operators[h], update);
        if (h == 0) {
          unit = exponent;
        } else {
          // Heads may differ in the units of their values: small ones shrink to the largest one's, none grows.
          if (counts) {
            const int shift = exponent - unit;
            if (!counted || shift > 0) unit = exponent;
            if (counted && shift > 0) scale_by_power_of_two(out, -shift);
            if (counted && shift < 0) scale_by_power_of_two(update, shift);
          }
          out += update;
        }
        counted = counted || counts;
      }
    };
    if constexpr (KernelScalar<Scalar> && !DistanceLaw<Law> && !RotatingPositions<Bias>) {
      auto& scratch = AttentionScratch<Scalar>::of_this_thread();
      const TokenView<Scalar, Dim>& x = views.keys;
      scratch.tokens.template read<Dim>(x.data(), x.rows(), x.cols());
      const auto points = query_points(views, scratch.tokens);
      add_heads([&](const auto& head, auto& to) {
        return head.attend(law, mask, bias, scratch.tokens, points, views, sums, to, nullptr, scratch);
      });
    } else {
      add_heads([&](const auto& head, auto& to) { return head.attend(law, mask, bias, views, sums, to); });
    }
    if (unit != 0) scale_by_power_of_two(out, unit);
  }

  [[nodiscard]] const HeadOperator<Scalar, Dim, Law, Bias>& head(std::size_t head, const char* owner) const {
    if (head >= operators.size())
      throw std::out_of_range(std::string(owner) + "::attention: head " + std::to_string(head) + " of " +
                              std::to_string(operators.size()));
    return operators[head];
  }
};

}  // namespace detail

/// Self-attention dynamics in R^d, for one head or several [GLPR23, eq. (1.2); §8 for several heads]:
///
///     ẋᵢ = ∑ₕ ∑ⱼ Pʰᵢⱼ Oₕ Vₕ xⱼ,   Pʰᵢⱼ = softmaxⱼ(β ⟨Qₕ xᵢ, Kₕ xⱼ⟩),
///
/// or another law than softmax, over the tokens that the mask leaves, with a positional bias on the scores.
/// State: d × n. Tokens may grow like e^{‖V‖ t}; RescaledDynamics follows them for longer.
/// One call costs O(H (n² d + n d²)) time for H heads and O(n d) memory; O(H (n² (d_k + d_v) + n d (d_k + d_v))) where
/// the factors of a head are smaller than d × d.
///
/// With a scalar that carries derivatives (Eigen::AutoDiffScalar) a velocity has those of tokens and heads alike.
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
class TokenDynamics {
  static_assert(
      !RotatingPositions<Bias> || !(DistanceLaw<Law> || DoublyStochasticLaw<Law>),
      "rotary positions are for laws of products, one row by itself: neither L2Softmax nor Sinkhorn");

 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;

  /// \throws std::invalid_argument naming the matrix, unless the shapes of Q, K, V agree and all is finite.
  explicit TokenDynamics(Head<Scalar_, Dim_> head, Law law = {}, Mask mask = {}, Bias bias = {})
      : TokenDynamics(std::vector<Head<Scalar, Dim>>{std::move(head)}, law, mask, bias) {}

  /// Several heads, all for tokens of one dimension. Errors as above, naming the head.
  explicit TokenDynamics(std::vector<Head<Scalar_, Dim_>> heads, Law law = {}, Mask mask = {}, Bias bias = {})
      : bank_(std::move(heads), (detail::validate_law(law), bias.validate(), law), "TokenDynamics"),
        law_(std::move(law)),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {}

  /// Writes the velocity at x to dx, resized to fit. \pre x and dx are different objects.
  /// \throws std::invalid_argument unless x has d rows.
  void operator()(double /*t*/, const State& x, State& dx) const {
    detail::require_dimension("TokenDynamics", x, dim());
    const detail::TokenView<Scalar, Dim> view(x);
    bank_.attend(law_, mask_, bias_, detail::PointViews<Scalar, Dim>(view), dx);
  }

  /// The same for tokens and velocities in memory of another owner: an Eigen::Map of a solver's buffers, columns of a larger
  /// matrix. What lies in memory as Tokens do is read and written in place; another stride costs a copy.
  /// \throws std::invalid_argument unless x has d rows and dx the shape of x, or can be resized to it.
  template <TokenSource<Scalar_, Dim_> X, TokenTarget<Scalar_, Dim_> Out>
  void operator()(double /*t*/, const X& x, Out&& dx) const {
    detail::require_dimension("TokenDynamics", x, dim());
    const detail::TokenView<Scalar, Dim> view(x);
    detail::write_in_place<Scalar, Dim>("TokenDynamics", x.rows(), x.cols(), dx, [&](auto& out) {
      bank_.attend(law_, mask_, bias_, detail::PointViews<Scalar, Dim>(view), out);
    });
  }

  /// The weights of one head at x: P for softmax, rows summing to one.
  /// \throws std::invalid_argument if x has not d rows or a token is not finite, std::out_of_range if there is no such
  /// head.
  template <TokenSource<Scalar_, Dim_> X>
  [[nodiscard]] SquareMatrix<Scalar> attention(double /*t*/, const X& x, std::size_t head = 0) const {
    detail::require_dimension("TokenDynamics", x, dim());
    const detail::TokenView<Scalar, Dim> view(x);
    return detail::weights_of_head<Scalar>(bank_.head(head, "TokenDynamics"), law_, mask_, bias_,
                                           detail::PointViews<Scalar, Dim>(view));
  }

  /// The derivative of the drift, nd × nd; token i owns rows and columns i d … i d + d − 1. For
  /// one head, with mᵢ = ∑ⱼ Pᵢⱼ xⱼ and Cᵢ = ∑ⱼ Pᵢⱼ (xⱼ − mᵢ)(xⱼ − mᵢ)ᵀ,
  ///
  ///     ∂ẋᵢ/∂x_k = Pᵢₖ V (I + (x_k − mᵢ)(Mᵀ xᵢ)ᵀ) + δᵢₖ V Cᵢ Mᵀ,   M = β QᵀK;
  ///
  /// rows that are not normalised have 0 in place of mᵢ. Heads add. For laws of exponentials of β ⟨Q xᵢ, K xⱼ⟩, one row
  /// by itself. Cost: O(H (n² d² + n d³)).
  /// \throws std::invalid_argument unless x has d rows and is finite, std::overflow_error where an entry is beyond
  /// double.
  [[nodiscard]] Eigen::MatrixXd jacobian(double t, const State& x) const
      requires(KernelScalar<Scalar_>&& detail::HasKnownRows<Law> && !RotatingPositions<Bias>) {
    detail::require_dimension("TokenDynamics::jacobian", x, dim());
    detail::require_known_rows(law_, x.cols(), "TokenDynamics");
    const Eigen::Index size = x.size();
    Eigen::MatrixXd J = Eigen::MatrixXd::Zero(size, size);
    for (std::size_t h = 0; h < bank_.heads.size(); ++h) {
      ScaledMatrix<Dim> M = bank_.operators[h].form.M;
      M.matrix *= bank_.operators[h].form.beta;
      detail::add_attention_jacobian<detail::rows_sum_to_one<Law>()>(attention(t, x, h), x, M,
                                                                     bank_.heads[h].value(), J);
    }
    detail::require_finite_jacobian(J, "TokenDynamics");
    return J;
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return bank_.heads.front().dim(); }
  /// The weights of the heads, at least one.
  [[nodiscard]] const std::vector<Head<Scalar, Dim>>& heads() const noexcept { return bank_.heads; }

  /// The weight law, with its β.
  [[nodiscard]] const Law& law() const noexcept { return law_; }

 private:
  detail::HeadBank<Scalar, Dim, Law, Bias> bank_;
  Law law_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}}  // namespace attnflow
