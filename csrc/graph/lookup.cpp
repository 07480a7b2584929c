#include "graph/lookup.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace engine::graph {
namespace {

/// Byte v of a table, v from 0 to 15 in two words: 255 where bit i of v is set.
constexpr std::uint64_t kSet[4][2] = {{0xff00'ff00'ff00'ff00, 0xff00'ff00'ff00'ff00},
                                      {0xffff'0000'ffff'0000, 0xffff'0000'ffff'0000},
                                      {0xffff'ffff'0000'0000, 0xffff'ffff'0000'0000},
                                      {0, ~std::uint64_t{0}}};

}  // namespace

void Lookup::prepare(const float* turned, std::size_t dim, float unit) {
  constexpr float kMost = 125;  // of four dims, each of which rounding may add 1/2 to
  tables_.resize(4 * dim);
  sizes_.resize(dim);
  unit_ = unit;
  float largest = 1e-30f;
  for (std::size_t j = 0; j < dim; j += 4)
    largest =
        std::max(largest, std::abs(turned[j]) + std::abs(turned[j + 1]) + std::abs(turned[j + 2]) + std::abs(turned[j + 3]));
  const float inverse = kMost / largest;
  std::int32_t total = 0;
#pragma omp simd reduction(+ : total)
  for (std::size_t j = 0; j < dim; ++j) {
    const auto size = static_cast<std::int32_t>(std::abs(turned[j]) * inverse + 0.5f);
    sizes_[j] = static_cast<std::uint8_t>(size);
    total += size;
  }
  for (std::size_t j = 0; j < dim; j += 4) {
    std::uint64_t table[2] = {0, 0};  // bytes side by side: none overflows into the next
    for (std::size_t i = 0; i < 4; ++i) {
      // A sign that agrees counts twice the size, one that does not nothing: the offset takes one size of each off.
      const std::uint64_t size = sizes_[j + i] * std::uint64_t{0x0101'0101'0101'0101};
      const std::uint64_t opposite = turned[j + i] < 0 ? ~std::uint64_t{0} : 0;
      for (int half = 0; half < 2; ++half) table[half] += (kSet[i][half] ^ opposite) & size;
    }
    std::memcpy(tables_.data() + 4 * j, table, sizeof table);
  }
  step_ = 2 * largest / kMost;
  offset_ = static_cast<float>(total) * largest / kMost;
}

}  // namespace engine::graph
