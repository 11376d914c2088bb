// The spectra of the value matrices V_h of a layer with H heads [GLPR23, figure on ALBERT's value matrices]:
// which eigenvalue leads decides what the head does to its tokens. Weights are synthetic, or supplied:
//
//     value_spectra [--weights U.npy O.npy --heads H] [--out DIR] [--quiet]
//
// U and O are the value and the output weights as stored, out × in; head h owns the rows J_h of U and the
// columns J_h of O. On column tokens V_h = O[:, J_h] U[J_h, :], of rank d_k; its nonzero eigenvalues are
// those of the d_k × d_k matrix U[J_h, :] O[:, J_h], with eigenvectors O[:, J_h] w.

#include "gallery/exhibit.hpp"

#include <attnflow/io/npy.hpp>
#include <attnflow/prediction/spectrum.hpp>
#include <attnflow/tokens/initial_laws.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdio>
#include <iostream>
#include <numbers>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

using Eigen::Index;
using Eigen::MatrixXd;
using figures::Figure;

namespace {

struct Weights {
  MatrixXd U, O;
  Index heads = 8;
  bool supplied = false;
  [[nodiscard]] Index head_size() const { return U.rows() / heads; }
  [[nodiscard]] MatrixXd value(Index h) const {
    const Index k = head_size();
    return O.middleCols(h * k, k) * U.middleRows(h * k, k);
  }
};

MatrixXd matrix(const std::string& option, const std::string& path) {
  const attnflow::NpyArray array = attnflow::load_npy(path);
  if (array.shape.size() != 2)
    throw std::invalid_argument(option + ": " + path + " has " + std::to_string(array.shape.size()) +
                                " dimensions, expected 2");
  return Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
      array.values.data(), array.shape[0], array.shape[1]);
}

/// Takes its own options out of the arguments; what is left is the gallery's.
Weights weights_from(std::vector<std::string>& arguments) {
  Weights w;
  const auto take = [&](const char* option, std::size_t count) {
    std::vector<std::string> values;
    const auto place = std::ranges::find(arguments, option);
    if (place == arguments.end()) return values;
    auto next = place + 1;
    while (next != arguments.end() && values.size() < count && !next->starts_with("--"))
      values.push_back(*next++);
    if (values.size() < count)
      throw std::invalid_argument(std::string(option) + ": " + std::to_string(values.size()) +
                                  " values, expected " + std::to_string(count));
    arguments.erase(place, next);
    return values;
  };
  if (const auto heads = take("--heads", 1); !heads.empty()) {
    const auto [rest, error] = std::from_chars(heads[0].data(), heads[0].data() + heads[0].size(), w.heads);
    if (error != std::errc{} || rest != heads[0].data() + heads[0].size() || w.heads < 1)
      throw std::invalid_argument("--heads: " + heads[0] + ", expected a whole number, at least 1");
  }
  if (const auto files = take("--weights", 2); !files.empty()) {
    w.supplied = true;
    w.U = matrix("--weights", files[0]);
    w.O = matrix("--weights", files[1]);
    if (w.O.cols() != w.U.rows() || w.O.rows() != w.U.cols())
      throw std::invalid_argument("--weights: O is " + std::to_string(w.O.rows()) + " x " +
                                  std::to_string(w.O.cols()) + ", expected the shape of U transposed, " +
                                  std::to_string(w.U.cols()) + " x " + std::to_string(w.U.rows()));
  } else {  // Gaussian, of variance 1/D: the usual start of training
    const Index D = 256;
    attnflow::Generator generator(6);
    w.U = attnflow::gaussian(generator, D, D, 1 / std::sqrt(static_cast<double>(D)));
    w.O = attnflow::gaussian(generator, D, D, 1 / std::sqrt(static_cast<double>(D)));
  }
  if (w.U.rows() < w.heads || w.U.rows() % w.heads != 0)
    throw std::invalid_argument("--heads: " + std::to_string(w.heads) + ", expected a divisor of " +
                                std::to_string(w.U.rows()) + ", the rows of U");
  return w;
}

/// What the leading eigenvalue is; 5.1 of the theory asks for the first.
enum Kind { positive, negative, complex };
Kind kind_of(std::complex<double> lambda) {
  return lambda.imag() != 0 ? complex : lambda.real() > 0 ? positive : negative;
}

/// 0.42 > 0, −0.42 < 0, 0.17 ± 0.31i.
std::string text_of(std::complex<double> lambda) {
  std::array<char, 60> text;
  const auto sign = [](double value) { return value < 0 ? "−" : ""; };
  if (kind_of(lambda) == complex)
    std::snprintf(text.data(), text.size(), "%s%.2f ± %.2fi", sign(lambda.real()), std::abs(lambda.real()),
                  std::abs(lambda.imag()));
  else
    std::snprintf(text.data(), text.size(), "%s%.2f %s 0", sign(lambda.real()), std::abs(lambda.real()),
                  kind_of(lambda) == positive ? ">" : "<");
  return text.data();
}

Figure::Line circle(double radius) {
  Figure::Line line{"", {}, {}};
  for (int k = 0; k <= 180; ++k) {
    line.x.push_back(radius * std::cos(std::numbers::pi * k / 90));
    line.y.push_back(radius * std::sin(std::numbers::pi * k / 90));
  }
  line.colour = Figure::grey;
  line.width = 1;
  return line;
}

/// The eigenvalues of one head in ℂ, the leading ones large and in the colour of their kind.
Figure::Panel picture(Index head, const Eigen::VectorXcd& lambda, double disc, double reach) {
  Figure::Panel panel{"head " + std::to_string(head + 1) + ": " + text_of(lambda(0)),
                      {"Re λ", -reach, reach},
                      {"Im λ", -reach, reach}};
  panel.equal = true;
  panel.legend = false;
  Figure::Points all{"", {}, {}}, first{"", {}, {}};
  for (Index j = 0; j < lambda.size(); ++j) {
    Figure::Points& points = lambda(j) == lambda(0) || lambda(j) == std::conj(lambda(0)) ? first : all;
    points.x.push_back(lambda(j).real());
    points.y.push_back(lambda(j).imag());
  }
  all.colour = Figure::grey;
  all.size = 2.5;
  first.colour = kind_of(lambda(0));
  first.size = 5;
  Figure::Line modulus = circle(std::abs(lambda(0)));
  modulus.dashed = true;
  panel.layers = {modulus};
  if (disc > 0) panel.layers.emplace_back(circle(disc));
  panel.layers.emplace_back(all);
  panel.layers.emplace_back(first);
  return panel;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv, argv + argc);
  Weights w;
  try {
    w = weights_from(arguments);
  } catch (const std::exception& mistake) {
    std::cerr << "value_spectra: " << mistake.what() << '\n';
    return 2;
  }
  std::vector<char*> rest;
  for (auto& argument : arguments) rest.push_back(argument.data());
  gallery::Exhibit exhibit(
      static_cast<int>(rest.size()), rest.data(), "value_spectra", "Spectra of value matrices",
      "Which eigenvalue of V_h leads says what head h does to its tokens: a real and positive one "
      "can gather them on hyperplanes, which the theorems say of no other.");
  const Index D = w.U.cols(), H = w.heads, k = w.head_size();

  MatrixXd sum = MatrixXd::Zero(D, D), table(H * k, 3);
  attnflow::Generator generator(2);
  const MatrixXd x = attnflow::gaussian(generator, 5, D);
  double assembly = 0, residual = 0;
  std::array<int, 3> counts{};
  std::vector<Eigen::VectorXcd> spectra;
  for (Index h = 0; h < H; ++h) {
    const MatrixXd V = w.value(h);
    sum += V;
    // Value, then head h of the values, then output: what a layer computes.
    MatrixXd values = w.U * x;
    values.topRows(h * k).setZero();
    values.bottomRows((H - 1 - h) * k).setZero();
    assembly = std::max(assembly, (V * x - w.O * values).norm() / (V * x).norm());
    const attnflow::Spectrum small = attnflow::spectrum(w.U.middleRows(h * k, k) * w.O.middleCols(h * k, k));
    spectra.push_back(small.eigenvalues);
    for (Index j = 0; j < k; ++j) {
      const auto lambda = small.eigenvalues(j);
      const MatrixXd re = w.O.middleCols(h * k, k) * small.right.col(j).real(),
                     im = w.O.middleCols(h * k, k) * small.right.col(j).imag();
      // V (re + i im) = λ (re + i im), in real numbers.
      const double error = std::hypot((V * re - lambda.real() * re + lambda.imag() * im).norm(),
                                      (V * im - lambda.real() * im - lambda.imag() * re).norm());
      residual = std::max(residual, error / (V.norm() * std::hypot(re.norm(), im.norm())));
      table.row(h * k + j) << static_cast<double>(h + 1), lambda.real(), lambda.imag();
    }
    ++counts[kind_of(small.eigenvalues(0))];
    exhibit.progress(static_cast<double>(h + 1) / static_cast<double>(H));
  }
  const double rounding = 1e-14 * static_cast<double>(D);  // sums of D products
  exhibit.at_most(
      "V_h x against the values of head h through the output weights: largest relative difference", assembly,
      rounding);
  exhibit.at_most("Σ_h V_h against O U: relative difference", (sum - w.O * w.U).norm() / (w.O * w.U).norm(),
                  rounding);
  exhibit.at_most("V_h v − λ v for λ, v from the d_k × d_k matrix: largest, relative to |V_h| |v|", residual,
                  rounding);
  exhibit.note("heads whose leading eigenvalue is real and positive", counts[positive]);
  exhibit.note("real and negative", counts[negative]);
  exhibit.note("one of a complex pair", counts[complex]);

  // Products of Gaussian d_k × D and D × d_k matrices of variance 1/D fill, for large sizes, the disc of
  // radius √(d_k/D).
  const double disc = w.supplied ? 0 : std::sqrt(static_cast<double>(k) / static_cast<double>(D));
  const double reach = 1.1 * table.rightCols(2).rowwise().norm().maxCoeff();
  Figure figure{"Nonzero eigenvalues of V_h",
                (w.supplied ? "supplied weights, " : "Gaussian weights of variance 1/D, seed 6, ") +
                    ("D = " + std::to_string(D)) + ", H = " + std::to_string(H) +
                    " heads of size d_k = " + std::to_string(k) +
                    "; large, and in the title: λ_1, coloured as real positive, real negative or "
                    "complex; dashed: |λ| = |λ_1|" +
                    (w.supplied ? "" : ", solid: |λ| = √(d_k/D)")};
  attnflow::View view;
  view.title = "Nonzero eigenvalues of the value matrices Vₕ, one colour a head; marked: λ₁ of each";
  view.times = {0};
  view.tokens = H * k;
  view.axes = {"Re λ", "Im λ"};
  for (Index h = 0; h < H; ++h) {
    const Eigen::VectorXcd& lambda = spectra[static_cast<std::size_t>(h)];
    figure.panels.push_back(picture(h, lambda, disc, reach));
    view.leaders.push_back(h * k);
    for (const auto& value : lambda) {
      view.positions.push_back(value.real());
      view.positions.push_back(value.imag());
      view.clusters.push_back(static_cast<int>(h));
    }
  }
  figure.columns = static_cast<int>(std::min<Index>(H, 4));
  figure.panel_width = figure.panel_height = 270;
  exhibit.figure(figure);
  exhibit.page(view);
  exhibit.data(table, "eigenvalues");
  return exhibit.finish();
}
