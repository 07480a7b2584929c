#pragma once
#include <algorithm>
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
    if (filter && filter->size() != n_live)
      invalid("filter has " + std::to_string(filter->size()) + " rows, expected " + std::to_string(n_live));
    if (n_live == n_visible_) return;
    own_ = ~dead;
    rows_ = &*own_;
    if (!filter) return;
    Bitmap spread(n_visible_);
    std::size_t place = 0;
    own_->for_each([&](std::size_t row) {
      if (filter->test(place++)) spread.set(row);
    });
    own_ = std::move(spread);
  }
  Allowed(const Allowed&) = delete;
  Allowed& operator=(const Allowed&) = delete;

  /// Null where all visible rows pass.
  const Bitmap* rows() const noexcept { return rows_; }
  std::size_t count() const noexcept { return rows_ ? rows_->count() : n_visible_; }
  /// Some of them, evenly spread.
  std::vector<std::uint32_t> sample(std::size_t n) const {
    std::vector<std::uint32_t> rows;
    std::size_t i = 0;
    const std::size_t step = std::max<std::size_t>(count() / n, 1);
    rows_->for_each([&](std::size_t row) {
      if (i++ % step == 0) rows.push_back(static_cast<std::uint32_t>(row));
    });
    return rows;
  }
  /// Rows that an add has yet to show never pass.
  bool operator()(std::uint32_t row) const noexcept { return row < n_visible_ && (!rows_ || rows_->test(row)); }

 private:
  std::optional<Bitmap> own_;
  const Bitmap* rows_;
  std::size_t n_visible_;
};

}  // namespace engine
