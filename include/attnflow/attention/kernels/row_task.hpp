/// \file
/// What the kernels of attention read and write.
#pragma once

#include <attnflow/attention/concepts.hpp>
#include <attnflow/detail/abi.hpp>

#include <cstdint>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

/// Up to this many coordinates stay in registers and have kernels of their own.
inline constexpr int most_small_coordinates = 4;
template <int Dim>
inline constexpr bool is_small = 0 < Dim&& Dim <= most_small_coordinates;

/// What rows have beside scores, an exponential and a sum over all keys. A kernel is compiled for each.
enum class RowKind {
  plain,          ///< nothing
  ranged,         ///< a range of keys for each row
  biased,         ///< a positional bias
  ranged_biased,  ///< both
  general         ///< both, and what KeyTerms and PickedKeys say
};
[[nodiscard]] constexpr bool has_ranges(RowKind kind) noexcept {
  return kind == RowKind::ranged || kind == RowKind::ranged_biased || kind == RowKind::general;
}
[[nodiscard]] constexpr bool has_bias(RowKind kind) noexcept {
  return kind == RowKind::biased || kind == RowKind::ranged_biased || kind == RowKind::general;
}
/// The kind of an exact row, which always has a range.
[[nodiscard]] constexpr RowKind exact_kind(RowKind kind) noexcept {
  return kind == RowKind::general ? kind : has_bias(kind) ? RowKind::biased : RowKind::plain;
}

/// Keys that rows leave out although they are in their range; read by general kernels alone.
struct PickedKeys {
  bool not_self = false;  ///< row i leaves out key i
  const std::uint8_t* bits =
      nullptr;  ///< null, or row i takes key j where byte j + (i / 8) n has bit i mod 8
};

/// Rows of attention, laid out for the kernels: W rows make a pack, a row for each lane. Numbers of a pack that
/// belong to a coordinate stand together: entry (c, i) of `queries` is at (i / W) W d + c W + i mod W.
///
/// The kernels of bounded rows leave, with eᵢⱼ = ⟨query i, key j⟩ + start i − slope |pᵢ − j|, pᵢ = first_position + i,
///
///     sum i = ∑ⱼ 2^{eᵢⱼ},   mean i = ∑ⱼ 2^{eᵢⱼ} value j / sum i,
///
/// over the keys j in [begin i, end i); the mean is zero where there are none. `start` keeps sums in range. In few
/// coordinates and without a bias no eᵢⱼ may be below Exp2<T>::faintest; elsewhere weights stop at 2^faintest.
/// The kernels of few coordinates read no values: keys are values there.
template <class T>
struct RowTask {
  std::int64_t n = 0, d = 0;        ///< the number of keys, and of their coordinates
  const T* keys = nullptr;          ///< d × n
  std::int64_t key_step = 0;        ///< from one key to the next: key_step_for(d)
  std::int64_t value_d = 0;         ///< the number of coordinates of the values
  const T* values = nullptr;        ///< value_d × n
  std::int64_t value_step = 0;      ///< from one value to the next
  const T* queries = nullptr;       ///< d numbers for each row, in packs
  const T* start = nullptr;         ///< for each row
  const T* begin = nullptr;         ///< for each row, the first key: a whole number; null for all keys
  const T* end = nullptr;           ///< for each row, one past the last key
  std::int64_t first_position = 0;  ///< the position of row 0 among the keys
  const T* positions = nullptr;     ///< 0, 1, …: for rows and keys; read by biased kernels alone
  T slope = 0;
  T* sum = nullptr;   ///< for each row
  T* mean = nullptr;  ///< value_d numbers for each row, in packs

  // For general kernels. Those of a pointwise law leave sums of weighted values in the place of means; eᵢⱼ is sᵢⱼ itself.
  const T* key_terms =
      nullptr;  ///< n: added to the exponents of a key; factors of the weights of a pointwise law
  const void* law = nullptr;  ///< the law, of pointwise kernels
  PickedKeys picked;

  /// Few coordinates stand without gaps. Many begin at a cache line each, whose number is no multiple of 8: keys 512
  /// bytes apart would share a few sets of the first cache and drive each other out.
  [[nodiscard]] static constexpr std::int64_t key_step_for(std::int64_t d) noexcept {
    constexpr std::int64_t line = 64 / sizeof(T);
    if (d <= most_small_coordinates) return d;
    const std::int64_t lines = (d + line - 1) / line;
    return (lines % 8 == 0 ? lines + 1 : lines) * line;
  }
};

/// Queries of bounded rows to be, in few coordinates; see pack_rows.
template <class T>
struct QueryTask {
  std::int64_t n = 0;
  const T* u = nullptr;     ///< d × n
  const T* keys = nullptr;  ///< d × n: the own key of each row
  T factor = 0, radius = 0, limit = 0, longest = 0;
};

/// Rows of attention whose scores may be of any size, computed from differences of tokens. The rows are any W:
/// lane l is row rows[l].
///
///     δⱼ = ⟨query, key j − key r⟩,   eⱼ = (δⱼ half) half − slope (|p − j| − |p − r|),   r the key of largest score
///
/// sum = ∑ⱼ 2^{eⱼ}, moment = ∑ⱼ 2^{eⱼ} (value j − value r): near a tie the differences keep their relative accuracy at
/// any scale, and values equal to value r contribute nothing to the moment. Where the number of coordinates is compiled
/// in, keys are values.
template <class T>
struct ExactTask {
  std::int64_t n = 0, d = 0;
  const T* keys = nullptr;  ///< d × n
  std::int64_t value_d = 0;
  const T* values = nullptr;        ///< value_d × n: may be the keys
  const T* queries = nullptr;       ///< d × W
  const T* half = nullptr;          ///< W, at most the largest finite number
  const T* begin = nullptr;         ///< W
  const T* end = nullptr;           ///< W
  const T* position = nullptr;      ///< W: p, the row's position among the keys
  std::int64_t first_position = 0;  ///< of row 0, to which bit 0 of `picked` belongs
  T slope = 0;
  const T* key_terms = nullptr;  ///< n, general kernels: added to exponents
  PickedKeys picked;             ///< general kernels
  /// General kernels: weights are 1 for keys that share the largest score, and 0 for others. They share it that are below
  /// it by at most tolerance times ∑ₖ |queryₖ (key j − key r)ₖ|; best is then the first of them.
  bool hard = false;
  T tolerance = 0;
  T* best = nullptr;             ///< W: r, a whole number; begin where the row is empty
  T* reference = nullptr;        ///< d × W: key r
  T* value_reference = nullptr;  ///< value_d × W: value r; `reference` where keys are values
  T* sum = nullptr;              ///< W
  T* moment = nullptr;           ///< value_d × W
};

}}}  // namespace attnflow::detail
