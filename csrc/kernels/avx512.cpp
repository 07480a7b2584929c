// AVX-512 without VNNI.
#include <cstring>

#include <immintrin.h>

#include "kernels/table.hpp"

namespace engine::kernels::avx512 {
namespace {

constexpr const char* kName = "avx512";
constexpr int kQueryLimit = 63;  // 2 * 255 * 63 fits int16, which is what vpmaddubsw sums in

#include "kernels/scalar.inc"

using Words = __m512i;
inline Words multiply_bytes(Words total, Words codes, Words query) {
  return _mm512_add_epi32(total, _mm512_madd_epi16(_mm512_maddubs_epi16(codes, query), _mm512_set1_epi16(1)));
}

#include "kernels/avx512.inc"
#include "kernels/table.inc"

}  // namespace engine::kernels::avx512
