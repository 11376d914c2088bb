/// \file
/// Matrices whose columns stand one after the other in memory, whatever Eigen's default is.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <Eigen/Core>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Column-major also where EIGEN_DEFAULT_TO_ROW_MAJOR is defined: the kernels read columns through pointers. A single
/// row has one layout, which Eigen calls row-major. Without that macro it is Eigen::Matrix<Scalar, Rows, Cols>.
template <class Scalar, int Rows, int Cols>
using ColumnMajor =
    Eigen::Matrix<Scalar, Rows, Cols, Rows == 1 && Cols != 1 ? Eigen::RowMajor : Eigen::ColMajor>;

}}}  // namespace attnflow::detail
