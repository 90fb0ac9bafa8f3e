// Room for bulk data, handed out first in, first out: proxy/arena.py in C++. Pure bookkeeping.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace haltere {

inline constexpr std::uint64_t kArenaAlign = 64;  // a cache line: neighbours do not share one
inline constexpr std::uint64_t kChunkBytes = 2 << 20;

struct Region {
  std::uint64_t offset = 0;
  std::uint64_t nbytes = 0;
  std::uint64_t id = 0;
};

class Arena {
 public:
  explicit Arena(std::uint64_t size_bytes) : size_(size_bytes) {}

  // A region in one piece, at most `size_bytes`; nullopt: no room now.
  std::optional<Region> take(std::uint64_t nbytes) {
    const std::uint64_t room = (nbytes + kArenaAlign - 1) / kArenaAlign * kArenaAlign;
    if (regions_.empty()) tail_ = head_ = 0;  // reuse the warm beginning
    std::uint64_t start = head_;
    if (start % size_ + room > size_) start += size_ - start % size_;  // skip the end: one piece
    if (start + room - tail_ > size_) return std::nullopt;
    head_ = start + room;
    regions_.push_back({head_, false});
    return Region{start % size_, nbytes, first_ + regions_.size() - 1};
  }

  void give(const Region& region) {
    regions_[region.id - first_].free = true;
    while (!regions_.empty() && regions_.front().free) {
      tail_ = regions_.front().end;
      regions_.pop_front();
      ++first_;
    }
  }

 private:
  struct Held {
    std::uint64_t end;
    bool free;
  };
  std::uint64_t size_;
  std::uint64_t head_ = 0;  // positions on an endless tape that is wound round the arena
  std::uint64_t tail_ = 0;
  std::uint64_t first_ = 0;  // id of the oldest region
  std::deque<Held> regions_;
};

}  // namespace haltere
