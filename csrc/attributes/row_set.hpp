#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/bitmap.hpp"

namespace engine::attributes {

/// Rows of a table that grows and shrinks: a bitmap without a length, which takes no memory before it has a member.
class RowSet {
 public:
  RowSet() = default;
  explicit RowSet(std::size_t n_rows) : words_((n_rows + 63) / 64) {}

  std::size_t count() const noexcept { return count_; }
  std::size_t nbytes() const noexcept { return words_.capacity() * sizeof(words_[0]); }
  bool test(std::size_t row) const noexcept { return row / 64 < words_.size() && (words_[row / 64] >> (row % 64) & 1); }

  /// Room for rows below `n_rows`; may throw, changes nothing then.
  void reserve(std::size_t n_rows) {
    const std::size_t n_words = (n_rows + 63) / 64;
    if (n_words > words_.size()) words_.resize(std::max(n_words, words_.size() + words_.size() / 4));
  }
  /// New members need room.
  void put(std::size_t row, bool member) noexcept {
    if (test(row) == member) return;
    toggle(row);
    count_ += member ? 1 : -1;
  }

  // These are for rows within the room of this set and leave its count to `set_count`.
  void toggle(std::size_t row) noexcept { words_[row / 64] ^= std::uint64_t{1} << (row % 64); }
  RowSet& operator^=(const RowSet& other) noexcept {
    for (std::size_t w = 0; w < other.words_.size(); ++w) words_[w] ^= other.words_[w];
    return *this;
  }
  void set_count(std::size_t n) noexcept { count_ = n; }

  /// The bitmap of a table of `n_rows`, none of the members lying beyond.
  Bitmap over(std::size_t n_rows) && {
    words_.resize((n_rows + 63) / 64);
    return {n_rows, std::move(words_), count_};
  }
  Bitmap over(std::size_t n_rows) const& {
    std::vector<std::uint64_t> words((n_rows + 63) / 64);
    std::copy_n(words_.begin(), std::min(words.size(), words_.size()), words.begin());
    return {n_rows, std::move(words), count_};
  }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t count_ = 0;
};

}  // namespace engine::attributes
