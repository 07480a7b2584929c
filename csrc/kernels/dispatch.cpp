#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "engine/error.hpp"
#include "engine/isa.hpp"
#include "kernels/table.hpp"

namespace engine {
namespace kernels {

namespace baseline {
extern const Table table;
}
#ifdef ENGINE_X86
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}
namespace avx512vnni {
extern const Table table;
}
#endif

namespace {

/// Tables this machine can run, slowest first.
std::vector<const Table*> supported() {
  std::vector<const Table*> tables{&baseline::table};
#ifdef ENGINE_X86
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx2) tables.push_back(&avx2::table);
  if (has_avx512) tables.push_back(&avx512::table);
  if (has_avx512 && __builtin_cpu_supports("avx512vnni")) tables.push_back(&avx512vnni::table);
#endif
  return tables;
}

const Table& choose() {
  const std::vector<const Table*> tables = supported();
  const char* const wanted = std::getenv("ENGINE_ISA");
  if (!wanted || !*wanted) return *tables.back();
  std::string names;
  for (const Table* table : tables) {
    if (std::string_view(table->name) == wanted) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  throw Error(ErrorCode::unsupported, "ENGINE_ISA is '" + std::string(wanted) + "', this machine runs " + names);
}

}  // namespace

const Table& active() {
  static const Table& table = choose();
  return table;
}

}  // namespace kernels

std::string_view active_isa() { return kernels::active().name; }

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const kernels::Table* table : kernels::supported()) names.emplace_back(table->name);
  return names;
}

}  // namespace engine
