// A run of the rescaled dynamics with its analysis, and the page of it. Compiled once for all examples.
#pragma once

#include <attnflow/integrators/plan.hpp>
#include <attnflow/io/view.hpp>
#include <attnflow/prediction/analysis.hpp>
#include <attnflow/types.hpp>

#include <Eigen/Core>

#include <cstddef>
#include <string>
#include <vector>

namespace gallery {

/// z = e^{−tV} x at equal times from 0, with P, and what the theorems say of the end.
struct Run {
  attnflow::Head<double> head;
  double beta = 1;
  std::vector<double> times = {};
  std::vector<Eigen::MatrixXd> z = {};  ///< d × n at each time
  std::vector<Eigen::MatrixXd> P = {};  ///< n × n at each time, rows summing to one; or none
  attnflow::Report report = {};
  attnflow::Analysis analysis = {};  ///< of the last state
};

struct RunOptions {
  double to = attnflow::required;
  std::size_t count = 101;  ///< of times saved
  bool attention = true;    ///< save P
  double beta = 1, rtol = 1e-9, atol = 1e-11;
};

/// Integrates RescaledDynamics by DormandPrince5 from `start`, d × n, in coordinates in which V is block diagonal
/// (InvariantBasis): eigenvalues of both signs then do not spoil each other. \throws std::runtime_error if the run
/// ends early.
Run follow(const attnflow::Head<double>& head, const Eigen::MatrixXd& start, const RunOptions& options);

/// The page: tokens, clusters, leaders, predicted and found limits, P from the weights, clusters, rank, energy and
/// distance to the prediction against t.
attnflow::View view_of(const Run& run, const std::string& title);

}  // namespace gallery
