#pragma once
#include <cstddef>
#include <string>

namespace engine {

/// How the nearest of the rows that pass a filter are found.
///   exact      all of them are looked at
///   in_filter  a walk among them: rows that fail are steps between those that pass
///   sweep      a walk among all rows, whose pool is then filtered
enum class Executor { automatic, exact, in_filter, sweep };

/// How hard a graph is searched: with a pool of `ef` rows, or one that reached `recall` when that was measured; exactly where
/// neither is there.
struct Effort {
  std::size_t ef = 0;
  double recall = 1;
  Executor executor = Executor::automatic;
};

/// What a filtered search will do.
struct Plan {
  Executor executor = Executor::exact;
  std::size_t ef = 0;         // rows that a walk looks beyond
  std::size_t ef_within = 0;  // and of one among the rows that pass, which may follow a sweep
  std::size_t n_nearest = 0;  // sweep: the nearest rows of all, among which `k` should pass
  std::size_t budget = 0;     // rows that a walk among those may score before an exact search would have been cheaper
  double recall = 0;          // that pools are to reach; 0 where `ef` was given
  std::size_t ef_k = 0;       // sweep: a pool that finds the k nearest of all
  std::size_t ef_most = 0;    // sweep: the largest pool that takes less than half of an exact search
  std::size_t ef_beyond = 0;  // sweep: where a larger one seems to be needed, no walk is tried before an exact search
  double n_scored = 0;        // rows looked at for a query, about
  double seconds = 0;         // for a query, about
  std::string reason;
};

}  // namespace engine
