// What the pages of simulate and of the gallery have in common.
#pragma once

#include <attnflow/numerics/matrix_exponential.hpp>
#include <attnflow/observables/attention/interaction_energy.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace page_parts {

/// letter₁, …, letter_d.
inline std::vector<std::string> coordinate_names(const std::string& letter, Eigen::Index d) {
  constexpr std::array digits{"₀", "₁", "₂", "₃", "₄", "₅", "₆", "₇", "₈", "₉"};
  std::vector<std::string> names;
  for (Eigen::Index c = 1; c <= d; ++c) {
    names.push_back(letter);
    for (const char digit : std::to_string(c))
      names.back() += digits.at(static_cast<std::size_t>(digit - '0'));
  }
  return names;
}

/// log ∑ᵢ Zᵢ of tokens x, with the factor β of the scores; NaN where a score is beyond double.
inline double log_energy(const attnflow::Head<double>& head, double beta, const attnflow::Tokens<double>& x) {
  const attnflow::Head<double> scaled{beta * head.Q, head.K, head.V};
  const double scores = (scaled.Q * x).squaredNorm() * (scaled.K * x).squaredNorm();
  return scores < 1e300 ? attnflow::interaction_energy(scaled, x).log
                        : std::numeric_limits<double>::quiet_NaN();
}

/// The same for z = e^{−tV} x.
inline double log_energy_rescaled(const attnflow::Head<double>& head, double beta, double t,
                                  const attnflow::Tokens<double>& z) {
  return log_energy(head, beta, attnflow::unrescale(attnflow::MatrixExponential<>(head.V), t, z));
}

}  // namespace page_parts
