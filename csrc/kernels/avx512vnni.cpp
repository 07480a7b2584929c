// AVX-512 with VNNI: four products of bytes and their sum in one instruction, summed in int32.
#include <cstring>

#include <immintrin.h>

#include "kernels/table.hpp"

namespace engine::kernels::avx512vnni {
namespace {

constexpr const char* kName = "avx512vnni";
constexpr int kQueryLimit = 127;

#include "kernels/scalar.inc"

#include "kernels/floats256.inc"

#include "kernels/lookup256.inc"

using Words = __m512i;
inline Words multiply_bytes(Words total, Words codes, Words query) { return _mm512_dpbusd_epi32(total, codes, query); }

// High nibbles stay where they are, 16 times too large, until the end: one shift a sum instead of one a load.
inline void multiply_nibbles(Words codes, Words query_low, Words query_high, Words& low, Words& high) {
  low = multiply_bytes(low, _mm512_and_si512(codes, _mm512_set1_epi8(0x0f)), query_low);
  high = multiply_bytes(high, _mm512_andnot_si512(_mm512_set1_epi8(0x0f), codes), query_high);
}
inline Words to_signed(Words codes) {
  return _mm512_sub_epi8(_mm512_max_epu8(codes, _mm512_set1_epi8(9)), _mm512_set1_epi8(static_cast<char>(136)));
}
inline Words sum_of_nibbles(Words low, Words high) { return _mm512_add_epi32(low, _mm512_srai_epi32(high, 4)); }

#include "kernels/avx512.inc"
#include "kernels/table.inc"

}  // namespace engine::kernels::avx512vnni
