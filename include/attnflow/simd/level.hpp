/// \file
/// Which vector instructions the kernels use: asked of the processor once, at run time.
#pragma once

#include <attnflow/detail/abi.hpp>
#include <attnflow/detail/refuse.hpp>

#include <array>
#include <cstdlib>
#include <string_view>

// g++ and clang compile functions for instructions that the rest of the program does not use.
#if defined(__GNUC__) && defined(__x86_64__)
/// 1 where functions can be compiled for instructions that the rest of the program does not use, 0 elsewhere.
#define ATTNFLOW_X86_LEVELS 1
#else
#define ATTNFLOW_X86_LEVELS 0
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI {

/// The vector instructions that kernels are compiled for.
enum class SimdLevel {
  portable,  ///< what every processor of the target has: SSE2 on x86-64, NEON on 64-bit ARM
  avx2,      ///< AVX2 and FMA: 32 bytes
  avx512     ///< AVX-512 F, DQ, BW, VL: 64 bytes
};

/// The name of a level, as ATTNFLOW_SIMD has it; the portable one is called after its instructions.
[[nodiscard]] constexpr std::string_view name_of(SimdLevel level) noexcept {
  switch (level) {
    case SimdLevel::avx512:
      return "avx512";
    case SimdLevel::avx2:
      return "avx2";
    case SimdLevel::portable:
      break;
  }
#if defined(__x86_64__)
  return "sse2";
#elif defined(__aarch64__)
  return "neon";
#else
  return "portable";
#endif
}

/// Whether this processor, its operating system and the compiler of this program have a level.
[[nodiscard]] inline bool has_simd_level(SimdLevel level) noexcept {
#if ATTNFLOW_X86_LEVELS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (level == SimdLevel::avx2) return avx2;
  if (level == SimdLevel::avx512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
  return level == SimdLevel::portable;
}

/// All levels, the best first; has_simd_level says which of them this processor has.
inline constexpr std::array simd_levels{SimdLevel::avx512, SimdLevel::avx2, SimdLevel::portable};

namespace detail {

/// The level that a name asks for, or the best there is where the name is null.
/// \throws std::invalid_argument if there is no such level or this machine does not have it.
[[nodiscard]] inline SimdLevel choose_simd_level(const char* wanted) {
  for (const SimdLevel level : simd_levels) {
    if (wanted == nullptr ? has_simd_level(level) : name_of(level) == wanted) {
      if (!has_simd_level(level))
        refuse("ATTNFLOW_SIMD is ", wanted, ", which this processor or compiler does not have");
      return level;
    }
  }
  refuse("ATTNFLOW_SIMD is \"", wanted, "\", expected avx512, avx2 or ", name_of(SimdLevel::portable));
}

}  // namespace detail

/// The level of this program: the best that the processor has, or the one that the environment variable
/// ATTNFLOW_SIMD names. Chosen at the first call and kept.
/// \throws std::invalid_argument if ATTNFLOW_SIMD names a level that there is not.
[[nodiscard]] inline SimdLevel simd_level() {
  detail::require_sums_in_order();  // on behalf of the kernels, which begin by this call
  static const SimdLevel level = detail::choose_simd_level(std::getenv("ATTNFLOW_SIMD"));
  return level;
}

}}  // namespace attnflow
