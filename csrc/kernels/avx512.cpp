// AVX-512 without VNNI.
#include <cstring>

#include <immintrin.h>

#include "kernels/table.hpp"

namespace engine::kernels::avx512 {
namespace {

constexpr const char* kName = "avx512";
constexpr int kQueryLimit = 63;  // 2 * 255 * 63 fits int16, which is what vpmaddubsw sums in

#include "kernels/scalar.inc"

#include "kernels/floats256.inc"

#include "kernels/lookup256.inc"

using Words = __m512i;
inline Words multiply_bytes(Words total, Words codes, Words query) {
  return _mm512_add_epi32(total, _mm512_madd_epi16(_mm512_maddubs_epi16(codes, query), _mm512_set1_epi16(1)));
}

// Both nibbles' products of two bytes fit int16: 4 * 15 * 128. So they are one sum, `low`.
inline void multiply_nibbles(Words codes, Words query_low, Words query_high, Words& low, Words&) {
  const Words mask = _mm512_set1_epi8(0x0f);
  const Words pairs = _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_and_si512(codes, mask), query_low),
                                       _mm512_maddubs_epi16(_mm512_and_si512(_mm512_srli_epi16(codes, 4), mask), query_high));
  low = _mm512_add_epi32(low, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
inline Words to_signed(Words codes) {
  const Words zero = _mm512_set1_epi8(static_cast<char>(136));
  return _mm512_sub_epi8(_mm512_avg_epu8(_mm512_max_epu8(codes, _mm512_set1_epi8(10)), zero), zero);
}
inline Words sum_of_nibbles(Words low, Words) { return low; }

#include "kernels/avx512.inc"
#include "kernels/table.inc"

}  // namespace engine::kernels::avx512
