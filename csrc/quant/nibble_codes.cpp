#include "quant/nibble_codes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "util/rounding.hpp"
#include "util/thread_pool.hpp"

namespace engine::quant {
namespace {

constexpr double kTiny = 1e-30;  // keeps every bound far above what float32 loses when it underflows
constexpr double kHuge = 1e33;   // longer rows are never ruled out: float32 sums of theirs may overflow

/// One row as floats, with the factor that makes it what is coded and the norm it then has.
class RowReader {
 public:
  RowReader(RowsView rows, Metric metric, const char* what)
      : rows_(rows), metric_(metric), what_(what), values_(rows.dim), kernels_(kernels::active()) {}

  const float* read(std::size_t row) {
    read_row(rows_, row, values_.data());
    const double squared = kernels_.squared_norm[0](values_.data(), rows_.dim);
    if (!std::isfinite(squared)) invalid(name(row) + " holds NaN or Inf, expected finite numbers");
    if (metric_ == Metric::cosine && squared == 0) invalid(name(row) + " is a zero vector, which has no cosine");
    norm_ = std::sqrt(squared);
    return values_.data();
  }
  double factor() const noexcept { return metric_ == Metric::cosine ? 1 / norm_ : 1; }
  double coded_norm() const noexcept { return metric_ == Metric::cosine ? 1 : norm_; }

 private:
  std::string name(std::size_t row) const { return std::string(what_) + "[" + std::to_string(row) + "]"; }

  RowsView rows_;
  Metric metric_;
  const char* what_;
  std::vector<float> values_;
  double norm_ = 0;
  const kernels::Table& kernels_;
};

constexpr double kDrift = 0.05;  // of the rows' length around it a center may be off: the codes' errors grow as little

struct Center {
  std::vector<float> values;
  double spread;  // mean length of the rows around it
};

/// The mean of a sample, unless subtracting it would not shorten the rows: outliers can pull a mean away from everything.
Center choose_center(RowsView rows, Metric metric, const char* what) {
  constexpr std::size_t kSample = 4096, kEnough = 64;
  Center center{std::vector<float>(rows.dim), 0};
  if (rows.n_rows < kEnough) return center;
  const std::size_t step = (rows.n_rows + kSample - 1) / kSample;
  const double n = static_cast<double>((rows.n_rows + step - 1) / step);
  RowReader reader(rows, metric, what);
  std::vector<double> mean(rows.dim);
  for (std::size_t r = 0; r < rows.n_rows; r += step) {
    const float* const x = reader.read(r);
    for (std::size_t j = 0; j < rows.dim; ++j) mean[j] += x[j] * reader.factor() / n;
  }
  double before = 0, after = 0;
  for (std::size_t r = 0; r < rows.n_rows; r += step) {
    const float* const x = reader.read(r);
    double squared = 0;
    for (std::size_t j = 0; j < rows.dim; ++j) {
      const double w = x[j] * reader.factor() - mean[j];
      squared += w * w;
    }
    before += reader.coded_norm();
    after += std::sqrt(squared);
  }
  const bool shorter = after < 0.98 * before;
  center.spread = (shorter ? after : before) / n;
  for (std::size_t j = 0; shorter && j < rows.dim; ++j) center.values[j] = static_cast<float>(mean[j]);
  return center;
}

}  // namespace

NibbleCodes::NibbleCodes(std::size_t dim, Metric metric)
    : dim_(dim), row_bytes_((dim + 31) / 32 * 16), metric_(metric), center_(dim) {
  const std::vector<std::uint8_t> end(kernels::kReadAhead);
  high_.append(end);
  low_.append(end);
}

NibbleCodes NibbleCodes::of(RowsView rows, Metric metric, std::size_t n_threads, Cancel& cancel, const char* what) {
  NibbleCodes codes(rows.dim, metric);
  codes.follow(rows, n_threads, cancel, what);
  return codes;
}

void NibbleCodes::follow(RowsView rows, std::size_t n_threads, Cancel& cancel, const char* what) {
  Center chosen = choose_center(rows, metric_, what);
  double squared = 0;
  for (std::size_t j = 0; j < dim_; ++j) squared += std::pow(double{chosen.values[j]} - center_[j], 2);
  if (n_rows_ > 0 && std::sqrt(squared) <= kDrift * chosen.spread) {
    extend({rows.row(n_rows_), rows.n_rows - n_rows_, rows.dim, rows.dtype}, n_threads, cancel, what);
    return;
  }
  NibbleCodes codes(dim_, metric_);
  codes.set_center(std::move(chosen.values));
  codes.extend(rows, n_threads, cancel, what);
  *this = std::move(codes);
}

void NibbleCodes::set_center(std::vector<float> center) {
  center_ = std::move(center);
  double squared = 0;
  for (const float value : center_) squared += double{value} * value;
  center_norm_ = std::sqrt(squared) * (1 + 0x1p-30);
}

void NibbleCodes::reserve(std::size_t n_rows) {
  high_.reserve(n_rows * row_bytes_ + kernels::kReadAhead);
  low_.reserve(n_rows * row_bytes_ + kernels::kReadAhead);
  scale4_.reserve(n_rows);
  scale8_.reserve(n_rows);
  bound4_.reserve(n_rows);
  bound8_.reserve(n_rows);
  if (metric_ == Metric::l2) bias_.reserve(n_rows);
}

void NibbleCodes::extend(RowsView rows, std::size_t n_threads, Cancel& cancel, const char* what) {
  const std::size_t first = n_rows_, n = first + rows.n_rows;
  if (n == first) return;
  reserve(n);
  std::uint8_t* const high = high_.writable();
  std::uint8_t* const low = low_.writable();
  float* const scale4 = scale4_.writable();
  float* const scale8 = scale8_.writable();
  std::uint32_t* const bound4 = bound4_.writable();
  std::uint32_t* const bound8 = bound8_.writable();
  float* const bias = metric_ == Metric::l2 ? bias_.writable() : nullptr;
  const kernels::Table& kernels = kernels::active();

  constexpr std::size_t kChunk = 512;
  parallel_for((n - first + kChunk - 1) / kChunk, n_threads, [&](std::size_t chunk) {
    cancel.check();
    RowReader reader(rows, metric_, what);
    std::vector<double> work(2 * dim_);
    const std::size_t begin = first + chunk * kChunk;
    for (std::size_t r = begin; r < std::min(begin + kChunk, n); ++r) {
      const float* const x = reader.read(r - first);
      kernels::EncodedRow row;
      kernels.encode(x, reader.factor(), center_.data(), dim_, row_bytes_, high + r * row_bytes_, low + r * row_bytes_,
                     work.data(), &row);
      // Every float64 rounding of w, of the sums and of the exact distance later is within these two terms.
      const double magnitude = reader.coded_norm() + center_norm_;
      const double norm = std::sqrt(row.norm) * (1 + 0x1p-20) + 0x1p-36 * magnitude + kTiny;
      const auto bound = [&](double squared) {
        const double error = std::sqrt(squared) * (1 + 0x1p-20) + 0x1p-36 * magnitude + kTiny;
        return pack_bounds(norm < kHuge ? error : std::numeric_limits<double>::infinity(), norm);
      };
      scale4[r] = row.scale4;
      scale8[r] = row.scale8;
      bound4[r] = bound(row.error4);
      bound8[r] = bound(row.error8);
      if (bias) {
        const double least = std::max(0.0, std::sqrt(row.norm) - 0x1p-46 * magnitude);
        bias[r] = round_down(least * least / 2 * (1 - 0x1p-20));
      }
    }
  });

  for (Buffer<std::uint8_t>* plane : {&high_, &low_}) {
    plane->truncate(0);
    std::fill_n(plane->grow_within(n * row_bytes_ + kernels::kReadAhead) + n * row_bytes_, kernels::kReadAhead, std::uint8_t{0});
  }
  for (Buffer<float>* values : {&scale4_, &scale8_}) values->grow_within(n);
  for (Buffer<std::uint32_t>* values : {&bound4_, &bound8_}) values->grow_within(n);
  if (bias) bias_.grow_within(n);
  n_rows_ = n;
}

NibbleCodes NibbleCodes::subset(std::span<const std::uint32_t> rows) const {
  NibbleCodes result(dim_, metric_);
  result.set_center(center_);
  result.n_rows_ = rows.size();
  const auto copy = [&](const auto& from, auto& to, std::size_t width, std::size_t beyond) {
    to.truncate(0);
    to.reserve(rows.size() * width + beyond);
    auto* at = to.grow_within(rows.size() * width + beyond);
    for (const std::uint32_t row : rows) at = std::copy_n(from.data() + row * width, width, at);
    std::fill_n(at, beyond, 0);
  };
  copy(high_, result.high_, row_bytes_, kernels::kReadAhead);
  copy(low_, result.low_, row_bytes_, kernels::kReadAhead);
  copy(scale4_, result.scale4_, 1, 0);
  copy(scale8_, result.scale8_, 1, 0);
  copy(bound4_, result.bound4_, 1, 0);
  copy(bound8_, result.bound8_, 1, 0);
  if (metric_ == Metric::l2) copy(bias_, result.bias_, 1, 0);
  return result;
}

void NibbleCodes::decode(std::size_t row, float* to) const noexcept {
  const std::uint8_t* const high = high_.data() + row * row_bytes_;
  const std::uint8_t* const low = low_.data() + row * row_bytes_;
  const float scale = scale8_[row];
  const std::size_t half = std::min(row_bytes_, dim_);
  for (std::size_t j = 0; j < half; ++j)
    to[j] = center_[j] + scale * static_cast<float>(((high[j] & 15) << 4 | (low[j] & 15)) - 136);
  for (std::size_t j = half; j < dim_; ++j)
    to[j] = center_[j] + scale * static_cast<float>(((high[j - half] & 0xf0) | low[j - half] >> 4) - 136);
}

void NibbleCodes::make_writable() {
  high_.writable();
  low_.writable();
  scale4_.writable();
  scale8_.writable();
  bound4_.writable();
  bound8_.writable();
  bias_.writable();
}

void NibbleCodes::remove(std::size_t row) {
  const std::size_t last = n_rows_ - 1;
  for (Buffer<std::uint8_t>* plane : {&high_, &low_}) {
    std::uint8_t* const bytes = plane->writable();
    std::copy_n(bytes + last * row_bytes_, row_bytes_, bytes + row * row_bytes_);
    std::fill_n(bytes + last * row_bytes_, kernels::kReadAhead, std::uint8_t{0});
    plane->truncate(last * row_bytes_ + kernels::kReadAhead);
  }
  const auto move_last = [&](auto& buffer) {
    auto* const values = buffer.writable();
    values[row] = values[last];
    buffer.truncate(last);
  };
  move_last(scale4_);
  move_last(scale8_);
  move_last(bound4_);
  move_last(bound8_);
  if (metric_ == Metric::l2) move_last(bias_);
  n_rows_ = last;
}

std::size_t NibbleCodes::nbytes() const noexcept {
  return high_.nbytes() + low_.nbytes() + scale4_.nbytes() + scale8_.nbytes() + bound4_.nbytes() + bound8_.nbytes() +
         bias_.nbytes() + center_.size() * sizeof(float);
}

NibbleCodes NibbleCodes::from_parts(std::size_t dim, Metric metric, std::size_t n_rows, Parts parts) {
  NibbleCodes codes(dim, metric);
  const auto expect = [](const char* name, std::size_t size, std::size_t expected) {
    if (size != expected)
      throw Error(ErrorCode::corrupt,
                  std::string(name) + " has length " + std::to_string(size) + ", expected " + std::to_string(expected));
  };
  const std::size_t plane = n_rows * codes.row_bytes_ + kernels::kReadAhead;
  expect("center", parts.center.size(), dim);
  expect("high", parts.high.size(), plane);
  expect("low", parts.low.size(), plane);
  expect("scale4", parts.scale4.size(), n_rows);
  expect("scale8", parts.scale8.size(), n_rows);
  expect("bound4", parts.bound4.size(), n_rows);
  expect("bound8", parts.bound8.size(), n_rows);
  expect("bias", parts.bias.size(), metric == Metric::l2 ? n_rows : 0);
  for (std::size_t j = 0; j < dim; ++j)
    if (!std::isfinite(parts.center[j]))
      throw Error(ErrorCode::corrupt, "center[" + std::to_string(j) + "] is NaN or Inf, expected a finite number");
  codes.set_center(std::move(parts.center));
  codes.n_rows_ = n_rows;
  codes.high_ = std::move(parts.high);
  codes.low_ = std::move(parts.low);
  codes.scale4_ = std::move(parts.scale4);
  codes.scale8_ = std::move(parts.scale8);
  codes.bound4_ = std::move(parts.bound4);
  codes.bound8_ = std::move(parts.bound8);
  codes.bias_ = std::move(parts.bias);
  return codes;
}

}  // namespace engine::quant
