// What the cases include, ours and the standard library's, read once.
#include <attnflow/attention/alibi.hpp>
#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/masks.hpp>
#include <attnflow/attention/unnormalized.hpp>
#include <attnflow/ensembles/ensemble.hpp>
#include <attnflow/ensembles/statistics.hpp>
#include <attnflow/integrators/dormand_prince.hpp>
#include <attnflow/integrators/euler.hpp>
#include <attnflow/integrators/integrate.hpp>
#include <attnflow/integrators/on_sphere.hpp>
#include <attnflow/integrators/runge_kutta4.hpp>
#include <attnflow/io/npy.hpp>
#include <attnflow/observers/stop_when.hpp>
#include <attnflow/observers/trajectory.hpp>
#include <attnflow/polytope/convex_hull.hpp>
#include <attnflow/systems/driven.hpp>
#include <attnflow/systems/feed_forward.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <complex>
#include <random>
#include <utility>
#include <vector>
