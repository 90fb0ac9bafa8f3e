// What all parts share: integers, the error, rounding as Python rounds.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace haltere {

using i32 = std::int32_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i128 = __int128;

constexpr i64 kSecond = 1'000'000;
constexpr i64 kFullPpm = 1'000'000;
constexpr i64 kLatest = i64{1} << 46;  // over two years: service and work of the largest gang still fit
constexpr i32 kMaxCount = 65'536;      // slices of one gang, as scheduler/core/values.py has it

// `code`: of scheduler/errors.py.
struct Failure : std::runtime_error {
  Failure(const char* which, const std::string& message) : std::runtime_error(message), code(which) {}
  const char* code;
};

[[gnu::format(printf, 1, 2)]] inline std::string text(const char* format, ...) {
  char found[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(found, sizeof found, format, arguments);
  va_end(arguments);
  return found;
}

// Rounds down, as // does.
template <class Number>
constexpr Number floor_div(Number of, Number by) {
  const Number quotient = of / by;
  return quotient - (of % by != 0 && (of < 0) != (by < 0));
}

// Rounds up; `of` is not negative.
template <class Number>
constexpr Number ceil_div(Number of, Number by) {
  return (of + by - 1) / by;
}

}  // namespace haltere
