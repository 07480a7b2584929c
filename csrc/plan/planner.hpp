#pragma once
#include <cstddef>
#include <string>

#include "engine/plan.hpp"

namespace engine::plan {

/// So few rows that pass are looked at, whatever a walk would cost.
inline constexpr std::size_t kFew = 128;

/// What a choice depends on.
struct Facts {
  std::size_t n_rows = 0;     // that walks may meet
  std::size_t n_allowed = 0;  // that pass the filter
  std::size_t k = 0;
  std::size_t n_queries = 1;  // that share the filter
  std::size_t dim = 0;
  bool is_fast = false;      // codes of the neighbours lie beside each row
  std::size_t ef = 0;        // pool that finds the k nearest of all rows; 0: none is known to
  std::size_t ef_sweep = 0;  // and one that finds the nearest `n_nearest(facts)`

  bool can_walk() const noexcept { return ef > 0 && n_allowed > 0; }
  bool can_sweep() const noexcept { return can_walk() && ef_sweep > 0; }
};

/// The nearest rows of all among which k of those that pass can be expected, with room for what chance makes of it.
std::size_t n_nearest(const Facts& facts) noexcept;
/// A pool that finds the k nearest of those that pass: such walks need more room than the one over all rows that `ef` was
/// measured for, the more so the fewer rows pass and where that one had codes of the neighbours.
std::size_t ef_within(const Facts& facts) noexcept;

/// The cheapest executor, or the given one. Costs are counted in rows and weighed by what a row cost where that was measured
/// (docs/decisions/0008-costs-are-counted.md): equal facts make equal plans, on every machine.
Plan make_plan(const Facts& facts, Executor forced = Executor::automatic);
/// Why it is so, in words.
std::string reason(const Facts& facts, Executor forced = Executor::automatic);

}  // namespace engine::plan
