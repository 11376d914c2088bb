// What reads tokens, P or weights, on matrices of hostile shape and size: right by its definition or by what
// it promises, or refused in due form.
#include <attnflow/geometry/affine_distance.hpp>
#include <attnflow/geometry/convex_hull.hpp>
#include <attnflow/geometry/distance_to_hull.hpp>
#include <attnflow/io/html.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observables/attention/boolean_distance.hpp>
#include <attnflow/observables/attention/decision_margins.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/attention/interaction_energy.hpp>
#include <attnflow/observables/attention/leaders.hpp>
#include <attnflow/observables/runs/convergence_rate.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observables/tokens/clusters_modulo.hpp>
#include <attnflow/observables/tokens/merge_tree.hpp>
#include <attnflow/observables/tokens/wasserstein.hpp>
#include <attnflow/prediction/limit_candidates.hpp>
#include <attnflow/prediction/merged_vertices.hpp>
#include <attnflow/systems/mean_field.hpp>
#include "figures/svg.hpp"

#include "catch.hpp"
#include "folder.hpp"
#include "laws/hard_input.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

using attnflow::Head;
using attnflow::Tokens;
using hard::answer;
using hard::Index;
using hard::Kind;
using hard::Real;
using hard::well_formed;
using hard::Wide;

constexpr std::uint64_t seed = 20260802;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Real eps = reference::epsilon<double>;
constexpr Real least = static_cast<Real>(std::numeric_limits<double>::denorm_min());

struct Cloud {
  Index d, n;
  Kind kind;
  Eigen::MatrixXd x;
  std::string failure;  // what an answer was instead of one of the allowed

  explicit Cloud(std::mt19937_64& generator, std::vector<Index> dims = {1, 2, 3, 4, 7},
                 std::vector<Index> sizes = {0, 1, 2, 3, 5, 12, 30}) {
    d = dims[generator() % dims.size()];
    n = sizes[generator() % sizes.size()];
    kind = hard::kinds[generator() % hard::kinds.size()];
    // Single precision has other sizes and other ties.
    x = generator() % 4 == 0 ? hard::draw<Eigen::MatrixXf>(generator, d, n, kind).cast<double>().eval()
                             : hard::draw<Eigen::MatrixXd>(generator, d, n, kind);
  }
  [[nodiscard]] std::string text() const {
    return std::string(hard::name_of(kind)) + ", d = " + std::to_string(d) + ", n = " + std::to_string(n);
  }
};

Real distance(const Eigen::MatrixXd& x, Index i, Index j) {
  return (reference::wide(x.col(i)) - reference::wide(x.col(j))).norm();
}

/// Labels of the components of { ‖xᵢ − xⱼ‖ ≤ tol }, numbered as they come.
std::vector<Index> components(const Eigen::MatrixXd& x, Real tol) {
  std::vector<Index> label(static_cast<std::size_t>(x.cols()), -1);
  Index count = 0;
  for (Index i = 0; i < x.cols(); ++i) {
    if (label[static_cast<std::size_t>(i)] >= 0) continue;
    std::vector<Index> found{i};
    label[static_cast<std::size_t>(i)] = count;
    for (std::size_t k = 0; k < found.size(); ++k)
      for (Index j = 0; j < x.cols(); ++j)
        if (label[static_cast<std::size_t>(j)] < 0 && distance(x, found[k], j) <= tol) {
          label[static_cast<std::size_t>(j)] = count;
          found.push_back(j);
        }
    ++count;
  }
  return label;
}

/// Whether some distance is so close to tol that its rounding decides.
bool is_close_call(const Eigen::MatrixXd& x, Real tol) {
  for (Index i = 0; i < x.cols(); ++i)
    for (Index j = 0; j < i; ++j) {
      const Real apart = distance(x, i, j);
      if (apart != tol && std::abs(apart - tol) <= 8 * static_cast<Real>(x.rows()) * eps * apart + 4 * least)
        return true;
    }
  return false;
}

/// Spoils a copy and says what `call` answers to it.
template <class Call>
std::string spoiled(std::mt19937_64& generator, Eigen::MatrixXd x, const Call& call) {
  if (x.size() == 0) return {};
  hard::spoil(generator, x);
  return refusal([&] { call(x); });
}
#define CHECK_SPOILED(who, expression)                                                                       \
  do {                                                                                                       \
    const std::string said = spoiled(generator, c.x, [&](const Eigen::MatrixXd& x) { (void)(expression); }); \
    if (c.x.size() > 0) {                                                                                    \
      INFO(said);                                                                                            \
      REQUIRE(well_formed(said, who ": "));                                                                  \
    }                                                                                                        \
  } while (false)

}  // namespace

TEST_CASE("hostile tokens: clusters", "[laws]") {
  std::mt19937_64 generator(seed);
  for (int k = 0; k < 1500; ++k) {
    Cloud c(generator);
    INFO("draw " << k << ": " << c.text());
    std::vector<double> tolerances{0, 1, std::numeric_limits<double>::denorm_min(),
                                   std::numeric_limits<double>::max()};
    const auto heights = answer(
        "merge_heights", [&] { return attnflow::merge_heights(c.x); }, c.failure);
    REQUIRE(c.failure.empty());
    if (heights) {
      REQUIRE(heights->size() == static_cast<std::size_t>(std::max<Index>(c.n - 1, 0)));
      REQUIRE(std::ranges::is_sorted(*heights));
      REQUIRE(std::ranges::all_of(*heights, [](double h) { return h >= 0 && std::isfinite(h); }));
      if (!heights->empty()) tolerances.push_back((*heights)[generator() % heights->size()] * 1.25);
    } else {  // refused only where a distance is beyond double
      Real most = 0;
      for (Index i = 0; i < c.n; ++i)
        for (Index j = 0; j < i; ++j) most = std::max(most, distance(c.x, i, j));
      REQUIRE(most > static_cast<Real>(std::numeric_limits<double>::max()) * (1 - 64 * eps));
    }
    for (double tol : tolerances) {
      if (!std::isfinite(tol)) tol = std::numeric_limits<double>::max();
      CAPTURE(tol);
      const attnflow::Clusters found = attnflow::detect_clusters(c.x, tol);
      REQUIRE(std::accumulate(found.sizes.begin(), found.sizes.end(), Index{0}) == c.n);
      if (is_close_call(c.x, static_cast<Real>(tol))) continue;
      REQUIRE(found.labels == components(c.x, static_cast<Real>(tol)));
      if (heights) {
        const auto joined = std::ranges::count_if(*heights, [&](double h) { return h <= tol; });
        // Below the smallest normal number a height is rounded, too.
        if (tol == 0 || tol >= std::numeric_limits<double>::min()) REQUIRE(found.count() == c.n - joined);
      }
      const Eigen::MatrixXd axis = Eigen::MatrixXd::Identity(c.d, 1);
      const attnflow::Clusters modulo = attnflow::detect_clusters_modulo(c.x, axis, tol);
      REQUIRE(modulo.labels.size() == static_cast<std::size_t>(c.n));
      REQUIRE(modulo.count() <= std::max<Index>(found.count(), 0));  // a projection shortens distances
    }
    const auto automatic = answer(
        "merge_heights", [&] { return attnflow::detect_clusters_automatically(c.x); }, c.failure);
    REQUIRE(c.failure.empty());
    REQUIRE(automatic.has_value() == heights.has_value());
    if (automatic) {
      if (automatic->gap.tolerance == 0 || automatic->gap.below >= std::numeric_limits<double>::min())
        REQUIRE(automatic->clusters.count() == automatic->gap.clusters);
      REQUIRE(automatic->gap.tolerance >= 0);
      REQUIRE(std::isfinite(automatic->gap.tolerance));
    }
    CHECK_SPOILED("detect_clusters", attnflow::detect_clusters(x, 1));
    CHECK_SPOILED("detect_clusters_modulo",
                  attnflow::detect_clusters_modulo(x, Eigen::MatrixXd::Identity(c.d, 1), 1));
    CHECK_SPOILED("merge_heights", attnflow::merge_heights(x));
    CHECK_SPOILED("merge_heights", attnflow::automatic_tolerance(x));
  }
  const Eigen::MatrixXd one = Eigen::MatrixXd::Ones(2, 3);
  for (const double tol : {-1.0, infinity, std::nan("")})
    CHECK(
        well_formed(refusal([&] { (void)attnflow::detect_clusters(one, tol); }), "detect_clusters: tol is "));
}

TEST_CASE("hostile tokens: hulls", "[laws]") {
  std::mt19937_64 generator(seed + 1);
  for (int k = 0; k < 1200; ++k) {
    Cloud c(generator);
    INFO("draw " << k << ": " << c.text());
    const Real size = hard::largest_of(c.x);
    if (c.d > 3) {
      if (c.n > 0)
        CHECK(
            well_formed(refusal([&] { (void)attnflow::convex_hull(c.x); }), "convex_hull: tokens have d = "));
    } else {
      const std::vector<Index> hull = attnflow::convex_hull(c.x);
      REQUIRE(hull.empty() == (c.n == 0));
      REQUIRE(std::set<Index>(hull.begin(), hull.end()).size() == hull.size());
      REQUIRE(std::ranges::all_of(hull, [&](Index i) { return i >= 0 && i < c.n; }));
      for (std::size_t a = 0; a < hull.size(); ++a)
        for (std::size_t b = 0; b < a; ++b) REQUIRE(distance(c.x, hull[a], hull[b]) > 0);
      const Eigen::MatrixXd corners = c.x(Eigen::placeholders::all_t(), hull);
      for (Index i = 0; i < c.n; ++i) {
        const double outside = attnflow::distance_to_hull(c.x.col(i), corners);
        REQUIRE(static_cast<Real>(outside) <=
                100 * std::sqrt(static_cast<Real>(c.d)) * eps * size + 16 * least);
        if (c.d < 3) {
          const double exactly = attnflow::distance_outside(c.x.col(i), corners);
          // Exact as long as no coordinate is under 1e-280 of the largest.
          if (c.kind != Kind::mixed && c.kind != Kind::outlier) REQUIRE(exactly == 0);
        }
      }
      // No corner is inside of what the others span: it is a corner.
      if (c.kind == Kind::plain || c.kind == Kind::lattice)
        for (std::size_t a = 0; hull.size() > 1 && a < hull.size(); ++a) {
          std::vector<Index> others = hull;
          others.erase(others.begin() + static_cast<std::ptrdiff_t>(a));
          if (c.kind == Kind::lattice)
            REQUIRE(attnflow::distance_to_hull(c.x.col(hull[a]), c.x(Eigen::placeholders::all_t(), others)) >
                    1e-3);
        }
      // Powers of two turn nothing, where they round nothing.
      if (c.kind == Kind::plain || c.kind == Kind::lattice || c.kind == Kind::line) {
        REQUIRE(attnflow::convex_hull(Eigen::MatrixXd(c.x * 0x1p200)) == hull);
        REQUIRE(attnflow::convex_hull(Eigen::MatrixXd(c.x * 0x1p-200)) == hull);
      }
      if (c.d == 3) {
        const attnflow::Hull3 surface = attnflow::hull_facets(c.x);
        REQUIRE(surface.vertices == hull);
        if (!surface.facets.empty()) REQUIRE(surface.facets.size() == 2 * hull.size() - 4);
        std::set<std::pair<Index, Index>> edges;
        for (const auto& facet : surface.facets)
          for (std::size_t e = 0; e < 3; ++e) REQUIRE(edges.emplace(facet[e], facet[(e + 1) % 3]).second);
        for (const auto& [a, b] : edges) REQUIRE(edges.contains({b, a}));  // a closed surface
      }
      CHECK_SPOILED("convex_hull", attnflow::convex_hull(x));
      if (c.d == 3) CHECK_SPOILED("hull_facets", attnflow::hull_facets(x));
    }
    // The distance of another point, in any dimension.
    const Eigen::VectorXd p = hard::draw<Eigen::MatrixXd>(generator, c.d, 1, c.kind);
    const bool overflows = (size + hard::largest_of(p)) * 4 * std::sqrt(static_cast<Real>(c.d)) >
                           static_cast<Real>(std::numeric_limits<double>::max());
    const attnflow::NearestPoint nearest = attnflow::nearest_point(p, c.x);
    REQUIRE_FALSE(std::isnan(nearest.distance));
    if (c.n == 0) {
      REQUIRE(nearest.distance == infinity);
    } else {
      Real closest = std::numeric_limits<Real>::infinity(), weight = 0, reach = 0;
      for (Index i = 0; i < c.n; ++i) {
        const Real apart = (reference::wide(p) - reference::wide(c.x.col(i))).norm();
        closest = std::min(closest, apart);
        reach = std::max(reach, apart);
        REQUIRE(nearest.weights(i) >= 0);
        weight += static_cast<Real>(nearest.weights(i));
      }
      REQUIRE(std::abs(weight - 1) <= 64 * eps);
      const Real rounding = 100 * std::sqrt(static_cast<Real>(c.d)) * eps * reach + 16 * least;
      if (!overflows) {
        REQUIRE(static_cast<Real>(nearest.distance) <= closest + rounding);
        // And it is that of the point which the weights make.
        Wide q = -reference::wide(p);
        for (Index i = 0; i < c.n; ++i)
          q += static_cast<Real>(nearest.weights(i)) * reference::wide(c.x.col(i));
        REQUIRE(std::abs(q.norm() - static_cast<Real>(nearest.distance)) <=
                rounding + 8 * eps * size * static_cast<Real>(c.n));
      }
      REQUIRE_FALSE(std::isnan(nearest.gap));
    }
    const double itself = attnflow::hausdorff_distance(c.x, c.x);
    REQUIRE(static_cast<Real>(itself) <= 200 * std::sqrt(static_cast<Real>(c.d)) * eps * size + 16 * least);
    const auto vertices = attnflow::merged_vertices(c.x, 0);
    REQUIRE(vertices.empty() == (c.n == 0));
    const auto height = answer(
        "support", [&] { return attnflow::support(c.x, p); }, c.failure);
    REQUIRE(c.failure.empty());
    if (height && c.n > 0) {
      Real top = -std::numeric_limits<Real>::infinity();
      for (Index i = 0; i < c.n; ++i)
        top = std::max(top, reference::wide(c.x.col(i)).cwiseProduct(reference::wide(p)).sum());
      REQUIRE(std::abs(static_cast<Real>(*height) - top) <=
              4 * static_cast<Real>(c.d) *
                  (eps * size * hard::largest_of(p) * static_cast<Real>(c.d) + least));
    }
    if (!p.isZero(0)) {
      const Eigen::VectorXd levels = attnflow::distance_to_hyperplane(p, 0.5, c.x);
      REQUIRE_FALSE(hard::has_nan(levels));
    }
    REQUIRE_FALSE(hard::has_nan(attnflow::distance_to_affine(p, c.x.leftCols(std::min<Index>(c.n, 2)), c.x)));
    CHECK_SPOILED("nearest_point", attnflow::nearest_point(p, x));
    CHECK_SPOILED("distance_to_hull", attnflow::distance_to_hull(p, x));
    CHECK_SPOILED("in_hull", attnflow::in_hull(p, x, 1));
    CHECK_SPOILED("hausdorff_distance", attnflow::hausdorff_distance(x, c.x));
    CHECK_SPOILED("hull_hausdorff", attnflow::hull_hausdorff(c.x, x));
    CHECK_SPOILED("merged_vertices", attnflow::merged_vertices(x, 1));
    CHECK_SPOILED("support", attnflow::support(x, p));
    CHECK_SPOILED("distance_to_affine", attnflow::distance_to_affine(p, p, x));
  }
}

TEST_CASE("hostile forms and vertices: where tokens can end", "[laws]") {
  std::mt19937_64 generator(seed + 2);
  int answered = 0;
  for (int k = 0; k < 600; ++k) {
    Cloud c(generator, {1, 2, 3}, {0, 1, 2, 3, 5, 8});
    const Kind kind = hard::kinds[generator() % hard::kinds.size()];
    INFO("draw " << k << ": " << c.text() << ", form " << hard::name_of(kind));
    Eigen::MatrixXd M = Eigen::MatrixXd::Identity(c.d, c.d);
    if (k % 2 == 0) {
      const Eigen::MatrixXd A = hard::draw<Eigen::MatrixXd>(generator, c.d, c.d, kind);
      M = A + A.transpose();
      M.diagonal() += 2 * A.cwiseAbs().rowwise().sum();
    }
    const auto found = answer(
        "limit_candidates", [&] { return attnflow::limit_candidates(M, c.x); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    if (found) {
      ++answered;
      REQUIRE(found->points.allFinite());
      REQUIRE(found->residuals.size() == static_cast<std::size_t>(found->points.cols()));
      for (const double r : found->residuals) REQUIRE_FALSE(std::isnan(r));
      const Real size = hard::largest_of(c.x);
      for (Index i = 0; i < found->points.cols() && size < 1e300L; ++i)
        REQUIRE(static_cast<Real>(attnflow::distance_to_hull(found->points.col(i), c.x)) <=
                1e-8L * size + 64 * least);
      const Eigen::VectorXd residuals = attnflow::self_attention_residual(M, c.x);
      REQUIRE(residuals.size() == c.n);
      REQUIRE((residuals.array() >= 0).all());
      const Eigen::VectorXd zero = Eigen::VectorXd::Zero(c.d);
      REQUIRE_FALSE(std::isnan(attnflow::candidate_residual(M, c.x, zero)));
      REQUIRE_FALSE(std::isnan(attnflow::distance_to_candidates(*found, zero)));
    }
    CHECK_SPOILED("limit_candidates", attnflow::limit_candidates(Eigen::MatrixXd::Identity(c.d, c.d), x));
    CHECK_SPOILED("self_attention_residual",
                  attnflow::self_attention_residual(Eigen::MatrixXd::Identity(c.d, c.d), x));
  }
  CHECK(answered > 300);
}

TEST_CASE("hostile attention matrices", "[laws]") {
  std::mt19937_64 generator(seed + 3);
  for (int k = 0; k < 800; ++k) {
    Cloud c(generator, {1, 2, 3, 5, 12}, {1});
    c.n = c.d;
    c.x = hard::draw<Eigen::MatrixXd>(generator, c.d, c.d, c.kind);
    INFO("draw " << k << ": " << c.text());
    const Index n = c.n;
    std::vector<Index> labels(static_cast<std::size_t>(n));
    for (Index& label : labels) label = hard::below(generator, n);
    // Any finite matrix has leaders and ranks.
    const attnflow::Leaders leading = attnflow::leaders(c.x);
    REQUIRE((leading.count() >= 1 || c.x.isZero(0)));
    REQUIRE(std::ranges::is_sorted(leading.indices));
    for (const attnflow::LeaderTie& tie : leading.ties) REQUIRE(tie.columns.size() >= 2);
    const attnflow::EffectiveRank rank = attnflow::effective_rank(c.x);
    REQUIRE(rank.rank <= n);
    REQUIRE(rank.rank >= (c.x.isZero(0) ? 0 : 1));
    REQUIRE_FALSE(std::isnan(rank.stable_rank));
    REQUIRE_FALSE(std::isnan(rank.entropy_rank));
    if (!c.x.isZero(0)) {
      const double slack = 1 + 1e-12;
      REQUIRE((rank.stable_rank >= 1 / slack && rank.stable_rank <= static_cast<double>(n) * slack));
      REQUIRE((rank.entropy_rank >= 1 / slack && rank.entropy_rank <= static_cast<double>(n) * slack));
      // ‖P‖₂ lies between ‖P‖_F / √n and ‖P‖_F.
      const Real frobenius = reference::wide(c.x).norm(), top = static_cast<Real>(rank.singular_values(0));
      if (frobenius < 1e308L && frobenius > 1e-290L)
        REQUIRE((top <= frobenius * (1 + 1e-12L) &&
                 top >= frobenius / std::sqrt(static_cast<Real>(n)) * (1 - 1e-12L)));
    }
    CHECK_SPOILED("leaders", attnflow::leaders(x));
    CHECK_SPOILED("effective_rank", attnflow::effective_rank(x));

    // A stochastic matrix out of it.
    Eigen::MatrixXd P = c.x.cwiseAbs();
    for (Index i = 0; i < n; ++i) {
      const double top = P.row(i).maxCoeff();
      if (top > 0) P.row(i) /= top;
      const double sum = P.row(i).sum();
      if (sum > 0)
        P.row(i) /= sum;
      else
        P(i, hard::below(generator, n)) = 1;
    }
    const attnflow::BooleanDistance two = attnflow::boolean_distance(P);
    REQUIRE((two.to_family >= 0 && two.to_family <= two.to_pair && two.to_pair <= 2 + 1e-9));
    const Index a = hard::below(generator, n), b = hard::below(generator, n);
    const attnflow::BooleanDistance given = attnflow::boolean_distance(P, a, b);
    Real most = 0;
    for (Index i = 0; i < n; ++i) {
      Real best = 2;
      for (const Index column : {a, b}) {
        Real l1 = 0;
        for (Index j = 0; j < n; ++j) l1 += std::abs(static_cast<Real>(P(i, j)) - (j == column ? 1 : 0));
        best = std::min(best, l1);
      }
      most = std::max(most, best);
    }
    REQUIRE(std::abs(static_cast<Real>(given.to_pair) - most) <= 16 * static_cast<Real>(n) * eps);
    if (given.to_family < 1) REQUIRE(two.to_family <= given.to_family + 1e-12);  // beyond, an upper bound
    REQUIRE(attnflow::boolean_distance(P, labels, a, b).to_pair <= given.to_pair + 1e-12);
    REQUIRE(attnflow::leaders(P, labels).count() >= 1);
    CHECK_SPOILED("boolean_distance", attnflow::boolean_distance(x));
    if (n > 1) {
      Eigen::MatrixXd wrong = P;
      wrong(0, 0) = -0.5;
      CHECK(well_formed(refusal([&] { (void)attnflow::boolean_distance(wrong); }), "boolean_distance: "));
      wrong(0, 0) = 1.5;
      CHECK(well_formed(refusal([&] { (void)attnflow::boolean_distance(wrong); }), "boolean_distance: "));
    }
    const Eigen::MatrixXd log_P = P.array().log().matrix();
    std::vector<Index> best(static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) P.row(i).maxCoeff(&best[static_cast<std::size_t>(i)]);
    const Eigen::VectorXd gaps = attnflow::log_complement(log_P, best);
    REQUIRE((gaps.array() >= 0).all());
    REQUIRE((attnflow::log_margins(log_P, labels).array() >= 0).all());
    REQUIRE((attnflow::decision_margins(c.x, labels).array() >= 0).all());
  }
}

TEST_CASE("hostile tokens: energies, fields and distances of measures", "[laws]") {
  std::mt19937_64 generator(seed + 4);
  for (int k = 0; k < 600; ++k) {
    Cloud c(generator, {1, 2, 3, 5}, {0, 1, 2, 5, 12});
    const Kind kind = generator() % 2 == 0 ? Kind::plain : hard::kinds[generator() % hard::kinds.size()];
    INFO("draw " << k << ": " << c.text() << ", weights " << hard::name_of(kind));
    const Head<double> head{hard::draw<Eigen::MatrixXd>(generator, c.d, c.d, kind),
                            hard::draw<Eigen::MatrixXd>(generator, c.d, c.d, kind),
                            hard::draw<Eigen::MatrixXd>(generator, c.d, c.d, kind)};
    const auto energy = answer(
        "interaction_energy", [&] { return attnflow::interaction_energy(head, c.x); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    if (energy && c.n > 0) {
      const Wide q = reference::wide(head.Q) * reference::wide(c.x),
                 key = reference::wide(head.K) * reference::wide(c.x);
      const Wide scores = q.transpose() * key;
      const Wide sizes = (reference::wide(head.Q).cwiseAbs() * reference::wide(c.x).cwiseAbs()).transpose() *
                         (reference::wide(head.K).cwiseAbs() * reference::wide(c.x).cwiseAbs());
      Real sum = 0;
      for (Index i = 0; i < scores.size(); ++i) sum += std::exp(scores.data()[i] - scores.maxCoeff());
      const Real log = scores.maxCoeff() + std::log(sum);
      REQUIRE(std::abs(static_cast<Real>(energy->log) - log) <=
              eps * (8 * static_cast<Real>(c.n + c.d) + 4 * static_cast<Real>(c.d + 2) * sizes.maxCoeff() +
                     4 * std::abs(log)));
      REQUIRE(energy->value >= 0);
    }
    const auto rate = answer(
        "energy_rate", [&] { return attnflow::energy_rate(head, c.x); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    if (rate) REQUIRE_FALSE((std::isnan(rate->value) || std::isnan(rate->logarithmic)));
    const auto spread = answer(
        "covariance", [&] { return attnflow::covariance(c.x); }, c.failure);
    REQUIRE(c.failure.empty());
    REQUIRE((spread.has_value() || c.n == 0 || hard::largest_of(c.x) > 1e150L));
    if (spread) {
      REQUIRE(spread->allFinite());
      REQUIRE(*spread == spread->transpose());
      REQUIRE((spread->diagonal().array() >= 0).all());
      if (c.kind == Kind::equal || c.kind == Kind::zero || c.n == 1) REQUIRE(spread->isZero(0));
      const auto decay = answer(
          "covariance", [&] { return attnflow::covariance_decay(1e9, c.x); }, c.failure);
      REQUIRE(c.failure.empty());
      if (decay) REQUIRE(decay->allFinite());
    }
    const auto field = answer(
        "attention_field", [&] { return attnflow::attention_field(head, c.x, c.x); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    if (field) REQUIRE(field->allFinite());
    const auto gradient = answer(
        "attention_field_gradient",
        [&] {
          return attnflow::attention_field_gradient(head, c.x, Eigen::VectorXd(Eigen::VectorXd::Zero(c.d)));
        },
        c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    if (gradient) REQUIRE(gradient->allFinite());
    const attnflow::FieldBounds bounds = attnflow::field_bounds(head, 2);
    for (const double bound : {bounds.value, bounds.gradient, bounds.gradient_sharp, bounds.wasserstein})
      REQUIRE(bound >= 0);
    REQUIRE(attnflow::stability_bound(head, 0.5, 1) >= 0);

    // The same tokens in another order are the same measure.
    Eigen::MatrixXd y = c.x;
    for (Index i = c.n; i-- > 1;) y.col(i).swap(y.col(hard::below(generator, i + 1)));
    const auto none = answer(
        "wasserstein2", [&] { return attnflow::wasserstein2(c.x, y); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    REQUIRE(none.has_value());
    // Documented: W₂² is too large by a few n ε times the squared extent.
    const Real size = hard::largest_of(c.x);
    REQUIRE(static_cast<Real>(none->distance) <= std::sqrt(64 * static_cast<Real>(c.n + 1) * eps) * size);
    const Kind other = hard::kinds[generator() % hard::kinds.size()];
    const Eigen::MatrixXd z = hard::draw<Eigen::MatrixXd>(generator, c.d, c.n, other);
    const auto there = answer(
        "wasserstein2", [&] { return attnflow::wasserstein2(c.x, z); }, c.failure);
    const auto back = answer(
        "wasserstein2", [&] { return attnflow::wasserstein2(z, c.x); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    REQUIRE(there.has_value() == back.has_value());
    if (there && c.n > 0) {
      Real as_it_stands = 0;
      for (Index i = 0; i < c.n; ++i)
        as_it_stands +=
            (reference::wide(c.x.col(i)) - reference::wide(z.col(i))).squaredNorm() / static_cast<Real>(c.n);
      const Real reach = size + hard::largest_of(z);
      REQUIRE(static_cast<Real>(there->distance) <=
              std::sqrt(as_it_stands + 64 * static_cast<Real>(c.n) * eps * reach * reach) + 4 * least);
      REQUIRE(std::abs(static_cast<Real>(there->distance) - static_cast<Real>(back->distance)) <=
              std::sqrt(128 * static_cast<Real>(c.n) * eps) * reach + 4 * least);
      attnflow::Generator draws(5);
      const double sliced = attnflow::sliced_wasserstein2(c.x, z, draws, 8);
      REQUIRE(static_cast<Real>(sliced) <= static_cast<Real>(there->distance) +
                                               std::sqrt(128 * static_cast<Real>(c.n) * eps) * reach +
                                               4 * least);
    }
    CHECK_SPOILED("interaction_energy", attnflow::interaction_energy(head, x));
    CHECK_SPOILED("energy_rate", attnflow::energy_rate(head, x));
    CHECK_SPOILED("covariance", attnflow::covariance(x));
    CHECK_SPOILED("covariance", attnflow::covariance_decay(1, x));
    CHECK_SPOILED("attention_field", attnflow::attention_field(head, x, c.x));
    CHECK_SPOILED("wasserstein2", attnflow::wasserstein2(x, c.x));
  }
}

TEMPLATE_TEST_CASE("hostile tokens: to a file and back, to the bits", "[laws]", float, double) {
  using Bits = std::conditional_t<std::is_same_v<TestType, float>, std::uint32_t, std::uint64_t>;
  const Folder folder;
  std::mt19937_64 generator(seed + 5);
  for (int k = 0; k < 300; ++k) {
    const Index d = 1 + hard::below(generator, 6), n = hard::below(generator, 9);
    const Kind kind = hard::kinds[generator() % hard::kinds.size()];
    CAPTURE(k, d, n, hard::name_of(kind));
    Tokens<TestType> x = hard::draw<Tokens<TestType>>(generator, d, n, kind);
    if (n > 0 && k % 3 == 0) hard::spoil(generator, x);
    attnflow::save_npy(folder / "x.npy", x);
    const attnflow::NpyArray array = attnflow::load_npy(folder / "x.npy");
    REQUIRE(array.shape == std::vector<Index>{n, d});
    const auto y = attnflow::tokens_from<TestType>(array, "x.npy");
    REQUIRE(y.cols() == n);
    for (Index i = 0; i < x.size(); ++i) {
      if (std::isnan(x.data()[i]))
        REQUIRE(std::isnan(y.data()[i]));
      else
        REQUIRE(std::bit_cast<Bits>(x.data()[i]) == std::bit_cast<Bits>(y.data()[i]));
    }
  }
  const std::vector<Index> axes(65, 1);
  CHECK(refusal([&] { attnflow::save_npy<TestType>(folder / "y.npy", axes, std::vector<TestType>{1}); }) ==
        "save_npy: shape has 65 axes, expected at most 64");
  CHECK(refusal([&] { attnflow::NpyWriter<TestType>(folder / "y.npy", std::span(axes).first(64)); }) ==
        "NpyWriter: row_shape has 64 axes, expected at most 63");
  const std::vector<Index> most(64, 1);
  attnflow::save_npy<TestType>(folder / "y.npy", most, std::vector<TestType>{1});
  CHECK(attnflow::load_npy(folder / "y.npy").shape == most);
}

TEST_CASE("hostile tokens: pictures and pages", "[laws]") {
  const Folder folder;
  std::mt19937_64 generator(seed + 6);
  for (int k = 0; k < 240; ++k) {
    Cloud c(generator, {1, 2, 3}, {0, 1, 2, 12});
    INFO("draw " << k << ": " << c.text());
    if (c.x.size() > 0 && k % 3 == 0) hard::spoil(generator, c.x);
    const auto row = [&](Index i) {
      std::vector<double> values(static_cast<std::size_t>(c.n));
      for (Index j = 0; j < c.n; ++j) values[static_cast<std::size_t>(j)] = c.x(std::min(i, c.d - 1), j);
      return values;
    };
    figures::Figure figure;
    figures::Figure::Panel panel;
    panel.equal = k % 2 == 0;
    panel.x.logarithmic = k % 5 == 0 && !panel.equal;
    figures::Figure::Points points{.x = row(0), .y = row(1)};
    figures::Figure::Line line{.label = "a", .x = row(0), .y = row(1)};
    if (c.d == 3 && !panel.x.logarithmic) points.z = line.z = row(2);
    panel.layers = {points, line};
    if (points.z.empty()) panel.layers.emplace_back(figures::Figure::HeatMap{.label = "P", .values = c.x});
    figure.panels = {panel};
    const auto picture = answer(
        "Figure", [&] { return figures::svg(figure); }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    if (picture) {
      REQUIRE(picture->ends_with("</svg>\n"));
      // Numbers of attributes are finite.
      for (const char* word :
           {"=\"nan", "=\"-nan", "=\"inf", "=\"-inf", " nan", "-nan", "Lnan", "Mnan", ",nan", ",inf", "Linf"})
        REQUIRE(picture->find(word) == std::string::npos);
    }
    if (k % 4 != 0) continue;
    attnflow::View view;
    view.times = {0};
    view.tokens = c.n;
    view.dim = static_cast<int>(c.d);
    view.positions.assign(c.x.data(), c.x.data() + c.x.size());
    const auto page = answer(
        "View", [&] { return attnflow::write_html(folder / "v.html", view), 0; }, c.failure);
    INFO(c.failure);
    REQUIRE(c.failure.empty());
    REQUIRE(page.has_value());
    REQUIRE(get(folder / "v.html").ends_with("</html>\n"));
  }
}
