#include "exact/exact_search.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>
#include <string>

#include "exact/candidates.hpp"
#include "exact/exact_distance.hpp"
#include "exact/prepared_queries.hpp"
#include "exact/tile.hpp"
#include "util/prefetch.hpp"
#include "util/rounding.hpp"
#include "util/scratch.hpp"
#include "util/thread_pool.hpp"

namespace engine::exact {
namespace {

/// Without codes: up to here rows are read one by one, which is cheaper than packing tiles. What was measured stands in
/// docs/certified_exact.md.
constexpr std::size_t kFewQueries = 8;

/// Among so few rows many queries would take longer to code than to multiply.
bool are_few(std::size_t n_rows) { return n_rows <= 2 * kTileRows; }

/// Whether coding the rows pays at once; the fewer there are, the less a query saves.
bool pays_to_code(std::size_t n_queries, std::size_t n_rows) { return !are_few(n_rows) && n_queries >= 192 + 100'000 / n_rows; }

kernels::QueryBounds bounds_of(const PreparedQuery& query, std::int32_t start, double limit) noexcept {
  return {start, round_up(query.norm), static_cast<float>(1 / query.scale), query.threshold(limit)};
}

/// One block of queries against one range of the row set.
template <class Sink>
class Screen {
 public:
  Screen(const Corpus& corpus, const RowSet& set, MatrixView queries, const double* squared, const Sink& sink, std::size_t k,
         Cancel& cancel)
      : corpus_(corpus),
        set_(set),
        queries_(queries),
        squared_(squared),
        k_(k),
        cancel_(cancel),
        are_cached_(queries.n_rows >= 8 && set.size() * corpus.rows.row_bytes() <= kCachedBytes) {
    candidates_.reserve(queries.n_rows);
    exact_.reserve(queries.n_rows);
    for (std::size_t q = 0; q < queries.n_rows; ++q) {
      candidates_.emplace_back(sink, 1024 + 4 * k);
      exact_.emplace_back(corpus.rows, corpus.metric, queries.row(q), squared[q]);
    }
  }

  /// Looks at rows `begin` to `end` of the set. One tile in 64 goes first: rows that come sorted, by class say, then do not
  /// keep the limits high until the end.
  void run(std::size_t begin, std::size_t end, Strategy strategy) {
    start(strategy);
    const std::size_t n_tiles = (end - begin + kTileRows - 1) / kTileRows;
    const bool is_small = n_tiles < 4 * kWindow;
    std::size_t n_done = 0;
    for (const bool first_pass : {true, false}) {
      for (std::size_t t = 0; t < n_tiles; ++t) {
        if ((t % 64 == 0) != first_pass) continue;
        if (n_done % 8 == 7 || queries_.n_rows >= 8) cancel_.check();  // a clock is too dear for one query's tile
        tile_.fetch(set_, begin + t * kTileRows, end);
        if (!tile_.present) continue;
        if (n_done == 0 && set_.gathered()) ask_for({tile_.rows, tile_.n});
        look();
        n_scored_ += static_cast<std::size_t>(std::popcount(tile_.present)) * queries_.n_rows;
        ++n_done;
        if (is_small ? std::has_single_bit(n_done) : n_done % kWindow == 0)
          reconsider(is_small ? 8 * n_done >= n_tiles : n_done > kWindow);
      }
    }
    finish();
    for (std::size_t q = 0; q < queries_.n_rows; ++q) settle(q);
  }

  std::vector<Hit> take_sorted(std::size_t q) { return candidates_[q].take_sorted(); }
  std::uint64_t n_scored() const noexcept { return n_scored_; }
  std::uint64_t n_rescored() const noexcept { return n_rescored_; }
  /// What it came down to: where codes rule out too little, a simpler way.
  Strategy strategy() const noexcept { return strategy_; }

 private:
  /// Rows that are looked at more closely together, and what bounds their distances.
  struct Survivors {
    std::size_t n = 0;
    std::array<std::uint32_t, kTileRows> rows;
    std::array<std::int32_t, kTileRows> dots;
    Terms terms;
  };
  struct Interval {
    double low, high;
  };

  using BoundDistances = decltype(kernels::Table::bound_distances_i32);

  static constexpr std::size_t kCachedBytes = 256 << 10;
  static constexpr std::size_t kWindow = 32;  // tiles between two looks at how much survives; fewer where there are few

  void start(Strategy strategy) {
    strategy_ = strategy;
    const std::size_t n = queries_.n_rows;
    if (strategy == Strategy::scan || strategy == Strategy::tiles) {
      using Layout = CodedQueries::Layout;
      coded_.emplace(queries_, *corpus_.codes, strategy == Strategy::tiles ? Layout::tiles : Layout::scan, squared_);
      packed_.resize(strategy == Strategy::tiles ? 2 * corpus_.codes->row_bytes() * kTileRows / sizeof(float) : 0);
    } else if (strategy == Strategy::floats) {
      floats_.emplace(queries_, corpus_.metric, squared_);
      packed_.resize(n > kFewQueries ? corpus_.rows.dim * kTileRows : 0);
    }
    waiting_.resize(strategy == Strategy::scan ? n : 0);
    bounds_.resize(strategy == Strategy::plain ? 0 : n);
    distances_.resize(bounds_.size());
    masks_.resize(bounds_.size());
    sums_.resize(strategy == Strategy::tiles || strategy == Strategy::floats ? n * kTileRows : 0);
    for (std::size_t q = 0; q < distances_.size(); ++q) distances_[q] = (floats_ ? (*floats_)[q] : (*coded_)[q]).bounds();
    for (std::size_t q = 0; q < n; ++q) refresh(q);
  }

  /// Looks at what was postponed.
  void finish() {
    for (std::size_t q = 0; q < waiting_.size(); ++q)
      if (waiting_[q].n) look_closer(q);
  }

  /// The limit of query `q` has fallen: so has what its kernel compares with.
  void refresh(std::size_t q) {
    const double limit = candidates_[q].limit();
    if (strategy_ == Strategy::scan)
      bounds_[q] = bounds_of((*coded_)[q], -8 * (*coded_)[q].sum, limit);
    else if (strategy_ == Strategy::tiles)
      bounds_[q] = bounds_of((*coded_)[q], -136 * (*coded_)[q].sum, limit);
    else if (strategy_ == Strategy::floats)
      bounds_[q] = bounds_of((*floats_)[q], 0, limit);
  }

  void look() {
    switch (strategy_) {
      case Strategy::scan:
        return look_scan();
      case Strategy::tiles:
        return look_tiles();
      case Strategy::floats:
        return look_floats();
      default:
        return look_plain();
    }
  }

  /// Where the codes rule out too little, the next simpler way is the cheaper one; the answer stays the same. Among the first
  /// rows many are near for want of better ones, which says nothing about the codes.
  void reconsider(bool enough_seen) {
    if (strategy_ == Strategy::plain) return;
    const std::uint64_t n_new = n_scored_ - n_seen_;
    const double share = static_cast<double>(n_survived_) / static_cast<double>(n_new);
    const double unavoidable = static_cast<double>(k_ * queries_.n_rows) / static_cast<double>(n_seen_ ? n_seen_ : n_new);
    n_seen_ = n_scored_;
    n_survived_ = 0;
    if (!enough_seen) return;
    const double in_vain = share - 2 * unavoidable;
    if (strategy_ == Strategy::tiles && in_vain > 0.125)
      change_to(Strategy::floats);
    else if (strategy_ == Strategy::scan && in_vain > 0.5)
      change_to(Strategy::floats);
    else if (strategy_ == Strategy::floats && in_vain > 0.25)
      change_to(Strategy::plain);
  }

  void change_to(Strategy strategy) {
    finish();
    for (std::size_t q = 0; q < queries_.n_rows; ++q) {  // loose bounds leave high limits
      settle(q);
      candidates_[q].tighten();
    }
    start(strategy);
  }

  /// Asks the memory for what a scan reads of rows here and there, before its kernel does so for those further on.
  [[gnu::always_inline]] void ask_for(std::span<const std::uint32_t> rows) const {
    if (strategy_ != Strategy::scan) return;
    ask_for_bounds(rows);
    const quant::NibbleCodes& codes = *corpus_.codes;
    for (const std::uint32_t row : rows.first(std::min(rows.size(), kernels::rows_ahead(codes.row_bytes()))))
      prefetch(codes.high() + row * codes.row_bytes(), codes.row_bytes());
  }
  [[gnu::always_inline]] void ask_for_bounds(std::span<const std::uint32_t> rows) const {
    const quant::NibbleCodes& codes = *corpus_.codes;
    for (const std::uint32_t row : rows) {
      prefetch(codes.scale4().data() + row);
      prefetch(codes.bound4().data() + row);
      if (!codes.bias().empty()) prefetch(codes.bias().data() + row);
    }
  }

  void look_plain() {
    const auto row_at = [&](std::size_t i) { return tile_.rows[i]; };
    exact_[0].in_turn(tile_.n, row_at, corpus_.ids, false, [&](std::size_t i) {
      if (!(tile_.present >> i & 1)) return;
      const std::uint32_t row = tile_.rows[i];
      for (std::size_t q = 0; q < queries_.n_rows; ++q) {
        const double distance = exact_[q](row);
        if (!std::isfinite(distance)) refuse(row);
        candidates_[q].add(distance, id_of(row));
      }
      n_rescored_ += queries_.n_rows;
    });
  }

  void look_scan() {
    const quant::NibbleCodes& codes = *corpus_.codes;
    const std::size_t first = tile_.rows[0];
    // A full tile of neighbours needs no copy of its bounds.
    kernels::RowBounds rows{codes.scale4().data() + first, nullptr, codes.bias().empty() ? nullptr : codes.bias().data() + first};
    const std::uint32_t* bounds = codes.bound4().data() + first;
    if (tile_.n < kTileRows || !tile_.contiguous()) {
      for (std::size_t i = 0; i < tile_.n; ++i) {
        tile_.terms.scale[i] = codes.scale4()[tile_.rows[i]];
        tile_.words[i] = codes.bound4()[tile_.rows[i]];
        if (rows.bias) tile_.terms.bias[i] = codes.bias()[tile_.rows[i]];
      }
      rows = tile_.bounds(corpus_.metric);
      bounds = tile_.words.data();
    }
    if (tile_.n_ahead) ask_for_bounds({tile_.rows + tile_.n, tile_.n_ahead});
    std::int32_t dots[kTileRows];
    for (std::size_t q = 0; q < queries_.n_rows; ++q) {
      kernels_.dot_nibbles(codes.high(), codes.row_bytes(), tile_.rows, tile_.n, q ? 0 : tile_.n_ahead, coded_->codes(q), dots);
      const auto rest = static_cast<float>(inflated((*coded_)[q].rest));
      const std::uint64_t mask = kernels_.screen(dots, tile_.n, rows, bounds, rest, bounds_[q]) & tile_.present;
      if (mask) postpone(q, mask, dots);
    }
  }

  void look_tiles() {
    const quant::NibbleCodes& codes = *corpus_.codes;
    look_up(tile_.rows, tile_.n, tile_.terms);
    const auto rest = static_cast<float>(inflated(coded_->rest()));
    for (std::size_t i = 0; i < tile_.n; ++i) tile_.error[i] = tile_.terms.error[i] + rest * tile_.terms.norm[i];
    for (std::size_t i = tile_.n; i < tile_.n + tile_.n_ahead; ++i) {
      codes.prefetch(tile_.rows[i]);
      prefetch(codes.scale8().data() + tile_.rows[i]);
      prefetch(codes.bound8().data() + tile_.rows[i]);
      if (!codes.bias().empty()) prefetch(codes.bias().data() + tile_.rows[i]);
    }
    const std::size_t next = tile_.rows[0] + kTileRows;
    if (!set_.gathered() && next < codes.size()) codes.prefetch(next, std::min(kTileRows, codes.size() - next));
    auto* const packed = reinterpret_cast<std::uint8_t*>(packed_.data());
    kernels_.pack_codes(codes.high(), codes.low(), codes.row_bytes(), tile_.rows, tile_.n, packed);
    kernels_.screen_tile_i8(packed, codes.row_bytes() / 2, coded_->codes(0), coded_->stride(), bounds_.data(), queries_.n_rows,
                            tile_.bounds(corpus_.metric), masks_.data(), sums_.data());
    offer_survivors(kernels_.bound_distances_i32);
  }

  /// What bounds the distances of rows by their 8-bit codes.
  void look_up(const std::uint32_t* rows, std::size_t n, Terms& terms) const {
    const quant::NibbleCodes& codes = *corpus_.codes;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint32_t bound = codes.bound8()[rows[i]];
      terms.scale[i] = codes.scale8()[rows[i]];
      terms.error[i] = first_bound(bound);
      terms.norm[i] = second_bound(bound);
    }
    if (codes.bias().empty()) return;
    for (std::size_t i = 0; i < n; ++i) {
      terms.bias[i] = codes.bias()[rows[i]];
      // Cut to the largest float it says too little.
      if (!(terms.bias[i] < std::numeric_limits<float>::max())) terms.error[i] = std::numeric_limits<float>::infinity();
    }
  }

  /// Where the rows of the tile are, and which: those kept as codes alone are decoded first.
  std::pair<RowsView, const std::uint32_t*> in_memory() {
    const RowsView& kept = corpus_.rows;
    if (kept.dtype != Dtype::i8) return {kept, tile_.rows};
    decoded_.resize(kTileRows * kept.dim);
    for (std::size_t i = 0; i < tile_.n; ++i) kept.codes->decode(tile_.rows[i], decoded_.data() + i * kept.dim);
    return {{reinterpret_cast<const std::byte*>(decoded_.data()), tile_.n, kept.dim}, kFirstRows.data()};
  }

  void look_floats() {
    const auto [base, listed] = in_memory();
    if (queries_.n_rows <= kFewQueries) return look_rows(base, listed);
    const std::size_t dim = base.dim;
    const int dtype = static_cast<int>(base.dtype);
    kernels_.pack_rows[dtype](base.data, dim, listed, tile_.n, packed_.data());
    const double rounding = static_cast<double>(dim + 16) * 0x1.02p-24 + inflated(floats_->rest());
    for (std::size_t i = 0; i < tile_.n; ++i) {
      const double squared = kernels_.squared_norm[dtype](base.row(listed[i]), dim);
      if (!std::isfinite(squared) || (squared == 0 && corpus_.metric == Metric::cosine)) refuse(tile_.rows[i]);
      const double norm = std::sqrt(squared), inverse = 1 / norm;
      const bool cosine = corpus_.metric == Metric::cosine;
      // Outside this range float32 sums could lose more than the bound allows for.
      const bool usual = norm > 1e-15 && norm < 1e18;
      tile_.terms.scale[i] = cosine ? static_cast<float>(inverse) : 1.0f;
      tile_.error[i] = usual ? round_up((cosine ? 1 : norm) * rounding) : std::numeric_limits<float>::infinity();
      tile_.terms.error[i] = tile_.error[i];
      tile_.terms.norm[i] = 0;  // `rounding` has the rest in it
      tile_.terms.bias[i] = round_down(squared / 2 * (1 - 0x1p-20));
    }
    kernels_.screen_tile_f32(packed_.data(), dim, floats_->values(0), dim * sizeof(float), bounds_.data(), queries_.n_rows,
                             tile_.bounds(corpus_.metric), masks_.data(), sums_.data());
    offer_survivors(kernels_.bound_distances_f32);
  }

  /// One query after the other, rows as they lie in memory: for so few, packing a tile costs more than it saves.
  void look_rows(const RowsView& base, const std::uint32_t* listed) {
    const int dtype = static_cast<int>(base.dtype);
    const double rounding = static_cast<double>(base.dim + 16) * 0x1.02p-23;
    std::array<float, kTileRows> scores, norms;
    for (std::size_t q = 0; q < queries_.n_rows; ++q) {
      if (corpus_.metric == Metric::l2) {
        kernels_.squared_l2_rows[dtype](queries_.row(q), base.data, base.dim, listed, tile_.n, scores.data());
        const double most = (PreparedQuery::beyond(candidates_[q].limit()) + 1e-30) / (1 - rounding);
        offer(q, kernels_.screen_rows(scores.data(), nullptr, tile_.n, 0, round_down(-most)), [&](std::size_t i) {
          const double squared = -double{scores[i]}, error = squared * rounding + 1e-30;
          return squared < 1e38 ? Interval{squared - error, squared + error} : exactly(q, i);
        });
        continue;
      }
      kernels_.dot_norm_rows[dtype](floats_->values(q), base.data, base.dim, listed, tile_.n, scores.data(), norms.data());
      const bool cosine = corpus_.metric == Metric::cosine;
      const double error = rounding + inflated(floats_->rest()), allowed = error * (*floats_)[q].norm;
      const float threshold = bounds_[q].threshold;
      const std::uint64_t mask =
          cosine ? kernels_.screen_rows(scores.data(), norms.data(), tile_.n, round_up(allowed - threshold), 0)
                 : kernels_.screen_rows(scores.data(), norms.data(), tile_.n, round_up(allowed), threshold);
      offer(q, mask, [&, bounds = distances_[q]](std::size_t i) {
        if (!(norms[i] > 1e-26f && norms[i] < 1e36f && std::abs(scores[i]) < 1e38f)) return exactly(q, i);
        const double norm = std::sqrt(double{norms[i]}), score = bounds.score * (cosine ? scores[i] / norm : scores[i]);
        const double beside = bounds.error * (cosine ? error : error * norm);
        return Interval{bounds.low + score - beside, bounds.high + score + beside};
      });
    }
  }

  /// For row i of the tile where float32 sums say nothing about it.
  Interval exactly(std::size_t q, std::size_t i) const {
    const double distance = exact_[q](tile_.rows[i]);
    if (!std::isfinite(distance)) refuse(tile_.rows[i]);
    return {distance, distance};
  }

  /// Rows that the 4-bit codes of a scan could not rule out. Their low planes are somewhere else in memory: they are asked for
  /// now and looked at when there are enough to have waited for.
  void postpone(std::size_t q, std::uint64_t mask, const std::int32_t* high_dots) {
    const quant::NibbleCodes& codes = *corpus_.codes;
    Survivors& waiting = waiting_[q];
    for_each_bit(mask, [&](std::size_t i) {
      prefetch(codes.scale8().data() + tile_.rows[i]);
      prefetch(codes.bound8().data() + tile_.rows[i]);
      prefetch(codes.low() + tile_.rows[i] * codes.row_bytes(), codes.row_bytes());
      waiting.rows[waiting.n] = tile_.rows[i];
      waiting.dots[waiting.n++] = high_dots[i];
      if (waiting.n == kTileRows) look_closer(q);
    });
    if (waiting.n >= kTileRows / 2) look_closer(q);
  }

  /// The low planes of what was postponed make 8-bit codes of the 4-bit ones.
  void look_closer(std::size_t q) {
    const quant::NibbleCodes& codes = *corpus_.codes;
    Survivors& waiting = waiting_[q];
    std::array<std::int32_t, kTileRows> low;
    kernels_.dot_nibbles(codes.low(), codes.row_bytes(), waiting.rows.data(), waiting.n, 0, coded_->codes(q), low.data());
    for (std::size_t i = 0; i < waiting.n; ++i)
      waiting.dots[i] =
          static_cast<std::int32_t>(std::int64_t{16} * waiting.dots[i] + low[i] - std::int64_t{136} * (*coded_)[q].sum);
    look_up(waiting.rows.data(), waiting.n, waiting.terms);
    offer(q, waiting, kernels_.bound_distances_i32);
    waiting.n = 0;
  }

  /// What was left of a tile, each query for itself.
  void offer_survivors(BoundDistances bound_distances) {
    for (std::size_t q = 0; q < queries_.n_rows; ++q) {
      const std::uint64_t mask = masks_[q] & tile_.present;
      if (!mask) continue;
      const std::int32_t* const dots = sums_.data() + q * kTileRows;
      if (std::popcount(mask) > 16) {
        offer(q, tile_.rows, tile_.n, mask, dots, tile_.terms, bound_distances);
        continue;
      }
      Survivors few;  // kernels take 16 at a time
      for_each_bit(mask, [&](std::size_t i) {
        few.rows[few.n] = tile_.rows[i];
        few.dots[few.n] = dots[i];
        few.terms.scale[few.n] = tile_.terms.scale[i];
        few.terms.error[few.n] = tile_.terms.error[i];
        few.terms.norm[few.n] = tile_.terms.norm[i];
        few.terms.bias[few.n++] = tile_.terms.bias[i];
      });
      offer(q, few, bound_distances);
    }
  }
  void offer(std::size_t q, const Survivors& all, BoundDistances bound_distances) {
    offer(q, all.rows.data(), all.n, first_bits(all.n), all.dots.data(), all.terms, bound_distances);
  }
  void offer(std::size_t q, const std::uint32_t* rows, std::size_t n, std::uint64_t mask, const std::int32_t* dots,
             const Terms& terms, BoundDistances bound_distances) {
    std::array<double, kTileRows> lows, highs;
    bound_distances(dots, terms.bounds(corpus_.metric, n, terms.error), terms.norm.data(), distances_[q], lows.data(),
                    highs.data());
    offer(q, rows, mask, lows.data(), highs.data());
  }

  /// Rows of the tile that query `q` could not rule out, `interval_of(i)` for that of each.
  template <class IntervalOf>
  void offer(std::size_t q, std::uint64_t mask, IntervalOf interval_of) {
    std::array<double, kTileRows> lows, highs;
    for_each_bit(mask & tile_.present, [&](std::size_t i) {
      const Interval distance = interval_of(i);
      lows[i] = distance.low;
      highs[i] = distance.high;
    });
    if (mask & tile_.present) offer(q, tile_.rows, mask & tile_.present, lows.data(), highs.data());
  }

  /// Rows in `mask`, which query `q` could not rule out, and between what their distances lie.
  [[gnu::always_inline]] void offer(std::size_t q, const std::uint32_t* rows, std::uint64_t mask, const double* lows,
                                    const double* highs) {
    const double limit = candidates_[q].limit();
    n_survived_ += candidates_[q].offer(rows, mask, lows, highs);
    if (candidates_[q].crowded()) {
      settle(q);
      candidates_[q].tighten();
    }
    if (candidates_[q].limit() < limit) refresh(q);
  }

  void settle(std::size_t q) { n_rescored_ += candidates_[q].settle(exact_[q], corpus_.ids, are_cached_); }

  std::int64_t id_of(std::uint32_t row) const noexcept { return corpus_.ids ? corpus_.ids[row] : std::int64_t{row}; }

  [[noreturn]] void refuse(std::uint32_t row) const {
    const std::string name = "vectors[" + std::to_string(row) + "]";
    // An index took no such row.
    if (corpus_.ids) throw Error(ErrorCode::corrupt, name + " is damaged: it is zero or holds NaN or Inf");
    std::vector<float> x(corpus_.rows.dim);
    quant::read_row(corpus_.rows, row, x.data());
    if (std::all_of(x.begin(), x.end(), [](float value) { return std::isfinite(value); }))
      invalid(name + " is a zero vector, which has no cosine");
    invalid(name + " holds NaN or Inf, expected finite numbers");
  }

  const Corpus& corpus_;
  const RowSet& set_;
  MatrixView queries_;
  const double* squared_;  // squared lengths of the queries
  std::size_t k_;
  Cancel& cancel_;
  bool are_cached_;  // the queries before have read the whole of a small set
  const kernels::Table& kernels_ = kernels::active();
  Strategy strategy_ = Strategy::plain;
  std::vector<Candidates<Sink>> candidates_;
  std::vector<ExactDistance> exact_;
  std::optional<CodedQueries> coded_;
  std::optional<FloatQueries> floats_;
  std::vector<Survivors> waiting_;
  std::vector<kernels::QueryBounds> bounds_;
  std::vector<kernels::DistanceBounds> distances_;
  std::vector<std::uint64_t> masks_;
  std::vector<std::int32_t> sums_;
  std::vector<float> packed_, decoded_;
  Tile tile_;
  std::uint64_t n_scored_ = 0, n_rescored_ = 0, n_survived_ = 0, n_seen_ = 0;
};

const char* name_of(Strategy strategy) {
  switch (strategy) {
    case Strategy::scan:
      return "certified-4bit";
    case Strategy::tiles:
      return "certified-8bit";
    case Strategy::floats:
      return "certified-float32";
    default:
      return "plain";
  }
}

/// Rows times dims from which codes are read from memory.
constexpr std::size_t kWaitingDims = 8 << 20;

/// The cheapest way for `n_queries` at a time over `n_rows`; the measured costs stand in docs/certified_exact.md.
Strategy choose(const Corpus& corpus, std::size_t n_queries, std::size_t n_rows, std::size_t k) {
  // Rows kept as codes alone are what those say: bounds of what they left out do not apply.
  const bool coded = corpus.codes && corpus.rows.dtype != Dtype::i8 && !(are_few(n_rows) && n_queries >= kTileRows);
  if (n_rows <= (coded ? kTileRows / 2 : kTileRows / 4) || k * (coded ? 3 : 2) >= n_rows) return Strategy::plain;
  if (!coded) return Strategy::floats;
  // Packing a tile is worth it for the more queries the longer a tile waits for memory.
  const bool waits = corpus.rows.dim >= 256 && n_rows * corpus.rows.dim >= kWaitingDims;
  return n_queries < (waits ? 12 : 8) ? Strategy::scan : Strategy::tiles;
}

/// Bytes of coded queries that a tile of rows meets in one go: they stay in the second-level cache beside it.
constexpr std::size_t kBlockBytes = 512 << 10;

/// Cuts the work into blocks of queries and, where those are too few for the threads, parts of the rows; runs them, and
/// hands the sorted hits of each query to `emit(query, hits)`, from several threads at a time.
template <class Sink, class Emit>
SearchStats run(const Corpus& given, MatrixView queries, std::size_t k, const Sink& sink, const SearchOptions& options,
                Cancel& cancel, Emit emit) {
  Scratch<double, 16> squared(queries.n_rows);
  check(given, queries, squared.data());
  const auto started = std::chrono::steady_clock::now();
  Corpus corpus = given;
  const std::size_t n_rows = corpus.rows.n_rows, n_allowed = options.filter ? options.filter->count() : n_rows;

  std::optional<quant::NibbleCodes> codes;
  const bool wants_codes = options.strategy == Strategy::scan || options.strategy == Strategy::tiles;
  if (!corpus.codes &&
      (wants_codes || (options.strategy == Strategy::automatic && pays_to_code(queries.n_rows, n_rows) && !options.filter))) {
    codes = quant::NibbleCodes::of(corpus.rows, corpus.metric, options.n_threads, cancel, "vectors");
    corpus.codes = &*codes;
  }
  const std::size_t n_threads = std::max<std::size_t>(options.n_threads, 1);
  const std::size_t share = ((queries.n_rows + n_threads - 1) / n_threads + 11) / 12 * 12;  // of a thread
  const std::size_t together = std::min(queries.n_rows, share);
  const Strategy strategy = options.strategy == Strategy::automatic ? choose(corpus, together, n_allowed, k) : options.strategy;
  const RowSet set(n_rows, options.filter, strategy == Strategy::scan ? together : 0);

  const std::size_t query_bytes = corpus.rows.dim * (strategy == Strategy::floats ? sizeof(float) : 1);
  const std::size_t most = std::clamp<std::size_t>(kBlockBytes / query_bytes / 12 * 12, 12, 4096);
  const std::size_t block = std::min(most, share);
  const std::size_t n_blocks = (queries.n_rows + block - 1) / block;
  // A part smaller than this is not worth waking a thread for.
  constexpr std::size_t kSmallestPart = 4096;
  const std::size_t n_parts =
      n_blocks >= n_threads ? 1 : std::clamp<std::size_t>(set.size() / kSmallestPart, 1, (n_threads + n_blocks - 1) / n_blocks);
  const std::size_t part = ((set.size() + n_parts - 1) / n_parts + kTileRows - 1) / kTileRows * kTileRows;

  SearchStats stats;
  Strategy simplest = strategy;
  std::mutex mutex;
  std::vector<std::vector<std::vector<Hit>>> found(n_parts > 1 ? n_blocks * n_parts : 0);
  parallel_for(n_blocks * n_parts, n_threads, [&](std::size_t task) {
    const std::size_t first = task / n_parts * block, n = std::min(block, queries.n_rows - first);
    const std::size_t begin = std::min(set.size(), task % n_parts * part), end = std::min(set.size(), begin + part);
    const MatrixView own{queries.row(first), n, queries.dim};
    Screen<Sink> screen(corpus, set, own, squared.data() + first, sink, k, cancel);
    screen.run(begin, end, strategy);
    for (std::size_t q = 0; q < n; ++q) {
      if (n_parts == 1)
        emit(first + q, screen.take_sorted(q));
      else
        found[task].push_back(screen.take_sorted(q));
    }
    std::lock_guard lock(mutex);
    stats.n_scored += screen.n_scored();
    stats.n_rescored += screen.n_rescored();
    simplest = std::min(simplest, screen.strategy());
  });
  if (n_parts > 1) {
    for (std::size_t q = 0; q < queries.n_rows; ++q) {
      std::vector<Hit> hits;
      for (std::size_t p = 0; p < n_parts; ++p) {
        const std::vector<Hit>& some = found[q / block * n_parts + p][q % block];
        hits.insert(hits.end(), some.begin(), some.end());
      }
      std::sort(hits.begin(), hits.end());
      emit(q, std::move(hits));
    }
  }
  stats.strategy = name_of(simplest);
  stats.selectivity = n_rows ? static_cast<double>(n_allowed) / static_cast<double>(n_rows) : 1;
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return stats;
}

}  // namespace

void check(std::size_t dim, Metric metric, MatrixView queries, double* squared) {
  if (queries.dim != dim) invalid("queries have dim " + std::to_string(queries.dim) + ", expected " + std::to_string(dim));
  if (queries.n_rows == 0) invalid("queries has no rows, expected at least one");
  for (std::size_t q = 0; q < queries.n_rows; ++q) {
    const double length = kernels::active().squared_norm[0](queries.row(q), queries.dim);
    const auto name = [q] { return "queries[" + std::to_string(q) + "]"; };
    if (!std::isfinite(length)) invalid(name() + " holds NaN or Inf, expected finite numbers");
    if (length == 0 && metric == Metric::cosine) invalid(name() + " is a zero vector, which has no cosine");
    if (squared) squared[q] = length;
  }
}

void check(const Corpus& corpus, MatrixView queries, double* squared) {
  check(corpus.rows.dim, corpus.metric, queries, squared);
  if (corpus.rows.n_rows == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
}

SearchStats search(const Corpus& corpus, MatrixView queries, std::size_t k, const SearchOptions& options, Cancel& cancel,
                   std::int64_t* ids, float* distances) {
  const std::size_t reachable = std::min(k, corpus.rows.n_rows);  // no more room than there are rows, whatever k says
  return run(corpus, queries, reachable, Nearest(reachable), options, cancel, [&](std::size_t q, const std::vector<Hit>& hits) {
    const std::size_t n = std::min(k, hits.size());
    for (std::size_t i = 0; i < n; ++i) {
      ids[q * k + i] = hits[i].id;
      distances[q * k + i] = returned_distance(hits[i].distance);
    }
    std::fill(ids + q * k + n, ids + (q + 1) * k, std::int64_t{-1});
    std::fill(distances + q * k + n, distances + (q + 1) * k, std::numeric_limits<float>::infinity());
  });
}

RangeHits search_range(const Corpus& corpus, MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) {
  std::vector<std::vector<Hit>> found(queries.n_rows);
  RangeHits result;
  result.stats = run(corpus, queries, 0, Within(radius), options, cancel,
                     [&](std::size_t q, std::vector<Hit> hits) { found[q] = std::move(hits); });
  result.offsets.assign(1, 0);
  for (const std::vector<Hit>& hits : found) {
    for (const Hit& hit : hits) {
      result.ids.push_back(hit.id);
      result.distances.push_back(returned_distance(hit.distance));
    }
    result.offsets.push_back(static_cast<std::int64_t>(result.ids.size()));
  }
  return result;
}

}  // namespace engine::exact
