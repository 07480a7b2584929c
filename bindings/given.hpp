#pragma once
// Arguments of a search as a caller gave them. A search of few rows is over in two microseconds: looking at them in Python took
// as long again. What is exactly of the type that a search takes is taken here; nothing is converted, so nothing is misread (True
// is no count, a masked array no matrix), and all else is left to Python, which converts it or says what is wrong.
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "arrays.hpp"
#include "direct.hpp"
#include "engine/bitmap.hpp"
#include "engine/plan.hpp"
#include "engine/search.hpp"

namespace engine::bindings {

/// As engine/_validate.py has them.
inline constexpr long kMostCount = std::numeric_limits<std::int32_t>::max(), kMostThreads = 1024;

inline std::optional<std::size_t> given_count(py::handle value, long most = kMostCount) {
  if (!PyLong_CheckExact(value.ptr())) return std::nullopt;
  int overflow = 0;
  const long count = PyLong_AsLongAndOverflow(value.ptr(), &overflow);
  if (overflow || count < 1 || count > most) return std::nullopt;
  return static_cast<std::size_t>(count);
}

/// Points into `value`.
inline std::optional<std::string_view> given_text(py::handle value) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_CheckExact(value.ptr()) ? PyUnicode_AsUTF8AndSize(value.ptr(), &size) : nullptr;
  if (text) return std::string_view(text, static_cast<std::size_t>(size));
  PyErr_Clear();  // of text that UTF-8 cannot hold
  return std::nullopt;
}

/// A single vector is one row.
inline std::optional<MatrixView> given_matrix(py::handle value) {
  if (!Py_IS_TYPE(value.ptr(), py::detail::npy_api::get().PyArray_Type_) || !FloatMatrix::check_(value)) return std::nullopt;
  const auto array = py::reinterpret_borrow<FloatMatrix>(value);
  const auto ndim = array.ndim();
  if (ndim < 1 || ndim > 2 || array.size() == 0 || reinterpret_cast<std::uintptr_t>(array.data()) % alignof(float))
    return std::nullopt;
  const auto dim = static_cast<std::size_t>(array.shape(ndim - 1));
  // The first row is asked for, into the first cache, while the other arguments are looked at and room for results is made.
  for (std::size_t j = 0; j < dim; j += 64 / sizeof(float)) __builtin_prefetch(array.data() + j);
  return MatrixView{array.data(), static_cast<std::size_t>(array.size()) / dim, dim};
}

/// Either a recall or an ef.
inline std::optional<Effort> given_effort(py::handle recall, py::handle ef) {
  if (ef.is_none()) {
    if (!PyFloat_CheckExact(recall.ptr())) return std::nullopt;
    const double share = PyFloat_AS_DOUBLE(recall.ptr());
    return share > 0 && share <= 1 ? std::optional(Effort{0, share}) : std::nullopt;
  }
  const auto count = given_count(ef);
  return count && recall.is_none() ? std::optional(Effort{*count, 1.0}) : std::nullopt;
}

/// No filter is one that lets all pass.
inline std::optional<const Bitmap*> given_filter(py::handle value) {
  if (value.is_none()) return nullptr;
  const Bitmap* const filter = held<Bitmap>(value);
  return filter ? std::optional(filter) : std::nullopt;
}

}  // namespace engine::bindings
