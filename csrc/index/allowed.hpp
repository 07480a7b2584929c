#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/error.hpp"

namespace engine {

/// A filter over live rows as one over all visible rows; null: all that live.
class Allowed {
 public:
  /// `dead` has a bit for each of the visible rows.
  Allowed(const Bitmap* filter, const Bitmap& dead) : rows_(filter), n_visible_(dead.size()) {
    const std::size_t n_live = n_visible_ - dead.count();
    if (filter) check_fits(*filter, n_live);
    if (n_live == n_visible_) return;
    own_ = ~dead;
    rows_ = &*own_;
    if (filter) own_ = filter->spread(*own_);
  }
  Allowed(const Allowed&) = delete;
  Allowed& operator=(const Allowed&) = delete;

  /// Null where all visible rows pass.
  const Bitmap* rows() const noexcept { return rows_; }
  std::size_t count() const noexcept { return rows_ ? rows_->count() : n_visible_; }
  /// At most `n` of them, from places evenly spread; takes time for few words where many pass.
  std::vector<std::uint32_t> sample(std::size_t n) const {
    std::vector<std::uint32_t> rows;
    if (const auto listed = rows_ ? rows_->listed() : std::nullopt) {
      n = std::min(n, listed->size());
      for (std::size_t i = 0; i < n; ++i) rows.push_back((*listed)[i * listed->size() / n]);
      return rows;
    }
    const std::size_t n_words = (n_visible_ + 63) / 64;
    std::size_t next = 0;  // word that is not looked at yet
    for (std::size_t i = 0; i < n; ++i) {
      next = std::max(next, i * n_words / n);
      while (next < n_words && word(next) == 0) ++next;
      if (next == n_words) break;
      rows.push_back(static_cast<std::uint32_t>(next * 64 + static_cast<std::size_t>(std::countr_zero(word(next)))));
      ++next;
    }
    return rows;
  }
  /// Rows that an add has yet to show never pass.
  bool operator()(std::uint32_t row) const noexcept { return row < n_visible_ && (!rows_ || rows_->test(row)); }

 private:
  std::uint64_t word(std::size_t i) const noexcept { return rows_ ? rows_->word(i) : 1; }

  std::optional<Bitmap> own_;
  const Bitmap* rows_;
  std::size_t n_visible_;
};

}  // namespace engine
