// Observables on tokens of hostile shape and size: a number that can be, or a refusal in due form; never NaN.
#include <attnflow/attention/laws/softmax.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/geometry/hemisphere.hpp>
#include <attnflow/observables/attention/sphere_energy.hpp>
#include <attnflow/observables/runs/merge_times.hpp>
#include <attnflow/observables/runs/staircase.hpp>
#include <attnflow/observables/tokens/caps.hpp>
#include <attnflow/observables/tokens/density_modes.hpp>
#include <attnflow/observables/tokens/inner_products.hpp>
#include <attnflow/observables/tokens/mode_spectrum.hpp>
#include <attnflow/observables/tokens/order_parameters.hpp>
#include <attnflow/observables/tokens/renyi_centres.hpp>
#include <attnflow/observables/tokens/span_dimension.hpp>
#include <attnflow/observables/tokens/spread.hpp>

#include "catch.hpp"
#include "laws/hard_input.hpp"
#include "refusal.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using hard::answer;
using hard::Index;
using hard::well_formed;

constexpr std::array<double, 7> betas{0, 1, -3, 1e-300, 1e6, 1e300, -1e300};

struct Cloud {
  Index d, n;
  hard::Kind kind;
  Eigen::MatrixXd x;
  std::string failure;

  explicit Cloud(std::mt19937_64& generator) {
    constexpr std::array<Index, 5> dims{1, 2, 3, 4, 7};
    constexpr std::array<Index, 6> sizes{0, 1, 2, 3, 5, 20};
    d = dims[generator() % dims.size()];
    n = sizes[generator() % sizes.size()];
    kind = hard::kinds[generator() % hard::kinds.size()];
    x = hard::draw<Eigen::MatrixXd>(generator, d, n, kind);
  }
  [[nodiscard]] std::string text() const {
    return std::string(hard::name_of(kind)) + ", d = " + std::to_string(d) + ", n = " + std::to_string(n);
  }
};

/// The number that a call gives, if any, is in [low, high].
template <class Call>
void number_in(Cloud& c, const std::string& who, double low, double high, const Call& call) {
  const auto found = answer(who + ":", call, c.failure);
  INFO(who);
  REQUIRE(c.failure == "");
  if (!found) return;
  INFO(*found);
  REQUIRE((*found >= low && *found <= high));
}

}  // namespace

TEST_CASE("hostile tokens: numbers of order and energy", "[laws]") {
  std::mt19937_64 generator(1);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (int k = 0; k < 1500; ++k) {
    Cloud c(generator);
    INFO("draw " << k << ": " << c.text());
    const double beta = betas[generator() % betas.size()];
    number_in(c, "normalized_energy", 0, beta >= 0 ? 1 : infinity,
              [&] { return attnflow::normalized_energy(c.x, beta); });
    const auto head = attnflow::Head<double>::identity(c.d);
    number_in(c, "sphere_energy", -infinity, infinity,
              [&] { return attnflow::sphere_energy(head, beta, c.x); });
    const Eigen::MatrixXd velocity = hard::draw<Eigen::MatrixXd>(generator, c.d, c.n, c.kind);
    for (const bool softmax : {true, false}) {
      const auto balance = answer(
          "energy_balance:",
          [&] {
            return softmax ? attnflow::energy_balance(attnflow::Softmax{beta}, head, c.x, velocity)
                           : attnflow::energy_balance(attnflow::Unnormalized{beta}, head, c.x, velocity);
          },
          c.failure);
      REQUIRE(c.failure == "");
      if (balance)
        for (const double value : {balance->rate.value, balance->rate.logarithmic, balance->dissipation.value,
                                   balance->dissipation.logarithmic})
          REQUIRE(!std::isnan(value));
    }
    number_in(c, "order_parameter", 0, infinity, [&] { return attnflow::order_parameter(c.x); });
    number_in(c, "directional_variance", 0, infinity, [&] { return attnflow::directional_variance(c.x); });
    number_in(c, "mean_cosine", -infinity, 1, [&] { return attnflow::mean_cosine(c.x); });
    number_in(c, "diameter", 0, infinity, [&] { return attnflow::diameter(c.x); });
    if (c.n > 0)
      number_in(c, "distance_to_consensus", 0, infinity,
                [&] { return attnflow::distance_to_consensus(c.x, c.x.col(0)); });
    number_in(c, "span_dimension", 0, static_cast<double>(std::min(c.d, c.n)),
              [&] { return static_cast<double>(attnflow::span_dimension(c.x)); });
    const auto hemisphere = answer(
        "open_hemisphere:", [&] { return attnflow::open_hemisphere(c.x); }, c.failure);
    REQUIRE(c.failure == "");
    REQUIRE(hemisphere.has_value());
    REQUIRE(!std::isnan(hemisphere->margin));
    if (hemisphere->contains) REQUIRE(attnflow::hemisphere_margin(c.x, hemisphere->pole) > 0);
  }
}

TEST_CASE("hostile tokens: centres, caps, clusters and histograms", "[laws]") {
  std::mt19937_64 generator(2);
  for (int k = 0; k < 1500; ++k) {
    Cloud c(generator);
    INFO("draw " << k << ": " << c.text());
    const double delta = std::array{0., 1e-300, 0.1, 3., 1e300}[generator() % 5];
    const auto centres = attnflow::renyi_centres(c.x, delta),
               strong = attnflow::strong_renyi_centres(c.x, delta);
    REQUIRE(std::ranges::includes(centres, strong));
    REQUIRE(centres.empty() == (c.n == 0));
    if (c.n > 0) {
      const auto nearest = attnflow::nearest_centres(c.x, c.x);
      for (Index i = 0; i < c.n; ++i) {
        REQUIRE(nearest.labels[static_cast<std::size_t>(i)] <= i);
        REQUIRE(!std::isnan(nearest.angles[static_cast<std::size_t>(i)]));
      }
      const auto labels = attnflow::cap_labels(c.x, c.x, 0.1);
      const auto caps = attnflow::cap_statistics(c.x, c.x, labels, 0.1);
      REQUIRE(caps.widest >= 0);
      number_in(c, "cap_overlap", -1, 1, [&] { return attnflow::cap_overlap(c.x, 0.1); });
    }
    for (const bool normalize : {true, false}) {
      const auto found = answer(
          "", [&] { return attnflow::histogram(attnflow::inner_products(c.x, {.normalize = normalize})); },
          c.failure);
      REQUIRE(c.failure == "");
      if (!found) continue;
      REQUIRE(found->total() == c.n * (c.n - 1) / 2);
      REQUIRE(found->below + found->above == 0);
      REQUIRE(std::ranges::is_sorted(found->edges));
      for (const double height : found->density()) REQUIRE(height >= 0);
    }
    attnflow::MergeTimes merges(0.5);
    merges(0, c.x);
    const Eigen::MatrixXd later = hard::draw<Eigen::MatrixXd>(generator, c.d, c.n, c.kind);
    merges(1, later);
    REQUIRE(merges.count() <= attnflow::detect_clusters(later, 0.5).count());
    REQUIRE(merges.clusters().count() == merges.count());
  }
}

TEST_CASE("hostile angles and series", "[laws]") {
  std::mt19937_64 generator(3);
  for (int k = 0; k < 600; ++k) {
    Cloud c(generator);
    INFO("draw " << k << ": " << c.text());
    const Eigen::RowVectorXd row = c.x.reshaped().transpose();
    const auto modes = answer(
        "mode_spectrum:", [&] { return attnflow::mode_spectrum(row, 5); }, c.failure);
    REQUIRE(c.failure == "");
    if (modes)
      for (const auto& mode : *modes) REQUIRE(std::abs(mode) <= 1 + 1e-14);
    const double beta = std::array{1e-300, 1e-3, 1., 100., 1e30, 1e300}[generator() % 6];
    const auto circle = attnflow::circle_density_modes(row, beta),
               line = attnflow::line_density_modes(row, beta);
    REQUIRE(std::ranges::is_sorted(circle));
    REQUIRE(std::ranges::is_sorted(line));
    REQUIRE(circle.size() <= static_cast<std::size_t>(row.size()));
    REQUIRE(line.size() <= static_cast<std::size_t>(row.size()));
    for (const double mode : circle) REQUIRE((mode >= 0 && mode < 6.29));
    for (const double mode : line) REQUIRE((mode >= row.minCoeff() && mode <= row.maxCoeff()));
    if (row.size() > 0) REQUIRE(!line.empty());
    std::vector<double> times, values(row.data(), row.data() + row.size());
    for (std::size_t i = 0; i < values.size(); ++i) times.push_back(static_cast<double>(i));
    const auto plateaus = attnflow::find_plateaus(times, values, {.tolerance = 0.1});
    for (const auto& plateau : plateaus) REQUIRE((plateau.spread <= 0.1 && std::isfinite(plateau.value)));
  }
}

TEST_CASE("tokens that are not finite are refused by every observable", "[laws]") {
  std::mt19937_64 generator(4);
  for (int k = 0; k < 60; ++k) {
    Cloud c(generator);
    if (c.n < 2 || c.d < 2) continue;
    Eigen::MatrixXd x = hard::draw<Eigen::MatrixXd>(generator, c.d, c.n, hard::Kind::plain);
    const Eigen::MatrixXd good = x;
    hard::spoil(generator, x);
    const auto head = attnflow::Head<double>::identity(c.d);
    const auto refused = [&](const std::string& who, const auto& call) {
      const std::string said = refusal(call);
      INFO(said);
      REQUIRE(well_formed(said, who + ":"));
    };
    refused("normalized_energy", [&] { (void)attnflow::normalized_energy(x, 1); });
    refused("sphere_energy", [&] { (void)attnflow::sphere_energy(head, 1, x); });
    refused("energy_balance", [&] { (void)attnflow::energy_balance(attnflow::Softmax{}, head, good, x); });
    refused("order_parameter", [&] { (void)attnflow::order_parameter(x); });
    refused("directional_variance", [&] { (void)attnflow::directional_variance(x); });
    refused("mean_cosine", [&] { (void)attnflow::mean_cosine(x); });
    refused("diameter", [&] { (void)attnflow::diameter(x); });
    refused("distance_to_consensus", [&] { (void)attnflow::distance_to_consensus(x, good.col(0)); });
    refused("span_dimension", [&] { (void)attnflow::span_dimension(x); });
    refused("open_hemisphere", [&] { (void)attnflow::open_hemisphere(x); });
    refused("hemisphere_margin", [&] { (void)attnflow::hemisphere_margin(x, good.col(0)); });
    refused("renyi_centres", [&] { (void)attnflow::renyi_centres(x, 1); });
    refused("strong_renyi_centres", [&] { (void)attnflow::strong_renyi_centres(x, 1); });
    refused("nearest_centres", [&] { (void)attnflow::nearest_centres(good, x); });
    refused("cap_labels", [&] { (void)attnflow::cap_labels(x, good, 0.1); });
    refused("cap_overlap", [&] { (void)attnflow::cap_overlap(x, 0.1); });
    refused("inner_products", [&] { (void)attnflow::inner_products(x); });
    refused("detect_clusters", [&] { attnflow::MergeTimes(1)(0, x); });
  }
}
