/// \file
/// How a predicate of the weights answers: every hypothesis with its margin, and a reason.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// One hypothesis of a theorem, tested on given weights.
struct Hypothesis {
  std::string name;     ///< such as "phi1_M_phi1": a word that a report can use as a key
  std::string meaning;  ///< what is asked, in words
  double margin = 0;    ///< without unit; the hypothesis holds where it exceeds `needed`
  /// What the margin must exceed.
  double needed = 0;

  /// Whether the margin exceeds what is needed.
  [[nodiscard]] bool holds() const noexcept { return margin > needed; }
};

/// Yes or no, with what it rests on. Converts to bool.
struct Verdict {
  /// Whether all hypotheses hold.
  bool holds = false;
  std::vector<Hypothesis> hypotheses;  ///< in the theorem's order; those after one that fails may be absent
  std::string reason;                  ///< of a no: the first that fails, with its numbers

  /// The answer itself: if (is_good_triple(head)) …
  explicit operator bool() const noexcept { return holds; }

  /// Adds a hypothesis. The first that fails makes the answer no, for the reason given.
  /// \returns whether it holds.
  bool require(Hypothesis hypothesis, const std::string& reason_if_not) {
    const bool good = hypothesis.holds();
    if (hypotheses.empty()) holds = true;
    if (!good && holds) {
      holds = false;
      reason = reason_if_not;
    }
    hypotheses.push_back(std::move(hypothesis));
    return good;
  }
};

}}  // namespace attnflow
