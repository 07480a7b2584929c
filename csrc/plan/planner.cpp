#include "plan/planner.hpp"

#include <algorithm>
#include <cmath>

namespace engine::plan {
namespace {

/// Nanoseconds, as measured on one core with AVX-512 VNNI; only their ratios choose.
double per_row(double fixed, double of_dim, const Facts& facts) noexcept {
  return fixed + of_dim * static_cast<double>(facts.dim);
}
/// An exact search, per row: codes for few queries wait for memory, a batch shares what it fetched.
double scan_cost(const Facts& facts) noexcept {
  return facts.n_queries < 8 ? per_row(2, 0.02, facts) : per_row(0.5, 0.006, facts);
}
/// A walk, per row in the pool.
double walk_cost(const Facts& facts) noexcept { return facts.is_fast ? per_row(60, 0.4, facts) : per_row(150, 1, facts); }
/// A walk among the rows that pass, per row in the pool.
double within_cost(const Facts& facts) noexcept { return per_row(400, 1, facts); }

double share_of(const Facts& facts) noexcept {
  return static_cast<double>(facts.n_allowed) / static_cast<double>(std::max<std::size_t>(facts.n_rows, 1));
}

}  // namespace

std::size_t n_nearest(const Facts& facts) noexcept {
  const double share = share_of(facts), k = static_cast<double>(facts.k);
  const double expected = k / share, deviation = std::sqrt(k * (1 - share)) / share;
  return static_cast<std::size_t>(std::min(expected + 2 * deviation, static_cast<double>(facts.n_rows)));
}

Plan make_plan(const Facts& facts, Executor forced) {
  Plan plan;
  if (forced == Executor::sweep && facts.ef_sweep && facts.n_allowed) {
    plan.executor = forced;
    plan.n_nearest = n_nearest(facts);
    plan.ef = facts.ef_sweep;
  } else if (forced == Executor::in_filter && facts.ef && facts.n_allowed) {
    plan.executor = forced;
    plan.n_nearest = facts.k;
    plan.ef = std::max(facts.ef, facts.k);
    plan.budget = 4 * facts.n_rows;
  }
  return plan;
}

}  // namespace engine::plan
