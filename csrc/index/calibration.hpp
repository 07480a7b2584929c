#pragma once
#include <cstddef>
#include <vector>

#include "engine/graph_index.hpp"

namespace engine {

/// Values of k that are measured; others lie between.
inline constexpr std::size_t kCalibratedK[] = {1, 10, 100};

/// The smallest ef for `k` at which recall less its standard error reaches `recall`; 0 where none does. `points` are sorted by k,
/// then ef. Between measured k, and beyond, ef grows as a power of k.
std::size_t choose_ef(const std::vector<CalibrationPoint>& points, std::size_t k, double recall);

}  // namespace engine
