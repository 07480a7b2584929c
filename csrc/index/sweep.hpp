#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/plan.hpp"
#include "graph/searcher.hpp"
#include "index/allowed.hpp"
#include "quant/nibble_codes.hpp"

namespace engine {

/// Rows whose order by 4-bit codes is taken for good enough to contain the nearest `k`: the others are not looked at in full.
inline std::size_t n_looked_at(std::size_t k, std::size_t ef) noexcept { return k + 2 + ef / 8; }

/// Of a pool of at least the nearest `k`; all of it where it may hold all `n_rows`.
inline std::size_t n_seen_of(std::size_t n_rows, std::size_t k, std::size_t ef) noexcept {
  return ef >= n_rows ? n_rows : std::min(n_rows, n_looked_at(k, ef));
}

/// Nearest rows up to the `k`-th that passes, among the first `n` of a pool, or as those suggest where it is beyond them.
inline double n_up_to(std::size_t k, const graph::Pool& pool, std::size_t n, const Allowed& passes) noexcept {
  n = std::min(pool.size(), n);
  std::size_t n_passed = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (passes(pool.row(i)) && ++n_passed == k) return static_cast<double>(i + 1);
  return static_cast<double>(std::max<std::size_t>(n, 1) * k) / std::max(static_cast<double>(n_passed), 0.5);
}

/// The goal of walks among all rows for the nearest `k` that pass, one walk after the other. How many of the nearest rows of all
/// that takes depends on the filter around the query: a walk gets near it first, and goes on for those up to the k-th that
/// passes, or not at all where that is far away. Full vectors of what it finds are asked for while its last rows are scored.
class Sweep {
 public:
  /// Rows of a pool that tell how far away the k-th that passes is, where too few do.
  static constexpr std::size_t kTelling = 128;

  /// Pools keep at least `least_room` rows. `adapts`: otherwise a walk always takes what the plan has at most.
  Sweep(std::size_t k, const Plan& plan, const Allowed& passes, const RowsView& rows, std::size_t least_room, bool adapts)
      : k_(k),
        most_(plan.n_nearest),
        ef_most_(plan.ef),
        least_room_(least_room),
        ef_k_(static_cast<double>(plan.ef_k)),
        passes_(passes),
        rows_(rows),
        adapts_(adapts) {
    if (adapts && most_ > k) {
      const double wider = static_cast<double>(most_) / static_cast<double>(k), longer = static_cast<double>(ef_most_) / ef_k_;
      power_ = std::max(0.0, std::log(longer) / std::log(wider));
    }
    asked_.resize(std::min(n_seen(), kAsked), graph::kNone);
  }

  /// Rows that a pool is to hold at first.
  std::size_t room() const noexcept { return adapts_ ? std::max(n_seen(), kTelling) : n_seen(); }
  /// The nearest rows of all that are needed, at most those of the plan.
  std::size_t n_nearest() const noexcept { return n_nearest_; }
  std::size_t ef() const noexcept { return ef_; }
  /// Whether far more seem to be needed.
  bool gave_up() const noexcept { return gave_up_; }
  /// So many of the nearest rows of a pool are to be looked at.
  std::size_t n_seen() const noexcept { return n_seen_of(rows_.n_rows, n_nearest_, ef_); }

  std::size_t further(graph::Pool& pool, std::size_t done) noexcept {
    const bool looks_first = done <= kNear;
    if (done == 0) {
      n_nearest_ = most_;
      ef_ = adapts_ ? std::min(kNear, ef_most_) : ef_most_;
      gave_up_ = false;
    } else if (adapts_) {
      const double needed = n_up_to(k_, pool, most_, passes_);
      n_nearest_ = static_cast<std::size_t>(std::min(needed, static_cast<double>(most_)));
      gave_up_ = looks_first && needed > kHopeless * static_cast<double>(most_);
      if (gave_up_) return done;
      ef_ = std::max(done, ef_for(n_nearest_));
      if (looks_first) {
        const std::size_t n = std::min(2 * n_nearest_, most_), ef = std::max(done, ef_for(n));
        pool.narrow(std::max({ef, n_seen_of(rows_.n_rows, n, ef), least_room_}));
      }
    }
    return ef_;
  }

  void ending(const graph::Pool& pool) noexcept {
    if (adapts_ && ef_ <= kNear) return;
    const std::size_t n = std::min({pool.size(), n_seen(), asked_.size()});
    for (std::size_t i = 0; i < n; ++i)
      if (const std::uint32_t row = pool.row(i); row != std::exchange(asked_[i], row) && passes_(row))
        quant::prefetch(rows_, row);
  }

 private:
  /// Rows to expand before it is asked how many are needed.
  static constexpr std::size_t kNear = 16;
  /// Rows whose full vectors are asked for ahead, at most.
  static constexpr std::size_t kAsked = 128;
  /// Where so many times the rows of the plan seem to be needed by then, a walk gives up.
  static constexpr double kHopeless = 2;

  /// Between the pools known to find `k` and `most` rows.
  std::size_t ef_for(std::size_t n) const noexcept {
    const double ef = ef_k_ * std::pow(static_cast<double>(n) / static_cast<double>(k_), power_);
    return n < most_ ? static_cast<std::size_t>(std::min(std::ceil(ef), static_cast<double>(ef_most_))) : ef_most_;
  }

  const std::size_t k_, most_, ef_most_, least_room_;
  const double ef_k_;
  const Allowed& passes_;
  const RowsView rows_;
  const bool adapts_;
  double power_ = 0;
  std::size_t n_nearest_ = most_, ef_ = ef_most_;
  bool gave_up_ = false;
  std::vector<std::uint32_t> asked_;  // rows at these places of the pool; others are asked for anew
};

}  // namespace engine
