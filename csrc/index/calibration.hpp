#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "engine/graph_index.hpp"

namespace engine {

/// Values of k that are measured, those beyond kNearK where k is no more than a twentieth of the rows; others lie between.
inline constexpr std::size_t kCalibratedK[] = {1, 10, 30, 100, 1000}, kNearK = 100;

/// Where: a walk serves all of them.
inline constexpr std::size_t kCalibratedEf[] = {1,   2,   3,   5,   7,   10,  14,   20,   30,   45,   65,
                                                100, 140, 200, 300, 450, 650, 1000, 1400, 2000, 3000, 4000};

/// What walks of `ef` rows found for a sample of queries: the mean of their recalls and its standard error.
CalibrationPoint summary(std::size_t k, std::size_t ef, std::span<const double> recalls);

/// The smallest ef for `k` at which recall less its standard error reaches `recall`; 0 where none does. `points` are sorted by k,
/// then ef. Between measured k ef grows as a power of k; beyond them as k at least, since that power grows with k. So it does
/// beyond kNearK where the longest walk is too short for the next k: up to that walk, as if twice as long a one were not.
std::size_t choose_ef(const std::vector<CalibrationPoint>& points, std::size_t k, double recall);

}  // namespace engine
