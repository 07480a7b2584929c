#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/cancel.hpp"

namespace engine::descent {

/// Unit rows with Adam's moments of the same shape, all changed in place.
struct Rows {
  float* rows;
  float* first;
  float* second;
  std::size_t n;
};

struct Settings {
  std::size_t done;  // steps before these
  double temperature, rate;
  bool summed;  // -log of the sum of the relevant documents' softmax, not the mean of their -logs
};

/// As many steps of Adam as `losses` has places, which get the loss before each: every query is to score its `k` relevant
/// documents highest. Rows are scaled back to length 1 after each step. One thread; a block of queries at a time, so that their
/// scores stay in the caches.
void descend(const Rows& queries, const Rows& documents, std::size_t dim, std::span<const std::int64_t> relevant, std::size_t k,
             std::span<double> losses, const Settings& settings, Cancel& cancel);

}  // namespace engine::descent
