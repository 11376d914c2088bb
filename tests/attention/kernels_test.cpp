#include <attnflow/attention/attend.hpp>
#include <attnflow/attention/attention_matrix.hpp>
#include <attnflow/attention/biases/alibi.hpp>
#include <attnflow/attention/laws/unnormalized.hpp>
#include <attnflow/attention/masks.hpp>

#include "attention/definition.hpp"
#include "attention/reference.hpp"
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

namespace ad = attnflow::detail;
using ad::RowKind;
using attnflow::Alibi;
using attnflow::Causal;
using attnflow::Head;
using attnflow::NoBias;
using attnflow::NoMask;
using attnflow::SimdLevel;
using attnflow::Softmax;
using attnflow::StrictCausal;
using attnflow::Tokens;
using attnflow::Unnormalized;
using Catch::Matchers::ContainsSubstring;
using definition::attend_at;
using definition::check_definition;
using definition::levels_here;
using reference::Index;
using reference::Real;

/// 2ˣ as the kernels compute it: the sum of a row whose query is x, over one key that is 1.
template <class Scalar>
std::vector<Scalar> exp2_of(SimdLevel level, std::vector<Scalar> x) {
  const auto kernels = ad::row_kernels_at<Scalar, 1, RowKind::plain>(level);
  const auto width = static_cast<std::size_t>(kernels.width);
  const std::size_t count = x.size(), padded = (count + width - 1) / width * width;
  x.resize(padded);
  const Scalar key = 1;
  const std::vector<Scalar> start(padded, Scalar(0));
  std::vector<Scalar> sum(padded), moment(padded);
  ad::RowTask<Scalar> task;
  task.n = task.d = 1;
  task.keys = &key;
  task.queries = x.data();
  task.start = start.data();
  task.sum = sum.data();
  task.mean = moment.data();
  kernels.bounded(task, 0, static_cast<std::int64_t>(padded));
  sum.resize(count);
  return sum;
}

}  // namespace

TEMPLATE_TEST_CASE("every level computes 2^x to two units in the last place", "[attention][kernels]", float,
                   double) {
  using Scalar = TestType;
  using Limits = std::numeric_limits<Scalar>;
  constexpr Scalar lowest = ad::Exp2<Scalar>::lowest, highest = Limits::max_exponent - 1;
  std::mt19937_64 generator(1);
  std::vector<Scalar> x;
  for (int k = 0; k < 300000; ++k)
    x.push_back(static_cast<Scalar>(
        reference::uniform(generator, static_cast<double>(lowest), static_cast<double>(highest))));
  for (int k = 0; k < 50000; ++k) {  // small arguments of every size
    x.push_back(static_cast<Scalar>(-std::exp2(reference::uniform(generator, -80, 1))));
    x.push_back(-x.back());
  }
  // Both sides of every place where the whole number, or the sixteenth, changes.
  for (int k = -16 * 126; k <= 16 * 120; ++k) {
    Scalar at = static_cast<Scalar>((k + 0.5) / 16);
    for (int s = 0; s < 3; ++s) at = std::nextafter(at, -Limits::infinity());
    for (int s = 0; s < 6; ++s, at = std::nextafter(at, Limits::infinity()))
      if (at > lowest && at < highest) x.push_back(at);
  }
  x.push_back(std::nextafter(lowest, Scalar(0)));
  for (const SimdLevel level : levels_here()) {
    CAPTURE(std::string(attnflow::name_of(level)));
    const auto y = exp2_of(level, x);
    double worst = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const Real exact = std::exp2(static_cast<Real>(x[k]));
      const Real ulp = std::ldexp(Real(1), std::ilogb(exact) - (Limits::digits - 1));
      const auto error = static_cast<double>(std::abs(static_cast<Real>(y[k]) - exact) / ulp);
      if (!(error <= worst)) worst = error;
    }
    CHECK(worst <= 2);
    CHECK(worst > 0.49);  // something was measured: even correct rounding errs by nearly half a unit
    // Whole powers are exact, and so is the weight of a key that is the reference itself.
    CHECK(exp2_of<Scalar>(level, {Scalar(0), Scalar(-0.0), Scalar(1), Scalar(-3), Scalar(100), lowest}) ==
          std::vector<Scalar>{1, 1, 2, Scalar(0.125), std::exp2(Scalar(100)), Limits::min()});
  }
}

TEMPLATE_TEST_CASE("laws, masks and biases are their definition at every level", "[attention][kernels]",
                   float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(2);
  // 70 tokens: tiles of three, two and one packs, and a part of one, at every width.
  for (const Index d : {1, 2, 3, 4, 5, 9, 18})
    for (const Index n : {1, 2, 17, 70}) {
      const double beta = 1.5 / static_cast<double>(d);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Softmax{-beta}, Causal{}, NoBias{}, 2);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, StrictCausal{}, NoBias{}, 2);
      check_definition<Scalar>(generator, n, d, Softmax{beta}, Causal{}, Alibi{n == 17 ? 0 : 0.3}, 2);
      check_definition<Scalar>(generator, n, d, Unnormalized{beta}, NoMask{}, NoBias{}, 1);
      check_definition<Scalar>(generator, n, d, Unnormalized{beta, true}, StrictCausal{}, Alibi{0.1}, 1);
    }
  for (const Index d : {2, 6}) {
    check_definition<Scalar>(generator, 70, d, Softmax{0}, NoMask{}, Alibi{-0.2}, 1);
    check_definition<Scalar>(generator, 70, d, Softmax{1}, NoMask{}, Alibi{5},
                             30);  // beyond the bound in float
    check_definition<Scalar>(generator, 700, d, Softmax{1}, Causal{}, NoBias{},
                             1);  // several chunks and panels
  }
}

TEMPLATE_TEST_CASE("bounded rows give way to exact ones where their bound ends", "[attention][kernels]",
                   float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(3);
  const attnflow::ScoreForm<> form(attnflow::ScaledMatrix<>::identity(3), 1);
  attnflow::AttentionScratch<Scalar> scratch;
  const auto exact_rows = [&](const Tokens<Scalar>& x) {
    REQUIRE(scratch.tokens.read(x.data(), x.rows(), x.cols()));
    scratch.queries.pack(ad::QuerySource<Scalar>(ad::QueryPoints<Scalar>::of(scratch.tokens), form),
                         scratch.tokens, NoMask{}, 0.0,
                         ad::row_kernels_at<Scalar, 3, RowKind::plain>(SimdLevel::portable), false);
    return scratch.queries.exact;
  };
  Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, 3, 33);
  CHECK(exact_rows(x).empty());
  // One long token: its own row is bounded by its own score, the rows that it could outgrow are not.
  x.col(7).setConstant(std::is_same_v<Scalar, float> ? Scalar(60) : Scalar(600));
  const auto rows = exact_rows(x);
  CHECK(!rows.empty());
  CHECK(rows.size() < 33);
  for (const SimdLevel level : levels_here()) {
    CAPTURE(std::string(attnflow::name_of(level)));
    const auto mixed = attend_at(level, form, Softmax{}, NoMask{}, NoBias{}, x, false);
    const auto exact = attend_at(level, form, Softmax{}, NoMask{}, NoBias{}, x, true);
    CHECK(mixed.allFinite());
    // 900 roundings of a score of 2¹⁰ at most (float: 100 of 2⁸), times the long token.
    const Scalar bound = 2000 * std::numeric_limits<Scalar>::epsilon() * x.cwiseAbs().maxCoeff();
    CHECK((mixed - exact).cwiseAbs().maxCoeff() <= bound);
  }
  // Scores beyond every bound: all rows are exact.
  CHECK(exact_rows(x * Scalar(1e4)).size() == 33);
  CHECK(exact_rows(x * std::sqrt(std::numeric_limits<Scalar>::max()) / 100).size() == 33);
}

TEMPLATE_TEST_CASE("a row does not depend on the rows beside it", "[attention][kernels]", float, double) {
  // Tiles and packs cut the rows differently for every n; a row's bits are those of its own sum.
  using Scalar = TestType;
  std::mt19937_64 generator(4);
  for (const Index d : {2, 3, 17}) {
    const attnflow::ScoreForm<> form(attnflow::ScaledMatrix<>::identity(d), 1);
    Tokens<Scalar> x = reference::random<Tokens<Scalar>>(generator, d, 101);
    x.col(100) = x.col(0);  // equal tokens in different places of a pack move alike
    x.col(57) = x.col(0);
    for (const SimdLevel level : levels_here())
      for (const bool all_exact : {false, true}) {
        const auto out = attend_at(level, form, Softmax{}, NoMask{}, NoBias{}, x, all_exact);
        CHECK(out.col(100) == out.col(0));
        CHECK(out.col(57) == out.col(0));
        // Causal rows see a prefix: computed alone, the same bits.
        const auto causal = attend_at(level, form, Softmax{}, Causal{}, NoBias{}, x, true);
        const Tokens<Scalar> prefix = x.leftCols(40);
        CHECK(attend_at(level, form, Softmax{}, Causal{}, NoBias{}, prefix, true) == causal.leftCols(40));
      }
  }
}

TEST_CASE("a level is the best there is, or the one that is asked for", "[attention][kernels]") {
  using attnflow::detail::choose_simd_level;
  CHECK(choose_simd_level(nullptr) == levels_here().front());
  for (const SimdLevel level : levels_here())
    CHECK(choose_simd_level(std::string(attnflow::name_of(level)).c_str()) == level);
  CHECK_THROWS_WITH(choose_simd_level("sse9"),
                    ContainsSubstring("ATTNFLOW_SIMD is \"sse9\", expected avx512, avx2 or "));
  CHECK_THROWS_AS(choose_simd_level(""), std::invalid_argument);
  for (const SimdLevel level : attnflow::simd_levels)
    if (!attnflow::has_simd_level(level))
      CHECK_THROWS_WITH(choose_simd_level(std::string(attnflow::name_of(level)).c_str()),
                        ContainsSubstring("does not have"));
}

TEST_CASE("laws and biases refuse what is not finite", "[attention][kernels]") {
  const auto head = Head<double>::identity(2);
  const Tokens<double> x = Tokens<double>::Ones(2, 3);
  Tokens<double> out;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(attend(head, Unnormalized{nan}, NoMask{}, NoBias{}, x, out),
                    ContainsSubstring("Unnormalized::beta is nan"));
  CHECK_THROWS_WITH(attend(head, Softmax{}, NoMask{}, Alibi{nan}, x, out),
                    ContainsSubstring("Alibi::slope is nan"));
  // A weight beyond the largest number overflows, and is not NaN.
  attend(head, Unnormalized{1000}, NoMask{}, NoBias{}, x, out);
  CHECK(out(0, 0) == std::numeric_limits<double>::infinity());
}

TEMPLATE_TEST_CASE("a small system wakes nobody, a large one has its bits from any number of threads",
                   "[attention][kernels]", float, double) {
  using Scalar = TestType;
  std::mt19937_64 generator(5);
  const int before = attnflow::threads();
  const auto drift = [](const Tokens<Scalar>& x, double beta, int threads) {
    attnflow::set_threads(threads);
    Tokens<Scalar> out;
    auto head = Head<Scalar>::identity(x.rows());
    head.V *= Scalar(-2.5);
    attend(head, Softmax{beta}, Causal{}, NoBias{}, x, out);
    return out;
  };
  for (const Index d : {2, 20}) {
    const long loops = ad::WorkerPool::shared_loops();
    const Tokens<Scalar> small = reference::random<Tokens<Scalar>>(generator, d, 32);
    CHECK(drift(small, 1, 4) == drift(small, 1, 1));
    CHECK(ad::WorkerPool::shared_loops() == loops);
    const Tokens<Scalar> large = reference::random<Tokens<Scalar>>(generator, d, 1500);
    for (const double beta : {1.0, 1e4}) {  // bounded rows, and exact ones
      const auto alone = drift(large, beta, 1);
      for (const int threads : {2, 3, 5}) CHECK(drift(large, beta, threads) == alone);
    }
    CHECK(ad::WorkerPool::shared_loops() > loops);
  }
  attnflow::set_threads(before);
}
