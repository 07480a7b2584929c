#include "graph/builder.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "exact/prepared_queries.hpp"
#include "graph/pruner.hpp"
#include "graph/scorer.hpp"
#include "util/thread_pool.hpp"

namespace engine::graph {
namespace {

using Edge = std::pair<std::uint32_t, std::uint32_t>;  // to, from

/// Links one of `parents`, nearest first, to `row`: one of the first with room, else the nearest in place of its furthest link,
/// which `row` then has instead.
void adopt(std::uint32_t row, std::span<const std::uint32_t> parents, Links& links, Undo* undo) {
  std::vector<std::uint32_t> to;
  const auto take = [&](std::uint32_t parent) {
    const auto present = links.of(parent);
    to.assign(present.begin(), present.end());
  };
  const auto set = [&](std::uint32_t parent) {
    if (undo) undo->keep(links, parent);
    links.set(parent, to);
  };
  for (const std::uint32_t parent : parents.first(std::min<std::size_t>(parents.size(), 4))) {
    take(parent);
    if (parent == row || std::ranges::find(to, row) != to.end()) return;  // reached meanwhile
    if (to.size() == links.degree()) continue;
    to.push_back(row);
    return set(parent);
  }
  if (parents.empty()) return;
  take(parents[0]);
  const std::uint32_t freed = std::exchange(to.back(), row);
  set(parents[0]);
  take(row);
  if (freed == row || std::find(to.begin(), to.end(), freed) != to.end()) return;
  if (to.size() < links.degree())
    to.push_back(freed);
  else
    to.back() = freed;
  set(row);
}

/// Rows of a batch, cut in pieces for the threads.
constexpr std::size_t kPiece = 32;

class Builder {
 public:
  Builder(const Base& base, const BuildOptions& options, Links& links, Workspaces& workspaces, Cancel& cancel)
      : base_(base), options_(options), links_(links), workspaces_(workspaces), cancel_(cancel) {}

  /// Calls `visit(i, scorer)` for each of `rows`.
  template <class Visit>
  void for_each_scorer(std::span<const std::uint32_t> rows, Visit visit) {
    const std::size_t dim = base_.rows.dim;
    std::vector<float> vectors(rows.size() * dim);
    for (std::size_t i = 0; i < rows.size(); ++i) quant::read_row(base_.rows, rows[i], vectors.data() + i * dim);
    const exact::CodedQueries coded({vectors.data(), rows.size(), dim}, base_.codes);
    const float* const extra = base_.lift ? base_.lift : base_.codes.bias().empty() ? nullptr : base_.codes.bias().data();
    for (std::size_t i = 0; i < rows.size(); ++i)
      visit(i, NibbleScorer(base_.codes, coded.codes(i), coded[i], extra, base_.lift ? -base_.lift[rows[i]] : 1));
  }

  /// Links `batch` to rows that are linked already, and those back.
  void insert(std::span<const std::uint32_t> batch, std::size_t ef, const Entrance& entrance, const Change& change) {
    const std::size_t n_pieces = (batch.size() + kPiece - 1) / kPiece;
    std::vector<std::vector<Edge>> found(n_pieces);
    parallel_for(n_pieces, options_.n_threads, [&](std::size_t p) {
      cancel_.check();
      found[p] = link_piece(batch.subspan(p * kPiece, std::min(kPiece, batch.size() - p * kPiece)), ef, entrance);
    });
    std::vector<Edge> edges;
    for (const std::vector<Edge>& some : found) edges.insert(edges.end(), some.begin(), some.end());
    std::sort(edges.begin(), edges.end());
    change([&] {
      link_back(edges);
      for (const std::uint32_t row : batch) keep_linked(row);
    });
  }

 private:
  /// Finds and writes the links of rows; returns their edges.
  std::vector<Edge> link_piece(std::span<const std::uint32_t> rows, std::size_t ef, const Entrance& entrance) {
    const Workspaces::Lease lease(workspaces_);
    Workspace& work = *lease;
    Pruner pruner(base_.codes, base_.lift);
    std::vector<Edge> edges;
    std::vector<std::uint32_t> candidates;
    for_each_scorer(rows, [&](std::size_t i, const NibbleScorer& scorer) {
      walk(links_, entrance.rows_for(scorer, ef, work), scorer, ef, work);
      candidates.clear();
      for (std::size_t c = 0; c < std::min(work.pool.size(), Pruner::kMost); ++c) candidates.push_back(work.pool.row(c));
      const auto chosen = pruner.choose(rows[i], candidates, links_.degree(), options_.alpha);
      links_.set(rows[i], chosen);
      for (const std::uint32_t to : chosen) edges.emplace_back(to, rows[i]);
    });
    return edges;
  }

  /// Adds the edges in the other direction; where there is no room left, a row chooses anew.
  void link_back(const std::vector<Edge>& edges) {
    std::vector<std::size_t> starts;  // of each target's run
    for (std::size_t i = 0; i < edges.size(); ++i)
      if (i == 0 || edges[i].first != edges[i - 1].first) starts.push_back(i);
    starts.push_back(edges.size());
    const std::size_t n_targets = starts.size() - 1, n_pieces = (n_targets + kPiece - 1) / kPiece;
    parallel_for(n_pieces, options_.n_threads, [&](std::size_t p) {
      cancel_.check();
      Pruner pruner(base_.codes, base_.lift);
      std::vector<std::uint32_t> candidates;
      for (std::size_t t = p * kPiece; t < std::min(n_targets, (p + 1) * kPiece); ++t) {
        const std::uint32_t row = edges[starts[t]].first;
        const auto present = links_.of(row);
        if (options_.undo) options_.undo->keep(links_, row);
        candidates.assign(present.begin(), present.end());
        for (std::size_t e = starts[t]; e < starts[t + 1]; ++e) {
          if (candidates.size() == Pruner::kMost) {
            const auto chosen = pruner.choose(row, candidates, keep(), options_.alpha);
            candidates.assign(chosen.begin(), chosen.end());
          }
          candidates.push_back(edges[e].second);
        }
        links_.set(row, candidates.size() <= links_.degree() ? std::span<const std::uint32_t>(candidates)
                                                             : pruner.choose(row, candidates, keep(), options_.alpha));
      }
    });
  }

  /// A row that all it links to have dropped again, an outlier say, is given back one link.
  void keep_linked(std::uint32_t row) {
    const auto present = links_.of(row);
    const std::vector<std::uint32_t> parents(present.begin(), present.end());
    const auto links_back = [&](std::uint32_t to) { return std::ranges::find(links_.of(to), row) != links_.of(to).end(); };
    if (std::ranges::none_of(parents, links_back)) adopt(row, parents, links_, options_.undo);
  }

  /// A row that has to choose leaves some room, so that it need not do so for each new link.
  std::size_t keep() const noexcept { return links_.degree() - links_.degree() / 5; }

  const Base& base_;
  const BuildOptions& options_;
  Links& links_;
  Workspaces& workspaces_;
  Cancel& cancel_;
  const kernels::Table& kernels_ = kernels::active();
};

/// Which rows a walk can get to.
Bitmap reach(const Links& links, std::span<const std::uint32_t> entries) {
  Bitmap reached(links.size());
  std::vector<std::uint32_t> open;
  const auto meet = [&](std::uint32_t row) {
    if (reached.test(row)) return;
    reached.set(row);
    open.push_back(row);
  };
  for (const std::uint32_t row : entries) meet(row);
  while (!open.empty()) {
    const std::uint32_t row = open.back();
    open.pop_back();
    for (const std::uint32_t to : links.of(row)) meet(to);
  }
  return reached;
}

/// A number that looks random, the same for the same one.
std::uint64_t mixed(std::uint64_t x) noexcept {
  x = (x ^ x >> 30) * 0xbf58'476d'1ce4'e5b9u;
  x = (x ^ x >> 27) * 0x94d0'49bb'1331'11ebu;
  return x ^ x >> 31;
}

/// A graph over one in kShare of the rows before `n_old` and of `added`.
Entrance::Layer make_layer(const Base& base, std::size_t n_old, std::span<const std::uint32_t> added, const BuildOptions& options,
                           Workspaces& workspaces, Cancel& cancel) {
  Entrance::Layer layer;
  for (std::size_t row = 0; row < n_old; row += Entrance::kShare) layer.rows.push_back(static_cast<std::uint32_t>(row));
  for (std::size_t i = 0; i < added.size(); i += Entrance::kShare) layer.rows.push_back(added[i]);
  const std::size_t n = layer.rows.size();
  const quant::NibbleCodes codes = base.codes.subset(layer.rows);
  std::vector<float> lift;
  if (base.lift)
    for (const std::uint32_t row : layer.rows) lift.push_back(base.lift[row]);
  const Base sample{{nullptr, n, base.rows.dim, Dtype::i8, &codes}, codes, base.lift ? lift.data() : nullptr};
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  layer.links.reserve(n);
  layer.links.grow(n);
  Entrance entrance;
  const Change at_once = [](const std::function<void()>& apply) { apply(); };
  BuildOptions own = options;
  own.undo = nullptr;
  link(sample, order, own, layer.links, entrance, workspaces, cancel, at_once);
  mend(sample, own, layer.links, entrance, workspaces, cancel);
  layer.starts = entrance.starts();
  return layer;
}

}  // namespace

void link(const Base& base, std::span<const std::uint32_t> order, const BuildOptions& options, Links& links, Entrance& entrance,
          Workspaces& workspaces, Cancel& cancel, const Change& change) {
  Builder builder(base, options, links, workspaces, cancel);
  const std::size_t n_old = links.size() - order.size();
  std::size_t done = 0;
  // The starts are a fair sample of all rows so far, so that rows unlike those before have theirs.
  std::size_t n_met = n_old;
  const auto start_at = [&](std::span<const std::uint32_t> rows) {
    std::vector<std::uint32_t> starts = entrance.starts();
    for (const std::uint32_t row : rows) {
      ++n_met;
      const std::size_t place = mixed(n_met) % n_met;
      if (starts.size() < Entrance::kStarts)
        starts.push_back(row);
      else if (place < Entrance::kStarts)
        starts[place] = row;
    }
    change([&] { entrance.set_starts(std::move(starts)); });
  };
  if (entrance.starts().empty() && !order.empty()) {
    start_at(order.first(1));
    done = 1;
  }
  while (done < order.size()) {
    // More rows at a time would miss too many of their own nearest.
    const std::size_t n_linked = std::max<std::size_t>(n_old + done, 1);
    const std::size_t most = std::clamp<std::size_t>(n_linked / 2, 1, std::max<std::size_t>(links.size() / 50, 1000));
    const auto batch = order.subspan(done, std::min(most, order.size() - done));
    // Most rows of the first half choose anew when those of the second half link to them: fewer candidates will do.
    const bool is_early = 2 * (n_old + done) < links.size();
    builder.insert(batch, is_early ? std::max<std::size_t>(options.ef * 7 / 10, 1) : options.ef, entrance, change);
    done += batch.size();
    start_at(batch);
    if (n_old + done >= Entrance::kLayered && n_old + done >= 2 * Entrance::kShare * entrance.layer().rows.size()) {
      Entrance::Layer layer = make_layer(base, n_old, order.first(done), options, workspaces, cancel);
      change([&] { entrance.set_layer(std::move(layer)); });
    }
  }
  support(order, options, links, cancel, change);
}

void support(std::span<const std::uint32_t> rows, const BuildOptions& options, Links& links, Cancel& cancel,
             const Change& change) {
  const std::size_t n_pieces = (rows.size() + kPiece - 1) / kPiece, degree = links.degree();
  const auto leads_to = [&](std::uint32_t from, std::uint32_t to) {
    return std::ranges::find(links.of(from), to) != links.of(from).end();
  };
  // Those in need come first: what is full has no room for them.
  for (const std::size_t wanted : {degree / 4, degree / 2, options.fills ? degree : 0}) {
    std::vector<std::vector<Edge>> missing(n_pieces);
    parallel_for(n_pieces, options.n_threads, [&](std::size_t p) {
      cancel.check();
      for (const std::uint32_t row : rows.subspan(p * kPiece, std::min(kPiece, rows.size() - p * kPiece))) {
        const auto parents = links.of(row);
        auto n_back =
            static_cast<std::size_t>(std::ranges::count_if(parents, [&](std::uint32_t parent) { return leads_to(parent, row); }));
        for (const std::uint32_t parent : parents) {
          if (n_back >= wanted) break;
          if (links.of(parent).size() == degree || leads_to(parent, row)) continue;
          missing[p].emplace_back(parent, row);
          ++n_back;
        }
      }
    });
    change([&] {
      std::vector<std::uint32_t> to;
      for (const std::vector<Edge>& some : missing) {
        for (const auto& [parent, row] : some) {
          const auto present = links.of(parent);
          if (present.size() == degree) continue;
          to.assign(present.begin(), present.end());
          to.push_back(row);
          if (options.undo) options.undo->keep(links, parent);
          links.set(parent, to);
        }
      }
    });
  }
}

void relink(const Base& base, const Bitmap& gone, const BuildOptions& options, Links& links, Cancel& cancel) {
  const std::size_t n = links.size(), n_pieces = (n + kPiece - 1) / kPiece;
  Links renewed(links.degree());
  renewed.reserve(n);
  renewed.grow(n);
  parallel_for(n_pieces, options.n_threads, [&](std::size_t p) {
    cancel.check();
    Pruner pruner(base.codes, base.lift);
    std::vector<std::uint32_t> candidates;
    for (std::size_t row = p * kPiece; row < std::min(n, (p + 1) * kPiece); ++row) {
      if (gone.test(row)) continue;
      const auto present = links.of(row);
      candidates.clear();
      const auto offer = [&](std::uint32_t to) {
        if (!gone.test(to) && to != row && candidates.size() < Pruner::kMost &&
            std::find(candidates.begin(), candidates.end(), to) == candidates.end())
          candidates.push_back(to);
      };
      std::for_each(present.begin(), present.end(), offer);
      const bool whole = candidates.size() == present.size();
      for (const std::uint32_t lost : present)
        if (gone.test(lost)) std::ranges::for_each(links.of(lost), offer);
      renewed.set(row,
                  whole ? present : pruner.choose(static_cast<std::uint32_t>(row), candidates, links.degree(), options.alpha));
    }
  });
  links = std::move(renewed);
}

void mend(const Base& base, const BuildOptions& options, Links& links, const Entrance& entrance, Workspaces& workspaces,
          Cancel& cancel) {
  Builder builder(base, options, links, workspaces, cancel);
  const Workspaces::Lease lease(workspaces);
  for (int round = 0; round < 3; ++round) {  // making room for one row may cut off another
    const Bitmap reached = reach(links, entrance.starts());
    if (reached.count() == links.size()) return;
    std::vector<std::uint32_t> lost;
    (~reached).for_each([&](std::size_t row) { lost.push_back(static_cast<std::uint32_t>(row)); });
    for (std::size_t first = 0; first < lost.size(); first += kPiece) {
      cancel.check();
      const auto rows = std::span(lost).subspan(first, std::min(kPiece, lost.size() - first));
      builder.for_each_scorer(rows, [&](std::size_t i, const NibbleScorer& scorer) {
        walk(links, entrance.rows_for(scorer, options.ef, *lease), scorer, options.ef, *lease);
        const Pool& pool = (*lease).pool;
        std::vector<std::uint32_t> parents(pool.size());
        for (std::size_t p = 0; p < parents.size(); ++p) parents[p] = pool.row(p);
        adopt(rows[i], parents, links, options.undo);
      });
    }
  }
}

Report inspect(const Links& links, std::span<const std::uint32_t> entries) {
  Report report;
  report.n_rows = links.size();
  for (std::size_t row = 0; row < links.size(); ++row) {
    const std::uint32_t* const first = links.place(row);
    const std::uint32_t* const last = first + links.degree();
    const std::uint32_t* const end = std::find(first, last, kNone);
    std::vector<std::uint32_t> sorted(first, end);
    std::sort(sorted.begin(), sorted.end());
    report.n_links += sorted.size();
    report.n_out_of_range += static_cast<std::size_t>(
        std::count_if(sorted.begin(), sorted.end(), [&](std::uint32_t other) { return other >= links.size(); }));
    report.n_self_links += static_cast<std::size_t>(std::count(sorted.begin(), sorted.end(), row));
    report.n_repeated += sorted.size() - static_cast<std::size_t>(std::unique(sorted.begin(), sorted.end()) - sorted.begin());
    report.n_after_end += static_cast<std::size_t>(std::count_if(end, last, [](std::uint32_t other) { return other != kNone; }));
  }
  if (report.n_out_of_range == 0) report.n_reached = reach(links, entries).count();
  return report;
}

}  // namespace engine::graph
