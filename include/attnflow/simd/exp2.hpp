/// \file
/// The numbers that 2ˣ is computed from.
#pragma once

#include <attnflow/detail/abi.hpp>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// 2ʳ ≈ 1 + r (q₀ + q₁ r + … ), interpolated at the Chebyshev points of [−½, ½], relative error below 8·10⁻¹⁸ in
/// double and 5·10⁻⁹ in float; of [−1/32, 1/32] beside a table of 2^{i/16}, below 2·10⁻¹⁷ and 3·10⁻⁹.
///
/// x + magic rounds x to a whole number, or to a sixteenth, that the low bits of the sum then hold. Below `lowest`
/// results would be denormal, on which processors lose a hundred cycles; above `faintest` products of a result with
/// ordinary numbers are not denormal either.
template <class T>
struct Exp2;

template <>
struct Exp2<double> {
  static constexpr double lowest = -1022, faintest = -900;
  static constexpr double magic = 0x1.8p52, magic16 = 0x1.8p48;
  static constexpr int mantissa_bits = 52;
  static constexpr double whole[] = {0x1.62e42fefa39efp-1,  0x1.ebfbdff82c598p-3,  0x1.c6b08d704a0c2p-5,
                                     0x1.3b2ab6fba1ddap-7,  0x1.5d87fe78a5276p-10, 0x1.430913096fd9fp-13,
                                     0x1.ffcbfc670dcd4p-17, 0x1.62bfd47773353p-20, 0x1.b524fae627834p-24,
                                     0x1.e6063f7217bc6p-28, 0x1.e9d3fe3952179p-32};
  static constexpr double sixteenth[] = {0x1.62e42fefa39f3p-1, 0x1.ebfbdff82c590p-3,  0x1.c6b08d6f2a289p-5,
                                         0x1.3b2ab6fb41213p-7, 0x1.5d897e525c216p-10, 0x1.430a1d08ec681p-13};
};

template <>
struct Exp2<float> {
  static constexpr float lowest = -126, faintest = -100;
  static constexpr float magic = 0x1.8p23F, magic16 = 0x1.8p19F;
  static constexpr int mantissa_bits = 23;
  static constexpr float whole[] = {0x1.62e4302fc626ep-1F, 0x1.ebfbe00e63baep-3F,  0x1.c6af6cdbbdcc7p-5F,
                                    0x1.3b2a53045179ap-7F, 0x1.5f0890162a90ap-10F, 0x1.4413896e1ad27p-13F};
  static constexpr float sixteenth[] = {0x1.62e42fefa39efp-1F, 0x1.ebff917b28217p-3F, 0x1.c6b299bd67a41p-5F};
};

/// 2^{i/16}, i = 0 … 15. In float from literals of float: g++ 12 with -frounding-math converts constants of double to
/// nonsense.
template <class T>
inline constexpr T sixteenth_powers[1] = {};
template <>
inline constexpr double sixteenth_powers<double>[] = {
    0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0,
    0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0,
    0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
    0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};
template <>
inline constexpr float sixteenth_powers<float>[] = {
    0x1.000000p+0F, 0x1.0b5586p+0F, 0x1.172b84p+0F, 0x1.2387a6p+0F, 0x1.306fe0p+0F, 0x1.3dea64p+0F,
    0x1.4bfdaep+0F, 0x1.5ab07ep+0F, 0x1.6a09e6p+0F, 0x1.7a1148p+0F, 0x1.8ace54p+0F, 0x1.9c4918p+0F,
    0x1.ae89fap+0F, 0x1.c199bep+0F, 0x1.d5818ep+0F, 0x1.ea4afap+0F};

}}}  // namespace attnflow::detail
