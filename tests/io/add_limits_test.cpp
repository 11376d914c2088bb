#include <attnflow/io/add_heads.hpp>
#include <attnflow/io/add_limits.hpp>

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/prediction/analyze.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include "catch.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

using attnflow::View;
using State = attnflow::Tokens<double>;
using Head = attnflow::Head<double>;

struct Shown {
  View view;
  attnflow::Analysis analysis;
  Eigen::MatrixXd last;
};

/// A run in the coordinates of z, its view and its limits in it.
Shown shown(const Head& head, const State& start, double to, std::size_t count = 61) {
  Shown result;
  attnflow::Trajectory<State> trajectory(attnflow::equal_times(0, to, count));
  State z = start;
  const attnflow::RescaledDynamics<double> field(head);
  const auto report = attnflow::integrate(field, attnflow::DormandPrince5<State>{}, z,
                                          {.to = to, .rtol = 1e-10, .atol = 1e-12}, trajectory);
  REQUIRE(report.outcome == attnflow::Outcome::reached_end);
  View& view = result.view;
  view.times = trajectory.times();
  view.tokens = start.cols();
  view.dim = static_cast<int>(start.rows());
  for (const State& state : trajectory.states())
    view.positions.insert(view.positions.end(), state.data(), state.data() + state.size());
  result.analysis = attnflow::analyze(head, trajectory);
  result.last = z;
  attnflow::add_limits(view, result.analysis, head.V);
  view.validate();
  return result;
}

const View::Series& distance_in(const View& view) {
  REQUIRE(!view.series.empty());
  REQUIRE(view.series.back().name == "distance to the limit");
  return view.series.back();
}

Eigen::VectorXd point_of(const View::Flat& flat) {
  return Eigen::Map<const Eigen::VectorXd>(flat.point.data(), static_cast<Eigen::Index>(flat.point.size()));
}

Head with_value(const Eigen::MatrixXd& V) { return Head::with_value(V); }

}  // namespace

TEST_CASE("limits: the vertices of a polytope, and how tokens come to them", "[io][view]") {
  attnflow::Generator generator(4);
  const auto start = attnflow::uniform_box<double>(generator, 15, 2, -5, 5);
  const Shown s = shown(Head::identity(2), start, 12);
  REQUIRE(s.analysis.prediction.limit == attnflow::LimitCase::polytope);
  REQUIRE(s.view.flats.size() >= 3);
  for (const auto& flat : s.view.flats) {
    CHECK(flat.predicted);
    CHECK(flat.directions.empty());
  }
  for (const Eigen::Index i : *s.analysis.found.hull_vertices)  // each vertex is one of the points
    CHECK(std::ranges::any_of(s.view.flats, [&](const View::Flat& flat) {
      return (point_of(flat) - s.last.col(i)).norm() < 1e-9;
    }));
  const auto& distance = distance_in(s.view);
  CHECK(distance.values.front() > 0.5);
  CHECK(distance.values.back() < 1e-3);
  // Followers come like e^{−t}: between t = 6 and t = 9 by e^{−3}, if no leader changes.
  CHECK(std::log(distance.values[30] / distance.values[45]) == Approx(3).margin(0.3));
  CHECK(s.view.bases.empty());  // V is diagonal
}

TEST_CASE("limits: hyperplanes are levels of the left eigenvector", "[io][view]") {
  Eigen::MatrixXd V(3, 3);
  V << .2362413, .0599536, .40506019, .81321448, .49948705, .33754772, .2160645, .38505272, .14588075;
  attnflow::Generator generator(1);
  const auto start = attnflow::uniform_box<double>(generator, 20, 3, -5, 5);
  const Shown s = shown(with_value(V), start, 14);
  REQUIRE(s.analysis.prediction.limit == attnflow::LimitCase::hyperplanes);
  const Eigen::RowVectorXd dual = s.analysis.prediction.splitting.inside_dual.row(0);
  CHECK((dual * V - s.analysis.prediction.rate * dual).norm() < 1e-9 * dual.norm());
  std::vector<double> predicted, found;
  for (const auto& flat : s.view.flats) {
    (flat.predicted ? predicted : found).push_back(dual.dot(point_of(flat)));
    REQUIRE(flat.directions.size() == 6);
    const Eigen::Map<const Eigen::MatrixXd> directions(flat.directions.data(), 3, 2);
    CHECK((dual * directions).norm() < 1e-12 * dual.norm());
    CHECK((directions.transpose() * directions).isIdentity(1e-12));
  }
  const Eigen::RowVectorXd levels = dual * s.last;
  REQUIRE(predicted.size() == 3);
  CHECK(predicted[0] == Approx(levels.minCoeff()));
  CHECK(predicted[1] == Approx(0).margin(1e-12));
  CHECK(predicted[2] == Approx(levels.maxCoeff()));
  REQUIRE(!found.empty());
  for (const double level : found)
    CHECK(std::min(std::abs(level - levels.minCoeff()), std::abs(level - levels.maxCoeff())) < 1e-4);
  // Distances in space, not of the functional: those of tokens, by hand, at the first moment.
  double expected = 0;
  for (const double level : Eigen::RowVectorXd(dual * start))
    expected =
        std::max(expected,
                 std::min({std::abs(level - predicted[0]), std::abs(level), std::abs(level - predicted[2])}));
  CHECK(distance_in(s.view).values.front() == Approx(expected / dual.norm()));
  REQUIRE(s.view.bases.size() == 1);
  CHECK(s.view.bases[0].axes.size() == 3);
  // Its first coordinate is φ₁*, up to a factor.
  const Eigen::Map<const Eigen::RowVectorXd> row(s.view.bases[0].rows.data(), 3);
  CHECK(std::abs(row.normalized().dot(dual.normalized())) == Approx(1).epsilon(1e-9));
}

TEST_CASE("limits: lines over the vertices of a polygon, predicted or only found", "[io][view]") {
  attnflow::Generator generator(2);
  const auto start = attnflow::uniform_box<double>(generator, 12, 3, -5, 5);
  for (const bool conjectured : {false, true}) {
    Eigen::MatrixXd V = Eigen::Vector3d(1, conjectured ? 0.6 : 1, -0.5).asDiagonal();
    const Shown s = shown(with_value(V), start, 12);
    CHECK(s.analysis.prediction.limit ==
          (conjectured ? attnflow::LimitCase::hyperplanes : attnflow::LimitCase::polytope_times_subspace));
    int lines = 0, predicted_lines = 0;
    for (const auto& flat : s.view.flats) {
      if (flat.directions.size() != 3) continue;
      ++lines;
      if (flat.predicted) ++predicted_lines;
      CHECK(std::abs(flat.directions[2]) == Approx(1));
      CHECK(std::abs(flat.directions[0]) + std::abs(flat.directions[1]) < 1e-12);
    }
    CHECK(lines > predicted_lines);
    CHECK((predicted_lines > 0) !=
          conjectured);  // λ₂ < λ₁: the theorem is of planes, the conjecture of lines
  }
}

TEST_CASE("limits: nothing of an empty run, and V of another size is refused", "[io][view]") {
  View view;
  view.times = {0};
  view.dim = 2;
  attnflow::add_limits(view, {}, Eigen::Matrix2d::Identity());
  CHECK(view.flats.empty());
  CHECK(view.series.empty());
  CHECK(refusal([&] { attnflow::add_limits(view, {}, Eigen::Matrix3d::Identity()); }) ==
        "add_limits: V is 3 x 3, expected d x d, d = 2");
}

TEST_CASE("heads: from the forms comes the P of the system", "[io][view]") {
  attnflow::Generator generator(3);
  Head head{Eigen::MatrixXd::Random(2, 3), Eigen::MatrixXd::Random(2, 3), Eigen::MatrixXd(3, 3)};
  head.V << 0.3, 0.2, 0, -0.1, 0.5, 0.1, 0.2, 0, -0.4;
  const double beta = 0.7;
  const auto z = attnflow::uniform_box<double>(generator, 9, 3, -1, 1);
  View view;
  view.times = {0, 1.5, 4, 200};
  view.dim = 3;
  view.tokens = 9;
  attnflow::add_rescaled_head(view, head, beta, "first");
  attnflow::add_head(view, head, beta);
  REQUIRE(view.heads.size() == 2);
  CHECK(view.heads[0].name == "first");
  const auto P_of = [&](const View::Head& h, std::size_t k) {
    Eigen::MatrixXd P(9, 9);
    for (Eigen::Index i = 0; i < 9; ++i) {
      for (Eigen::Index j = 0; j < 9; ++j) {
        double score = 0;
        for (Eigen::Index a = 0; a < 3; ++a)
          for (Eigen::Index b = 0; b < 3; ++b)
            score += z(a, i) * h.forms[9 * k + static_cast<std::size_t>(3 * a + b)] * z(b, j);
        P(i, j) = std::exp(score * std::exp(h.log_scales[k]));
      }
      P.row(i) /= P.row(i).sum();
    }
    return P;
  };
  const attnflow::RescaledDynamics<double> system(head, attnflow::Softmax{.beta = beta});
  for (std::size_t k = 0; k < 3; ++k)
    CHECK((P_of(view.heads[0], k) - system.attention(view.times[k], z)).cwiseAbs().maxCoeff() < 1e-12);
  const auto P = attnflow::attention_matrix(head, z, attnflow::Softmax{.beta = beta});
  for (const std::size_t k : {std::size_t{0}, std::size_t{3}})
    CHECK((P_of(view.heads[1], k) - P).cwiseAbs().maxCoeff() < 1e-12);
  CHECK(std::isnan(view.heads[0].forms[27]));  // e^{tV} is not resolved by then
  View wide = view;
  wide.dim = 4;
  CHECK(refusal([&] { attnflow::add_head(wide, head, 1); }) ==
        "add_head: the head has d = 3, expected the dim of the view, 4");
}
