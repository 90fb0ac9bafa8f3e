// A session's file, mapped: its words, its areas, and sleeping on its bells. See proxy/segment.py.
// Words are read with acquire and written with release; each has one writer. The other side may
// write anything anywhere at any time: whoever relies on a word keeps a copy of its own.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

#include "table.hpp"

namespace haltere {

class Segment {
 public:
  Segment() = default;
  // `base`: at least kRingAt + ring + arena bytes, whose sizes the caller has checked.
  Segment(std::uint8_t* base, std::size_t ring_bytes, std::size_t arena_bytes)
      : base_(base), ring_bytes_(ring_bytes), arena_bytes_(arena_bytes) {}

  std::uint64_t get(Line line) const { return word(line).load(std::memory_order_acquire); }
  void set(Line line, std::uint64_t value) { word(line).store(value, std::memory_order_release); }

  std::uint8_t* base() const { return base_; }
  std::uint8_t* ring() const { return base_ + kRingAt; }
  std::uint8_t* arena() const { return base_ + kRingAt + ring_bytes_; }
  std::size_t ring_bytes() const { return ring_bytes_; }
  std::size_t arena_bytes() const { return arena_bytes_; }

  std::atomic_ref<std::uint64_t> word(Line line) const {
    return std::atomic_ref<std::uint64_t>(
        *reinterpret_cast<std::uint64_t*>(base_ + static_cast<std::size_t>(line) * kLineBytes));
  }
  std::atomic_ref<std::uint32_t> bell(Line line) const {
    return std::atomic_ref<std::uint32_t>(
        *reinterpret_cast<std::uint32_t*>(base_ + static_cast<std::size_t>(line) * kLineBytes));
  }

 private:
  std::uint8_t* base_ = nullptr;
  std::size_t ring_bytes_ = 0;
  std::size_t arena_bytes_ = 0;
};

// Change the word, so that nobody falls asleep on the old one; then a fence, before looking
// whether somebody sleeps (a processor may let that load pass the store).
inline void bump(std::atomic_ref<std::uint32_t> bell) {
  bell.fetch_add(1, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

inline void wake(const void* address) {
  syscall(SYS_futex, address, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// Until rung, or the word is not `seen`, or the time is over, or a signal arrives.
inline void sleep_on(const void* address, std::uint32_t seen, std::int64_t timeout_ns) {
  if (timeout_ns < 0) timeout_ns = 0;
  const timespec limit{static_cast<time_t>(timeout_ns / 1'000'000'000), timeout_ns % 1'000'000'000};
  syscall(SYS_futex, address, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

inline const void* bell_address(const Segment& segment, Line line) {
  return segment.base() + static_cast<std::size_t>(line) * kLineBytes;
}

}  // namespace haltere
