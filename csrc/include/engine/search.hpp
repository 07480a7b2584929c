#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/bitmap.hpp"

namespace engine {

/// How rows are ruled out, the simplest first; `automatic` chooses by cost. All give the same answer.
///   plain  every row in float64
///   floats float32 sums with a rounding bound, row by row for few queries, in tiles for many
///   scan   4-bit codes, then 8-bit codes, one query at a time
///   tiles  8-bit codes in tiles, for batches
enum class Strategy { automatic, plain, floats, scan, tiles };

struct SearchOptions {
  const Bitmap* filter = nullptr;  // rows allowed; null: all
  std::size_t n_threads = 1;
  Strategy strategy = Strategy::automatic;
  const Bitmap* live = nullptr;  // of an index, over all rows it keeps: those that are there; `filter` is then over all, too
};

struct SearchStats {
  std::string_view strategy;  // a literal, as is the executor, or kept for good
  std::uint64_t n_scored = 0;
  std::uint64_t n_rescored = 0;
  double selectivity = 1;
  double seconds = 0;
  std::string_view executor = "exact";  // of a filtered search: see Executor
  std::uint64_t n_fallbacks = 0;        // queries whose walk found too little, so that they were searched exactly
};

/// Hits of query i are those from offsets[i] to offsets[i + 1].
struct RangeHits {
  std::vector<std::int64_t> offsets;
  std::vector<std::int64_t> ids;
  std::vector<float> distances;
  SearchStats stats;
};

}  // namespace engine
