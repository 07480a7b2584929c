// The pieces under csrc/util by themselves; built and run by tests/unit/test_cpp.py under sanitizers.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include "check.hpp"
#include "engine/bitmap.hpp"
#include "util/buffer.hpp"
#include "util/id_map.hpp"
#include "util/merge.hpp"
#include "util/rounding.hpp"
#include "util/thread_pool.hpp"
#include "util/topk.hpp"

using namespace engine;

/// Random insertions and removals, the last row filling each gap, against std::unordered_map.
void test_id_map() {
  std::mt19937_64 random(1);
  std::vector<std::int64_t> ids;
  IdMap map;
  std::unordered_map<std::int64_t, std::size_t> truth;
  CHECK(map.find(3, ids) == IdMap::kNone);
  for (int step = 0; step < 20'000; ++step) {
    const auto id = static_cast<std::int64_t>(random() % 400) * (step % 2 ? 1 : 1'000'003);
    if (random() % 5 < 3) {
      map.reserve(ids.size() + 1, ids);
      ids.push_back(id);
      const bool added = map.insert(ids.size() - 1, ids);
      CHECK(added == truth.try_emplace(id, ids.size() - 1).second);
      if (!added) ids.pop_back();
    } else if (!ids.empty()) {
      const std::int64_t gone = ids[random() % ids.size()];
      const std::size_t row = truth.at(gone), last = ids.size() - 1;
      map.erase(gone, ids);
      truth.erase(gone);
      if (row != last) {
        map.move(ids[last], row, ids);
        truth[ids[last]] = row;
        ids[row] = ids[last];
      }
      ids.pop_back();
    }
    const std::uint32_t found = map.find(id, ids);
    CHECK(truth.contains(id) ? found == truth[id] : found == IdMap::kNone);
  }
}

/// Rows whose ids were erased may stay with their owner: growing must not bring them back.
void test_id_map_grows() {
  std::vector<std::int64_t> ids(8);
  IdMap map;
  map.reserve(8, ids);
  for (std::size_t row = 0; row < 8; ++row) {
    ids[row] = static_cast<std::int64_t>(row);
    map.insert(row, ids);
  }
  map.erase(2, ids);
  map.erase(5, ids);
  ids.push_back(5);  // anew, under another row
  map.reserve(100, ids);
  CHECK(map.find(2, ids) == IdMap::kNone && map.find(5, ids) == IdMap::kNone && map.find(7, ids) == 7);
  CHECK(map.insert(8, ids) && map.find(5, ids) == 8);
}

/// What a reader shares does not change; what is borrowed is copied before the first write.
void test_buffer() {
  Buffer<int> buffer;
  const std::vector<int> first{1, 2, 3};
  buffer.append(first);
  const int* const seen = buffer.data();
  const auto reader = buffer.share();
  buffer.writable()[0] = 9;
  CHECK(buffer.data() != seen && seen[0] == 1 && buffer[0] == 9);

  const auto file = std::make_shared<std::vector<int>>(std::vector<int>{4, 5});
  auto borrowed = Buffer<int>::borrow(*file, file);
  CHECK(borrowed.data() == file->data() && borrowed.size() == 2);
  borrowed.append(first);
  CHECK(borrowed.data() != file->data() && borrowed.size() == 5 && borrowed[1] == 5 && borrowed[4] == 3);
  borrowed.truncate(1);
  CHECK(borrowed.size() == 1 && borrowed.back() == 4 && (*file)[1] == 5);
}

/// What a reader read comes before what is written in its place when it is gone; TSan tells.
void test_buffer_read_elsewhere() {
  for (std::size_t round = 0; round < 100; ++round) {
    Buffer<std::size_t> buffer;
    buffer.append(std::vector<std::size_t>(1000, 1));
    std::atomic<bool> has_begun = false;
    std::size_t total = 0;
    std::thread reader([&, values = buffer.span(), part = buffer.share()]() mutable {
      has_begun.store(true, std::memory_order_relaxed);  // which orders nothing else
      total = std::accumulate(values.begin(), values.end(), std::size_t{0});
      part.reset();
    });
    while (!has_begun.load(std::memory_order_relaxed)) std::this_thread::yield();
    for (std::size_t i = 0; i < 1000; ++i) buffer.writable()[i] = 2;
    reader.join();
    CHECK(total == 1000);
  }
}

/// Large ones grow where they are or move whole pages; a reader's copy stays where it was.
void test_large_buffer() {
  Buffer<std::uint64_t> buffer;
  std::vector<std::uint64_t> values(300'000);
  std::shared_ptr<const void> reader;
  const std::uint64_t* seen = nullptr;
  for (std::uint64_t part = 0; part < 20; ++part) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = part * values.size() + i;
    buffer.append(values);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    if (part == 9) reader = buffer.share(), seen = buffer.data();
  }
  const std::size_t n = 10 * values.size();
  CHECK(buffer.data() != seen && buffer.size() == 2 * n);
  bool kept = true;
  for (std::size_t i = 0; i < buffer.size(); ++i) kept &= buffer[i] == i && (i >= n || seen[i] == i);
  CHECK(kept);
  bool refused = false;
  try {
    buffer.reserve(std::size_t{1} << 56);
  } catch (const std::bad_alloc&) {
    refused = true;
  }
  CHECK(refused && buffer.size() == 2 * n && buffer.back() == 2 * n - 1);
  buffer.append(values);
  CHECK(buffer[2 * n] == values[0]);
}

void test_thread_pool() {
  std::atomic<int> sum{0};
  parallel_for(1000, 4, [&](std::size_t i) { sum += static_cast<int>(i); });
  CHECK(sum == 499'500);
  sum = 0;
  parallel_for(8, 4, [&](std::size_t) { parallel_for(8, 4, [&](std::size_t) { ++sum; }); });
  CHECK(sum == 64);
  bool thrown = false;
  try {
    parallel_for(100, 4, [](std::size_t i) {
      if (i == 50) throw std::runtime_error("50");
    });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  CHECK(thrown);
#ifdef __linux__
  // A worker that moves out of the way may be where it might be before. Tasks take long enough for workers to come.
  const auto caller = std::this_thread::get_id();
  std::atomic<int> n_helped{0};
  cpu_set_t before;
  CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    parallel_for(8, 4, [&](std::size_t) {
      n_helped += std::this_thread::get_id() != caller;
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
      while (std::chrono::steady_clock::now() < end) continue;
      cpu_set_t now;
      CHECK(sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&before, &now));
    });
  }
  CHECK(n_helped > 0);
#endif
  // A child has no workers of its parent's.
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> count{0};
    parallel_for(100, 4, [&](std::size_t) { ++count; });
    _exit(count == 100 ? 0 : 1);
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
}

void test_rounding() {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> exponent(-320, 300);
  for (int i = 0; i < 100'000; ++i) {
    const double value = std::pow(10.0, exponent(random)) * (i % 2 ? 1 : -1);
    CHECK(round_up(value) >= value && round_down(value) <= value);
    const std::uint32_t word = pack_bounds(std::abs(value), std::abs(value) / 3);
    CHECK(first_bound(word) >= std::abs(value) && second_bound(word) >= std::abs(value) / 3);
    if (std::abs(value) > 1e-37 && std::abs(value) < 1e38) CHECK(first_bound(word) <= std::abs(value) * (1 + 0x1p-6));
  }
  CHECK(first_bound(pack_bounds(1e300, 0)) == std::numeric_limits<float>::infinity());
}

void test_topk() {
  TopK<Hit> best(3);
  for (const Hit& hit : {Hit{2, 7}, Hit{1, 9}, Hit{1, 3}, Hit{5, 1}, Hit{1, 4}}) best.push(hit);
  const std::vector<Hit> hits = best.take_sorted();
  CHECK(hits.size() == 3 && hits[0].id == 3 && hits[1].id == 4 && hits[2].id == 9);
}

/// Members are found where few of many words have any, whatever was set, taken out again, cut off or put together.
void test_sparse_bitmap() {
  std::mt19937_64 random(7);
  const auto members = [](const Bitmap& bitmap) {
    std::vector<std::size_t> rows;
    bitmap.for_each([&](std::size_t row) { rows.push_back(row); });
    CHECK(rows.size() == bitmap.count());
    std::vector<std::size_t> truth;
    for (std::size_t row = 0; row < bitmap.size(); ++row)
      if (bitmap.test(row)) truth.push_back(row);
    CHECK(rows == truth);
    return rows;
  };
  for (const std::size_t size : {0, 1, 63, 64, 511, 512, 513, 32'767, 32'768, 32'769, 200'000}) {
    Bitmap some(size), others(size);
    for (int i = 0; size && i < 40; ++i) {
      some.set(random() % size);
      others.set(random() % size);
      if (i % 3 == 0) some.reset(random() % size);
    }
    for (const std::size_t row : members(some)) {
      if (row % 2) continue;
      some.reset(row);
      Bitmap again(size);
      again.set(row);
      again.reset(row);
      CHECK(again == Bitmap(size) && members(again).empty());
    }
    for (const Bitmap& bitmap : {some, others, ~some, some & others, some | others, some ^ others, ~(some | others)})
      members(bitmap);
    for (const Bitmap& added : {others, ~some, some}) {  // some rows are in both, none, all
      Bitmap both = some;
      both |= added;
      CHECK(both == (some | added));
      members(both);
    }
    for (const std::size_t other : {size / 2, size + 1, size + 100'000, std::size_t{0}}) {
      Bitmap resized = ~some;
      resized.reserve(other);
      resized.resize(other);
      members(resized);
      if (other > size) resized.set(other - 1);
      members(resized);
    }
  }
}

/// Few rows are a list, which is the same set in every respect as bits, and takes their place and memory.
void test_listed_bitmap() {
  std::mt19937_64 random(8);
  for (const std::size_t size : {std::size_t{64}, std::size_t{4'097}, std::size_t{100'000}, std::size_t{1'000'003}}) {
    std::vector<std::uint32_t> rows;
    for (std::size_t i = 0; i < std::min<std::size_t>(size / 64, 300); ++i)
      rows.push_back(static_cast<std::uint32_t>(random() % size));
    std::ranges::sort(rows);
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    const Bitmap listed = Bitmap::from_ascending(size, rows);
    Bitmap marked(size), wide(size);
    for (const std::uint32_t row : rows) marked.set(row);
    for (std::size_t row = 0; row < size; row += 1 + random() % 3) wide.set(row);
    CHECK(listed.listed() && std::ranges::equal(*listed.listed(), rows) && !marked.listed() && !wide.listed());
    CHECK(listed == marked && marked == listed && listed.count() == rows.size());
    for (std::size_t row = 0; row < size; ++row) CHECK(listed.test(row) == marked.test(row));
    for (std::size_t w = 0; w < (size + 63) / 64; ++w) CHECK(listed.word(w) == marked.word(w));
    Bitmap compact = marked;
    compact.compact();
    CHECK(compact.listed() && compact == listed && compact.nbytes() <= 4 * rows.size() + 64);
    for (const Bitmap& other : {wide, listed, ~wide, Bitmap(size)}) {
      CHECK((listed & other) == (marked & other) && (other & listed) == (marked & other));
      CHECK((listed | other) == (marked | other) && (other | listed) == (marked | other));
      CHECK((listed ^ other) == (marked ^ other) && ~listed == ~marked);
      CHECK(listed.compress(other) == marked.compress(other) && other.compress(listed) == other.compress(marked));
      CHECK(listed.compress(other).spread(other) == (listed & other));
      CHECK(other.compress(listed).spread(listed) == (listed & other));
    }
    for (const auto& [begin, end] : {std::pair(std::size_t{0}, size), {size / 3, size / 2}, {size, size}, {1, size - 1}})
      CHECK(listed.slice(begin, end) == marked.slice(begin, end));
    Bitmap itself = listed;
    itself &= itself;
    itself |= itself;
    CHECK(itself == listed && itself.listed());
    for (const std::size_t other : {size / 2, size + 1, std::size_t{0}}) {
      Bitmap shorter = listed, bits = marked;
      shorter.resize(other);
      bits.resize(other);
      CHECK(shorter == bits && shorter.count() == bits.count());
      shorter.resize(size);  // as after nothing had been taken away
      bits.resize(size);
      CHECK(shorter == bits);
      shorter.set(size - 1);
      bits.set(size - 1);
      shorter.reset(size / 3);
      bits.reset(size / 3);
      shorter.put(size / 4, !bits.test(size / 4));
      bits.put(size / 4, !bits.test(size / 4));
      CHECK(shorter == bits && shorter.count() == bits.count());
    }
  }
  std::vector<std::uint32_t> many(4097);  // more than a list may have, of however many rows
  std::iota(many.begin(), many.end(), 5u);
  CHECK(!Bitmap::from_ascending(10'000'000, many).listed() && Bitmap::from_ascending(10'000'000, many).count() == 4097);
  many.pop_back();
  CHECK(Bitmap::from_ascending(10'000'000, many).listed());
}

/// Row by row, whichever share of the rows is left and whichever of those are wanted: words of all, of none and between.
void test_compress_and_spread() {
  std::mt19937_64 random(9);
  constexpr double kShares[] = {0, 0.002, 0.1, 0.5, 0.9, 0.998, 1};
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{6'543}})
    for (const double left : kShares)
      for (const double wanted : kShares) {
        const auto some = [&](double share) {
          Bitmap rows(size);
          for (std::size_t row = 0; row < size; ++row) rows.put(row, static_cast<double>(random() >> 11) * 0x1p-53 < share);
          return rows;
        };
        const Bitmap rows = some(left), bits = some(wanted);
        Bitmap part(rows.count()), both(size);
        std::size_t place = 0;
        rows.for_each([&](std::size_t row) {
          part.put(place++, bits.test(row));
          both.put(row, bits.test(row));
        });
        const Bitmap compressed = bits.compress(rows), spread = part.spread(rows);
        CHECK(compressed == part && compressed.count() == part.count() && compressed.size() == rows.count());
        CHECK(spread == both && spread.count() == both.count() && spread.size() == size);
      }
}

/// As a sort of all by distance and id, with lists that end early.
void test_merge_hits() {
  std::mt19937_64 random(10);
  constexpr float kFar = std::numeric_limits<float>::infinity();
  for (int round = 0; round < 500; ++round) {
    const std::size_t n_lists = 1 + random() % 4, k = 1 + random() % 12;
    std::vector<std::pair<float, std::int64_t>> all;
    std::vector<std::vector<std::int64_t>> ids(n_lists);
    std::vector<std::vector<float>> distances(n_lists);
    std::vector<Hits> lists;
    for (std::size_t i = 0; i < n_lists; ++i) {
      std::vector<std::pair<float, std::int64_t>> found;
      for (std::size_t n = random() % 6; n > 0; --n)
        found.emplace_back(random() % 9 ? static_cast<float>(random() % 4) : kFar, all.size() + found.size() * 37 % 11);
      std::ranges::sort(found);
      all.insert(all.end(), found.begin(), found.end());
      found.resize(found.size() + random() % 3, {kFar, -1});
      for (const auto& [distance, id] : found) {
        distances[i].push_back(distance);
        ids[i].push_back(id);
      }
      lists.push_back({ids[i].data(), distances[i].data(), found.size()});
    }
    std::ranges::sort(all);
    all.resize(k, {kFar, -1});
    std::vector<std::int64_t> merged(k);
    std::vector<float> far(k);
    merge_hits(lists, k, merged.data(), far.data());
    for (std::size_t i = 0; i < k; ++i) CHECK(merged[i] == all[i].second && far[i] == all[i].first);
  }
}

int main() {
  test_sparse_bitmap();
  test_compress_and_spread();
  test_listed_bitmap();
  test_id_map();
  test_id_map_grows();
  test_buffer();
  test_buffer_read_elsewhere();
  test_large_buffer();
  test_rounding();
  test_topk();
  test_merge_hits();
  test_thread_pool();
}
