#include <attnflow/observables/attention/decision_margins.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace {

using attnflow::decision_margins;
using attnflow::log_margins;
using Eigen::Index;
using Indices = std::vector<Index>;

}  // namespace

TEST_CASE("margins compare the best two locations", "[clustering]") {
  std::mt19937_64 generator(3);
  const double inf = std::numeric_limits<double>::infinity();
  for (const Index n : {1, 2, 7, 20})
    for (const std::uint64_t clusters : {1u, 2u, 5u}) {
      const Eigen::MatrixXd scores = Eigen::MatrixXd::NullaryExpr(
          6, n, [&](Index, Index) { return static_cast<double>(generator() >> 11) * 0x1p-51 - 2; });
      Indices labels;
      for (Index j = 0; j < n; ++j)
        labels.push_back(static_cast<Index>(generator() % std::min(clusters, static_cast<std::uint64_t>(n))));
      const Eigen::VectorXd relative = decision_margins(scores, labels), plain = log_margins(scores, labels);
      REQUIRE(relative.size() == 6);
      for (Index i = 0; i < 6; ++i) {
        Index leader = 0;
        const double best = scores.row(i).maxCoeff(&leader);
        double gap = inf;  // to the best column with another label
        for (Index j = 0; j < n; ++j)
          if (labels[static_cast<std::size_t>(j)] != labels[static_cast<std::size_t>(leader)])
            gap = std::min(gap, best - scores(i, j));
        CHECK(plain(i) == gap);
        CHECK(relative(i) == gap / std::abs(best));
        // A row shift, as between scores and logarithms of weights, leaves the gap.
        const double shifted = log_margins((scores.array() - 8).matrix(), labels)(i);
        CHECK((shifted == gap || std::abs(shifted - gap) <= 16 * std::numeric_limits<double>::epsilon()));
      }
      CHECK(log_margins(scores.cast<float>(), labels).size() == 6);
    }
}

TEST_CASE("margins of ties, zeros and rows that attend to nothing", "[clustering]") {
  const double inf = std::numeric_limits<double>::infinity(), huge = std::numeric_limits<double>::max();
  Eigen::MatrixXd scores(8, 3);
  scores << 1, 1, 0,      // a tie
      0, 0, -1,           // of zeros
      0, -1, -2,          // best is zero
      -2, -4, -3,         // negative scores
      5, -inf, -inf,      // one location
      -inf, -inf, -inf,   // none
      huge, -huge, -inf,  // a gap beyond the range
      5e-324, 0, -1;
  const Indices own{0, 1, 2}, merged{2, 2, 0};
  CHECK(decision_margins(scores, own) == (Eigen::VectorXd(8) << 0, 0, inf, 0.5, inf, inf, 2, 1).finished());
  CHECK(log_margins(scores, own) == (Eigen::VectorXd(8) << 0, 0, 1, 1, inf, inf, inf, 5e-324).finished());
  CHECK(decision_margins(scores, merged) ==
        (Eigen::VectorXd(8) << 1, inf, inf, 0.5, inf, inf, inf, inf).finished());
  CHECK(log_margins(scores, merged) == (Eigen::VectorXd(8) << 1, 1, 2, 1, inf, inf, inf, 1).finished());
  CHECK(decision_margins(Eigen::MatrixXd(0, 0), Indices{}).size() == 0);
  CHECK(decision_margins(Eigen::MatrixXd(2, 0), Indices{}) == Eigen::VectorXd::Constant(2, inf));
}

TEST_CASE("what has no margins is refused in words", "[clustering]") {
  Eigen::MatrixXd scores = Eigen::MatrixXd::Zero(2, 3);
  CHECK(refusal([&] {
          (void)decision_margins(scores, Indices{0, 1});
        }) == "decision_margins: there are 2 labels, expected 3, as scores has columns");
  CHECK(refusal([&] {
          (void)log_margins(scores, Indices{0, 1, 3});
        }) == "log_margins: labels[2] is 3, expected a number from 0 to 2");
  scores(1, 2) = std::nan("");
  CHECK(refusal([&] {
          (void)decision_margins(scores, Indices{0, 1, 2});
        }) == "decision_margins: scores(1, 2) is nan, expected a number or minus infinity");
  scores(0, 1) = std::numeric_limits<double>::infinity();
  CHECK(refusal([&] {
          (void)log_margins(scores, Indices{0, 1, 2});
        }) == "log_margins: log_P(0, 1) is inf, expected a number or minus infinity");
}
