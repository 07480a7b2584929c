#include "plan/planner.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace engine::plan {
namespace {

/// Queries from which an exact search shares what it reads.
constexpr std::size_t kBatch = 8;

double share_of(const Facts& facts) noexcept {
  return static_cast<double>(facts.n_allowed) / static_cast<double>(std::max<std::size_t>(facts.n_rows, 1));
}

/// Nanoseconds for a query on one core, as measured with AVX-512 VNNI; only what they are to each other decides.
struct Costs {
  explicit Costs(const Facts& facts) {
    const auto dim = static_cast<double>(facts.dim), share = std::max(share_of(facts), 1e-9);
    const auto n_rows = static_cast<double>(facts.n_rows), n_allowed = static_cast<double>(facts.n_allowed);
    // Single rows cost more than rows in order, so that looking at all is never dearer.
    exact = 3000 + (facts.n_queries < kBatch ? std::min((1 + 0.036 * dim) * n_allowed, (0.4 + 0.0145 * dim) * n_rows)
                                             : (0.5 + 0.0095 * dim) * n_allowed);
    scored = 20 + 0.04 * dim;
    const double plain_place = 300 + 0.55 * dim;
    place = facts.is_fast ? 630 + 1.4 * dim : plain_place;
    sweep = place * static_cast<double>(facts.ef_sweep);
    // Where few pass, a row has many steps to others that do.
    in_filter = 2 * plain_place * (16 + (1 + 0.65 * std::log(1 / share)) * static_cast<double>(ef_within(facts)));
  }
  double exact, sweep, in_filter;
  double place;   // of the pool of a sweep
  double scored;  // a row that a walk meets
};

std::string microseconds(double cost) { return std::to_string(std::lround(cost / 1000)) + " us"; }

}  // namespace

std::size_t n_nearest(const Facts& facts) noexcept {
  const double share = share_of(facts), k = static_cast<double>(facts.k);
  const double expected = k / share, deviation = std::sqrt(k * (1 - share)) / share;
  return static_cast<std::size_t>(std::min(std::ceil(expected + 2 * deviation), static_cast<double>(facts.n_rows)));
}

std::size_t ef_within(const Facts& facts) noexcept {
  const double share = std::max(share_of(facts), 1e-9);
  const double room = (facts.is_fast ? 2.8 : 1.2) * (1 + std::max(0.0, std::log(0.05 / share)));
  return std::max(facts.k, static_cast<std::size_t>(room * static_cast<double>(facts.ef)));
}

Plan make_plan(const Facts& facts, Executor forced) {
  const Costs costs(facts);
  Executor chosen = forced;
  if (forced == Executor::automatic) {
    chosen = Executor::exact;
    double least = costs.exact;
    const auto consider = [&](Executor executor, bool can, double cost) {
      if (!can || cost >= least) return;
      chosen = executor;
      least = cost;
    };
    if (facts.n_allowed <= kFew) least = 0;
    consider(Executor::in_filter, facts.can_walk(), costs.in_filter);
    consider(Executor::sweep, facts.can_sweep(), costs.sweep);
  }
  if ((chosen == Executor::in_filter && !facts.can_walk()) || (chosen == Executor::sweep && !facts.can_sweep()))
    chosen = Executor::exact;

  Plan plan;
  plan.executor = chosen;
  double cost = costs.exact;
  switch (chosen) {
    case Executor::in_filter:
      cost = costs.in_filter;
      plan.n_nearest = facts.k;
      plan.ef = plan.ef_within = ef_within(facts);
      plan.n_scored = cost / costs.scored;
      break;
    case Executor::sweep:
      cost = costs.sweep;
      plan.n_nearest = n_nearest(facts);
      plan.ef = facts.ef_sweep;
      plan.ef_k = facts.ef;
      plan.ef_most = static_cast<std::size_t>(costs.exact / costs.place / 2);
      plan.ef_within = ef_within(facts);
      plan.n_scored = cost / costs.scored;
      break;
    default:
      plan.n_scored = static_cast<double>(facts.n_allowed);
  }
  const bool is_forced = forced != Executor::automatic;
  plan.budget = is_forced ? facts.n_rows * 64 : static_cast<std::size_t>(costs.exact / costs.scored);
  plan.ef_beyond = is_forced ? std::numeric_limits<std::size_t>::max() : 4 * plan.ef_most;
  plan.seconds = cost * 1e-9;
  return plan;
}

std::string reason(const Facts& facts, Executor forced) {
  const std::string rows = std::to_string(facts.n_allowed) + " of " + std::to_string(facts.n_rows) + " rows pass";
  if (forced != Executor::automatic) return rows + "; the executor was given";
  if (facts.n_allowed <= kFew) return rows + ", few enough to look at them all";
  if (!facts.can_walk()) return rows + "; no walk is known to find enough";
  const Costs costs(facts);
  return rows + "; about " + microseconds(costs.exact) + " exactly, " + microseconds(costs.in_filter) + " in filter, " +
         (facts.can_sweep() ? microseconds(costs.sweep) + " by a sweep" : "a sweep cannot");
}

}  // namespace engine::plan
