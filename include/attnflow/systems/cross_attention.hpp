/// \file
/// Attention to other tokens, as a part of a drift.
#pragma once

#include <attnflow/systems/drift_parts.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <functional>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// Attention of the tokens x to other tokens y(t), d × m, for Driven:
///
///     fᵢ(t, x) = ∑ₕ ∑ⱼ wʰᵢⱼ Oₕ Vₕ yⱼ(t),   wʰ = law(β ⟨Qₕ xᵢ, Kₕ yⱼ⟩ + bias(i, j)) over the keys that the mask leaves,
///
/// the second attention of a decoder, or the pull of a fixed prompt: rows are normalised over the y alone, where a frozen token
/// among the x shares the row with them (see Frozen). Laws, masks and biases as attend() of queries, keys and values has them;
/// token i stands at position i among the y. One call costs O(H (n m d + (n + m) d²)).
template <RealScalar Scalar_, int Dim_ = Eigen::Dynamic, WeightLaw Law = Softmax, AttentionMask Mask = NoMask,
          PositionalBias Bias = NoBias>
requires(!DoublyStochasticLaw<Law> && !DistanceLaw<Law>) class CrossAttention {
 public:
  using Scalar = Scalar_;
  static constexpr int Dim = Dim_;
  using State = Tokens<Scalar, Dim>;
  /// Writes y(t) to its second argument, resizing it to d × m. Called once for each velocity.
  using Others = std::function<void(double, State&)>;

  /// \param others  y, which does not change.
  /// \throws std::invalid_argument if a head, the law or the bias is wrong; unless y has d rows.
  CrossAttention(std::vector<Head<Scalar_, Dim_>> heads, State others, Law law = {}, Mask mask = {},
                 Bias bias = {})
      : CrossAttention(std::move(heads), Others(), std::move(law), std::move(mask), std::move(bias)) {
    require_others(others);
    still_ = std::move(others);
  }
  /// \param others  t ↦ y.
  CrossAttention(std::vector<Head<Scalar_, Dim_>> heads, Others others, Law law = {}, Mask mask = {},
                 Bias bias = {})
      : bank_(std::move(heads), (detail::validate_law(law), bias.validate(), law), "CrossAttention"),
        others_(std::move(others)),
        law_(std::move(law)),
        mask_(std::move(mask)),
        bias_(std::move(bias)) {}
  /// One head. Errors as above.
  template <class Y>
  CrossAttention(Head<Scalar_, Dim_> head, Y&& others, Law law = {}, Mask mask = {}, Bias bias = {})
      : CrossAttention(std::vector<Head<Scalar, Dim>>{std::move(head)}, std::forward<Y>(others),
                       std::move(law), std::move(mask), std::move(bias)) {}

  /// Adds f(t, x) to dx. \throws std::invalid_argument unless x and y(t) have d rows and dx is as x.
  void add(double t, const State& x, State& dx) const {
    detail::require_tokens("CrossAttention", x, dx, dim());
    static constinit thread_local detail::Scratch<State> kept;
    State& sum = *kept;
    with_others(t, x, [&](const auto& views) { bank_.attend(law_, mask_, bias_, views, sum); });
    dx += sum;
  }

  /// The weights of one head, n × m. \throws std::invalid_argument as add() and if a token is not finite, std::out_of_range if
  /// there is no such head.
  [[nodiscard]] SquareMatrix<Scalar> attention(double t, const State& x, std::size_t head = 0) const {
    detail::require_dimension("CrossAttention", x, dim());
    SquareMatrix<Scalar> P;
    with_others(t, x, [&](const auto& views) {
      P = detail::weights_of_head<Scalar>(bank_.head(head, "CrossAttention"), law_, mask_, bias_, views);
    });
    return P;
  }

  /// d, the dimension of the tokens.
  [[nodiscard]] Eigen::Index dim() const noexcept { return bank_.heads.front().dim(); }

 private:
  void require_others(const State& y) const {
    detail::require_dimension("CrossAttention: the others", y, dim());
  }
  template <class Call>
  void with_others(double t, const State& x, const Call& call) const {
    State moving;
    if (others_) {
      others_(t, moving);
      require_others(moving);
    }
    const detail::TokenView<Scalar, Dim> queries(x), keys(others_ ? moving : still_);
    call(detail::PointViews<Scalar, Dim>(queries, keys, keys, 0));
  }

  detail::HeadBank<Scalar, Dim, Law, Bias> bank_;
  Others others_;
  State still_;
  Law law_;
  [[no_unique_address]] Mask mask_;
  [[no_unique_address]] Bias bias_;
};

}}  // namespace attnflow
