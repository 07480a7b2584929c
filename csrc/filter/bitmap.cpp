#include "engine/bitmap.hpp"

#include <algorithm>
#include <cstring>

namespace engine {

std::size_t count_bits(std::span<const std::uint64_t> words) noexcept {
  // The portable core has no popcnt: the bits of each byte are added up within words, by vectors, for as long as a byte can hold.
  constexpr std::size_t kBlock = 31;
  constexpr std::uint64_t kPairs = 0x5555555555555555, kFours = 0x3333333333333333, kBytes = 0x0f0f0f0f0f0f0f0f;
  std::size_t count = 0;
  for (std::size_t begin = 0; begin < words.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, words.size());
    std::uint64_t bytes = 0;
#pragma omp simd reduction(+ : bytes)
    for (std::size_t w = begin; w < end; ++w) {
      std::uint64_t x = words[w] - (words[w] >> 1 & kPairs);
      x = (x & kFours) + (x >> 2 & kFours);
      bytes += (x + (x >> 4)) & kBytes;
    }
    constexpr std::uint64_t kEven = 0x00ff00ff00ff00ff;
    count += ((bytes & kEven) + (bytes >> 8 & kEven)) * 0x0001000100010001 >> 48;
  }
  return count;
}

void Bitmap::regroup() noexcept {
  constexpr std::size_t kWords = kGroup / 64;
  const std::size_t n_whole = words_.size() / kWords;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    std::uint64_t groups = 0;  // a register: memory would be read and written for each
    for (std::size_t i = g * 64, end = std::min(i + 64, n_whole); i < end; ++i) {
      const std::uint64_t* const w = words_.data() + i * kWords;
      const std::uint64_t any = (w[0] | w[1] | w[2] | w[3]) | (w[4] | w[5] | w[6] | w[7]);
      groups |= std::uint64_t{any != 0} << (i % 64);
    }
    groups_[g] = groups;
  }
  for (std::size_t w = n_whole * kWords; w < words_.size(); ++w)
    groups_[n_whole / 64] |= std::uint64_t{words_[w] != 0} << (n_whole % 64);
}

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
  reserve(size);  // nothing has changed where memory runs out
  words_.resize((size + 63) / 64);
  groups_.resize(n_group_words(size));
  const bool is_shorter = size < size_;
  size_ = size;
  if (!is_shorter) return;
  drop_behind_end();
  recount();
}

Bitmap& Bitmap::operator|=(const Bitmap& other) {
  check_as_long(other);
  std::uint64_t common = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) {
    common |= words_[w] & other.words_[w];
    words_[w] |= other.words_[w];
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) groups_[g] |= other.groups_[g];
  count_ = common ? count_bits(words_) : count_ + other.count_;
  return *this;
}

Bitmap Bitmap::operator~() const {
  Bitmap result(size_);
  for (std::size_t w = 0; w < words_.size(); ++w) result.words_[w] = ~words_[w];
  result.drop_behind_end();
  result.count_ = size_ - count_;
  result.regroup();
  return result;
}

Bitmap Bitmap::slice(std::size_t begin, std::size_t end) const {
  if (begin > end || end > size_)
    invalid("the slice is " + std::to_string(begin) + " to " + std::to_string(end) + ", expected within " +
            std::to_string(size_) + " rows");
  Bitmap result(end - begin);
  const std::size_t shift = begin % 64;
  for (std::size_t w = 0; w < result.words_.size(); ++w) {
    const std::size_t from = begin / 64 + w;
    result.words_[w] = words_[from] >> shift;
    if (shift && from + 1 < words_.size()) result.words_[w] |= words_[from + 1] << (64 - shift);
  }
  result.drop_behind_end();
  result.recount();
  return result;
}

Bitmap Bitmap::compress(const Bitmap& rows) const {
  if (rows.size_ != size_) invalid("rows has " + std::to_string(rows.size_) + " rows, expected " + std::to_string(size_));
  Bitmap result(rows.count_);
  std::size_t place = 0;
  rows.for_each([&](std::size_t row) {
    if (test(row)) result.set(place);
    ++place;
  });
  return result;
}

Bitmap Bitmap::spread(const Bitmap& rows) const {
  if (rows.count_ != size_) invalid("rows holds " + std::to_string(rows.count_) + " rows, expected " + std::to_string(size_));
  Bitmap result(rows.size_);
  std::size_t place = 0;
  rows.for_each([&](std::size_t row) {
    if (test(place++)) result.set(row);
  });
  return result;
}

}  // namespace engine
