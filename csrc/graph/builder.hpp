#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/bitmap.hpp"
#include "engine/cancel.hpp"
#include "engine/matrix_view.hpp"
#include "graph/entrance.hpp"
#include "graph/links.hpp"
#include "graph/workspaces.hpp"
#include "quant/nibble_codes.hpp"

namespace engine::graph {

struct BuildOptions {
  std::size_t ef = 200;  // rows that an insertion looks at
  float alpha = 1.2f;    // how much nearer another link must be for a candidate to be left out
  std::size_t n_threads = 1;
};

/// What is linked: rows by their codes and, where the vectors themselves are needed, in full.
struct Base {
  RowsView rows;
  const quant::NibbleCodes& codes;
  const float* lift = nullptr;  // ip: sqrt(most - |x|^2), which makes the largest inner product the nearest of all rows
};

/// Runs a change of links that walks may be reading: whoever owns the links keeps walks out meanwhile.
using Change = std::function<void(const std::function<void()>&)>;

/// Links the rows of `order`, whose places in `links` are there and empty, in that order. Rows come in batches, each half as many
/// as are linked already at most: a batch walks the graph as it was before, so that the result depends on the order alone and not
/// on threads. All else that changes, links of rows linked before and `entrance`, changes within `change`.
///
/// Before the last `n_held` rows are linked, `held` is called with them: nothing knows of them then, so that they serve to
/// measure.
void link(const Base& base, std::span<const std::uint32_t> order, const BuildOptions& options, Links& links, Entrance& entrance,
          Workspaces& workspaces, Cancel& cancel, const Change& change, std::size_t n_held = 0,
          const std::function<void(std::span<const std::uint32_t>)>& held = {});

/// Gives rows new links where some of their present ones are `gone`: to the nearest of those left and of those that the
/// lost ones led to. Links of other rows stay.
void relink(const Base& base, const Bitmap& gone, const BuildOptions& options, Links& links, Cancel& cancel);

/// What a graph looks like; sound where the middle four are 0.
struct Report {
  std::size_t n_rows = 0, n_links = 0;
  std::size_t n_out_of_range = 0, n_self_links = 0, n_repeated = 0, n_after_end = 0;
  std::size_t n_reached = 0;  // from the entries
};
Report inspect(const Links& links, std::span<const std::uint32_t> entries);

/// Links every row that no walk could reach to a near one that walks do reach.
void mend(const Base& base, const BuildOptions& options, Links& links, const Entrance& entrance, Workspaces& workspaces,
          Cancel& cancel);

}  // namespace engine::graph
