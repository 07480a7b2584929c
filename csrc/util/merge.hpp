#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace engine {

/// What one index found for one query: nearest first, equal distances by id; places left over hold id -1 and distance +inf.
struct Hits {
  const std::int64_t* ids;
  const float* distances;
  std::size_t n;
};

/// The first `k` of all of them in the same order. Takes the heads of `lists` along.
inline void merge_hits(std::span<Hits> lists, std::size_t k, std::int64_t* ids, float* distances) noexcept {
  for (std::size_t i = 0; i < k; ++i) {
    Hits* first = nullptr;
    for (Hits& list : lists)
      if (list.n && *list.ids >= 0 &&
          (!first || *list.distances < *first->distances || (*list.distances == *first->distances && *list.ids < *first->ids)))
        first = &list;
    ids[i] = first ? *first->ids++ : -1;
    distances[i] = first ? *first->distances++ : std::numeric_limits<float>::infinity();
    if (first) --first->n;
  }
}

}  // namespace engine
