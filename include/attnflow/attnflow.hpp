/// \file
/// Everything but io.
#pragma once

#include <attnflow/algebra/matrix_exponential.hpp>
#include <attnflow/algebra/scaled_matrix.hpp>
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/softmax.hpp>
#include <attnflow/clustering/clusters.hpp>
#include <attnflow/clustering/leaders.hpp>
#include <attnflow/integrators/concepts.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/plan.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/observers/progress.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/polytope/convex_hull.hpp>
#include <attnflow/systems/layers.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>
#include <attnflow/types.hpp>
#include <attnflow/version.hpp>
