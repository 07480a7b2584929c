#include "engine/bitmap.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "util/sort_rows.hpp"

namespace engine {
namespace {

constexpr std::uint64_t kPairs = 0x5555555555555555, kFours = 0x3333333333333333, kBytes = 0x0f0f0f0f0f0f0f0f;

/// How many bits each byte of a word has.
std::uint64_t bits_of_bytes(std::uint64_t x) noexcept {
  x -= x >> 1 & kPairs;
  x = (x & kFours) + (x >> 2 & kFours);
  return (x + (x >> 4)) & kBytes;
}

/// Of one word; most have all.
std::size_t n_bits(std::uint64_t word) noexcept { return ~word ? bits_of_bytes(word) * 0x0101010101010101 >> 56 : 64; }

/// Bits `begin` to `begin` + 63 of `words`; 0 behind their end.
std::uint64_t word_from(std::span<const std::uint64_t> words, std::size_t begin) noexcept {
  const std::size_t w = begin / 64, shift = begin % 64;
  const std::uint64_t low = w < words.size() ? words[w] >> shift : 0;
  return shift && w + 1 < words.size() ? low | words[w + 1] << (64 - shift) : low;
}

// What pdep and pext do, which not all machines have, by the gaps or by the members, whichever are fewer (`n` members).

/// The first bits of `bits` at the places of `members`, in their order.
std::uint64_t deposited(std::uint64_t bits, std::uint64_t members, std::size_t n) noexcept {
  if (n < 32) {
    std::uint64_t found = 0;
    for (; members; members &= members - 1, bits >>= 1) found |= members & -members & -(bits & 1);
    return found;
  }
  for (std::uint64_t gaps = ~members; gaps; gaps &= gaps - 1) bits += bits & -(gaps & -gaps);  // those from the gap on move up
  return bits & members;
}

/// The reverse: the bits of `bits` at the places of `members`, one after the other.
std::uint64_t extracted(std::uint64_t bits, std::uint64_t members, std::size_t n) noexcept {
  if (n < 32) {
    std::uint64_t found = 0;
    for (std::size_t i = 0; members; members &= members - 1, ++i) found |= (bits >> std::countr_zero(members) & 1) << i;
    return found;
  }
  bits &= members;
  std::size_t n_gone = 0;
  for (std::uint64_t gaps = ~members; gaps; gaps &= gaps - 1) {
    const std::uint64_t behind = -((gaps & -gaps) >> n_gone++);  // those from the gap on move down
    bits = (bits & ~behind) | (bits & behind) >> 1;
  }
  return bits;
}

/// The rows of `n` bits, most words having none or few. A branch for each word or bit would be taken wrongly as often as not:
/// words that have any are listed first, and the first two bits of those are written whether there is a second or not.
std::vector<std::uint32_t> ascending(std::span<const std::uint64_t> words, std::size_t n) {
  constexpr std::size_t kBlock = 1024;
  constexpr std::uint64_t kLast = std::uint64_t{1} << 63;  // what is counted up to where there is none
  std::array<std::uint16_t, kBlock> some;
  std::vector<std::uint32_t> rows(n + 1);
  std::uint32_t* end = rows.data();
  for (std::size_t begin = 0; begin < words.size(); begin += kBlock) {
    std::size_t n_some = 0;
    for (std::size_t i = 0; i < std::min(kBlock, words.size() - begin); ++i) {
      some[n_some] = static_cast<std::uint16_t>(i);
      n_some += words[begin + i] != 0;
    }
    for (std::size_t i = 0; i < n_some; ++i) {
      const std::size_t w = begin + some[i];
      std::uint64_t bits = words[w];
      const auto put = [&] {
        *end = static_cast<std::uint32_t>(w * 64 + static_cast<std::size_t>(std::countr_zero(bits | kLast)));
      };
      put(), ++end, bits &= bits - 1;
      put(), end += bits != 0, bits &= bits - (bits != 0);
      for (; bits; bits &= bits - 1) put(), ++end;
    }
  }
  rows.pop_back();
  return rows;
}

}  // namespace

std::size_t count_bits(std::span<const std::uint64_t> words) noexcept {
  // The portable core has no popcnt: the bits of each byte are added up within words, by vectors, for as long as a byte can hold.
  constexpr std::size_t kBlock = 31;
  std::size_t count = 0;
  for (std::size_t begin = 0; begin < words.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, words.size());
    std::uint64_t bytes = 0;
#pragma omp simd reduction(+ : bytes)
    for (std::size_t w = begin; w < end; ++w) bytes += bits_of_bytes(words[w]);
    constexpr std::uint64_t kEven = 0x00ff00ff00ff00ff;
    count += ((bytes & kEven) + (bytes >> 8 & kEven)) * 0x0001000100010001 >> 48;
  }
  return count;
}

bool Bitmap::lists(std::size_t row) const noexcept { return std::ranges::binary_search(list_, row); }

std::uint64_t Bitmap::listed_word(std::size_t i) const noexcept {
  std::uint64_t word = 0;
  for (auto row = std::ranges::lower_bound(list_, i * 64); row != list_.end() && *row / 64 == i; ++row)
    word |= std::uint64_t{1} << (*row % 64);
  return word;
}

void Bitmap::mark_listed() {
  words_.resize((size_ + 63) / 64);
  for (const std::uint32_t row : list_) words_[row / 64] |= std::uint64_t{1} << (row % 64);
  std::vector<std::uint32_t>().swap(list_);  // gives its memory back, which an assignment of {} would keep
}

void Bitmap::compact() {
  if (is_listed() || !is_few(count_, size_)) return;
  list_ = ascending(words_, count_);
  std::vector<std::uint64_t>().swap(words_);
}

Bitmap Bitmap::from_mask(std::span<const bool> mask) {
  static_assert(sizeof(bool) == 1);
  Bitmap result(mask.size());
  const auto* bytes = reinterpret_cast<const unsigned char*>(mask.data());
  std::size_t row = 0;
#ifdef __SSE2__
  for (; row + 64 <= mask.size(); row += 64) {
    std::uint64_t word = 0;
    for (std::size_t j = 0; j < 64; j += 16) {
      const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + row + j));
      const int none = _mm_movemask_epi8(_mm_cmpeq_epi8(sixteen, _mm_setzero_si128()));
      word |= std::uint64_t{static_cast<std::uint16_t>(~none)} << j;
    }
    result.words_[row / 64] = word;
  }
#endif
  // Eight bytes of 0 or 1 become eight bits by one multiplication.
  for (; row + 8 <= mask.size() && std::endian::native == std::endian::little; row += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, bytes + row, 8);
    result.words_[row / 64] |= (eight * 0x0102040810204080u >> 56) << (row % 64);
  }
  result.count_ = count_bits(result.words_);
  for (; row < mask.size(); ++row)
    if (bytes[row]) result.set(row);
  result.compact();
  return result;
}

Bitmap Bitmap::from_rows(std::size_t size, std::span<const std::int64_t> rows) {
  std::vector<std::uint32_t> found;
  found.reserve(rows.size());
  for (const std::int64_t row : rows) {
    if (row < 0 || static_cast<std::size_t>(row) >= size)
      invalid("rows holds " + std::to_string(row) + ", expected 0 to " + std::to_string(size) + " - 1");
    found.push_back(static_cast<std::uint32_t>(row));
  }
  return from_any(size, std::move(found));
}

Bitmap Bitmap::from_any(std::size_t size, std::vector<std::uint32_t> rows) {
  if (is_few(rows.size(), size)) {
    sort_rows(rows);
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    return from_ascending(size, std::move(rows));
  }
  Bitmap result(size);
  for (const std::uint32_t row : rows) result.set(row);
  result.compact();
  return result;
}

Bitmap Bitmap::from_ascending(std::size_t size, std::vector<std::uint32_t> rows) {
  const std::size_t count = rows.size();
  Bitmap result(is_few(count, size) ? 0 : size);
  result.size_ = size;
  result.count_ = count;
  if (result.is_listed())
    result.list_ = std::move(rows);
  else
    for (const std::uint32_t row : rows) result.words_[row / 64] |= std::uint64_t{1} << (row % 64);
  return result;
}

void Bitmap::resize(std::size_t size) {
  const bool is_shorter = size < size_;
  if (is_listed() && size_)
    while (!list_.empty() && list_.back() >= size) list_.pop_back();
  else
    words_.resize((size + 63) / 64);
  size_ = size;
  if (!is_shorter) return;
  if (!is_listed()) drop_behind_end();
  count_ = list_.size() + count_bits(words_);
}

bool Bitmap::operator==(const Bitmap& other) const noexcept {
  if (size_ != other.size_ || count_ != other.count_) return false;
  if (is_listed() == other.is_listed()) return words_ == other.words_ && list_ == other.list_;
  const Bitmap &listed = is_listed() ? *this : other, &marked = is_listed() ? other : *this;
  return std::ranges::all_of(listed.list_, [&](std::uint32_t row) { return marked.test(row); });
}

Bitmap Bitmap::operator&(const Bitmap& other) const {
  Bitmap result = *this;
  return std::move(result &= other);
}
Bitmap Bitmap::operator|(const Bitmap& other) const {
  Bitmap result = *this;
  return std::move(result |= other);
}
Bitmap Bitmap::operator^(const Bitmap& other) const { return (*this | other) & ~(*this & other); }

Bitmap Bitmap::operator~() && {
  mark();
  for (std::uint64_t& word : words_) word = ~word;
  drop_behind_end();
  count_ = size_ - count_;
  compact();
  return std::move(*this);
}

Bitmap& Bitmap::operator&=(const Bitmap& other) {
  check_as_long(other);
  if (!is_listed() && other.is_listed()) return *this = other & *this;
  if (is_listed()) {
    count_ = 0;
    for (const std::uint32_t row : list_) {  // without a branch that half of the rows take
      list_[count_] = row;
      count_ += other.test(row);
    }
    list_.resize(count_);
  } else {
    for (std::size_t w = 0; w < words_.size(); ++w) words_[w] &= other.words_[w];
    count_ = count_bits(words_);
    compact();
  }
  return *this;
}

Bitmap& Bitmap::operator|=(const Bitmap& other) {
  check_as_long(other);
  mark();
  if (other.is_listed()) {
    for (const std::uint32_t row : other.list_) set(row);
  } else {
    std::uint64_t common = 0;
    for (std::size_t w = 0; w < words_.size(); ++w) {
      common |= words_[w] & other.words_[w];
      words_[w] |= other.words_[w];
    }
    count_ = common ? count_bits(words_) : count_ + other.count_;
  }
  compact();
  return *this;
}

Bitmap Bitmap::slice(std::size_t begin, std::size_t end) const {
  if (begin > end || end > size_)
    invalid("the slice is " + std::to_string(begin) + " to " + std::to_string(end) + ", expected within " +
            std::to_string(size_) + " rows");
  if (is_listed()) {
    std::vector<std::uint32_t> rows(std::ranges::lower_bound(list_, begin), std::ranges::lower_bound(list_, end));
    for (std::uint32_t& row : rows) row -= static_cast<std::uint32_t>(begin);
    return from_ascending(end - begin, std::move(rows));
  }
  Bitmap result(end - begin);
  for (std::size_t w = 0; w < result.words_.size(); ++w) result.words_[w] = word_from(words_, begin + 64 * w);
  result.drop_behind_end();
  result.count_ = count_bits(result.words_);
  result.compact();
  return result;
}

Bitmap Bitmap::compress(const Bitmap& rows) const {
  if (rows.size_ != size_) invalid("rows has " + std::to_string(rows.size_) + " rows, expected " + std::to_string(size_));
  if (is_listed() || rows.is_listed()) {
    std::vector<std::uint32_t> places;
    if (rows.is_listed()) {
      for (std::size_t place = 0; place < rows.count_; ++place)
        if (test(rows.list_[place])) places.push_back(static_cast<std::uint32_t>(place));
      return from_ascending(rows.count_, std::move(places));
    }
    std::size_t n_before = 0, w = 0;  // members of `rows` in the words before w
    for (const std::uint32_t row : list_) {
      for (; w < row / 64; ++w) n_before += n_bits(rows.words_[w]);
      const std::uint64_t earlier = (std::uint64_t{1} << (row % 64)) - 1;
      if (rows.test(row)) places.push_back(static_cast<std::uint32_t>(n_before + n_bits(rows.words_[w] & earlier)));
    }
    return from_ascending(rows.count_, std::move(places));
  }
  Bitmap result(rows.count_);
  std::size_t place = 0;
  for (std::size_t w = 0; w < words_.size(); ++w) {
    const std::uint64_t members = rows.words_[w];
    if (!members) continue;
    const std::size_t n = n_bits(members), shift = place % 64;
    const std::uint64_t bits = extracted(words_[w], members, n);
    result.words_[place / 64] |= bits << shift;
    if (shift + n > 64) result.words_[place / 64 + 1] = bits >> (64 - shift);
    place += n;
  }
  result.count_ = count_bits(result.words_);
  result.compact();
  return result;
}

Bitmap Bitmap::spread(const Bitmap& rows) const {
  if (rows.count_ != size_) invalid("rows holds " + std::to_string(rows.count_) + " rows, expected " + std::to_string(size_));
  if (is_listed() || rows.is_listed()) {
    std::vector<std::uint32_t> found;
    found.reserve(count_);
    if (rows.is_listed()) {
      for_each([&](std::size_t place) { found.push_back(rows.list_[place]); });
      return from_ascending(rows.size_, std::move(found));
    }
    std::size_t n_before = 0, w = 0;  // members of `rows` in the words before w
    for (const std::uint32_t place : list_) {
      for (std::size_t n; n_before + (n = n_bits(rows.words_[w])) <= place; ++w) n_before += n;
      std::size_t bit = place - n_before;  // if there were no gaps
      for (std::uint64_t gaps = ~rows.words_[w]; gaps && static_cast<std::size_t>(std::countr_zero(gaps)) <= bit;
           gaps &= gaps - 1)
        ++bit;
      found.push_back(static_cast<std::uint32_t>(w * 64 + bit));
    }
    return from_ascending(rows.size_, std::move(found));
  }
  Bitmap result(rows.size_);
  std::size_t place = 0;
  for (std::size_t w = 0; w < rows.words_.size(); ++w) {
    const std::uint64_t members = rows.words_[w];
    if (!members) continue;
    const std::size_t n = n_bits(members);
    result.words_[w] = deposited(word_from(words_, place), members, n);
    place += n;
  }
  result.count_ = count_;
  result.compact();
  return result;
}

}  // namespace engine
