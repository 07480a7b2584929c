#include "engine/graph_index.hpp"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "graph/pruner.hpp"
#include "index/graph_state.hpp"
#include "index/search_each.hpp"

namespace engine {
namespace {

constexpr std::size_t kMostRows = graph::Pool::kMostRows;

}  // namespace

GraphIndex::GraphIndex(std::size_t dim, Metric metric, Dtype dtype, GraphParams params)
    : state_(std::make_unique<State>(dim, metric, dtype, params)) {
  if (params.degree < 4 || params.degree > graph::Pruner::kMost)
    invalid("M is " + std::to_string(params.degree) + ", expected 4 to " + std::to_string(graph::Pruner::kMost));
  if (params.ef_construction < 1 || params.ef_construction > 10'000)
    invalid("ef_construction is " + std::to_string(params.ef_construction) + ", expected 1 to 10000");
}
GraphIndex::~GraphIndex() = default;
GraphIndex::GraphIndex(GraphIndex&&) noexcept = default;

std::size_t GraphIndex::dim() const noexcept { return state_->dim; }
Metric GraphIndex::metric() const noexcept { return state_->metric; }
const GraphParams& GraphIndex::params() const noexcept { return state_->params; }

std::size_t GraphIndex::size() const {
  std::shared_lock lock(state_->mutex);
  return state_->n_live();
}
std::size_t GraphIndex::n_dead() const {
  std::shared_lock lock(state_->mutex);
  return state_->dead.count();
}
Bitmap GraphIndex::dead() const {
  std::shared_lock lock(state_->mutex);
  return state_->dead;
}
std::size_t GraphIndex::overhead_nbytes() const {
  std::shared_lock lock(state_->mutex);
  return state_->overhead_nbytes() + state_->links.array().nbytes() + state_->entrance.nbytes() +
         state_->lift.size() * sizeof(float) + (state_->neighbours ? state_->neighbours->bytes().nbytes() : 0);
}
std::size_t GraphIndex::nbytes() const {
  const std::size_t overhead = overhead_nbytes();
  std::shared_lock lock(state_->mutex);
  return overhead + state_->vectors.nbytes();
}
std::int64_t GraphIndex::next_id() const {
  std::shared_lock lock(state_->mutex);
  return state_->next_id;
}

std::vector<std::int64_t> GraphIndex::ids() const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  std::vector<std::int64_t> live;
  live.reserve(s.n_live());
  for (std::size_t row = 0; row < s.n_visible; ++row)
    if (!s.dead.test(row)) live.push_back(s.ids[row]);
  return live;
}

std::vector<std::int64_t> GraphIndex::add(MatrixView vectors, std::span<const std::int64_t> ids, std::size_t n_threads,
                                          Cancel& cancel) {
  std::lock_guard writing(state_->writing);
  State& s = *state_;
  const std::size_t first = s.size();
  const std::int64_t next = s.next_id;
  const float longest = s.longest;
  std::vector<float> lift = s.lift;
  const double most_squared = s.most_squared;
  const std::size_t n_centered = s.n_centered;
  std::optional<quant::NibbleCodes> codes;  // around the former center, should rows be coded anew
  if (first + vectors.n_rows > kMostRows)
    throw Error(ErrorCode::unsupported, "a graph holds at most " + std::to_string(kMostRows) + " rows");
  std::vector<std::int64_t> added;
  try {
    {
      std::unique_lock lock(s.mutex);
      s.links.reserve(first + vectors.n_rows);
      s.links.make_writable();
      s.dead.reserve(first + vectors.n_rows);
      if (s.codes_anew(vectors.n_rows)) codes = s.codes;
      added = s.append(vectors, ids, n_threads, cancel);
      s.links.grow(s.size());
      s.note_lengths(first);
    }
    s.link(first, n_threads, cancel);
    std::unique_lock lock(s.mutex);
    s.dead.resize(s.size());
    s.n_visible = s.size();
  } catch (...) {
    std::unique_lock lock(s.mutex);
    s.unlink(first);
    s.next_id = next;
    s.longest = longest;
    s.lift = std::move(lift);
    s.most_squared = most_squared;
    if (codes) s.codes = std::move(*codes);
    s.n_centered = n_centered;
    if (!s.neighbours) s.restore_neighbours(n_threads);
    throw;
  }
  return added;
}

void GraphIndex::remove(std::span<const std::int64_t> ids, std::size_t n_threads, Cancel& cancel) {
  std::lock_guard writing(state_->writing);
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  const Bitmap gone = s.rows_of_all(ids);
  gone.for_each([&](std::size_t row) {
    s.forget(row);
    s.dead.set(row);
  });
  try {
    if (s.dead.count() * 4 > s.n_visible) s.compact(n_threads, cancel);
  } catch (...) {
    gone.for_each([&](std::size_t row) {
      s.rows.insert(row, s.ids.span());
      s.dead.reset(row);
    });
    throw;
  }
  s.n_changed += ids.size();
}

void GraphIndex::optimize(std::size_t n_threads, Cancel& cancel) {
  std::lock_guard writing(state_->writing);
  std::unique_lock lock(state_->mutex);
  if (state_->dead.count()) state_->compact(n_threads, cancel);
}

void GraphIndex::get(std::span<const std::int64_t> ids, float* vectors) const {
  std::shared_lock lock(state_->mutex);
  for (const std::int64_t id : ids) state_->row_of_live(id);
  state_->get(ids, vectors);
}

std::vector<std::int64_t> GraphIndex::find(std::span<const std::int64_t> ids) const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  std::vector<std::int64_t> rows = s.find(ids);
  for (std::int64_t& row : rows)
    if (row >= static_cast<std::int64_t>(s.n_visible)) row = -1;
  return rows;
}

Bitmap GraphIndex::rows_of(std::span<const std::int64_t> ids) const {
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  std::vector<std::uint32_t> found;
  found.reserve(ids.size());
  for (const std::int64_t id : ids) found.push_back(static_cast<std::uint32_t>(s.row_of_live(id)));
  const Bitmap rows = Bitmap::from_any(s.n_visible, std::move(found));
  return s.dead.count() ? rows.compress(~s.dead) : rows;
}

SearchStats GraphIndex::search(MatrixView queries, std::size_t k, const Effort& effort, const SearchOptions& options,
                               Cancel& cancel, std::int64_t* ids, float* distances) const {
  std::shared_lock lock(state_->mutex);
  if (state_->n_live() == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
  return state_->search(queries, k, effort, options, cancel, ids, distances);
}

std::vector<SearchStats> GraphIndex::search_each(MatrixView queries, std::size_t k, const Effort& effort,
                                                 std::span<const Bitmap* const> filters, std::size_t n_threads, Cancel& cancel,
                                                 std::int64_t* ids, float* distances) const {
  std::shared_lock lock(state_->mutex);
  if (state_->n_live() == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
  exact::check(state_->visible(), queries);
  return engine::search_each(queries, k, filters, n_threads, cancel, ids, distances,
                             [&](MatrixView own, const SearchOptions& options, std::int64_t* own_ids, float* own_distances) {
                               return state_->search(own, k, effort, options, cancel, own_ids, own_distances);
                             });
}

Plan GraphIndex::plan(std::size_t k, const Effort& effort, const Bitmap& filter, std::size_t n_queries) const {
  std::shared_lock lock(state_->mutex);
  const SearchOptions options{.filter = &filter};
  return state_->plan(k, effort, Allowed(options, state_->n_visible, &state_->dead), n_queries, true);
}

RangeHits GraphIndex::range_search(MatrixView queries, double radius, const SearchOptions& options, Cancel& cancel) const {
  std::shared_lock lock(state_->mutex);
  if (state_->n_live() == 0) throw Error(ErrorCode::not_built, "there are no vectors to search: add some first");
  const Allowed allowed(options, state_->n_visible, &state_->dead);
  SearchOptions own = options;
  own.filter = allowed.rows();
  return exact::search_range(state_->visible(), queries, radius, own, cancel);
}

std::size_t GraphIndex::ef_for(std::size_t k, double recall) const {
  std::shared_lock lock(state_->mutex);
  return state_->ef_for(k, recall);
}
std::vector<CalibrationPoint> GraphIndex::calibration() const {
  std::shared_lock lock(state_->mutex);
  return state_->calibration;
}

GraphReport GraphIndex::inspect() const {
  std::lock_guard writing(state_->writing);  // an add writes the places of its rows while others search
  std::shared_lock lock(state_->mutex);
  const graph::Report r = graph::inspect(state_->links, state_->entrance.starts());
  return {r.n_rows,     r.n_links,     r.n_out_of_range, r.n_self_links,
          r.n_repeated, r.n_after_end, r.n_reached,      state_->neighbours ? state_->neighbours->n_unlike(state_->links) : 0};
}

namespace {

template <class T>
Part copied(const char* name, char kind, std::vector<T> values) {
  const auto held = std::make_shared<std::vector<T>>(std::move(values));
  return {name, kind, sizeof(T), held->data(), held->size(), held};
}

}  // namespace

std::vector<Part> GraphIndex::parts() const {
  std::lock_guard writing(state_->writing);  // not half of an add
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  std::vector<std::uint32_t> dead;
  s.dead.for_each([&](std::size_t row) { dead.push_back(static_cast<std::uint32_t>(row)); });
  std::vector<float> points;
  for (const CalibrationPoint& point : s.calibration)
    points.insert(points.end(), {static_cast<float>(point.k), static_cast<float>(point.ef), point.recall, point.error});
  std::vector<Part> parts = s.Store::parts();
  parts.push_back(part_of("links", 'u', s.links.array()));
  parts.push_back(copied("entries", 'u', s.entrance.starts()));
  parts.push_back(copied("sample", 'u', s.entrance.layer().rows));
  parts.push_back(part_of("sample_links", 'u', s.entrance.layer().links.array()));
  parts.push_back(copied("sample_entries", 'u', s.entrance.layer().starts));
  if (s.neighbours) {
    std::vector<float> origin = s.neighbours->center();
    origin.push_back(s.neighbours->length());
    parts.push_back(part_of("neighbours", 'u', s.neighbours->bytes()));
    parts.push_back(copied("neighbours_origin", 'f', std::move(origin)));
  }
  parts.push_back(copied("dead", 'u', std::move(dead)));
  parts.push_back(copied("calibration", 'f', std::move(points)));
  parts.push_back(copied("changed", 'u', std::vector<std::uint64_t>{s.n_changed}));
  parts.push_back(copied("longest", 'f', std::vector<float>{s.longest}));
  return parts;
}

void GraphIndex::check() const {
  std::lock_guard writing(state_->writing);
  std::shared_lock lock(state_->mutex);
  const State& s = *state_;
  s.map_ids();
  const auto check_links = [](const char* name, const graph::Links& links) {
    for (const std::uint32_t row : links.array().span())
      if (row >= links.size() && row != graph::kNone)
        throw Error(ErrorCode::corrupt, std::string(name) + " holds " + std::to_string(row) + ", expected a row");
  };
  check_links("links", s.links);
  check_links("sample_links", s.entrance.layer().links);
  if (s.neighbours && !s.neighbours->lead_below(s.links.size()))
    throw Error(ErrorCode::corrupt, "neighbours holds one that is no row");
}

GraphIndex GraphIndex::from_parts(std::size_t dim, Metric metric, Dtype dtype, GraphParams params, std::int64_t next_id,
                                  const std::vector<Part>& parts) {
  GraphIndex index(dim, metric, dtype, params);
  State& s = *index.state_;
  const auto corrupt = [](const std::string& message) { throw Error(ErrorCode::corrupt, message); };
  const Buffer<std::uint32_t> dead = borrow<std::uint32_t>(parts, "dead");
  const std::size_t n = borrow<std::int64_t>(parts, "ids").size();
  s.dead = Bitmap(n);
  for (const std::uint32_t row : dead.span()) {
    if (row >= n || s.dead.test(row)) corrupt("dead holds " + std::to_string(row) + ", which is no row or there twice");
    s.dead.set(row);
  }
  s.take_parts(next_id, parts);
  s.n_visible = n;
  if (n >= kMostRows) corrupt("ids has length " + std::to_string(n) + ", more than a graph can hold");
  const auto links_of = [&](const char* name, std::size_t n_rows, std::size_t degree) {
    Buffer<std::uint32_t> links = borrow<std::uint32_t>(parts, name);
    if (links.size() != n_rows * degree)
      corrupt(std::string(name) + " has length " + std::to_string(links.size()) + ", expected " + std::to_string(n_rows) +
              " rows of " + std::to_string(degree));
    return graph::Links(degree, std::move(links));
  };
  const auto listed = [&](const char* name, std::size_t most) {
    const Buffer<std::uint32_t> rows = borrow<std::uint32_t>(parts, name);
    for (const std::uint32_t row : rows.span())
      if (row >= most) corrupt(std::string(name) + " holds " + std::to_string(row) + ", expected a row");
    return std::vector<std::uint32_t>(rows.span().begin(), rows.span().end());
  };
  s.links = links_of("links", n, params.degree);
  s.entrance.set_starts(listed("entries", n));
  if (n && s.entrance.starts().empty()) corrupt("entries is empty");
  graph::Entrance::Layer layer;
  layer.rows = listed("sample", n);
  layer.links = links_of("sample_links", layer.rows.size(), graph::Entrance::kLayerDegree);
  layer.starts = listed("sample_entries", layer.rows.size());
  if (!layer.rows.empty() && layer.starts.empty()) corrupt("sample_entries is empty");
  s.entrance.set_layer(std::move(layer));
  const Buffer<float> points = borrow<float>(parts, "calibration");
  for (std::size_t i = 0; i + 4 <= points.size(); i += 4) {
    const float* const p = points.data() + i;
    if (!(p[0] >= 1 && p[0] <= 1e6f && p[1] >= 1 && p[1] <= 1e6f && p[2] >= 0 && p[2] <= 1 && p[3] >= 0 && p[3] <= 1))
      corrupt("calibration holds a point that is none");
    s.calibration.push_back({static_cast<std::uint32_t>(p[0]), static_cast<std::uint32_t>(p[1]), p[2], p[3]});
  }
  if (points.size() % 4) corrupt("calibration has length " + std::to_string(points.size()) + ", expected a multiple of 4");
  const Buffer<std::uint64_t> changed = borrow<std::uint64_t>(parts, "changed");
  if (changed.size() != 1) corrupt("changed has length " + std::to_string(changed.size()) + ", expected 1");
  s.n_changed = std::min<std::uint64_t>(changed[0], kMostRows);
  const Buffer<float> longest = borrow<float>(parts, "longest");
  if (longest.size() != 1) corrupt("longest has length " + std::to_string(longest.size()) + ", expected 1");
  s.longest = longest[0];
  const bool are_beside =
      std::ranges::any_of(parts, [](const Part& part) { return std::string_view(part.name) == "neighbours"; });
  if (params.layout == Layout::fast && s.walkable() && !are_beside) s.restore_neighbours(1);  // there was no memory for them
  if (params.layout == Layout::fast && s.walkable() && are_beside) {
    const Buffer<float> origin = borrow<float>(parts, "neighbours_origin");
    if (origin.size() != dim + 1)
      corrupt("neighbours_origin has length " + std::to_string(origin.size()) + ", expected " + std::to_string(dim + 1));
    s.neighbours.emplace(metric, params.degree, std::vector<float>(origin.data(), origin.data() + dim), origin.back());
    Buffer<std::byte> bytes = borrow<std::byte>(parts, "neighbours");
    if (bytes.size() != n * s.neighbours->row_bytes())
      corrupt("neighbours has " + std::to_string(bytes.size()) + " bytes, expected " +
              std::to_string(n * s.neighbours->row_bytes()));
    s.neighbours->set_bytes(std::move(bytes));
  }
  return index;
}

}  // namespace engine
