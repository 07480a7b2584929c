// AVX2 with FMA and F16C.
#include <cstring>

#include <immintrin.h>

#include "kernels/table.hpp"

namespace engine::kernels::avx2 {
namespace {

constexpr const char* kName = "avx2";
constexpr int kQueryLimit = 63;  // 2 * 255 * 63 fits int16, which is what vpmaddubsw sums in

#include "kernels/scalar.inc"

#include "kernels/floats256.inc"

#include "kernels/lookup256.inc"

struct Doubles {
  __m256d v[4];
};

inline Doubles zero_doubles() {
  const __m256d zero = _mm256_setzero_pd();
  return {{zero, zero, zero, zero}};
}
inline Doubles widen(const Floats& f) {
  return {{_mm256_cvtps_pd(_mm256_castps256_ps128(f.low)), _mm256_cvtps_pd(_mm256_extractf128_ps(f.low, 1)),
           _mm256_cvtps_pd(_mm256_castps256_ps128(f.high)), _mm256_cvtps_pd(_mm256_extractf128_ps(f.high, 1))}};
}
/// Four at a time: taking the halves of longer vectors apart takes as long as widening them.
inline Doubles load_wide(const float* from) {
  return {{_mm256_cvtps_pd(_mm_loadu_ps(from)), _mm256_cvtps_pd(_mm_loadu_ps(from + 4)), _mm256_cvtps_pd(_mm_loadu_ps(from + 8)),
           _mm256_cvtps_pd(_mm_loadu_ps(from + 12))}};
}
inline Doubles add_product(Doubles total, const Doubles& a, const Doubles& b) {
  for (int i = 0; i < 4; ++i) total.v[i] = _mm256_fmadd_pd(a.v[i], b.v[i], total.v[i]);
  return total;
}
inline Doubles add_squared_difference(Doubles total, const Doubles& a, const Doubles& b) {
  for (int i = 0; i < 4; ++i) {
    const __m256d difference = _mm256_sub_pd(a.v[i], b.v[i]);
    total.v[i] = _mm256_add_pd(total.v[i], _mm256_mul_pd(difference, difference));
  }
  return total;
}
inline Doubles load_doubles(const double* from) {
  return {{_mm256_loadu_pd(from), _mm256_loadu_pd(from + 4), _mm256_loadu_pd(from + 8), _mm256_loadu_pd(from + 12)}};
}
inline Doubles load_wide(const std::int32_t* from) {
  const auto* const fours = reinterpret_cast<const __m128i*>(from);
  return {{_mm256_cvtepi32_pd(_mm_loadu_si128(fours)), _mm256_cvtepi32_pd(_mm_loadu_si128(fours + 1)),
           _mm256_cvtepi32_pd(_mm_loadu_si128(fours + 2)), _mm256_cvtepi32_pd(_mm_loadu_si128(fours + 3))}};
}
inline void store_doubles(double* to, const Doubles& d) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(to + 4 * i, d.v[i]);
}
inline Doubles broadcast_double(double value) {
  const __m256d four = _mm256_set1_pd(value);
  return {{four, four, four, four}};
}
inline Doubles larger(Doubles a, const Doubles& b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_max_pd(a.v[i], b.v[i]);
  return a;
}
inline Doubles smaller(Doubles a, const Doubles& b) {
  for (int i = 0; i < 4; ++i) a.v[i] = _mm256_min_pd(a.v[i], b.v[i]);
  return a;
}
inline std::uint32_t not_above(const Doubles& a, const Doubles& b) {
  std::uint32_t mask = 0;
  for (int i = 0; i < 4; ++i)
    mask |= static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a.v[i], b.v[i], _CMP_NGT_UQ))) << 4 * i;
  return mask;
}
inline double sum(const Doubles& d) {
  const __m256d four = _mm256_add_pd(_mm256_add_pd(d.v[0], d.v[2]), _mm256_add_pd(d.v[1], d.v[3]));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

constexpr std::size_t kLanes = 8, kTileVectors = 2, kTileQueries = 4, kMostHeld = 4;
using Words = __m256i;
using Lanes = __m256;

inline Words zero_words() { return _mm256_setzero_si256(); }
inline Words load_words(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline void store_words(void* to, Words w) { _mm256_storeu_si256(static_cast<__m256i*>(to), w); }
inline Words broadcast_word(std::int32_t value) { return _mm256_set1_epi32(value); }
inline Words broadcast_4_bytes(const void* from) {
  std::int32_t value;
  std::memcpy(&value, from, 4);
  return _mm256_set1_epi32(value);
}
inline Words add(Words a, Words b) { return _mm256_add_epi32(a, b); }
inline Words multiply_bytes(Words total, Words codes, Words query) {
  return add(total, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, query), _mm256_set1_epi16(1)));
}
// Both nibbles' products of two bytes fit int16: 4 * 15 * 128. So they are one sum, `low`.
inline void multiply_nibbles(Words codes, Words query_low, Words query_high, Words& low, Words&) {
  const Words mask = _mm256_set1_epi8(0x0f);
  const Words pairs = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(codes, mask), query_low),
                                       _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(codes, 4), mask), query_high));
  low = add(low, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline void join_nibbles(Words high, Words low, Words& lower, Words& upper) {
  const Words mask = _mm256_set1_epi8(0x0f);
  lower = _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(high, mask), 4), _mm256_and_si256(low, mask));
  upper = _mm256_or_si256(_mm256_andnot_si256(mask, high), _mm256_and_si256(_mm256_srli_epi16(low, 4), mask));
}
inline Words to_signed(Words codes) {
  const Words zero = _mm256_set1_epi8(static_cast<char>(136));
  return _mm256_sub_epi8(_mm256_avg_epu8(_mm256_max_epu8(codes, _mm256_set1_epi8(10)), zero), zero);
}
inline void transpose(Words (&rows)[kLanes]) {
  Words fours[8];
  for (int g = 0; g < 8; g += 4) {
    const Words low0 = _mm256_unpacklo_epi32(rows[g], rows[g + 1]), high0 = _mm256_unpackhi_epi32(rows[g], rows[g + 1]);
    const Words low1 = _mm256_unpacklo_epi32(rows[g + 2], rows[g + 3]), high1 = _mm256_unpackhi_epi32(rows[g + 2], rows[g + 3]);
    fours[g] = _mm256_unpacklo_epi64(low0, low1);
    fours[g + 1] = _mm256_unpackhi_epi64(low0, low1);
    fours[g + 2] = _mm256_unpacklo_epi64(high0, high1);
    fours[g + 3] = _mm256_unpackhi_epi64(high0, high1);
  }
  for (int c = 0; c < 4; ++c) {
    rows[c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x20);
    rows[4 + c] = _mm256_permute2x128_si256(fours[c], fours[4 + c], 0x31);
  }
}
inline Words low_halves_up(Words w) { return _mm256_slli_epi32(w, 16); }
inline Words high_halves(Words w) { return _mm256_and_si256(w, _mm256_set1_epi32(static_cast<int>(0xffff0000))); }
inline Words sum_of_nibbles(Words low, Words) { return low; }
inline Words transpose_sum(const Words (&rows)[kLanes]) {
  Words pairs[4], fours[2];
  for (int i = 0; i < 4; ++i)
    pairs[i] = add(_mm256_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]), _mm256_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]));
  for (int i = 0; i < 2; ++i)
    fours[i] = add(_mm256_unpacklo_epi64(pairs[2 * i], pairs[2 * i + 1]), _mm256_unpackhi_epi64(pairs[2 * i], pairs[2 * i + 1]));
  return add(_mm256_permute2x128_si256(fours[0], fours[1], 0x20), _mm256_permute2x128_si256(fours[0], fours[1], 0x31));
}

inline Lanes zero_lanes() { return _mm256_setzero_ps(); }
inline Lanes lanes_of_ints(Words w) { return _mm256_cvtepi32_ps(w); }
inline Lanes load_lanes(const float* from) { return _mm256_loadu_ps(from); }
inline Lanes broadcast_lane(float value) { return _mm256_set1_ps(value); }
inline Lanes fma(Lanes a, Lanes b, Lanes c) { return _mm256_fmadd_ps(a, b, c); }
inline Lanes fnma(Lanes a, Lanes b, Lanes c) { return _mm256_fnmadd_ps(a, b, c); }
inline Lanes root(Lanes a) { return _mm256_sqrt_ps(a); }
inline std::uint32_t not_below(Lanes a, Lanes b) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NLT_UQ)));
}

inline void store_lanes(float* to, Lanes a) { _mm256_storeu_ps(to, a); }
inline Lanes signed_by(Lanes a, Lanes b) { return _mm256_xor_ps(a, _mm256_and_ps(b, _mm256_set1_ps(-0.0f))); }
inline Lanes lanes_of_bits(Words w) { return _mm256_castsi256_ps(w); }
inline Lanes larger(Lanes a, Lanes b) { return _mm256_max_ps(a, b); }
/// a * 2^whole, which has to be a normal number
inline Lanes times_power(Lanes a, Lanes whole) {
  return lanes_of_bits(add(_mm256_castps_si256(a), _mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23)));
}
inline float sum_lanes(Lanes a) { return sum(Floats{a, zero_lanes()}); }
inline float largest_lane(Lanes a) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

constexpr std::size_t kLongs = 4;
using Longs = __m256i;
inline Longs load_longs(const std::int64_t* from) { return load_words(from); }
inline void store_longs(std::int64_t* to, Longs a) { store_words(to, a); }
inline Longs broadcast_long(std::int64_t value) { return _mm256_set1_epi64x(value); }
inline Longs smaller(Longs a, Longs b) { return _mm256_blendv_epi8(a, b, _mm256_cmpgt_epi64(a, b)); }
inline Longs larger(Longs a, Longs b) { return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b)); }
inline std::size_t n_not_above(Longs a, Longs b) {
  return 4 - static_cast<std::size_t>(
                 __builtin_popcount(static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(a, b))))));
}
inline Longs carried_up(Longs before, Longs a) { return _mm256_alignr_epi8(a, _mm256_permute2x128_si256(before, a, 0x21), 8); }

#include "kernels/sorted.inc"

struct Int8Step {
  static Words multiply(Words total, Words rows, Words query) { return multiply_bytes(total, rows, query); }
  static Lanes to_lanes(Words w) { return lanes_of_ints(w); }
};
struct FloatStep {
  static Words multiply(Words total, Words rows, Words query) {
    return _mm256_castps_si256(
        _mm256_fmadd_ps(_mm256_castsi256_ps(rows), _mm256_castsi256_ps(query), _mm256_castsi256_ps(total)));
  }
  static Lanes to_lanes(Words w) { return lanes_of_bits(w); }
};

std::int64_t int8_peak(std::size_t iterations) {
  Words sums[8];
  for (int i = 0; i < 8; ++i) sums[i] = broadcast_word(i);  // equal sums would be computed once
  Words rows = _mm256_set1_epi8(3), query = _mm256_set1_epi8(5);
  for (std::size_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 8
    for (auto& sum : sums) sum = multiply_bytes(sum, rows, query);
    asm volatile("" : "+x"(rows), "+x"(query));  // keeps the loop from being folded
  }
  volatile std::int32_t keep = 0;
  for (auto& sum : sums) keep = keep ^ _mm_cvtsi128_si32(_mm256_castsi256_si128(sum));
  return static_cast<std::int64_t>(iterations) * 8 * kLanes * 4 * 2;
}

#include "kernels/table.inc"

}  // namespace engine::kernels::avx2
