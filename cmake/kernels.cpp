// The kernels of attention, for every kind of row: what programs that define ATTNFLOW_EXTERN_KERNELS link.
#define ATTNFLOW_DEFINE_KERNELS
#include <attnflow/attention/kernels/instances.hpp>
