/// \file
/// Attention as one would write it with Eigen: what the operator is compared with.
#pragma once

#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <thread>
#include <vector>

namespace bench {

/// outᵢ = ∑ⱼ wᵢⱼ V xⱼ, w = softmaxⱼ ⟨Q xᵢ, K xⱼ⟩, a column of weights for each query.
template <class Scalar>
class EigenForms {
 public:
  using Matrix = attnflow::Tokens<Scalar>;

  EigenForms(const attnflow::Head<Scalar>& head, const Matrix& x)
      : head_(head), x_(x), out_(x.rows(), x.cols()) {}

  /// The whole matrix at once, as a first program would have it. Threads share the queries.
  void naive(int threads = 1) {
    prepare();
    share(threads,
          [this](Matrix& weights, Eigen::Index begin, Eigen::Index end) { attend(weights, begin, end); });
  }

  /// The same, `block` queries at a time: scores and weights of a block are n × block. Threads share the
  /// queries.
  void blocked(int threads = 1) {
    prepare();
    share(threads, [this](Matrix& weights, Eigen::Index begin, Eigen::Index end) {
      for (Eigen::Index i = begin; i < end; i += block) attend(weights, i, std::min(end, i + block));
    });
  }

  [[nodiscard]] const Matrix& out() const noexcept { return out_; }

 private:
  static constexpr Eigen::Index block = 64;

  void prepare() {
    keys_.noalias() = head_.K * x_;
    values_.noalias() = head_.V * x_;
  }

  void attend(Matrix& weights, Eigen::Index begin, Eigen::Index end) {
    const auto queries = (head_.Q * x_.middleCols(begin, end - begin)).eval();
    weights.noalias() = keys_.transpose() * queries;
    weights.rowwise() -= weights.colwise().maxCoeff().eval();
    weights = weights.array().exp();
    auto out = out_.middleCols(begin, end - begin);
    out.noalias() = values_ * weights;
    out.array().rowwise() /= weights.colwise().sum().array();
  }

  template <class Part>
  void share(int threads, const Part& part) {
    weights_.resize(static_cast<std::size_t>(threads));
    const Eigen::Index n = x_.cols();
    std::vector<std::thread> others;
    for (int k = 1; k < threads; ++k)
      others.emplace_back(
          [&, k] { part(weights_[static_cast<std::size_t>(k)], n * k / threads, n * (k + 1) / threads); });
    part(weights_[0], 0, n / threads);
    for (auto& other : others) other.join();
  }

  attnflow::Head<Scalar> head_;
  Matrix x_, keys_, values_, out_;
  std::vector<Matrix> weights_;  // scratch space that is kept, one for each thread
};

}  // namespace bench
