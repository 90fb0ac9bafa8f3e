// The program's end of a session's heap: makes it and hands out its room. See ../heap.hpp.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "../heap.hpp"

namespace haltere {

class Heap {
 public:
  // Room for `nbytes`, of which memory is taken as it is touched; null where the system gives none.
  static std::unique_ptr<Heap> make(std::size_t nbytes);
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  int fd() const { return fd_; }
  std::size_t nbytes() const { return nbytes_; }
  std::uint64_t inode() const { return inode_; }
  Place& place(std::uint64_t handle) const { return place_of(base_, handle); }

  // Zeros for a buffer, entered in the table; null: no room. `retired`: the newest record done.
  std::uint8_t* take(std::uint64_t handle, std::size_t nbytes, std::uint64_t retired);
  // Back, once record `freed` is done.
  void give(std::uint64_t handle, std::uint64_t freed);

 private:
  Heap(int fd, std::uint8_t* base, std::size_t nbytes, std::uint64_t inode);
  void reclaim(std::uint64_t retired);
  void clear(std::size_t at, std::size_t nbytes);

  int fd_;
  std::uint8_t* base_;
  std::size_t nbytes_;
  std::uint64_t inode_;
  std::mutex lock_;
  std::map<std::size_t, std::size_t> free_;             // offset to size; all zeros
  std::map<std::uint64_t, std::size_t> sizes_;          // of what is taken, by handle
  std::deque<std::pair<std::uint64_t, std::uint64_t>> given_;  // record, handle
};

}  // namespace haltere
