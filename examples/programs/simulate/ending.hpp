// The end of a run: what is derived from its data may fail, or be left out, without loss of the data.
#pragma once

#include "programs/simulate/models.hpp"

#include <attnflow/observers/stop_on_signal.hpp>

#include <chrono>
#include <exception>
#include <future>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace simulation {

/// What is missing or wrong in what a run wrote: for each part, such as "analysis", why.
class Problems {
 public:
  void add(const std::string& part, const std::string& why) {
    if (!has(part)) each_.emplace_back(part, why);
  }
  /// Does it. \returns whether that went well; else what went wrong is a problem of this part.
  template <class Work>
  bool attempt(const std::string& part, const Work& work) {
    try {
      work();
      return true;
    } catch (const std::bad_alloc&) {
      add(part, "not enough memory");
    } catch (const std::exception& error) {
      add(part, error.what());
    }
    return false;
  }
  [[nodiscard]] bool has(const std::string& part) const {
    for (const auto& problem : each_)
      if (problem.first == part) return true;
    return false;
  }
  /// "part: why" of each.
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> texts;
    for (const auto& [part, why] : each_) texts.push_back(part + ": " + why);
    return texts;
  }

 private:
  std::vector<std::pair<std::string, std::string>> each_;
};

/// Does the work, in a second thread so that this one sees a signal. \returns whether the work is done; if not, it goes
/// on, and the caller has to end the process. Throws what the work throws.
template <class Work>
bool done_before_signal(const attnflow::StopOnSignal& signal, const Work& work) {
  std::packaged_task<void()> task([&work] { work(); });
  std::future<void> done = task.get_future();
  std::thread worker;
  try {
    worker = std::thread(std::move(task));
  } catch (const std::system_error&) {  // no thread is to be had
    work();
    return true;
  }
  while (done.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready)
    if (signal.signal() != 0) {
      worker.detach();
      return false;
    }
  worker.join();
  done.get();
  return true;
}

/// How many digits the coordinates that were integrated keep when the tokens are saved in the coordinates that are
/// shown. Rounding x = B y changes y by at most ε |B⁻¹| |x|; digits are counted from the largest entry of each row of y.
class SavedDigits {
 public:
  template <class Scalar>
  void see(double t, const attnflow::InvariantBasis& coordinates, const Tokens<Scalar>& x,
           const Tokens<Scalar>& y) {
    const Eigen::VectorXd largest = x.template cast<double>().cwiseAbs().rowwise().maxCoeff();
    const Eigen::VectorXd rounding = static_cast<double>(std::numeric_limits<Scalar>::epsilon()) / 2 *
                                     (coordinates.inverse.cwiseAbs() * largest);
    for (Index c = 0; c < y.rows(); ++c) {
      const auto size = static_cast<double>(y.row(c).cwiseAbs().maxCoeff());
      if (!(size > 0)) continue;
      const double digits = std::max(0.0, std::log10(size / rounding(c)));
      if (least_ && !(digits < *least_)) continue;
      least_ = digits;
      t_ = t;
    }
  }
  /// The least number of digits in the rows seen, if there were any.
  [[nodiscard]] const std::optional<double>& least() const { return least_; }
  /// The time of that row.
  [[nodiscard]] double t() const { return t_; }

 private:
  std::optional<double> least_;
  double t_ = 0;
};

}  // namespace simulation
