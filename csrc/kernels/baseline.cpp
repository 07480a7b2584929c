// Portable C++: what any 64-bit machine runs. Arrays of fixed length that compilers turn into what vectors they have.
#include <algorithm>
#include <cstring>

#include "kernels/table.hpp"

namespace engine::kernels::baseline {
namespace {

constexpr const char* kName = "baseline";
constexpr int kQueryLimit = 127;

#include "kernels/scalar.inc"

struct Floats {
  float v[16];
};
struct Doubles {
  double v[16];
};

template <class T>
inline Floats load16(const T* from) {
  Floats f;
  for (int i = 0; i < 16; ++i) f.v[i] = to_float(from[i]);
  return f;
}
inline Floats zero_floats() { return {}; }
inline Floats add_product(const Floats& total, const Floats& a, const Floats& b) {
  Floats f;
  for (int i = 0; i < 16; ++i) f.v[i] = total.v[i] + a.v[i] * b.v[i];
  return f;
}
inline Floats add_squared_difference(const Floats& total, const Floats& a, const Floats& b) {
  Floats f;
  for (int i = 0; i < 16; ++i) f.v[i] = total.v[i] + (a.v[i] - b.v[i]) * (a.v[i] - b.v[i]);
  return f;
}
inline float sum(Floats f) {
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; ++i) f.v[i] += f.v[i + half];
  return f.v[0];
}
inline Doubles zero_doubles() { return {}; }
inline Doubles widen(const Floats& f) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = f.v[i];
  return d;
}
inline Doubles add_product(const Doubles& total, const Doubles& a, const Doubles& b) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = total.v[i] + a.v[i] * b.v[i];
  return d;
}
inline Doubles add_squared_difference(const Doubles& total, const Doubles& a, const Doubles& b) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = total.v[i] + (a.v[i] - b.v[i]) * (a.v[i] - b.v[i]);
  return d;
}
inline Doubles load_doubles(const double* from) {
  Doubles d;
  std::memcpy(d.v, from, sizeof d.v);
  return d;
}
inline Doubles load_wide(const std::int32_t* from) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = from[i];
  return d;
}
inline void store_doubles(double* to, const Doubles& d) { std::memcpy(to, d.v, sizeof d.v); }
inline Doubles broadcast_double(double value) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = value;
  return d;
}
inline Doubles larger(const Doubles& a, const Doubles& b) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return d;
}
inline Doubles smaller(const Doubles& a, const Doubles& b) {
  Doubles d;
  for (int i = 0; i < 16; ++i) d.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return d;
}
inline std::uint32_t not_above(const Doubles& a, const Doubles& b) {
  std::uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<std::uint32_t>(!(a.v[i] > b.v[i])) << i;
  return mask;
}
inline double sum(Doubles d) {
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; ++i) d.v[i] += d.v[i + half];
  return d.v[0];
}

constexpr std::size_t kLanes = 4, kTileVectors = 4, kTileQueries = 2, kMostHeld = 1;
struct Words {
  std::uint32_t v[kLanes];
};
struct Lanes {
  float v[kLanes];
};

inline Words zero_words() { return {}; }
inline Words load_words(const void* from) {
  Words w;
  std::memcpy(&w, from, sizeof w);
  return w;
}
inline void store_words(void* to, const Words& w) { std::memcpy(to, &w, sizeof w); }
inline Words broadcast_word(std::int32_t value) {
  Words w;
  for (auto& x : w.v) x = static_cast<std::uint32_t>(value);
  return w;
}
inline Words broadcast_4_bytes(const void* from) {
  std::int32_t value;
  std::memcpy(&value, from, 4);
  return broadcast_word(value);
}
inline Words add(const Words& a, const Words& b) {
  Words w;
  for (std::size_t i = 0; i < kLanes; ++i) w.v[i] = a.v[i] + b.v[i];
  return w;
}
inline std::uint32_t dot_4_bytes(std::uint32_t a, std::uint32_t b) {
  std::int32_t total = 0;
  for (int shift = 0; shift < 32; shift += 8)
    total += static_cast<std::int32_t>(a >> shift & 0xff) * static_cast<std::int8_t>(b >> shift & 0xff);
  return static_cast<std::uint32_t>(total);
}
inline void multiply_nibbles(const Words& codes, const Words& query_low, const Words& query_high, Words& low, Words& high) {
  for (std::size_t i = 0; i < kLanes; ++i) {
    low.v[i] += dot_4_bytes(codes.v[i] & 0x0f0f0f0fu, query_low.v[i]);
    high.v[i] += dot_4_bytes(codes.v[i] >> 4 & 0x0f0f0f0fu, query_high.v[i]);
  }
}
inline void join_nibbles(const Words& high, const Words& low, Words& lower, Words& upper) {
  for (std::size_t i = 0; i < kLanes; ++i) {
    lower.v[i] = (high.v[i] & 0x0f0f0f0fu) << 4 | (low.v[i] & 0x0f0f0f0fu);
    upper.v[i] = (high.v[i] & 0xf0f0f0f0u) | (low.v[i] >> 4 & 0x0f0f0f0fu);
  }
}
inline Words to_signed(const Words& codes) {
  Words w{};
  for (std::size_t i = 0; i < kLanes; ++i)
    for (int shift = 0; shift < 32; shift += 8) {
      const std::uint32_t code = codes.v[i] >> shift & 0xff;
      w.v[i] |= (((code < 9 ? 9 : code) - 136) & 0xff) << shift;
    }
  return w;
}
inline void transpose(Words (&rows)[kLanes]) {
  for (std::size_t r = 0; r < kLanes; ++r)
    for (std::size_t i = 0; i < r; ++i) {
      const std::uint32_t held = rows[r].v[i];
      rows[r].v[i] = rows[i].v[r];
      rows[i].v[r] = held;
    }
}
inline Words low_halves_up(Words w) {
  for (auto& x : w.v) x <<= 16;
  return w;
}
inline Words high_halves(Words w) {
  for (auto& x : w.v) x &= 0xffff0000u;
  return w;
}
inline Words sum_of_nibbles(const Words& low, const Words& high) { return add(low, high); }
inline Words transpose_sum(const Words (&rows)[kLanes]) {
  Words w{};
  for (std::size_t r = 0; r < kLanes; ++r)
    for (std::size_t i = 0; i < kLanes; ++i) w.v[r] += rows[r].v[i];
  return w;
}

inline Lanes zero_lanes() { return {}; }
inline Lanes lanes_of_ints(const Words& w) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i) f.v[i] = static_cast<float>(static_cast<std::int32_t>(w.v[i]));
  return f;
}
inline Lanes load_lanes(const float* from) {
  Lanes f;
  std::memcpy(&f, from, sizeof f);
  return f;
}
inline Lanes broadcast_lane(float value) {
  Lanes f;
  for (auto& x : f.v) x = value;
  return f;
}
inline Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i) f.v[i] = a.v[i] * b.v[i] + c.v[i];
  return f;
}
inline Lanes fnma(const Lanes& a, const Lanes& b, const Lanes& c) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i) f.v[i] = c.v[i] - a.v[i] * b.v[i];
  return f;
}
inline Lanes root(const Lanes& a) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i) f.v[i] = __builtin_sqrtf(a.v[i]);
  return f;
}
inline std::uint32_t not_below(const Lanes& a, const Lanes& b) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < kLanes; ++i) bits |= static_cast<std::uint32_t>(!(a.v[i] < b.v[i])) << i;
  return bits;
}

inline void store_lanes(float* to, const Lanes& a) { std::memcpy(to, &a, sizeof a); }
/// a, or -a where the sign of b is set
inline Lanes signed_by(const Lanes& a, const Lanes& b) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i) f.v[i] = float_of(bits_of(a.v[i]) ^ (bits_of(b.v[i]) & 0x80000000u));
  return f;
}
inline Lanes lanes_of_bits(const Words& w) { return load_lanes(reinterpret_cast<const float*>(&w)); }
inline Lanes larger(const Lanes& a, const Lanes& b) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i) f.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return f;
}
/// a * 2^whole, which has to be a normal number
inline Lanes times_power(const Lanes& a, const Lanes& whole) {
  Lanes f;
  for (std::size_t i = 0; i < kLanes; ++i)
    f.v[i] = float_of(bits_of(a.v[i]) + (static_cast<std::uint32_t>(static_cast<std::int32_t>(whole.v[i])) << 23));
  return f;
}
inline float sum_lanes(const Lanes& a) { return a.v[0] + a.v[2] + (a.v[1] + a.v[3]); }
inline float largest_lane(const Lanes& a) {
  float most = a.v[0];
  for (const float value : a.v) most = value > most ? value : most;
  return most;
}

inline void lookup_sums(const std::uint8_t* codes, std::size_t n_pairs, const std::uint8_t* tables, std::int32_t* sums) {
  std::memset(sums, 0, 32 * sizeof *sums);
  for (std::size_t p = 0; p < n_pairs; ++p)
    for (std::size_t i = 0; i < 32; ++i)
      sums[i] += tables[32 * p + (codes[32 * p + i] & 15)] + tables[32 * p + 16 + (codes[32 * p + i] >> 4)];
}

struct Int8Step {
  static Words multiply(const Words& total, const Words& rows, const Words& query) {
    Words w;
    for (std::size_t i = 0; i < kLanes; ++i) w.v[i] = total.v[i] + dot_4_bytes(rows.v[i], query.v[i]);
    return w;
  }
  static Lanes to_lanes(const Words& w) { return lanes_of_ints(w); }
};
struct FloatStep {
  static Words multiply(const Words& total, const Words& rows, const Words& query) {
    Words w;
    for (std::size_t i = 0; i < kLanes; ++i) w.v[i] = bits_of(float_of(total.v[i]) + float_of(rows.v[i]) * float_of(query.v[i]));
    return w;
  }
  static Lanes to_lanes(const Words& w) { return lanes_of_bits(w); }
};

std::int64_t int8_peak(std::size_t iterations) {
  Words sums[4] = {broadcast_word(0), broadcast_word(1), broadcast_word(2), broadcast_word(3)};
  for (std::size_t i = 0; i < iterations; ++i)
    for (auto& sum : sums) sum = Int8Step::multiply(sum, sum, broadcast_word(static_cast<std::int32_t>(i)));
  volatile std::uint32_t keep = sums[0].v[0] ^ sums[1].v[0] ^ sums[2].v[0] ^ sums[3].v[0];
  (void)keep;
  return static_cast<std::int64_t>(iterations) * 4 * kLanes * 4 * 2;
}

std::size_t insert(std::int64_t* numbers, std::size_t n, std::int64_t value) {
  std::int64_t* const place = std::upper_bound(numbers, numbers + n, value);
  std::copy_backward(place, numbers + n, numbers + n + 1);
  *place = value;
  return static_cast<std::size_t>(place - numbers);
}

#include "kernels/table.inc"

}  // namespace engine::kernels::baseline
