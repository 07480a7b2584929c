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
#include "engine/search.hpp"

namespace engine {

/// The rows that a search may find, over all visible ones.
class Allowed {
 public:
  /// What the filter lets pass of the rows that live, or of `options.live` where that is given; without a filter these.
  /// `dead`: null, or a bit for each of the visible rows.
  Allowed(const SearchOptions& options, std::size_t n_visible, const Bitmap* dead) : n_visible_(n_visible) {
    const Bitmap *const filter = options.filter, *live = options.live;
    if (live) check_fits(*live, n_visible);
    if (dead && dead->count()) {
      own_live_ = ~*dead;
      if (live) *own_live_ &= *live;
      live = &*own_live_;
    }
    n_live_ = live ? live->count() : n_visible;
    if (filter) check_fits(*filter, options.live ? n_visible : n_live_);
    filters_ = filter || n_visible - n_live_ > n_visible / 8;
    rows_ = filter ? filter : live;
    if (!filter || !live) return;
    own_ = options.live ? *filter & *live : filter->spread(*live);
    rows_ = &*own_;
  }
  Allowed(const Allowed&) = delete;
  Allowed& operator=(const Allowed&) = delete;

  /// Null where all visible rows pass.
  const Bitmap* rows() const noexcept { return rows_; }
  std::size_t count() const noexcept { return rows_ ? rows_->count() : n_visible_; }
  std::size_t n_live() const noexcept { return n_live_; }
  /// Whether it keeps out so much that walks need more room than those measured: by a filter, or since many rows are gone.
  bool filters() const noexcept { return filters_; }
  /// Of the rows that live; 1 where there are none.
  double share() const noexcept { return n_live_ ? static_cast<double>(count()) / static_cast<double>(n_live_) : 1; }
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

  std::optional<Bitmap> own_live_, own_;
  const Bitmap* rows_;
  std::size_t n_visible_, n_live_;
  bool filters_;
};

}  // namespace engine
