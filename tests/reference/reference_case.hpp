// The stored runs of tests/data.
#pragma once

#include <attnflow/io/npy.hpp>
#include <attnflow/systems/rescaled_dynamics.hpp>
#include <attnflow/systems/token_dynamics.hpp>

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// One case of tests/data: the head, the times, and the tokens and the attention matrices at them.
struct ReferenceCase {
  explicit ReferenceCase(const std::string& name)
      : folder_(std::filesystem::path(ATTNFLOW_TEST_DATA) / name) {
    rescaled = std::filesystem::exists(folder_ / "z.npy");
    head = {matrices("Q").front(), matrices("K").front(), matrices("V").front()};
    start = attnflow::tokens_from<double>(attnflow::load_npy(folder_ / "x0.npy"), "x0");
    times = attnflow::load_npy(folder_ / "times.npy").values;
    for (const Eigen::MatrixXd& rows : matrices(rescaled ? "z" : "x")) tokens.emplace_back(rows.transpose());
    P = matrices("P");
  }

  bool rescaled = false;  ///< the tokens are z = e^{−tV} x, else x
  attnflow::Head<double> head;
  attnflow::Tokens<double> start;
  std::vector<double> times;
  std::vector<attnflow::Tokens<double>> tokens;
  std::vector<Eigen::MatrixXd> P;

  template <class Scalar>
  [[nodiscard]] attnflow::Head<Scalar> head_as() const {
    return {head.Q.template cast<Scalar>(), head.K.template cast<Scalar>(), head.V.template cast<Scalar>()};
  }

 private:
  [[nodiscard]] std::vector<Eigen::MatrixXd> matrices(const std::string& array) const {
    return attnflow::matrices_from<double>(attnflow::load_npy(folder_ / (array + ".npy")), array);
  }
  std::filesystem::path folder_;
};
