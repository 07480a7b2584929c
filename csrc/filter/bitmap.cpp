#include "engine/bitmap.hpp"

#include <cstring>

namespace engine {

Bitmap Bitmap::from_mask(std::span<const bool> mask) {
  static_assert(sizeof(bool) == 1);
  Bitmap result(mask.size());
  const auto* bytes = reinterpret_cast<const unsigned char*>(mask.data());
  std::size_t row = 0;
  // Eight bytes of 0 or 1 become eight bits by one multiplication.
  for (; row + 8 <= mask.size() && std::endian::native == std::endian::little; row += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, bytes + row, 8);
    result.words_[row / 64] |= (eight * 0x0102040810204080u >> 56) << (row % 64);
  }
  result.recount();
  for (; row < mask.size(); ++row)
    if (bytes[row]) result.set(row);
  return result;
}

Bitmap Bitmap::from_rows(std::size_t size, std::span<const std::int64_t> rows) {
  Bitmap result(size);
  for (const std::int64_t row : rows) {
    if (row < 0 || static_cast<std::size_t>(row) >= size)
      invalid("rows holds " + std::to_string(row) + ", expected 0 to " + std::to_string(size) + " - 1");
    result.set(static_cast<std::size_t>(row));
  }
  return result;
}

void Bitmap::resize(std::size_t size) {
  words_.resize((size + 63) / 64);
  size_ = size;
  if (size_ % 64) words_.back() &= (std::uint64_t{1} << (size_ % 64)) - 1;
  recount();
}

void Bitmap::recount() noexcept {
  count_ = 0;
  for (const std::uint64_t word : words_) count_ += static_cast<std::size_t>(std::popcount(word));
}

Bitmap Bitmap::operator~() const {
  Bitmap result(size_);
  for (std::size_t w = 0; w < words_.size(); ++w) result.words_[w] = ~words_[w];
  if (size_ % 64) result.words_.back() &= (std::uint64_t{1} << (size_ % 64)) - 1;
  result.count_ = size_ - count_;
  return result;
}

}  // namespace engine
