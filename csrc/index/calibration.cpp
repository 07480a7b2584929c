#include "index/calibration.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace engine {
namespace {

/// For one measured k, between measured ef; 0 if unreachable.
double ef_at(const std::vector<CalibrationPoint>& points, std::size_t k, double recall) {
  double ef_before = 0, before = 0;
  for (const CalibrationPoint& point : points) {
    if (point.k != k) continue;
    const double sure = double{point.recall} - point.error;
    if (sure >= recall) {
      if (ef_before == 0 || sure <= before) return point.ef;
      // What is missed falls about as a power of ef. A walk that missed nothing does not show how steeply: one step is taken to
      // leave no less than a sixteenth.
      const auto fallen_to = [&](double reached) { return std::log((1 - before) / std::max(1 - reached, 1e-9)); };
      const double asked = fallen_to(recall), most = std::min(fallen_to(sure), std::log(16.0));
      return asked < most ? ef_before * std::pow(point.ef / ef_before, asked / most) : point.ef;
    }
    ef_before = point.ef;
    before = sure;
  }
  return 0;
}

}  // namespace

CalibrationPoint summary(std::size_t k, std::size_t ef, std::span<const double> recalls) {
  const auto n = static_cast<double>(recalls.size());
  const double mean = std::accumulate(recalls.begin(), recalls.end(), 0.0) / n;
  double spread = 0;
  for (const double recall : recalls) spread += (recall - mean) * (recall - mean);
  // Even where all were found, one place of all might not have been.
  const double error = std::max(std::sqrt(spread) / n, 1 / (n * static_cast<double>(k)));
  return {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(ef), static_cast<float>(mean), static_cast<float>(error)};
}

std::size_t choose_ef(const std::vector<CalibrationPoint>& points, std::size_t k, double recall) {
  if (points.empty()) return 0;
  std::vector<double> ks;
  for (const CalibrationPoint& point : points)
    if (ks.empty() || ks.back() != point.k) ks.push_back(point.k);
  // The two measured k around the one asked for, or the last two.
  std::size_t upper = 0;
  while (upper + 1 < ks.size() && ks[upper] < static_cast<double>(k)) ++upper;
  const double high = ef_at(points, static_cast<std::size_t>(ks[upper]), recall);
  const double low = upper ? ef_at(points, static_cast<std::size_t>(ks[upper - 1]), recall) : 0;
  const double wider = static_cast<double>(k) / ks[upper];
  const auto power_to = [&](double ef) { return std::log(ef / low) / std::log(ks[upper] / ks[upper - 1]); };
  double ef;
  if (high > 0) {
    ef = high * std::pow(wider, std::max(low > 0 ? power_to(high) : 1, wider > 1 ? 1.0 : 0.0));
  } else if (low > 0 && wider < 1 && ks[upper] > static_cast<double>(kNearK)) {
    // The longest walk was too short for so many: it may be long enough for fewer, if twice as long a one were for all.
    double longest = 0;
    for (const CalibrationPoint& point : points)
      if (point.k == ks[upper]) longest = std::max<double>(longest, point.ef);
    ef = low * std::pow(static_cast<double>(k) / ks[upper - 1], std::max(power_to(2 * longest), 1.0));
    if (ef > longest) return 0;
  } else {
    return 0;
  }
  return static_cast<std::size_t>(std::ceil(ef));
}

}  // namespace engine
