/// \file
/// What all objects of one program must have in common, and how a difference becomes a link error.
///
/// Eigen lays out and aligns its matrices by the vector instructions that the compiler was allowed to use: an
/// object built with -mavx512f and one built without, linked together, crash. So everything of this library lives
/// in an inline namespace named after what matters; users never write it. Where objects share no name of ours, a
/// marker tells them apart (ELF: Linux and the BSDs).
///
/// What this library cannot work with is refused here, in one line, by whichever header comes first.
#pragma once

#if (defined(_MSVC_LANG) && _MSVC_LANG < 202002L) || (!defined(_MSVC_LANG) && __cplusplus < 202002L)
#error "AttnFlow needs C++20: compile with -std=c++20 (MSVC: /std:c++20)"
#include <attnflow/the_error_is_the_one_above>  // ends compilation: an older language would give hundreds of errors more
#endif
#if !defined(__cpp_exceptions)
#error "AttnFlow reports a caller's mistakes by exceptions: compile without -fno-exceptions"
#endif
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(_M_FP_FAST) || \
    (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error \
    "AttnFlow needs floating-point arithmetic as written, with NaN and infinity: compile without -ffast-math, -Ofast, -ffinite-math-only and -fassociative-math (MSVC: /fp:fast)"
#elif (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16) || \
    (defined(_M_IX86_FP) && _M_IX86_FP < 2)  // 16: as 0, with half precision in hardware
#error \
    "AttnFlow needs results of float and double rounded to float and double: compile for x86 of 32 bits with -msse2 -mfpmath=sse"
#endif
#ifdef EIGEN_NO_AUTOMATIC_RESIZING
#error "AttnFlow assigns to matrices of other sizes: compile without EIGEN_NO_AUTOMATIC_RESIZING"
#endif

#include <Eigen/Core>

#define ATTNFLOW_DETAIL_JOIN_(a, b) a##b
#define ATTNFLOW_DETAIL_JOIN(a, b) ATTNFLOW_DETAIL_JOIN_(a, b)

#if defined(__AVX512F__)
#define ATTNFLOW_DETAIL_VECTORS avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define ATTNFLOW_DETAIL_VECTORS avx2
#elif defined(__AVX__)
#define ATTNFLOW_DETAIL_VECTORS avx
#else
#define ATTNFLOW_DETAIL_VECTORS base
#endif

#ifdef EIGEN_DEFAULT_TO_ROW_MAJOR
#define ATTNFLOW_DETAIL_ORDER row_major
#else
#define ATTNFLOW_DETAIL_ORDER column_major
#endif

#if EIGEN_MAX_ALIGN_BYTES == 0
#define ATTNFLOW_DETAIL_ALIGNMENT unaligned
#elif EIGEN_MAX_ALIGN_BYTES <= 16
#define ATTNFLOW_DETAIL_ALIGNMENT align16
#elif EIGEN_MAX_ALIGN_BYTES <= 32
#define ATTNFLOW_DETAIL_ALIGNMENT align32
#else
#define ATTNFLOW_DETAIL_ALIGNMENT align64
#endif

/// What the layout of a matrix depends on: the instructions allowed, its alignment and its order.
#define ATTNFLOW_DETAIL_LAYOUT                                                \
  ATTNFLOW_DETAIL_JOIN(                                                       \
      ATTNFLOW_DETAIL_VECTORS,                                                \
      ATTNFLOW_DETAIL_JOIN(_, ATTNFLOW_DETAIL_JOIN(ATTNFLOW_DETAIL_ALIGNMENT, \
                                                   ATTNFLOW_DETAIL_JOIN(_, ATTNFLOW_DETAIL_ORDER))))

// Without threads loops are other functions, which need other names; matrices are the same, so no marker
// parts objects.
#if !__has_include(<thread>) || (defined(__GLIBCXX__) && !defined(_GLIBCXX_HAS_GTHREADS)) || \
    defined(_LIBCPP_HAS_NO_THREADS)
#ifndef ATTNFLOW_NO_THREADS
#define ATTNFLOW_NO_THREADS
#endif
#endif
#ifdef ATTNFLOW_NO_THREADS
#define ATTNFLOW_DETAIL_LOOPS _serial
#else
#define ATTNFLOW_DETAIL_LOOPS
#endif

/// The inline namespace of all names: the layout of matrices, and whether loops may use threads.
#define ATTNFLOW_ABI ATTNFLOW_DETAIL_JOIN(ATTNFLOW_DETAIL_LAYOUT, ATTNFLOW_DETAIL_LOOPS)

// One marker for the whole program, in a section group named after the namespace: groups of one name are merged,
// markers of two groups clash.
#if defined(__ELF__) && defined(__GNUC__)
#define ATTNFLOW_DETAIL_TEXT_(x) #x
#define ATTNFLOW_DETAIL_TEXT(x) ATTNFLOW_DETAIL_TEXT_(x)
asm(".ifndef attnflow_objects_differ_in_vector_flags\n"
    ".pushsection .rodata.attnflow_abi,\"aG\",%progbits,attnflow_" ATTNFLOW_DETAIL_TEXT(ATTNFLOW_DETAIL_LAYOUT) ",comdat\n"
    ".globl attnflow_objects_differ_in_vector_flags\n"
    ".hidden attnflow_objects_differ_in_vector_flags\n"
    "attnflow_objects_differ_in_vector_flags: .byte 0\n"
    ".popsection\n"
    ".endif\n");
#undef ATTNFLOW_DETAIL_TEXT
#undef ATTNFLOW_DETAIL_TEXT_
#endif

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

// Some flags of fast arithmetic define no macro (g++ 11 and clang: -fassociative-math, -funsafe-math-optimizations; clang
// 20: -ffp-model=fast, too). They show in what the compiler does: it knows that (x + 1) − x is 1, whatever x is, and the
// call remains, which is an error. Clang reorders nothing at -O0, and lets that pass.
#if defined(__GNUC__)
__attribute__((
    error("AttnFlow needs floating-point arithmetic as written: compile without -fassociative-math, "
          "-funsafe-math-optimizations and -ffp-model=fast"))) void
refuse_reordered_sums();
#endif

/// Called, at no cost, by what needs its sums in the order in which they are written: exponentials that round by adding
/// a large number, exact predicates, sums of two parts.
#if defined(__GNUC__)
[[gnu::always_inline]]
#endif
inline void
require_sums_in_order() {
#if defined(__GNUC__)
  double unknown;
  asm("" : "=m"(unknown));
  if (__builtin_constant_p((unknown + 1) - unknown)) refuse_reordered_sums();
#endif
}

}}}  // namespace attnflow::detail
