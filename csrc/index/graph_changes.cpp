#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <new>
#include <numeric>
#include <random>
#include <utility>

#include "index/graph_state.hpp"
#include "quant/nibble_codes.hpp"
#include "util/rounding.hpp"

namespace engine {

void GraphIndex::State::note_lengths(std::size_t first) {
  for (std::size_t row = first; row < size(); ++row) longest = std::max(longest, second_bound(codes.bound8()[row]));
  if (metric != Metric::ip) return;
  constexpr double kLargest = std::numeric_limits<float>::max();
  std::vector<float> vector(dim);
  const auto squared = [&](std::size_t row) {
    quant::read_row(view(size()), row, vector.data());
    return kernels::active().squared_norm[0](vector.data(), dim);
  };
  double most = 0;
  for (std::size_t row = lift.size(); row < size(); ++row) most = std::max(most, squared(row));
  if (lift.empty()) {
    most_squared = most;
  } else if (most > most_squared) {  // all are lifted anew, with some room
    most_squared = 1.2 * most;
    lift.clear();
  }
  lift.reserve(size());
  for (std::size_t row = lift.size(); row < size(); ++row)
    lift.push_back(static_cast<float>(std::min(std::sqrt(std::max(0.0, most_squared - squared(row))), kLargest)));
}

void GraphIndex::State::link(std::size_t first, std::size_t n_threads, Cancel& cancel) {
  const graph::Change change = [this](const std::function<void()>& apply) {
    std::unique_lock lock(mutex);
    apply();
  };
  std::vector<std::uint32_t> order(size() - first);
  std::iota(order.begin(), order.end(), static_cast<std::uint32_t>(first));
  std::shuffle(order.begin(), order.end(), std::mt19937_64(params.seed + first));

  graph::Undo undo(first, params.degree);
  graph::Entrance entered = entrance;
  graph::BuildOptions own = options(n_threads);
  own.undo = &undo;
  std::optional<graph::NeighbourCodes> coded;  // out of the way: searches walk by the links meanwhile
  change([&] { coded = std::exchange(neighbours, std::nullopt); });
  try {
    graph::link(base(), order, own, links, entrance, workspaces, cancel, change);
    if (metric == Metric::ip) start_at_longest(change);
    // Rows that lost their last link to them: looked for whenever one in a hundred is new.
    const std::size_t n_new = n_unmended + order.size();
    const bool mends = n_new * 100 >= size();
    if (mends) change([&] { graph::mend(base(), own, links, entrance, workspaces, cancel); });
    if (coded && coded->center() == codes.center()) {
      coded->grow(size());
      std::vector<std::uint32_t> rows(undo.rows().begin(), undo.rows().end());
      rows.insert(rows.end(), order.begin(), order.end());
      coded->refresh(view(size()), links, rows, n_threads, cancel);
    } else {
      coded = code_neighbours(n_threads, cancel);
    }
    change([&] { neighbours = std::move(coded); });
    std::optional<std::vector<CalibrationPoint>> points;
    const std::size_t n_live = size() - dead.count();
    if (walkable() && n_live > 2 * kSmall && (n_changed + order.size()) * 5 >= n_live) points = measure(n_threads, cancel);
    std::unique_lock lock(mutex);
    n_unmended = mends ? 0 : n_new;
    n_changed += order.size();
    settle(std::move(points));
  } catch (...) {
    std::unique_lock lock(mutex);
    undo.take_back(links);
    entrance = std::move(entered);
    neighbours.reset();
    throw;
  }
}

void GraphIndex::State::start_at_longest(const graph::Change& change) {
  std::vector<std::uint32_t> rows(size());
  std::iota(rows.begin(), rows.end(), 0u);
  const std::size_t n = std::min(rows.size(), graph::Entrance::kStarts / 2);
  std::partial_sort(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(n), rows.end(),
                    [this](auto a, auto b) { return lift[a] != lift[b] ? lift[a] < lift[b] : a < b; });
  std::vector<std::uint32_t> starts(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(n));
  for (const std::uint32_t row : entrance.starts())
    if (starts.size() < graph::Entrance::kStarts && std::ranges::find(starts, row) == starts.end()) starts.push_back(row);
  change([&] { entrance.set_starts(std::move(starts)); });
}

void GraphIndex::State::settle(std::optional<std::vector<CalibrationPoint>> points) noexcept {
  if (!points) return;
  calibration = std::move(*points);
  n_changed = 0;
}

void GraphIndex::State::unlink(std::size_t n_rows) noexcept {
  links.truncate(n_rows);
  Store::truncate(n_rows);
}

void GraphIndex::State::compact(std::size_t n_threads, Cancel& cancel) {
  const std::size_t n_old = n_visible, n_new = n_live();
  if (metric == Metric::ip && lift.size() < n_old) note_lengths(0);  // a loaded index has none yet
  graph::Links kept = links;
  graph::relink(base(), dead, options(n_threads), kept, cancel);
  std::vector<std::uint32_t> at(n_old), now(n_old, graph::kNone), gone;  // old row of a place, place of an old row
  std::iota(at.begin(), at.end(), 0u);
  dead.for_each([&](std::size_t row) { gone.push_back(static_cast<std::uint32_t>(row)); });
  std::reverse(gone.begin(), gone.end());  // so that the last row is never a dead one
  for (std::size_t i = 0; i < gone.size(); ++i) at[gone[i]] = at[n_old - 1 - i];
  for (std::size_t place = 0; place < n_new; ++place) now[at[place]] = static_cast<std::uint32_t>(place);
  graph::Links moved(links.degree());
  moved.reserve(n_new);
  moved.grow(n_new);
  std::vector<std::uint32_t> to;
  for (std::size_t place = 0; place < n_new; ++place) {
    const auto old = kept.of(at[place]);
    to.resize(old.size());
    std::transform(old.begin(), old.end(), to.begin(), [&](std::uint32_t row) { return now[row]; });
    moved.set(place, to);
  }
  const graph::Change at_once = [](const std::function<void()>& apply) { apply(); };
  std::vector<std::uint32_t> places(n_new);
  std::iota(places.begin(), places.end(), 0u);
  graph::support(places, options(n_threads), moved, cancel, at_once);
  graph::Entrance entered = entrance.renumbered(now);
  if (entered.starts().empty() && n_new) entered.set_starts({0});
  std::vector<float> lifted(lift.empty() ? 0 : n_new);
  for (std::size_t place = 0; place < lifted.size(); ++place) lifted[place] = lift[at[place]];
  Bitmap none(n_new);
  make_writable();

  neighbours.reset();
  for (const std::uint32_t row : gone) drop(row);
  links = std::move(moved);
  entrance = std::move(entered);
  lift = std::move(lifted);
  dead = std::move(none);
  n_visible = n_new;
  longest = 0;
  for (std::size_t row = 0; row < n_new; ++row) longest = std::max(longest, second_bound(codes.bound8()[row]));
  if (n_new <= 2 * kSmall) calibration.clear();
  try {
    Cancel never;  // the rows are gone: nothing may fail any more
    graph::mend(base(), options(n_threads), links, entrance, workspaces, never);
    if (metric == Metric::ip) start_at_longest(at_once);
  } catch (const std::bad_alloc&) {
    n_unmended = n_new;  // the next add mends
  }
  restore_neighbours(n_threads);
}

std::optional<graph::NeighbourCodes> GraphIndex::State::code_neighbours(std::size_t n_threads, Cancel& cancel) const {
  if (params.layout == Layout::plain || !walkable()) return std::nullopt;
  graph::NeighbourCodes coded(metric, params.degree, codes.center(), metric == Metric::ip ? typical_length() : 1);
  coded.grow(size());
  std::vector<std::uint32_t> rows(size());
  std::iota(rows.begin(), rows.end(), 0u);
  coded.refresh(view(size()), links, rows, n_threads, cancel);
  return coded;
}

void GraphIndex::State::restore_neighbours(std::size_t n_threads) {
  try {
    Cancel never;
    neighbours = code_neighbours(n_threads, never);
  } catch (const std::bad_alloc&) {
  }
}

float GraphIndex::State::typical_length() const {
  const std::size_t step = std::max<std::size_t>(size() / 1000, 1);
  std::vector<float> vector(dim);
  double total = 0, n = 0;
  for (std::size_t row = 0; row < size(); row += step, ++n) {
    quant::read_row(view(size()), row, vector.data());
    total += std::sqrt(kernels::active().squared_norm[0](vector.data(), dim));
  }
  return static_cast<float>(total / n);
}

}  // namespace engine
