#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.hpp"

namespace engine {

/// Bits that are 1.
std::size_t count_bits(std::span<const std::uint64_t> words) noexcept;

/// A set of rows; a row that is in it is allowed. Of many rows it is a bit each, of which those beyond `size()` are 0. Of few it
/// is a list of them: a search that looks at a hundred rows takes as long again to make and read the bits of all others.
class Bitmap {
 public:
  explicit Bitmap(std::size_t size) : size_(size), words_((size + 63) / 64) {}
  /// Of its words, in which bits beyond `size` are 0 and exactly `count` others 1.
  Bitmap(std::size_t size, std::vector<std::uint64_t> words, std::size_t count)
      : size_(size), count_(count), words_(std::move(words)) {
    compact();
  }

  static Bitmap from_mask(std::span<const bool> mask);
  static Bitmap from_rows(std::size_t size, std::span<const std::int64_t> rows);
  /// Of `rows` below `size`, in any order.
  static Bitmap from_any(std::size_t size, std::vector<std::uint32_t> rows);
  /// Ascending, each once.
  static Bitmap from_ascending(std::size_t size, std::vector<std::uint32_t> rows);
  /// Whether so many of `size` rows are listed.
  static constexpr bool is_few(std::size_t count, std::size_t size) noexcept {
    return count <= std::min(size / kFewShare, kFewMost);
  }

  std::size_t size() const noexcept { return size_; }
  std::size_t count() const noexcept { return count_; }
  bool test(std::size_t row) const noexcept { return is_listed() ? lists(row) : words_[row / 64] >> (row % 64) & 1; }
  /// Rows 64 i to 64 i + 63.
  std::uint64_t word(std::size_t i) const noexcept { return is_listed() ? listed_word(i) : words_[i]; }
  /// The members, ascending, if they are listed.
  std::optional<std::span<const std::uint32_t>> listed() const noexcept {
    return is_listed() ? std::optional(std::span<const std::uint32_t>(list_)) : std::nullopt;
  }
  // These cannot fail where there are bits, as there are from the first constructor on, or from the first `resize` to some rows.
  void set(std::size_t row) {
    mark();
    count_ += !test(row);
    words_[row / 64] |= std::uint64_t{1} << (row % 64);
  }
  void reset(std::size_t row) {
    mark();
    count_ -= test(row);
    words_[row / 64] &= ~(std::uint64_t{1} << (row % 64));
  }
  void put(std::size_t row, bool member) {
    if (test(row) != member) member ? set(row) : reset(row);
  }
  /// Room for `size` bits, so that `resize` cannot fail.
  void reserve(std::size_t size) { words_.reserve((size + 63) / 64); }
  std::size_t nbytes() const noexcept { return words_.capacity() * sizeof(words_[0]) + list_.capacity() * sizeof(list_[0]); }
  /// New bits are 0; those beyond `size` are gone.
  void resize(std::size_t size);
  /// Becomes a list if members are few, after changes one by one.
  void compact();
  bool operator==(const Bitmap& other) const noexcept;

  /// Calls `visit(row)` for every member, ascending.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const std::uint32_t row : list_) visit(std::size_t{row});
    for (std::size_t w = 0; w < words_.size(); ++w)
      for (std::uint64_t bits = words_[w]; bits; bits &= bits - 1)
        visit(w * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
  }

  Bitmap operator&(const Bitmap& other) const;
  Bitmap operator|(const Bitmap& other) const;
  Bitmap operator^(const Bitmap& other) const;
  Bitmap operator~() const& { return ~Bitmap(*this); }
  Bitmap operator~() &&;
  // Of one over as many rows; |= is faster where no row is in both.
  Bitmap& operator&=(const Bitmap& other);
  Bitmap& operator|=(const Bitmap& other);

  /// Rows `begin` to `end` of it, counted from 0.
  Bitmap slice(std::size_t begin, std::size_t end) const;
  /// Over the members of `rows`, counted from 0: those of them that are in this one too.
  Bitmap compress(const Bitmap& rows) const;
  /// The reverse: this one is over the members of `rows`, the result over all that `rows` is over.
  Bitmap spread(const Bitmap& rows) const;

 private:
  static constexpr std::size_t kFewShare = 64;   // a list of so few takes half of the bits' bytes
  static constexpr std::size_t kFewMost = 4096;  // walks, which ask for one row after another, get bits

  bool is_listed() const noexcept { return words_.empty(); }
  // Not to be inlined where they are asked for, as walks ask `test` of one row after another.
  bool lists(std::size_t row) const noexcept;
  std::uint64_t listed_word(std::size_t i) const noexcept;
  /// Bits in place of a list.
  void mark() {
    if (is_listed()) mark_listed();
  }
  void mark_listed();
  void check_as_long(const Bitmap& other) const {
    if (other.size_ != size_) invalid("other has " + std::to_string(other.size_) + " rows, expected " + std::to_string(size_));
  }
  void drop_behind_end() noexcept {
    if (size_ % 64) words_.back() &= (std::uint64_t{1} << (size_ % 64)) - 1;
  }

  std::size_t size_;
  std::size_t count_ = 0;             // every search asks for it
  std::vector<std::uint64_t> words_;  // none where members are listed
  std::vector<std::uint32_t> list_;
};

/// A filter has a bit for each of the rows it is asked about.
inline void check_fits(const Bitmap& filter, std::size_t n_rows) {
  if (filter.size() != n_rows)
    invalid("filter is a bitmap over " + std::to_string(filter.size()) + " rows, expected " + std::to_string(n_rows) +
            ": one bit a row");
}

}  // namespace engine
