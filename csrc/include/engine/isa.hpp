#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace engine {

/// Name of the instruction set in use: baseline, avx2, avx512 or avx512vnni.
std::string_view active_isa();

/// Those that this build holds and this machine can run, slowest first.
std::vector<std::string> supported_isas();

}  // namespace engine
