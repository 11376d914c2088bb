/// \file
/// What an interactive page shows, as plain values: View.
#pragma once

#include <attnflow/detail/refuse.hpp>
#include <attnflow/types.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// What a page shows: m moments of n tokens in d dimensions, and what is known of them. Plain values; texts
/// are UTF-8. Written by write_html(); add_head() and add_limits() fill in what follows from weights.
struct View {
  /// A number at each moment, such as the count of clusters; entries that are not finite are gaps.
  struct Series {
    /// Beside its plot.
    std::string name;
    std::vector<double> values;  ///< m
  };
  /// A line of the table of parameters.
  struct Parameter {
    /// As the table shows them.
    std::string name, value;
  };
  /// Other coordinates to look at the tokens in: the c-th is ⟨row c of `rows`, x⟩.
  struct Basis {
    std::string name;               ///< such as "eigenvectors of V"
    std::vector<double> rows;       ///< k × d in C order, k = axes.size() ≥ 1
    std::vector<std::string> axes;  ///< k names
  };
  /// The affine subspace point + span(directions): a point, a line, a plane, …
  struct Flat {
    std::string name;                ///< flats of one name are one entry of the legend
    bool predicted = true;           ///< what the theory says (drawn dashed), or what was found
    std::vector<double> point;       ///< d
    std::vector<double> directions;  ///< k × d in C order, linearly independent, k from 0 to d − 1
  };
  /// What makes P from the tokens of a moment: token i gives token j the weight law(sᵢⱼ), where at moment k
  ///
  ///     sᵢⱼ = e^{log_scales[k]} ⟨xᵢ, forms[k] xⱼ⟩ − slope |i − j|.
  ///
  /// For the rescaled system forms[k] e^{log_scales[k]} = β e^{tVᵀ} QᵀK e^{tV}. Where a moment has no finite
  /// entry of forms, the page shows no P.
  struct Head {
    std::string name;                ///< such as "head 1"; may be empty where there is one
    std::vector<double> forms;       ///< m × d × d in C order
    std::vector<double> log_scales;  ///< m, or none: zero
  };

  /// Above the page, and the name of its tab.
  std::string title;
  std::string note;                   ///< a line under the title; may be empty
  std::vector<double> times;          ///< m ≥ 1, finite, never decreasing
  Eigen::Index tokens = 0;            ///< n
  int dim = 2;                        ///< d ≥ 1; beyond 3 the page lets the reader choose what to see
  std::vector<double> positions;      ///< m × n × d in C order; what is not finite is not drawn
  std::vector<std::string> axes;      ///< d names, or none: x₁, x₂, …
  std::vector<Basis> bases;           ///< besides the coordinates and principal components
  std::vector<int> clusters;          ///< n labels from 0, −1 for a token of no cluster; or none
  std::vector<Eigen::Index> leaders;  ///< tokens to mark
  std::vector<Flat> flats;            ///< limits, predicted and found
  std::vector<float> attention;       ///< m × n × n in C order, P at each moment; or none
  std::vector<Head> heads;            ///< from which the page computes P where `attention` is empty; or none
  std::string law = "softmax";        ///< of the heads: softmax, or unnormalized (e^s / n)
  std::string mask = "none";          ///< of the heads: none, causal, strict-causal
  double slope = 0;                   ///< of the heads: that of ALiBi
  /// Numbers to plot against t.
  std::vector<Series> series;
  /// What the run was made with, as a table.
  std::vector<Parameter> parameters;

  /// \throws std::invalid_argument naming the field at fault, what it holds and what was expected.
  void validate() const;
};

namespace detail {

/// Checks the fields of a View one after the other.
struct ViewCheck {
  const View& view;
  std::size_t m = view.times.size(), n = static_cast<std::size_t>(view.tokens),
              d = static_cast<std::size_t>(view.dim);

  static void sized(const std::string& field, std::size_t found, std::size_t expected,
                    const std::string& meaning) {
    if (found != expected)
      refuse("View::", field, " has ", found, " entries, expected ", meaning, " = ", expected);
  }
  static void finite(const std::string& field, const std::vector<double>& values) {
    for (std::size_t k = 0; k < values.size(); ++k)
      if (!std::isfinite(values[k]))
        refuse("View::", field, " has ", values[k], " as entry ", k, ", expected finite numbers");
  }

  void moments() const {
    if (m == 0) refuse("View::times is empty, expected at least one");
    finite("times", view.times);
    if (!std::is_sorted(view.times.begin(), view.times.end())) refuse("View::times decreases");
    if (view.tokens < 0) refuse("View::tokens is ", view.tokens, ", expected at least 0");
    if (view.dim < 1) refuse("View::dim is ", view.dim, ", expected at least 1");
    // n and d are compared first: they are then small enough for the products not to overflow.
    if (n > view.positions.size() || (n > 0 && d > view.positions.size() / n) ||
        view.positions.size() != m * n * d)
      refuse("View::positions has ", view.positions.size(), " entries, expected times x tokens x dim = ", m,
             " x ", n, " x ", d);
  }
  void marks() const {
    if (!view.axes.empty()) sized("axes", view.axes.size(), d, "none or dim");
    if (!view.clusters.empty()) sized("clusters", view.clusters.size(), n, "none or tokens");
    for (const int label : view.clusters)
      if (label < -1) refuse("View::clusters has the label ", label, ", expected at least -1");
    for (const Eigen::Index i : view.leaders)
      if (i < 0 || i >= view.tokens)
        refuse("View::leaders has token ", i, ", expected 0 to ", view.tokens - 1);
    for (const auto& s : view.series) sized("series '" + s.name + "'", s.values.size(), m, "times");
  }
  void subspaces() const {
    for (const auto& basis : view.bases) {
      const std::string field = "bases '" + basis.name + "'";
      if (basis.axes.empty()) refuse("View::", field, " has no axes, expected at least one");
      sized(field + ".rows", basis.rows.size(), basis.axes.size() * d, "axes x dim");
      finite(field + ".rows", basis.rows);
    }
    for (const auto& flat : view.flats) {
      const std::string field = "flats '" + flat.name + "'";
      sized(field + ".point", flat.point.size(), d, "dim");
      if (flat.directions.size() % d != 0 || flat.directions.size() / d >= d)
        refuse("View::", field, ".directions has ", flat.directions.size(),
               " entries, expected k x dim with k from 0 to ", d - 1, ", dim = ", d);
      finite(field + ".point", flat.point);
      finite(field + ".directions", flat.directions);
    }
  }
  void weights() const {
    if (!view.attention.empty() &&
        (n == 0 || view.attention.size() / n / n != m || view.attention.size() != m * n * n))
      refuse("View::attention has ", view.attention.size(),
             " entries, expected none or times x tokens x tokens = ", m, " x ", n, " x ", n);
    for (const auto& head : view.heads) {
      const std::string field = "heads '" + head.name + "'";
      sized(field + ".forms", head.forms.size(), m * d * d, "times x dim x dim");
      if (!head.log_scales.empty()) sized(field + ".log_scales", head.log_scales.size(), m, "none or times");
    }
    if (view.law != "softmax" && view.law != "unnormalized")
      refuse("View::law is '", view.law, "', expected softmax or unnormalized");
    if (view.mask != "none" && view.mask != "causal" && view.mask != "strict-causal")
      refuse("View::mask is '", view.mask, "', expected none, causal or strict-causal");
    if (!std::isfinite(view.slope)) refuse("View::slope is ", view.slope, ", expected a finite number");
  }
};

}  // namespace detail

inline void View::validate() const {
  const detail::ViewCheck check{*this};
  check.moments();
  check.marks();
  check.subspaces();
  check.weights();
}

}}  // namespace attnflow
