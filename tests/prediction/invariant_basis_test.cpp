#include "catch.hpp"

#include <attnflow/prediction/invariant_basis.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <cmath>
#include <limits>

namespace {

using attnflow::invariant_basis;
using attnflow::InvariantBasis;
constexpr double epsilon = std::numeric_limits<double>::epsilon();

Eigen::MatrixXd random_matrix(Eigen::Index d, unsigned seed) {
  attnflow::Generator generator(seed);
  return attnflow::uniform_box(generator, d, d, -1, 1);
}

/// V basis = basis blocks, up to the rounding of a d × d eigenproblem in a basis of this condition.
void check_decomposition(const Eigen::MatrixXd& V, const InvariantBasis& found) {
  const double d = static_cast<double>(V.rows());
  const double allowed = 20 * d * epsilon * found.condition * V.norm();
  CHECK((V * found.basis - found.basis * found.blocks).norm() <= allowed * found.basis.norm());
  CHECK((found.basis * found.inverse - Eigen::MatrixXd::Identity(V.rows(), V.rows())).norm() <=
        20 * d * epsilon * found.condition);
}

/// Zero off the blocks, to the last bit; a pair's block is (a b; −b a).
void check_blocks(const Eigen::MatrixXd& blocks) {
  for (Eigen::Index i = 0; i < blocks.rows(); ++i)
    for (Eigen::Index j = 0; j < blocks.cols(); ++j) {
      if (i == j || blocks(i, j) == 0) continue;
      CHECK(std::abs(i - j) == 1);
      CHECK(blocks(j, i) == -blocks(i, j));
      CHECK(blocks(i, i) == blocks(j, j));
    }
}

}  // namespace

TEST_CASE("a general matrix is block diagonal in its basis", "[spectral]") {
  int pairs = 0;
  for (const Eigen::Index d : {2, 3, 4, 7, 20})
    for (unsigned seed = 0; seed < 10; ++seed) {
      const Eigen::MatrixXd V = random_matrix(d, seed);
      const InvariantBasis found = invariant_basis(V);
      if (found.is_identity) continue;
      check_decomposition(V, found);
      check_blocks(found.blocks);
      pairs += found.blocks.isDiagonal(0) ? 0 : 1;
    }
  CHECK(pairs > 10);  // the draws do hold complex eigenvalues
}

TEST_CASE("a symmetric matrix has an orthogonal basis and a diagonal", "[spectral]") {
  const Eigen::MatrixXd A = random_matrix(6, 3);
  const Eigen::MatrixXd V = A + A.transpose();
  const InvariantBasis found = invariant_basis(V);
  REQUIRE_FALSE(found.is_identity);
  CHECK(found.condition == Approx(1).epsilon(1e-14));
  CHECK(found.blocks.isDiagonal(0));
  CHECK((found.basis.transpose() * found.basis - Eigen::MatrixXd::Identity(6, 6)).norm() <= 100 * epsilon);
  check_decomposition(V, found);
}

TEST_CASE("a diagonal matrix is left as it is", "[spectral]") {
  const Eigen::MatrixXd V = Eigen::Vector3d(1, 1, -0.5).asDiagonal();
  const InvariantBasis found = invariant_basis(V);
  CHECK(found.is_identity);
  CHECK(found.blocks == V);
  CHECK(found.basis == Eigen::MatrixXd::Identity(3, 3));
}

TEST_CASE("a defective matrix has no basis, and one close to it none of acceptable condition", "[spectral]") {
  Eigen::MatrixXd V(2, 2);
  V << 1, 1, 0, 1;
  CHECK(invariant_basis(V).is_identity);
  V(1, 1) = 1 + 1e-9;
  CHECK(invariant_basis(V).is_identity);
  CHECK(invariant_basis(V).blocks == V);
  CHECK_FALSE(invariant_basis(V, 1e12).is_identity);
}

TEST_CASE("invariant_basis refuses what is not a finite square matrix", "[spectral]") {
  CHECK_THROWS_WITH(invariant_basis(Eigen::MatrixXd::Zero(2, 3)),
                    "invariant_basis: V is 2 x 3, expected a square matrix of size at least 1");
  Eigen::MatrixXd V = Eigen::MatrixXd::Identity(2, 2);
  V(0, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(invariant_basis(V), "invariant_basis: V has an entry that is not finite");
}
