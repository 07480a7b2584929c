#include "engine/descent.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/error.hpp"
#include "kernels/table.hpp"
#include "util/buffer.hpp"

namespace engine::descent {
namespace {

constexpr double kKeepFirst = 0.9, kKeepSecond = 0.999, kEpsilon = 1e-8;  // Adam's own defaults
constexpr std::size_t kBlock = 24;  // queries at a time: their scores of 300 documents take 30 KB

std::size_t padded(std::size_t n) { return (n + 15) / 16 * 16; }

/// Zeros, 64-byte aligned: vectors that lie across two cache lines take twice as long to load.
class Floats {
 public:
  explicit Floats(std::size_t n) {
    buffer_.reserve(n);
    data_ = std::fill_n(buffer_.grow_within(n), n, 0.0f) - n;
  }
  float* data() { return data_; }

 private:
  Buffer<float> buffer_;
  float* data_;
};

/// Rows filled up with zeros to whole vectors, which no step changes.
class Padded {
 public:
  Padded(const Rows& of, std::size_t dim) : of_(of), dim_(dim), width_(padded(dim)), values_(3 * of.n * width_) {
    copy([](float* from, float* to, std::size_t n) { std::copy_n(from, n, to); });
  }
  void write_back() {
    copy([](float* from, float* to, std::size_t n) { std::copy_n(to, n, from); });
  }

  float* row(std::size_t i) { return values_.data() + i * width_; }
  void move(std::size_t begin, std::size_t n, const float* gradient, const kernels::AdamStep& step) {
    const std::size_t part = of_.n * width_;
    kernels::active().adam(row(begin), gradient, row(begin) + part, row(begin) + 2 * part, n, width_ / 16, step);
  }

 private:
  template <class Copy>
  void copy(Copy one_row) {
    float* to = values_.data();
    for (float* const from : {of_.rows, of_.first, of_.second})
      for (std::size_t i = 0; i < of_.n; ++i, to += width_) one_row(from + i * dim_, to, dim_);
  }

  Rows of_;
  std::size_t dim_, width_;
  Floats values_;
};

kernels::AdamStep adam_step(std::size_t number, double rate) {
  const auto n = static_cast<double>(number);
  return {static_cast<float>(kKeepFirst),
          static_cast<float>(1 - kKeepFirst),
          static_cast<float>(kKeepSecond),
          static_cast<float>(1 - kKeepSecond),
          static_cast<float>(rate / (1 - std::pow(kKeepFirst, n))),
          static_cast<float>(1 / std::sqrt(1 - std::pow(kKeepSecond, n))),
          static_cast<float>(kEpsilon)};
}

}  // namespace

void descend(const Rows& queries, const Rows& documents, std::size_t dim, std::span<const std::int64_t> relevant, std::size_t k,
             std::span<double> losses, const Settings& settings, Cancel& cancel) {
  const std::size_t m = queries.n, n = documents.n, width = padded(dim), stride = padded(n);
  if (!m || !n || !dim || !k || relevant.size() != m * k) invalid("descent has no rows, or other than k relevant ones a query");
  for (const std::int64_t row : relevant)
    if (row < 0 || static_cast<std::size_t>(row) >= n) invalid("qrels holds " + std::to_string(row) + ", expected documents");

  const kernels::Table& table = kernels::active();
  Padded points(queries, dim), base(documents, dim);
  Floats turned(dim * stride), scores(kBlock * stride), of_queries(kBlock * width), of_documents(n * width), unused(stride);
  std::fill(unused.data() + n, unused.data() + stride, -1e30f);
  const kernels::SoftmaxLoss loss{settings.temperature, static_cast<double>(m), settings.summed};
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const kernels::AdamStep step = adam_step(settings.done + i + 1, settings.rate);
    for (std::size_t c = 0; c < dim; ++c)
      for (std::size_t j = 0; j < n; ++j) turned.data()[c * stride + j] = base.row(j)[c];
    double total = 0;
    for (std::size_t begin = 0; begin < m; begin += kBlock) {
      const std::size_t rows = std::min(kBlock, m - begin);
      table.multiply({points.row(begin), width, 1, turned.data(), stride, scores.data(), stride, rows, dim, stride, false});
      total += table.softmax_gradient(scores.data(), rows, stride / 16, unused.data(), relevant.data() + begin * k, k, loss);
      table.multiply({scores.data(), stride, 1, base.row(0), width, of_queries.data(), width, rows, n, width, false});
      table.multiply({scores.data(), 1, stride, points.row(begin), width, of_documents.data(), width, n, rows, width, begin > 0});
      points.move(begin, rows, of_queries.data(), step);
      cancel.check();
    }
    base.move(0, n, of_documents.data(), step);
    losses[i] = total / static_cast<double>(m);
  }
  points.write_back();
  base.write_back();
}

}  // namespace engine::descent
