#pragma once
// What every instruction set provides. Kernels are pure: pointers and lengths, no allocation, no exceptions; memory need not be
// aligned. A *tile* is up to kTileRows rows. Only this header and plain C headers are included by the kernel files, so that no
// inline function compiled for a newer CPU can be picked by the linker for an older one.
#include <cstddef>
#include <cstdint>

namespace engine::kernels {

inline constexpr std::size_t kTileRows = 64;
/// Bytes that kernels may read past the end of codes (never of vectors).
inline constexpr std::size_t kReadAhead = 64;

/// Per-row terms of the screening bound (docs/certified_exact.md); `bias` is null where the metric has none.
struct RowBounds {
  const float* scale;
  const float* error;
  const float* bias;
  std::size_t n = kTileRows;  // rows in a tile; those behind them may be looked at and may survive
};

/// Per-query terms: a row survives unless  (dot + start) * scale + norm * error - inverse * bias < threshold.
struct QueryBounds {
  std::int32_t start;
  float norm;
  float inverse;
  float threshold;
};

/// Per-query terms of what bounds a distance: with the product s = dot * rows.scale, and e = error * rows.error + rest * norm,
/// it is not below low + score * s - e + bias_low * rows.bias, nor above high + score * s + e + bias_high * rows.bias.
struct DistanceBounds {
  double low, high, score, error, rest, bias_low, bias_high;
};

/// One row's codes and what bounds its error; written by `encode`.
struct EncodedRow {
  float scale4, scale8;   // least-squares scales of the 4-bit and the 8-bit code
  double error4, error8;  // norms of what the codes leave out
  double norm;            // of the row after centering
};

struct EncodedQuery {
  double scale;           // of its codes
  double squared, shift;  // its squared length, its product with the center
  double norm, rest;      // squared length of the codes, and of what they leave out over `scale`
  std::int32_t sum;       // of the codes
};

/// What leads from a row to one it is linked to, where both were turned at random: see graph::NeighbourCodes.
struct Step {
  float absolute, squared;  // sums of |step| and of its squares
  float start;              // <sign of step, from>
  float along;              // <from + origin, step>
};

/// Per-query terms of an estimate: key = base + shift + factor * (step * sum - offset).
struct Estimate {
  float base, step, offset;
  float worst;  // keys below it count
};

/// Row-major float matrices: `to` = a b, or += where `add`. `a` is n_rows x depth, its entries `a_row` and `a_next` floats apart,
/// so that it may be turned over; `b` is depth x n_columns, and n_columns a multiple of 16.
struct Product {
  const float* a;
  std::size_t a_row, a_next;
  const float* b;
  std::size_t b_next;
  float* to;
  std::size_t to_row;
  std::size_t n_rows, depth, n_columns;
  bool add;
};

/// -log softmax of the relevant entries, averaged over them and over all `n_queries`; or, `summed`, -log of their sum.
struct SoftmaxLoss {
  double temperature, n_queries;
  bool summed;
};

/// A step of Adam; `correction` is that of the root of the second moment.
struct AdamStep {
  float keep_first, new_first, keep_second, new_second, rate, correction, epsilon;
};

struct Table {
  const char* name;
  /// Largest |q| that `screen_tile_i8` takes: 63 where pairs u8 * s8 are summed in int16, else 127.
  int query_limit;

  /// `sum x_i^2` in float64: products of floats are exact there; 16 running sums (index modulo 16), added in a fixed tree, so
  /// that every instruction set gives the same bits. Error <= (n / 16 + 5) 2^-53 of it. One per Dtype.
  double (*squared_norm[3])(const void* x, std::size_t n);
  /// `sum a_i b_i` and `sum b_i^2`, likewise. Error <= (n / 16 + 5) 2^-53 sum |a_i b_i|.
  void (*dot_norm[3])(const float* a, const void* b, std::size_t n, double* dot, double* norm);
  /// `sum (a_i - b_i)^2` in float64, same order; differences and squares rounded once each, never fused. One per Dtype.
  double (*squared_l2[3])(const float* a, const void* b, std::size_t n);

  /// The same of listed rows in float32, at the speed of memory, to rule rows out: 16 running sums, products fused or not, so
  /// instruction sets differ. Error <= (n / 16 + 8) 2^-24 of the sum of magnitudes, plus what underflows. One per Dtype.
  void (*dot_norm_rows[3])(const float* query, const void* vectors, std::size_t dim, const std::uint32_t* rows,
                           std::size_t n_rows, float* dots, float* norms);
  void (*squared_l2_rows[3])(const float* query, const void* vectors, std::size_t dim, const std::uint32_t* rows,
                             std::size_t n_rows, float* scores);  // minus the squared distance
  /// Bit r says that row r of up to 64 survives: unless  scores[r] + sqrt(norms[r]) * factor < threshold, where `norms` may be
  /// null. NaN survives, and so does what float32 sums may have lost: scores below -1e38, norms outside 1e-26 to 1e36. Arrays are
  /// read in full vectors, up to 64 rows.
  std::uint64_t (*screen_rows)(const float* scores, const float* norms, std::size_t n_rows, float factor, float threshold);

  /// dots[r] = sum_j nibble(rows[r], j) * query[j] over one nibble plane of `row_bytes` (a multiple of 16) a row, exact in int32.
  /// Byte j of a row holds dims j (low) and row_bytes + j (high); `query` holds the low dims, zero-padded to a multiple of 64,
  /// then the high dims likewise. Reads up to kReadAhead bytes past a row. `rows` goes on for `n_ahead` more, which are only
  /// asked for: rows listed at random are waited for otherwise; 0 leaves neighbouring rows to the hardware.
  void (*dot_nibbles)(const std::uint8_t* plane, std::size_t row_bytes, const std::uint32_t* rows, std::size_t n_rows,
                      std::size_t n_ahead, const std::int8_t* query, std::int32_t* dots);
  /// Bit r says that row r of up to 64 survives; NaN survives. The error of a row (not `rows.error`) is the high half of its
  /// word in `bounds`, a bfloat16, plus `rest` times the low half. Arrays are read in full vectors, up to 64 rows.
  std::uint64_t (*screen)(const std::int32_t* dots, std::size_t n_rows, const RowBounds& rows, const std::uint32_t* bounds,
                          float rest, const QueryBounds& query);

  /// Gathers up to 64 rows of both planes as bytes 16 * high + low, four dims at a time: tile[(g * 64 + r) * 4 + i] = dim 4 g + i
  /// of row r, 2 * row_bytes dims in all; missing rows repeat the last.
  void (*pack_codes)(const std::uint8_t* high, const std::uint8_t* low, std::size_t row_bytes, const std::uint32_t* rows,
                     std::size_t n_rows, std::uint8_t* tile);
  /// The same for vectors, one dim at a time: tile[g * 64 + r] = dim g of row r, as float. One per Dtype.
  void (*pack_rows[3])(const void* vectors, std::size_t dim, const std::uint32_t* rows, std::size_t n_rows, float* tile);
  /// A tile of bytes u, as `pack_codes` writes it, as what `screen_tile_i8` takes for queries: to[r * stride + j] is dim j of row
  /// r, max(u - 136, -127), or where query_limit is 63 half of it: (max(u, 10) - 135) / 2 rounded down. `stride` is 4 * n_groups
  /// rounded up to 64; the rest of it is 0, and sums[r] is the sum of row r. Rows are written in full vectors, up to 64.
  void (*signed_codes)(const std::uint8_t* tile, std::size_t n_groups, std::size_t n_rows, std::int8_t* to, std::int32_t* sums);

  /// Dot products of a packed tile (64 rows, `n_groups` groups of 4 bytes) with `n_queries` queries (`stride` bytes apart), fused
  /// with the bound: masks[q] has a bit for each row that survives. int8: unsigned rows, signed queries within query_limit,
  /// int32 sums, exact. float32: one running sum a row, error <= n 2^-24 sum |x_i y_i| to first order. sums[64 q + r] is the dot
  /// product (plus `start`) of each row r that survives, in the type of the sum; others are left as they are.
  void (*screen_tile_i8)(const void* tile, std::size_t n_groups, const void* queries, std::size_t stride,
                         const QueryBounds* bounds, std::size_t n_queries, const RowBounds& rows, std::uint64_t* masks,
                         void* sums);
  void (*screen_tile_f32)(const void* tile, std::size_t n_groups, const void* queries, std::size_t stride,
                          const QueryBounds* bounds, std::size_t n_queries, const RowBounds& rows, std::uint64_t* masks,
                          void* sums);

  /// Between what the distances of the `rows.n` rows of a tile lie, from their dot products. NaN becomes the
  /// infinity that says nothing. Arrays are read and written 16 at a time.
  void (*bound_distances_i32)(const void* dots, const RowBounds& rows, const float* norms, const DistanceBounds& query,
                              double* lows, double* highs);
  void (*bound_distances_f32)(const void* dots, const RowBounds& rows, const float* norms, const DistanceBounds& query,
                              double* lows, double* highs);
  /// Bit i says that values[i], of up to 64, is not above the limit; NaN is not. They are read 16 at a time.
  std::uint64_t (*not_above)(const double* values, std::size_t n, double limit);

  /// Codes `x * factor - center` (float64): u = 136 + round(x / c) in 0..255, split in two nibble planes of `row_bytes`.
  void (*encode)(const float* x, double factor, const float* center, std::size_t dim, std::size_t row_bytes, std::uint8_t* high,
                 std::uint8_t* low, double* work, EncodedRow* row);

  /// Codes `y * factor - subtracted * center` (float64) as integers from -limit to limit; `work` is `dim` long.
  void (*encode_query)(const float* y, double factor, double subtracted, const float* center, std::size_t dim, int limit,
                       double* work, std::int8_t* codes, EncodedQuery* query);

  /// x times the Hadamard matrix of order n, a power of two. The same bits for every instruction set.
  void (*hadamard)(float* x, std::size_t n);
  /// The signs of `to - from`, bit j for dim j, and what else an estimate needs; `dim` is a multiple of 16.
  Step (*code_step)(const float* from, const float* to, const float* origin, std::size_t dim, std::uint8_t* bits);
  /// Keys of 32 neighbours from their signs, byte 32 p + i: dims 8 p to 8 p + 7 of neighbour i. Each half of a byte picks one of
  /// 16 entries, up to 127, of its table; sums are exact. Returns which keys are below `worst`.
  std::uint32_t (*estimate)(const std::uint8_t* codes, std::size_t n_pairs, const std::uint8_t* tables, const float* shift,
                            const float* factor, const Estimate& query, float* keys);

  /// Puts a number below INT64_MAX among `n` that ascend, of which none is equal to it; returns its place. From numbers[n] on all
  /// are INT64_MAX, and there is room for `insert_room(n)`.
  std::size_t (*insert)(std::int64_t* numbers, std::size_t n, std::int64_t value);

  /// One running sum for each entry, fused or not, so instruction sets differ. For matrices that stay in the caches.
  void (*multiply)(const Product& product);
  /// best[j] = the largest of column j of rows of 16 n_vectors floats, and of what is there where `go_on`.
  void (*largest)(const float* rows, std::size_t n_rows, std::size_t n_vectors, bool go_on, float* best);
  /// Rows of 16 n_vectors scores, to which `unused` is added (0, or -1e30 where there is no document), become the gradient of the
  /// loss by them, nearly 0 in unused places. Returns n_queries times their part of the loss. Row r is to find `k` entries,
  /// relevant[k r] and so on.
  double (*softmax_gradient)(float* scores, std::size_t n_rows, std::size_t n_vectors, const float* unused,
                             const std::int64_t* relevant, std::size_t k, const SoftmaxLoss& loss);
  /// Moves rows of 16 n_vectors, which are then scaled to length 1, and both moments.
  void (*adam)(float* rows, const float* gradient, float* first, float* second, std::size_t n_rows, std::size_t n_vectors,
               const AdamStep& step);

  /// `n` values to and from a Dtype; rounding is to nearest even.
  void (*load[3])(const void* from, std::size_t n, float* to);
  void (*store[3])(const float* from, std::size_t n, void* to);

  /// `iterations` rounds of the widest 8-bit multiply-add on registers only; returns the multiplications and additions done.
  /// What the tile kernel is measured against.
  std::int64_t (*int8_peak)(std::size_t iterations);
};

/// Rows between the one that `dot_nibbles` reads and the one that it asks for: as many as hide the wait for it. Half as
/// many bytes are too few, twice as many are no faster.
constexpr std::size_t rows_ahead(std::size_t row_bytes) noexcept {
  const std::size_t n = 12 * 1024 / row_bytes;
  return n < 8 ? 8 : n > kTileRows ? kTileRows : n;
}

/// Numbers that `insert` reads where there are n.
constexpr std::size_t insert_room(std::size_t n) noexcept { return n / 8 * 8 + 16; }

/// The table in use: the best the machine has, or the one ENGINE_ISA names.
const Table& active();

}  // namespace engine::kernels
