#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "graph/links.hpp"
#include "graph/searcher.hpp"

namespace engine::graph {

/// Where walks start: a sample of the rows, and above many rows a small graph of its own over one row in kShare, which leads to
/// the right part of the large one. Clusters far apart lose the links between them once each holds more rows than one row can
/// link to; among the sampled rows, of which each has few, they keep them.
class Entrance {
 public:
  static constexpr std::size_t kStarts = 64, kShare = 64;
  static constexpr std::size_t kLayered = std::size_t{1} << 17;  // rows from which kStarts are too thin a sample
  static constexpr std::size_t kLayerDegree = 24;

  /// The sampled rows, links between their places in `rows`, and the places where walks among them start.
  struct Layer {
    std::vector<std::uint32_t> rows;
    Links links{kLayerDegree};
    std::vector<std::uint32_t> starts;
  };

  /// The rows where a walk over the nearest `ef` begins; valid until the next call with the same workspace. A wide walk is worth
  /// a wide one among the sample: what that misses is a cluster.
  template <class Scorer>
  std::span<const std::uint32_t> rows_for(const Scorer& scorer, std::size_t ef, Workspace& work) const {
    if (layer_.rows.empty()) return starts_;
    const std::size_t pool = std::min<std::size_t>(10 + ef / 8, 24);
    walk(layer_.links, layer_.starts, Mapped<Scorer>{scorer, layer_.rows.data()}, pool, work);
    work.entered.clear();
    for (std::size_t i = 0; i < std::min(work.pool.size(), kEntered); ++i) work.entered.push_back(layer_.rows[work.pool.row(i)]);
    return work.entered;
  }

  const std::vector<std::uint32_t>& starts() const noexcept { return starts_; }
  const Layer& layer() const noexcept { return layer_; }
  std::size_t nbytes() const noexcept {
    return (starts_.size() + layer_.rows.size() + layer_.starts.size()) * sizeof(std::uint32_t) + layer_.links.array().nbytes();
  }

  void set_starts(std::vector<std::uint32_t> starts) noexcept { starts_ = std::move(starts); }
  void set_layer(Layer layer) noexcept { layer_ = std::move(layer); }
  /// The same entrance where row r is called `now[r]`, or is gone (kNone).
  Entrance renumbered(std::span<const std::uint32_t> now) const {
    Entrance result;
    std::vector<std::uint32_t> places(layer_.rows.size(), kNone);  // new places of the old ones
    for (const std::uint32_t row : starts_)
      if (now[row] != kNone) result.starts_.push_back(now[row]);
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (now[layer_.rows[i]] == kNone) continue;
      places[i] = static_cast<std::uint32_t>(result.layer_.rows.size());
      result.layer_.rows.push_back(now[layer_.rows[i]]);
    }
    const auto kept = [&places](std::span<const std::uint32_t> old) {
      std::vector<std::uint32_t> left;
      for (const std::uint32_t place : old)
        if (places[place] != kNone) left.push_back(places[place]);
      return left;
    };
    result.layer_.starts = kept(layer_.starts);
    if (result.layer_.starts.empty()) {
      result.layer_ = {};
      return result;
    }
    result.layer_.links.reserve(result.layer_.rows.size());
    result.layer_.links.grow(result.layer_.rows.size());
    for (std::size_t i = 0; i < places.size(); ++i)
      if (places[i] != kNone) result.layer_.links.set(places[i], kept(layer_.links.of(i)));
    return result;
  }

 private:
  /// Scores places of the layer.
  template <class Scorer>
  struct Mapped {
    static constexpr std::size_t kMost = Scorer::kMost;
    const Scorer& scorer;
    const std::uint32_t* rows;

    [[gnu::always_inline]] void prefetch(std::uint32_t place) const noexcept { scorer.prefetch(rows[place]); }
    void operator()(const std::uint32_t* places, std::size_t n, float* keys) const noexcept {
      std::array<std::uint32_t, kMost> of;
      for (std::size_t i = 0; i < n; ++i) of[i] = rows[places[i]];
      scorer(of.data(), n, keys);
    }
  };

  std::vector<std::uint32_t> starts_;
  Layer layer_;
};

}  // namespace engine::graph
