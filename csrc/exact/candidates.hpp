#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "exact/exact_distance.hpp"
#include "exact/prepared_queries.hpp"
#include "exact/tile.hpp"
#include "util/topk.hpp"

namespace engine::exact {

/// A number that at least `k` of the values of a tile in `mask` are not above, and few more unless it takes long: as a
/// quickselect finds it, which counts with vectors where that would move numbers about. Infinity where fewer are finite.
inline double near_kth(const double* values, std::uint64_t mask, std::size_t k) {
  const auto not_above = kernels::active().not_above;
  const std::size_t few = k + k / 8, n = static_cast<std::size_t>(std::bit_width(mask));
  double found = std::numeric_limits<double>::infinity();
  std::uint64_t left = mask;
  for (int turn = 0; left && turn < 16; ++turn) {
    // Not the first: rows may come sorted.
    const int shift = 27 * turn % 64, place = (std::countr_zero(std::rotr(left, shift)) + shift) % 64;
    const double pivot = values[place];
    const std::uint64_t below = not_above(values, n, pivot) & mask;
    const auto n_below = static_cast<std::size_t>(std::popcount(below));
    if (n_below < k) {
      left &= ~below;
      continue;
    }
    found = pivot;
    if (n_below <= few) break;
    left &= below & ~(std::uint64_t{1} << place);
  }
  return found;
}

/// Keeps the `k` nearest.
class Nearest {
 public:
  explicit Nearest(std::size_t k) : uppers_(k), hits_(k) {}

  /// No result can be further away than this.
  double limit() const noexcept { return uppers_.full() ? uppers_.worst() : std::numeric_limits<double>::infinity(); }
  /// Upper bounds of the rows of a tile in `mask`.
  void offer_uppers(const double* highs, std::uint64_t mask) {
    const bool are_many = static_cast<std::size_t>(std::popcount(mask)) > uppers_.k();
    const double most = uppers_.full() || !are_many ? limit() : near_kth(highs, mask, uppers_.k());
    const auto n = static_cast<std::size_t>(std::bit_width(mask));
    for_each_bit(kernels::active().not_above(highs, n, most) & mask, [&](std::size_t i) { uppers_.push(highs[i]); });
  }
  void add(const Hit& hit) { hits_.push(hit); }
  /// How many more have to be added before those say how far away a result can be, and that.
  std::size_t n_missing() const noexcept { return hits_.n_missing(); }
  double reached() const noexcept { return hits_.full() ? hits_.worst().distance : std::numeric_limits<double>::infinity(); }
  /// Every row offered so far was added: their distances replace the bounds.
  void settled() {
    uppers_.clear();
    for (const Hit& hit : hits_.values()) uppers_.push(hit.distance);
  }
  std::vector<Hit> take_sorted() { return hits_.take_sorted(); }

 private:
  TopK<double> uppers_;  // upper bounds of the distances of k different rows
  TopK<Hit> hits_;
};

/// Keeps all within a radius.
class Within {
 public:
  explicit Within(double radius) : radius_(radius) {}

  double limit() const noexcept { return radius_; }
  void offer_uppers(const double*, std::uint64_t) noexcept {}
  void add(const Hit& hit) {
    if (hit.distance <= radius_) hits_.push_back(hit);
  }
  std::size_t n_missing() const noexcept { return 0; }
  double reached() const noexcept { return radius_; }
  void settled() noexcept {}
  std::vector<Hit> take_sorted() {
    std::sort(hits_.begin(), hits_.end());
    return std::move(hits_);
  }

 private:
  double radius_;
  std::vector<Hit> hits_;
};

/// Rows that one query could not rule out yet. They are re-scored together, so that the limit has fallen as far as it will
/// before the first full vector is read; `crowded` says when there are too many to wait.
template <class Sink>
class Candidates {
 public:
  Candidates(Sink sink, std::size_t patience) : sink_(std::move(sink)), patience_(patience) {}

  double limit() const noexcept { return sink_.limit(); }
  bool crowded() const noexcept { return rows_.size() > patience_; }

  /// Returns how many of the rows of a tile in `mask` cannot be ruled out, by between what their distances lie, none of it NaN.
  std::size_t offer(const std::uint32_t* rows, std::uint64_t mask, const double* lows, const double* highs) {
    sink_.offer_uppers(highs, mask);
    const auto n = static_cast<std::size_t>(std::bit_width(mask));
    const std::uint64_t left = kernels::active().not_above(lows, n, PreparedQuery::beyond(limit())) & mask;
    if (rows_.capacity() == 0) rows_.reserve(kReserved);
    for_each_bit(left, [&](std::size_t i) { rows_.push_back({lows[i], rows[i]}); });
    return static_cast<std::size_t>(std::popcount(left));
  }

  /// A distance known already, where nothing asks for the limit any more.
  void add(double distance, std::int64_t id) { sink_.add({order_key(distance), id}); }

  /// Re-scores what is left, which the caches have or not; returns how many rows that took. Those that may be nearest come first,
  /// as many as results are missing: how far away they are rules out half of the others, which memory is not asked for.
  std::size_t settle(const ExactDistance& exact, const std::int64_t* ids, bool are_cached) {
    const auto drop_beyond = [&](std::size_t first, double limit) {
      const auto end = std::remove_if(rows_.begin() + static_cast<std::ptrdiff_t>(first), rows_.end(),
                                      [beyond = PreparedQuery::beyond(limit)](const Row& row) { return row.low > beyond; });
      rows_.erase(end, rows_.end());
    };
    const auto rescore = [&](std::size_t first, std::size_t last) {
      const auto row_at = [&](std::size_t i) { return rows_[first + i].row; };
      exact.in_turn(last - first, row_at, ids, are_cached, [&](std::size_t i) {
        const std::uint32_t row = rows_[first + i].row;
        sink_.add({order_key(exact(row)), ids ? ids[row] : std::int64_t{row}});
      });
    };
    drop_beyond(0, limit());
    const std::size_t n_first = std::min(sink_.n_missing(), rows_.size());
    const auto rest = rows_.begin() + static_cast<std::ptrdiff_t>(n_first);
    if (n_first < rows_.size())
      std::nth_element(rows_.begin(), rest, rows_.end(), [](const Row& a, const Row& b) { return a.low < b.low; });
    rescore(0, n_first);
    drop_beyond(n_first, sink_.reached());
    std::sort(rows_.begin() + static_cast<std::ptrdiff_t>(n_first), rows_.end(),
              [](const Row& a, const Row& b) { return a.row < b.row; });
    const std::size_t n = rows_.size();
    rescore(n_first, n);
    rows_.clear();
    return n;
  }

  /// The limit from what was re-scored, which is all that there was.
  void tighten() { sink_.settled(); }

  std::vector<Hit> take_sorted() { return sink_.take_sorted(); }

 private:
  struct Row {
    double low;
    std::uint32_t row;
  };
  static constexpr std::size_t kReserved = 32;  // at once: most queries leave fewer, and growing takes time

  Sink sink_;
  std::size_t patience_;
  std::vector<Row> rows_;
};

}  // namespace engine::exact
