// The redo log of a session, as the engine appends to it: the twin of proxy/redo_log.py. What is
// published last is the length; whoever kills the server leaves whole entries.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>

#include "../segment.hpp"

namespace haltere {

class RedoLog {
 public:
  enum Kind : std::uint64_t { kCommand = 1, kRead = 2 };

  RedoLog() = default;
  // The half of the file that holds the log: where it is mapped, the bytes of its entries; where it is in the file.
  RedoLog(std::uint8_t* base, std::uint64_t nbytes, int fd, std::uint64_t offset)
      : base_(base), nbytes_(nbytes), fd_(fd), offset_(offset) {}
  bool on() const { return base_ && length().load(std::memory_order_relaxed) != kVoid; }

  // From now on nothing can be redone: until a checkpoint begins another log.
  void end(Segment& segment) {
    if (!base_) return;
    length().store(kVoid, std::memory_order_release);
    segment.set(Line::RECOVERABLE, 0);
  }

  // An entry; if there is no room for it, the end.
  void append(Segment& segment, Kind kind, std::uint64_t number, Bytes record, const std::uint8_t* payload,
              std::uint64_t payload_bytes) {
    if (!on()) return;
    const std::uint64_t at = length().load(std::memory_order_relaxed);
    const std::uint64_t whole = (kHead + record.size + payload_bytes + 7) / 8 * 8;
    if (payload_bytes > nbytes_ || whole > nbytes_ - at || !reserve(at + whole)) return end(segment);
    std::uint8_t* to = base_ + kFirst + at;
    const std::uint64_t head[4] = {kind, number, record.size, payload_bytes};
    std::memcpy(to, head, kHead);
    if (record.size) std::memcpy(to + kHead, record.data, record.size);
    if (payload_bytes) std::memcpy(to + kHead + record.size, payload, payload_bytes);
    length().store(at + whole, std::memory_order_release);
  }

 private:
  static constexpr std::uint64_t kHead = 32, kFirst = 4096, kVoid = UINT64_MAX;
  static constexpr std::uint64_t kReserve = 256 << 10, kMaxReserve = 8 << 20;  // at first; at once

  // Memory for so many bytes of entries, and some more.
  bool reserve(std::uint64_t nbytes) const {
    std::uint64_t& have = *reinterpret_cast<std::uint64_t*>(base_ + 16);
    if (nbytes <= have) return true;
    const std::uint64_t upto =
        std::min(std::max((nbytes + 4095) / 4096 * 4096, have + std::clamp(have, kReserve, kMaxReserve)), nbytes_);
    if (posix_fallocate(fd_, static_cast<off_t>(offset_ + kFirst + have), static_cast<off_t>(upto - have)) != 0) return false;
#ifdef MADV_POPULATE_WRITE
    madvise(base_ + kFirst + have, upto - have, MADV_POPULATE_WRITE);  // an older kernel: pages come as they are touched
#endif
    have = upto;
    return true;
  }

  std::atomic_ref<std::uint64_t> length() const {
    return std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(base_));
  }
  std::uint8_t* base_ = nullptr;
  std::uint64_t nbytes_ = 0;
  int fd_ = -1;
  std::uint64_t offset_ = 0;
};

// The arena's bytes that a command writes from or reads into; 0 for others.
template <class Record>
std::uint64_t arena_bytes_of(const Record& record) {
  if constexpr (requires { record.arena; record.nbytes; })
    return record.nbytes;
  else if constexpr (requires { record.arena; record.slice; })
    return record.width * record.height * record.depth;  // was checked to lie in the arena
  else
    return 0;
}

template <class Record>
inline constexpr bool kReads = std::is_same_v<Record, Read> || std::is_same_v<Record, ReadRect> || std::is_same_v<Record, ReadImage>;

}  // namespace haltere
