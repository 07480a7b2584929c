// What a search keeps of a tile; built and run by tests/unit/test_cpp.py under ASan and UBSan.
#include "exact/candidates.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <vector>

#include "check.hpp"

using namespace engine;
using namespace engine::exact;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
using Values = std::array<double, kernels::kTileRows>;

std::vector<double> sorted(const Values& values, std::uint64_t mask) {
  std::vector<double> result;
  for_each_bit(mask, [&](std::size_t i) { result.push_back(values[i]); });
  std::sort(result.begin(), result.end());
  return result;
}

/// At least k are not above it, and few more unless they are equal, in whatever order they come.
void test_near_kth() {
  std::mt19937_64 random(3);
  int n_loose = 0;
  for (int round = 0; round < 20'000; ++round) {
    Values values;
    for (double& value : values) value = std::normal_distribution()(random);
    if (round % 5 == 1) std::sort(values.begin(), values.end());
    if (round % 5 == 2) std::sort(values.rbegin(), values.rend());
    if (round % 5 == 3)
      for (double& value : values) value = random() % 4 ? value : kInfinity;
    if (round % 5 == 4)
      for (double& value : values) value = static_cast<double>(random() % 3);
    const std::uint64_t mask = round % 2 ? random() : ~std::uint64_t{0} >> random() % 60;
    const std::vector<double> all = sorted(values, mask);
    const std::size_t k = 1 + random() % all.size();
    const double found = near_kth(values.data(), mask, k);
    CHECK(found >= all[k - 1]);
    n_loose += round % 5 != 4 && found > all[std::min(k + k / 8, all.size()) - 1];
  }
  CHECK(n_loose < 20);
  const Values equal{};
  CHECK(near_kth(equal.data(), ~std::uint64_t{0}, 10) == 0);
}

/// However rows come in tiles, the limit is the k-th of their upper bounds, and all below it are left.
void test_limits() {
  std::mt19937_64 random(4);
  for (int round = 0; round < 2'000; ++round) {
    const std::size_t k = 1 + random() % (round % 2 ? 12 : 100);
    Candidates<Nearest> candidates(Nearest(k), 1000);
    std::vector<double> offered;
    for (int tile = 0; tile < 4; ++tile) {
      Values lows, highs;
      std::array<std::uint32_t, kernels::kTileRows> rows{};
      for (std::size_t i = 0; i < highs.size(); ++i) {
        highs[i] = std::uniform_real_distribution(0.0, 2.0)(random);
        lows[i] = highs[i] - 0.1;
      }
      const std::uint64_t mask = round % 3 ? random() : ~std::uint64_t{0};
      for (const double high : sorted(highs, mask)) offered.push_back(high);
      const std::size_t n_left = candidates.offer(rows.data(), mask, lows.data(), highs.data());
      std::sort(offered.begin(), offered.end());
      const double limit = offered.size() < k ? kInfinity : offered[k - 1];
      CHECK(candidates.limit() == limit);
      const std::vector<double> least = sorted(lows, mask);
      CHECK(n_left ==
            static_cast<std::size_t>(std::upper_bound(least.begin(), least.end(), PreparedQuery::beyond(limit)) - least.begin()));
    }
  }
}

}  // namespace

int main() {
  test_near_kth();
  test_limits();
}
