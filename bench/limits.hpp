/// \file
/// What the machine could do at best, measured beside what it does: multiply-adds a second, exponentials a
/// second, bytes copied a second, and from these the roofline of one drift.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define BENCH_HAS_X86 1
#endif

namespace bench {

using Clock = std::chrono::steady_clock;
[[nodiscard]] inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The widest vectors that the processor has, whatever this program was compiled for.
enum class Level { other, sse2, avx2, avx512 };

[[nodiscard]] inline Level machine_level() {
#ifdef BENCH_HAS_X86
  if (__builtin_cpu_supports("avx512f") != 0) return Level::avx512;
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return Level::avx2;
  return Level::sse2;
#else
  return Level::other;
#endif
}

/// What two vector ports do in a cycle. No row here is measured; rates are, and scale these numbers.
struct Ports {
  const char* name;
  double flops_per_cycle;  ///< multiplication and addition are two
  double exp_cycles;       ///< the least time of one exponential
};

/// The port bound of 2^s (log₂ e is folded into the scores, so the reduction s = k + r is exact), in vector
/// instructions that only the two arithmetic ports execute, per exponential:
///
///   AVX-512  double 13 / 2 / 8 = 0.81: reduce, a 16-entry table in registers, degree 6, vscalef;
///            float  0.30: the same with degree 3 and 16 lanes. Counted in a kernel that runs at this speed.
///   AVX2     double 15 / 2 / 4 = 1.9: adding and taking off a magic number and one more subtraction split s,
///            degree 11 is 11 FMAs, a shift makes the exponent (adding it goes to a third port);
///            float (3 + 6 + 1) / 2 / 8 = 0.63.
///   SSE2     without FMA a term is two instructions: double (3 + 22 + 1) / 2 / 2 = 6.5,
///            float (3 + 12 + 1) / 2 / 4 = 2.
///   other    AVX2's count with 16-byte vectors: 3.75 and 1.25.
///
/// Only the AVX-512 figures have been reached; the others are ESTIMATES by instruction count, without range
/// checks.
template <class Scalar>
[[nodiscard]] Ports ports(Level level) {
  constexpr bool wide = std::is_same_v<Scalar, double>;
  switch (level) {
    case Level::avx512:
      return {"AVX-512", wide ? 32. : 64., wide ? 0.81 : 0.30};
    case Level::avx2:
      return {"AVX2 + FMA", wide ? 16. : 32., wide ? 1.9 : 0.63};
    case Level::sse2:
      return {"SSE2", wide ? 4. : 8., wide ? 6.5 : 2.};
    case Level::other:
      break;
  }
  return {"not x86-64", wide ? 8. : 16., wide ? 3.75 : 1.25};
}

// Twelve chains a ← a b + c. Two ports with a latency of four cycles need eight; twelve, b and c fit the
// sixteen registers of AVX2. The limit of the chain is 1: no denormals, and operands that are not trivial.
#define BENCH_CHAINS(STEP) \
  STEP(a0)                 \
  STEP(a1) STEP(a2) STEP(a3) STEP(a4) STEP(a5) STEP(a6) STEP(a7) STEP(a8) STEP(a9) STEP(a10) STEP(a11)
#define BENCH_MULTIPLY_ADD_LOOP(NAME, TARGET, SCALAR, VECTOR, SET1, MULTIPLY_ADD)                        \
  [[gnu::noinline, gnu::target(TARGET)]] inline double NAME(long passes) {                               \
    VECTOR a0 = SET1(SCALAR(0.9)), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;        \
    VECTOR a8 = a0, a9 = a0, a10 = a0, a11 = a0, b = SET1(SCALAR(0.75)), c = SET1(SCALAR(0.25));         \
    asm volatile("" : "+x"(b), "+x"(c)); /* so that the compiler does not see the limit */               \
    for (long k = 0; k < passes; ++k) {                                                                  \
      BENCH_CHAINS(MULTIPLY_ADD)                                                                         \
      asm volatile("" : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5), "+x"(a6)); /* nor */ \
      asm volatile("" : "+x"(a7), "+x"(a8), "+x"(a9), "+x"(a10), "+x"(a11)); /* that twelve are equal */ \
    }                                                                                                    \
    const VECTOR sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                      \
    SCALAR lanes[sizeof(VECTOR) / sizeof(SCALAR)];                                                       \
    std::memcpy(lanes, &sum, sizeof sum);                                                                \
    return static_cast<double>(lanes[0]);                                                                \
  }
inline constexpr double chains = 12;

#ifdef BENCH_HAS_X86
#define BENCH_STEP(a) a = _mm512_fmadd_pd(a, b, c);
BENCH_MULTIPLY_ADD_LOOP(avx512_loop_double, "avx512f", double, __m512d, _mm512_set1_pd, BENCH_STEP)
#undef BENCH_STEP
#define BENCH_STEP(a) a = _mm512_fmadd_ps(a, b, c);
BENCH_MULTIPLY_ADD_LOOP(avx512_loop_float, "avx512f", float, __m512, _mm512_set1_ps, BENCH_STEP)
#undef BENCH_STEP
#define BENCH_STEP(a) a = _mm256_fmadd_pd(a, b, c);
BENCH_MULTIPLY_ADD_LOOP(avx2_loop_double, "avx2,fma", double, __m256d, _mm256_set1_pd, BENCH_STEP)
#undef BENCH_STEP
#define BENCH_STEP(a) a = _mm256_fmadd_ps(a, b, c);
BENCH_MULTIPLY_ADD_LOOP(avx2_loop_float, "avx2,fma", float, __m256, _mm256_set1_ps, BENCH_STEP)
#undef BENCH_STEP
#define BENCH_STEP(a) a = _mm_add_pd(_mm_mul_pd(a, b), c);
BENCH_MULTIPLY_ADD_LOOP(sse2_loop_double, "sse2", double, __m128d, _mm_set1_pd, BENCH_STEP)
#undef BENCH_STEP
#define BENCH_STEP(a) a = _mm_add_ps(_mm_mul_ps(a, b), c);
BENCH_MULTIPLY_ADD_LOOP(sse2_loop_float, "sse2", float, __m128, _mm_set1_ps, BENCH_STEP)
#undef BENCH_STEP
#endif
#undef BENCH_MULTIPLY_ADD_LOOP
#undef BENCH_CHAINS

/// The loop of a level and the floating-point operations of one pass.
struct MultiplyAddLoop {
  double (*run)(long passes);
  double flops_per_pass;
};

/// Elsewhere the compiler's own code: a limit from below.
template <class Scalar>
[[gnu::noinline]] double portable_loop(long passes) {
  Scalar a[48], b = Scalar(0.75), c = Scalar(0.25);
  std::fill(std::begin(a), std::end(a), Scalar(0.9));
  benchmark::DoNotOptimize(b);
  for (long k = 0; k < passes; ++k) {
    for (Scalar& chain : a) chain = chain * b + c;
    benchmark::ClobberMemory();
  }
  benchmark::DoNotOptimize(a);
  return static_cast<double>(a[0]);
}

template <class Scalar>
[[nodiscard]] MultiplyAddLoop multiply_add_loop(Level level) {
#ifdef BENCH_HAS_X86
  constexpr bool wide = std::is_same_v<Scalar, double>;
  constexpr double scalars =
      2 * chains / sizeof(Scalar);  // two operations for each byte of a vector, all chains
  if (level == Level::avx512) return {wide ? avx512_loop_double : avx512_loop_float, 64 * scalars};
  if (level == Level::avx2) return {wide ? avx2_loop_double : avx2_loop_float, 32 * scalars};
  if (level == Level::sse2) return {wide ? sse2_loop_double : sse2_loop_float, 16 * scalars};
#endif
  static_cast<void>(level);
  return {portable_loop<Scalar>, 2 * 48};
}

/// Multiply-adds of `threads` threads at a time for about `duration` seconds, in operations a second. The
/// clock runs while all are busy: from the common start until the last one is done.
template <class Scalar>
[[nodiscard]] double multiply_add_rate(double duration, int threads = 1) {
  static const MultiplyAddLoop loop = multiply_add_loop<Scalar>(machine_level());
  static const double passes_per_second = [] {
    constexpr long passes = 20'000;
    benchmark::DoNotOptimize(loop.run(passes));
    const auto start = Clock::now();
    benchmark::DoNotOptimize(loop.run(passes));
    return passes / seconds_since(start);
  }();
  const auto passes = static_cast<long>(std::max(1.0, duration * passes_per_second));
  std::atomic<int> waiting{threads};
  const auto take_part = [&] {
    --waiting;
    while (waiting > 0) std::this_thread::yield();
    benchmark::DoNotOptimize(loop.run(passes));
  };
  std::vector<std::thread> others;
  for (int k = 1; k < threads; ++k) others.emplace_back(take_part);
  --waiting;
  while (waiting > 0) std::this_thread::yield();
  const auto start = Clock::now();
  benchmark::DoNotOptimize(loop.run(passes));
  for (auto& other : others) other.join();
  return static_cast<double>(passes) * threads * loop.flops_per_pass / seconds_since(start);
}

/// Seconds of one exponential at the port bound, where multiply-adds come at `rate`. The length of a cycle is
/// taken from that rate, as if it were all that two ports can do: a machine with one port for 64-byte vectors
/// shows half the rate and gets twice the time, which is right, since the exponential waits for the same
/// port.
template <class Scalar>
[[nodiscard]] double exponential_bound(double rate) {
  const Ports p = ports<Scalar>(machine_level());
  return p.exp_cycles * p.flops_per_cycle / rate;
}

/// The least time of one drift in seconds: `pairs` times (4 d operations and one exponential), and 4 d²
/// operations for each of n tokens (QᵀK xᵢ before the sums, V after them).
template <class Scalar>
[[nodiscard]] double roofline(double n, double d, double pairs, double rate) {
  const double one_core = exponential_bound<Scalar>(rate);
  return (4 * d * pairs + 4 * d * d * n) / rate + pairs * one_core;
}

/// Bytes read and written a second by a copy between two arrays of 256 MiB, the best of three.
[[nodiscard]] inline double copy_bandwidth() {
  constexpr std::size_t size = std::size_t{256} << 20;
  std::vector<char> from(size, 1), to(size, 2);
  double best = 0;
  for (int k = 0; k < 3; ++k) {
    const auto start = Clock::now();
    std::memcpy(to.data(), from.data(), size);
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
    best = std::max(best, 2 * static_cast<double>(size) / seconds_since(start));
  }
  return best;
}

}  // namespace bench
