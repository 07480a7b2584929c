// AVX-512 with VNNI: four products of bytes and their sum in one instruction, summed in int32.
#include <cstring>

#include <immintrin.h>

#include "kernels/table.hpp"

namespace engine::kernels::avx512vnni {
namespace {

constexpr const char* kName = "avx512vnni";
constexpr int kQueryLimit = 127;

#include "kernels/scalar.inc"

using Words = __m512i;
inline Words multiply_bytes(Words total, Words codes, Words query) { return _mm512_dpbusd_epi32(total, codes, query); }

#include "kernels/avx512.inc"
#include "kernels/table.inc"

}  // namespace engine::kernels::avx512vnni
