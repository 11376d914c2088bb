// The kernels of attention, for every kind of row, and the decompositions: what programs that define ATTNFLOW_EXTERN_KERNELS link.
#define ATTNFLOW_DEFINE_KERNELS
#include <attnflow/attention/kernels/instances.hpp>

#include <attnflow/algebra/decompositions.hpp>

namespace attnflow::inline ATTNFLOW_ABI::detail {
template RealSchurParts<Eigen::MatrixXd> real_schur(const Eigen::MatrixXd&);
template SymmetricParts<Eigen::MatrixXd> symmetric_parts(const Eigen::MatrixXd&, bool);
template Eigen::MatrixXd inverse_of(const Eigen::MatrixXd&);
template FullPivoting<Eigen::MatrixXd> solve_fully(const Eigen::MatrixXd&, const Eigen::MatrixXd&);
template CholeskyFactor<Eigen::MatrixXd> cholesky(const Eigen::MatrixXd&);
}  // namespace attnflow::inline ATTNFLOW_ABI::detail
