// Facts in, plan out.
#include "plan/planner.hpp"

#include <limits>

#include "check.hpp"

using namespace engine;

namespace {

plan::Facts facts(std::size_t n_allowed, std::size_t n_queries = 64) {
  plan::Facts facts{.n_rows = 1'000'000, .n_allowed = n_allowed, .k = 10, .n_queries = n_queries, .dim = 384, .ef = 60};
  facts.ef_sweep = n_allowed ? 60 + 2 * plan::n_nearest(facts) : 0;
  return facts;
}

}  // namespace

int main() {
  // A batch shares what an exact search reads: walks are worth it later.
  CHECK(plan::make_plan(facts(1'000)).executor == Executor::exact);
  CHECK(plan::make_plan(facts(50'000)).executor == Executor::exact);
  CHECK(plan::make_plan(facts(50'000, 1)).executor != Executor::exact);
  CHECK(plan::make_plan(facts(900'000)).executor == Executor::sweep);
  // Among few, a sweep would have to look too far.
  CHECK(plan::make_plan(facts(50'000, 1)).executor == Executor::in_filter);

  CHECK(plan::make_plan(facts(plan::kFew, 1)).executor == Executor::exact);

  // Nothing passes, no walk is known to be enough, or only none for so many.
  CHECK(plan::make_plan(facts(0)).executor == Executor::exact);
  plan::Facts unknown = facts(900'000);
  unknown.ef_sweep = 0;
  CHECK(plan::make_plan(unknown).executor == Executor::in_filter);
  CHECK(plan::make_plan(unknown, Executor::sweep).executor == Executor::exact);
  unknown.ef = 0;
  CHECK(plan::make_plan(unknown).executor == Executor::exact);

  for (const Executor executor : {Executor::exact, Executor::in_filter, Executor::sweep}) {
    const Plan plan = plan::make_plan(facts(500'000), executor);
    CHECK(plan.executor == executor && plan.seconds > 0 && plan.n_scored > 0);
    CHECK(plan::reason(facts(500'000), executor).find("500000 of 1000000 rows pass") == 0);
  }
  // The pool never is smaller than k; a budget is worth what the exact search costs.
  CHECK(plan::make_plan(facts(900'000)).n_nearest >= 11);
  CHECK(plan::make_plan(facts(900'000)).budget > plan::make_plan(facts(90'000)).budget);
  // Where walks are tried before an exact search ends later than sweeps do, and nowhere if a sweep was asked for.
  const Plan swept = plan::make_plan(facts(900'000));
  CHECK(swept.executor == Executor::sweep && swept.ef_beyond > swept.ef_most);
  CHECK(plan::make_plan(facts(900'000), Executor::sweep).ef_beyond == std::numeric_limits<std::size_t>::max());
}
