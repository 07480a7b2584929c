#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.hpp"

namespace engine {

/// Bits that are 1.
std::size_t count_bits(std::span<const std::uint64_t> words) noexcept;

/// A set of rows, one bit each; 1 = allowed. Bits beyond `size()` are 0. Where members are few, those are found without a look
/// at the rest.
class Bitmap {
 public:
  explicit Bitmap(std::size_t size) : size_(size), words_((size + 63) / 64), groups_(n_group_words(size)) {}
  /// Of its words, in which bits beyond `size` are 0 and `count` others 1.
  Bitmap(std::size_t size, std::vector<std::uint64_t> words, std::size_t count)
      : size_(size), count_(count), words_(std::move(words)), groups_(n_group_words(size)) {
    regroup();
  }

  static Bitmap from_mask(std::span<const bool> mask);
  static Bitmap from_rows(std::size_t size, std::span<const std::int64_t> rows);

  std::size_t size() const noexcept { return size_; }
  std::size_t count() const noexcept { return count_; }
  bool test(std::size_t row) const noexcept { return words_[row / 64] >> (row % 64) & 1; }
  /// Rows 64 i to 64 i + 63.
  std::uint64_t word(std::size_t i) const noexcept { return words_[i]; }
  void set(std::size_t row) noexcept {
    count_ += !test(row);
    words_[row / 64] |= std::uint64_t{1} << (row % 64);
    groups_[row / kGroup / 64] |= std::uint64_t{1} << (row / kGroup % 64);
  }
  void reset(std::size_t row) noexcept {
    count_ -= test(row);
    words_[row / 64] &= ~(std::uint64_t{1} << (row % 64));
  }
  void put(std::size_t row, bool member) noexcept { member ? set(row) : reset(row); }
  /// Room for `size` bits, so that `resize` cannot fail.
  void reserve(std::size_t size) {
    words_.reserve((size + 63) / 64);
    groups_.reserve(n_group_words(size));
  }
  std::size_t nbytes() const noexcept { return (words_.capacity() + groups_.capacity()) * sizeof(words_[0]); }
  /// New bits are 0; those beyond `size` are gone.
  void resize(std::size_t size);
  bool operator==(const Bitmap& other) const { return size_ == other.size_ && words_ == other.words_; }

  /// Calls `visit(row)` for every member, ascending.
  template <class Visit>
  void for_each(Visit&& visit) const {
    constexpr std::size_t kWords = kGroup / 64;
    const auto first_of = [](std::size_t g, std::uint64_t groups) {
      return (g * 64 + static_cast<std::size_t>(std::countr_zero(groups))) * kWords;
    };
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (std::uint64_t groups = groups_[g]; groups; groups &= groups - 1)  // as prefetch() of util/prefetch.hpp
        __builtin_prefetch(words_.data() + first_of(g, groups), 0, 2);
      for (std::uint64_t groups = groups_[g]; groups; groups &= groups - 1) {
        const std::size_t first = first_of(g, groups), end = std::min(first + kWords, words_.size());
        for (std::size_t w = first; w < end; ++w)
          for (std::uint64_t bits = words_[w]; bits; bits &= bits - 1)
            visit(w * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
      }
    }
  }

  Bitmap operator&(const Bitmap& other) const {
    return combine(other, [](auto a, auto b) { return a & b; });
  }
  Bitmap operator|(const Bitmap& other) const {
    return combine(other, [](auto a, auto b) { return a | b; });
  }
  Bitmap operator^(const Bitmap& other) const {
    return combine(other, [](auto a, auto b) { return a ^ b; });
  }
  Bitmap operator~() const;
  /// Of one over as many rows, faster where no row is in both.
  Bitmap& operator|=(const Bitmap& other);

  /// Rows `begin` to `end` of it, counted from 0.
  Bitmap slice(std::size_t begin, std::size_t end) const;
  /// Over the members of `rows`, counted from 0: those of them that are in this one too.
  Bitmap compress(const Bitmap& rows) const;
  /// The reverse: this one is over the members of `rows`, the result over all that `rows` is over.
  Bitmap spread(const Bitmap& rows) const;

 private:
  void check_as_long(const Bitmap& other) const {
    if (other.size_ != size_) invalid("other has " + std::to_string(other.size_) + " rows, expected " + std::to_string(size_));
  }
  template <class Op>
  Bitmap combine(const Bitmap& other, Op op) const {
    check_as_long(other);
    Bitmap result(size_);
    for (std::size_t w = 0; w < words_.size(); ++w) result.words_[w] = op(words_[w], other.words_[w]);
    result.recount();
    return result;
  }
  void drop_behind_end() noexcept {
    if (size_ % 64) words_.back() &= (std::uint64_t{1} << (size_ % 64)) - 1;
  }
  void recount() noexcept {
    count_ = count_bits(words_);
    regroup();
  }
  void regroup() noexcept;

  static constexpr std::size_t kGroup = 512;  // rows: a line of memory
  static constexpr std::size_t n_group_words(std::size_t size) noexcept { return (size + 64 * kGroup - 1) / (64 * kGroup); }

  std::size_t size_;
  std::size_t count_ = 0;  // every search asks for it
  std::vector<std::uint64_t> words_;
  std::vector<std::uint64_t> groups_;  // a bit for each: 0 where it has no members
};

/// A filter has a bit for each of the rows it is asked about.
inline void check_fits(const Bitmap& filter, std::size_t n_rows) {
  if (filter.size() != n_rows)
    invalid("filter is a bitmap over " + std::to_string(filter.size()) + " rows, expected " + std::to_string(n_rows) +
            ": one bit a row");
}

}  // namespace engine
