/// \file
/// The past and the future of a run whose tokens have decided whom to follow.
#pragma once

#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/numerics/linear_systems.hpp>
#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/numerics/products.hpp>
#include <attnflow/prediction/limit_coordinates.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// The run around a state in which every row of P gives its weight to one token, its leader: ẋᵢ = V xₗ for the
/// leader l and for all who follow it. So leaders stand still in z = e^{−tV} x, and a follower keeps its
/// distance from its leader in x. In y(τ) = e^{−λτ} x(τ), whose part in ℱ is that of z, as V|ℱ = λI,
///
///     yₗ(τ) = e^{(τ−t)(V−λ)} yₗ(t),   yᵢ(τ) = yₗ(τ) + e^{−λ(τ−t)} (yᵢ(t) − yₗ(t)),
///
/// which gives the state at any other time τ, as long as decisions are the same there. Whether they are is seen
/// from P(τ). With aᵢ the coordinates of yᵢ in ℱ and l(i) the leader of i, in the exact flow
///
///     d/dτ (aᵢ − aₗ) = −λ (aᵢ − aₗ) + λ (mᵢ − aₗ) − ȧₗ,   mᵢ = ∑ⱼ Pᵢⱼ aⱼ,
///
/// so that distances fall like e^{−λτ} where e(τ) = maxᵢ ‖mᵢ − aₗ₍ᵢ₎‖ / extent is small beside them. The time
/// since which tokens have decided is the least s with
///
///     4 e(τ) ≤ e^{−λ(τ−s)} for all τ ≥ s, that is s = max_τ (τ + log(4 e(τ)) / λ).
///
/// From s on distances are at most 2 extent e^{−λ(τ−s)}. The future belongs to the maximum: a decision that will
/// be revised, as between two leaders on one side of the hyperplanes, makes s > t.
///
/// No bound tells the limit earlier than that. Where the gap λ₁ − Re λ₂ is small, about λ₁/10 for a symmetric Gaussian V
/// with d = 32, three to seven tokens still lead at λ₁t = 8. One or two of them do so in the end; which ones, and the
/// levels at which they stand, is settled when e^{−(λ₁ − Re λ₂)t} is small. Until then the distance to the predicted set
/// is that of leaders from each other, mostly 2 to 30 % of the extent, and does not fall like e^{−λ₁t}.
class DecidedRun {
 public:
  /// \param head, map  in the coordinates of the states; map: their part in ℱ, which is everything where
  /// whole_space. \param accuracy  of the states, relative to the extent.
  DecidedRun(Head<double> head, Frame frame, double beta, double rate, Eigen::MatrixXd map, bool whole_space,
             double accuracy)
      : head_(std::move(head)),
        frame_(frame),
        beta_(beta),
        rate_(rate),
        map_(std::move(map)),
        whole_space_(whole_space),
        accuracy_(accuracy) {}

  struct Answer {
    std::vector<Eigen::Index>
        leader;  ///< for each token the one that it follows in the end; a leader follows itself
    std::optional<double> since;  ///< at least 0; nothing if decisions at time t are not final
  };

  /// \param extent  of the start in ℱ, positive.
  [[nodiscard]] Answer at(double t, const Eigen::MatrixXd& state, double extent) const {
    Answer answer;
    const Eigen::MatrixXd y = scaled_tokens(t, state);
    if (!y.allFinite()) return answer;
    const Eigen::MatrixXd P = attention(t, y);
    answer.leader = final_leaders(P);
    const double step = grid_step(), decay = std::exp(-frame_.log_growth(rate_, step));
    Moment now{t, y, leading(y, answer.leader), 1};
    const Eigen::MatrixXd offset = y - now.leading;
    const double a_offset = largest_norm(part(offset));
    double since = 0;
    const auto count = [&](const Moment& moment) {
      const double e = largest(look_at(moment, extent).miss);
      if (e <= accuracy_ || 4 * e * extent <= a_offset * moment.ratio) return;
      since = (std::max)(since, moment.time + std::log(4 * e) / rate_of_clock());
    };
    count(now);

    // The future, at times that double: until what lies outside ℱ has died away and nothing changes.
    Eigen::MatrixXd power = whole_space_ ? Eigen::MatrixXd() : growth(step);
    double ahead = step;
    Eigen::MatrixXd before = now.leading;
    for (int k = 0; !whole_space_ && k < 64 && since <= t; ++k) {
      Moment later{t + ahead, {}, product_of(power, now.leading), std::pow(decay, ahead / step)};
      later.y = later.leading + later.ratio * offset;
      if (!later.y.allFinite()) return answer;
      count(later);
      if ((later.leading - before).norm() <= 1e-9 * before.norm()) break;
      before = later.leading;
      power = product_of(power, power);
      ahead *= 2;
    }
    if (since > t) return answer;

    // The past, as far as errors of the state have not grown to a fiftieth of the extent, and as long as it can matter.
    const double noise = whole_space_ || (frame_.rescaled && frame_.has_basis()) ? 1 : 2;
    const Eigen::MatrixXd back = whole_space_ ? Eigen::MatrixXd() : inverse_of(growth(step));
    if (!whole_space_ && !back.allFinite()) return answer;
    std::optional<Tie> impossible;
    for (double behind = step; behind <= t; behind += step) {
      const double log_ratio = frame_.log_growth(rate_, step) * (behind / step);
      const double time = t - behind;
      if (accuracy_ * std::exp(noise * log_ratio) > 0.02) {
        since = (std::max)(since, time);
        break;
      }
      if (time + std::log(4.) / rate_of_clock() <= since) break;
      if (!whole_space_) now.leading = product_of(back, now.leading);
      now.time = time;
      now.ratio = std::exp(log_ratio);
      if (impossible) {  // back to where it would have been possible
        if (decisive(now.time, now.leading.col(impossible->a), now.leading.col(impossible->b))) continue;
        since = (std::max)(since, time);
        break;
      }
      now.y = now.leading + now.ratio * offset;
      if (!now.y.allFinite()) break;
      impossible = impossible_tie(now, step, answer.leader, offset, extent);
      if (!impossible) count(now);
    }
    answer.since = since;
    return answer;
  }

 private:
  struct Tie {
    Eigen::Index a, b;  // two leaders
  };
  struct Moment {
    double time;
    Eigen::MatrixXd y, leading;  // of all tokens; for each that of its leader
    double ratio;                // e^{−λ(τ−t)}
  };

  /// λ per unit of time: for layers log(1 + λ Δt) / Δt.
  [[nodiscard]] double rate_of_clock() const {
    return frame_.layer_step > 0 ? std::log1p(frame_.layer_step * rate_) / frame_.layer_step : rate_;
  }

  /// Half the time in which distances fall by e, in whole layers.
  [[nodiscard]] double grid_step() const {
    const double half = 0.5 / rate_of_clock();
    return frame_.layer_step > 0 ? frame_.layer_step * (std::max)(1., std::round(half / frame_.layer_step))
                                 : half;
  }

  /// e^{h(V−λ)}, of layers (I + ΔtV)^k / (1 + Δtλ)^k, h = k Δt.
  [[nodiscard]] Eigen::MatrixXd growth(double h) const {
    const ScaledMatrix<> E = growth_of(head_.V, frame_, h);
    return E.matrix * std::exp(E.log_scale - frame_.log_growth(rate_, h));
  }

  /// y of a state.
  [[nodiscard]] Eigen::MatrixXd scaled_tokens(double t, const Eigen::MatrixXd& state) const {
    if (!frame_.rescaled) return state * std::exp(-frame_.log_growth(rate_, t));
    return whole_space_ || t == 0 ? state : product_of(growth(t), state);
  }

  [[nodiscard]] Eigen::MatrixXd attention(double time, const Eigen::MatrixXd& y) const {
    // Beyond 10²⁰⁰ scores decide as hardmax does, for all differences that double can hold beside them.
    const double sharpness = (std::min)(std::exp(2 * frame_.log_growth(rate_, time)), 1e200);
    const Tokens<double>& tokens = y;
    return attention_matrix(head_, tokens, Softmax{.beta = beta_ * sharpness});
  }

  /// The token at which i → argmaxⱼ Pᵢⱼ ends, of a circle the first.
  [[nodiscard]] static std::vector<Eigen::Index> final_leaders(const Eigen::MatrixXd& P) {
    const Eigen::Index n = P.rows();
    std::vector<Eigen::Index> next(static_cast<std::size_t>(n)), last(next.size());
    for (Eigen::Index i = 0; i < n; ++i) P.row(i).maxCoeff(&next[static_cast<std::size_t>(i)]);
    const auto follow = [&](Eigen::Index i) { return next[static_cast<std::size_t>(i)]; };
    for (Eigen::Index i = 0; i < n; ++i) {
      Eigen::Index end = i;
      for (Eigen::Index k = 0; k < n && follow(end) != end; ++k) end = follow(end);
      Eigen::Index least = end;  // of the circle that `end` is on
      for (Eigen::Index on = follow(end); on != end; on = follow(on)) least = (std::min)(least, on);
      last[static_cast<std::size_t>(i)] = least;
    }
    return last;
  }

  [[nodiscard]] static Eigen::MatrixXd leading(const Eigen::MatrixXd& y,
                                               const std::vector<Eigen::Index>& leader) {
    return y(Eigen::placeholders::all_t(), leader);
  }

  [[nodiscard]] Eigen::MatrixXd part(const Eigen::MatrixXd& y) const { return product_of(map_, y); }
  [[nodiscard]] static double largest(const Eigen::VectorXd& values) {
    return values.size() > 0 ? values.maxCoeff() : 0;
  }
  [[nodiscard]] static double largest_norm(const Eigen::MatrixXd& a) {
    return a.cols() > 0 ? a.colwise().norm().maxCoeff() : 0;
  }
  /// What tokens attend to at a moment.
  struct Look {
    Eigen::MatrixXd P, a, goal;  // a: coordinates in ℱ, goal: those of the leaders
    Eigen::VectorXd miss;        // of each row ‖mᵢ − aₗ₍ᵢ₎‖ / extent, whose maximum is e(τ)

    /// The token that draws row i away from its leader most.
    [[nodiscard]] Eigen::Index drawn_to(Eigen::Index i) const {
      Eigen::Index other = 0;
      (P.row(i).array() * (a.colwise() - goal.col(i)).colwise().norm().array()).maxCoeff(&other);
      return other;
    }
  };
  [[nodiscard]] Look look_at(const Moment& moment, double extent) const {
    Look seen{attention(moment.time, moment.y), part(moment.y), part(moment.leading), {}};
    seen.miss = (product_of(seen.a, seen.P.transpose()) - seen.goal).colwise().norm() / extent;
    return seen;
  }

  /// A tie of two leaders in the past that no run has held, if the walk back comes to one between `moment` and `step`
  /// after it: a row that follows leader a there turns to leader b where a and b weigh the same to it. With p of its
  /// weight on a, and p such that the score difference σ = ⟨Qx, K(x_a − x_b)⟩ stays 0, a deviation grows at the rate
  /// λ p(1−p) ⟨Q(x_a − x_b), K(x_a − x_b)⟩, so by the factor e^{H/2} in all, where
  ///
  ///     H = m_a m_b / (m_a + m_b),   m_a = ⟨Qx_a, K(x_a − x_b)⟩, m_b = ⟨Qx_b, K(x_b − x_a)⟩ at that time.
  ///
  /// A start in double precision deviates by 10⁻³⁰⁸ or more, so H ≤ 2 log 10³⁰⁸ in a run. Rows that turn to any other
  /// token tell nothing: it may have led until then. Nor do layers: a step may jump across a tie, so that H bounds
  /// nothing. Every tie of layers is counted as one that the run has held, and makes decided_since later, never a verdict
  /// `false`.
  [[nodiscard]] std::optional<Tie> impossible_tie(const Moment& moment, double step,
                                                  const std::vector<Eigen::Index>& leader,
                                                  const Eigen::MatrixXd& offset, double extent) const {
    if (frame_.layer_step > 0) return {};
    const Look now = look_at(moment, extent);
    const auto tie_of = [&](const Moment& at, const Look& seen, Eigen::Index i) -> std::optional<Tie> {
      const Eigen::Index a = leader[static_cast<std::size_t>(i)], b = seen.drawn_to(i);
      if (leader[static_cast<std::size_t>(b)] != b || a == b || !decisive(at.time, at.y.col(a), at.y.col(b)))
        return {};
      return Tie{a, b};
    };
    int rows = 0;  // four are enough to tell
    for (Eigen::Index i = 0; i < now.miss.size() && rows < 4; ++i) {
      if (now.miss(i) <= accuracy_ || !tie_of(moment, now, i)) continue;
      ++rows;
      // To where the row turns, by bisection.
      std::optional<Tie> tie;
      double low = 0, high = step;  // after `moment`: drawn away at low, not at high
      for (int k = 0; k < 20; ++k) {
        const double middle = (low + high) / 2;
        Moment between{moment.time + middle,
                       {},
                       moment.leading,
                       moment.ratio * std::exp(-frame_.log_growth(rate_, middle))};
        if (!whole_space_) between.leading = product_of(growth(middle), moment.leading);
        between.y = between.leading + between.ratio * offset;
        const Look seen = look_at(between, extent);
        const bool away = 4 * seen.miss(i) > now.miss(i);
        (away ? low : high) = middle;
        if (away) tie = tie_of(between, seen, i);
      }
      if (tie) return tie;
    }
    return {};
  }

  /// Whether H of two leaders exceeds what a run can have where a row is undecided between them.
  [[nodiscard]] bool decisive(double time, const Eigen::VectorXd& y_a, const Eigen::VectorXd& y_b) const {
    const Eigen::VectorXd apart = y_a - y_b, key = image_of(head_.K, apart.data());
    const double sharpness = beta_ * std::exp(2 * frame_.log_growth(rate_, time));
    const double of_a = sharpness * image_of(head_.Q, y_a.data()).dot(key);
    const double of_b = -sharpness * image_of(head_.Q, y_b.data()).dot(key);
    return of_a > 0 && of_b > 0 && 1 / (1 / of_a + 1 / of_b) > 2 * most_negative_log;
  }
  static constexpr double most_negative_log = 709;  // −log of the least normal number

  Head<double> head_;
  Frame frame_;
  double beta_, rate_;
  Eigen::MatrixXd map_;
  bool whole_space_;
  double accuracy_;
};

}}}  // namespace attnflow::detail
