#include "gallery/run.hpp"

#include "programs/page_parts.hpp"

#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/io/add_limits.hpp>
#include <attnflow/observables/attention/effective_rank.hpp>
#include <attnflow/observables/tokens/clusters.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/prediction/analyze.hpp>
#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/prediction/invariant_splitting.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>

#include <sstream>
#include <stdexcept>
#include <utility>

namespace gallery {

namespace {

using Eigen::Index;
using State = attnflow::Tokens<double>;
using Field = attnflow::RescaledDynamics<double>;

attnflow::AnalyzeOptions options_of(const attnflow::InvariantBasis& coordinates, double beta) {
  attnflow::AnalyzeOptions options;
  options.beta = beta;
  options.coordinates = &coordinates;
  return options;
}

std::string compact(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

}  // namespace

Run follow(const attnflow::Head<double>& head, const Eigen::MatrixXd& start, const RunOptions& options) {
  Run run{.head = head, .beta = options.beta, .times = attnflow::equal_times(0, options.to, options.count)};
  const attnflow::InvariantBasis c = attnflow::invariant_basis(head.V);
  const attnflow::Head<double> inside =
      c.is_identity ? head : attnflow::Head<double>{head.Q * c.basis, head.K * c.basis, c.blocks};
  const Field field(inside, attnflow::Softmax{.beta = options.beta});
  State y = c.inverse * start;
  const State first = y;
  auto record = attnflow::at_times<State>(run.times, [&](double t, const State& state) {
    run.z.push_back(t == 0 ? start : Eigen::MatrixXd(c.basis * state));
    if (options.attention) run.P.push_back(field.attention(t, state));
  });
  run.report = attnflow::integrate(
      field, attnflow::DormandPrince5<State>{}, y,
      attnflow::AdaptiveSteps{.to = options.to, .rtol = options.rtol, .atol = options.atol}, record);
  if (run.report.outcome != attnflow::Outcome::reached_end)
    throw std::runtime_error("the run ended early, at t = " + compact(run.report.t));
  run.analysis = attnflow::analyze(head, options.to, first, y, options_of(c, options.beta));
  return run;
}

attnflow::View view_of(const Run& run, const std::string& title) {
  attnflow::View view;
  const Index d = run.head.dim(), n = run.z.front().cols();
  view.title = title;
  view.times = run.times;
  view.tokens = n;
  view.dim = static_cast<int>(d);
  view.axes = page_parts::coordinate_names("z", d);
  const attnflow::Finding& found = run.analysis.found;
  for (const Index label : found.clusters.labels) view.clusters.push_back(static_cast<int>(label));
  view.leaders = found.leaders;

  // Clusters are those of z modulo the directions in which it grows, as in Finding.
  const auto growing = attnflow::unstable_dimension(run.head.V).splitting;
  const Eigen::MatrixXd seen = growing.dim() > 0 ? growing.inside_dual : Eigen::MatrixXd::Identity(d, d);
  attnflow::View::Series clusters{"clusters", {}}, rank{"rank of P", {}}, energy{"log energy log ∑ᵢ Zᵢ", {}};
  for (std::size_t k = 0; k < run.times.size(); ++k) {
    const Eigen::MatrixXd& z = run.z[k];
    view.positions.insert(view.positions.end(), z.data(), z.data() + z.size());
    clusters.values.push_back(
        static_cast<double>(attnflow::detect_clusters(seen * z, found.cluster_tolerance).count()));
    if (d <= 16)
      energy.values.push_back(page_parts::log_energy_rescaled(run.head, run.beta, run.times[k], z));
    if (run.P.empty()) continue;
    const Eigen::MatrixXd& P = run.P[k];
    rank.values.push_back(static_cast<double>(attnflow::effective_rank(P).rank));
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < n; ++j) view.attention.push_back(static_cast<float>(P(i, j)));
  }
  view.series.push_back(std::move(clusters));
  if (!run.P.empty()) view.series.push_back(std::move(rank));
  if (d <= 16) view.series.push_back(std::move(energy));
  attnflow::add_limits(view, run.analysis, run.head.V);

  view.parameters = {{"n", std::to_string(n)}, {"d", std::to_string(d)}, {"β", compact(run.beta)}};
  for (const auto& [name, matrix] : {std::pair{"Q", &run.head.Q}, {"K", &run.head.K}, {"V", &run.head.V}}) {
    std::ostringstream text;
    if (matrix->isIdentity(0))
      text << "identity";
    else if (d <= 4)
      text << matrix->format(Eigen::IOFormat(4, Eigen::DontAlignCols, ", ", "; ", "", "", "[", "]"));
    else
      text << matrix->rows() << " × " << matrix->cols();
    view.parameters.push_back({name, text.str()});
  }
  view.parameters.push_back({"stepper", "Dormand–Prince, " + std::to_string(run.report.steps) + " steps"});
  const auto& prediction = run.analysis.prediction;
  view.parameters.push_back({"predicted", prediction.limit == attnflow::LimitCase::none
                                              ? prediction.conjecture
                                              : prediction.reason});
  if (run.analysis.distance_to_prediction)
    view.parameters.push_back({"distance to it", compact(*run.analysis.distance_to_prediction)});
  return view;
}

}  // namespace gallery
