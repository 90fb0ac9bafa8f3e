// Slices that somebody has, by node. Most have slices of one node only: a single piece lies in place.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base.hpp"

namespace haltere {

// Slices of one node, as bits by their index.
struct Piece {
  u32 node;
  u64 mask;
  bool operator==(const Piece&) const = default;
};

class Held {
 public:
  Held() = default;
  Held(const Held& other) { assign(other); }
  Held(Held&& other) noexcept { swap(other); }
  Held& operator=(const Held& other) {
    if (this != &other) assign(other);
    return *this;
  }
  Held& operator=(Held&& other) noexcept {
    clear();
    swap(other);
    return *this;
  }
  ~Held() { clear(); }

  Piece* begin() { return room_ == 1 ? &one_ : many_; }
  Piece* end() { return begin() + size_; }
  const Piece* begin() const { return room_ == 1 ? &one_ : many_; }
  const Piece* end() const { return begin() + size_; }
  const Piece& front() const { return *begin(); }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void push_back(const Piece& piece) {
    if (size_ == room_) grow(2 * room_);
    begin()[size_++] = piece;
  }

  void clear() {
    if (room_ != 1) delete[] many_;
    size_ = 0;
    room_ = 1;
  }

  template <class Is>
  void erase_if(Is&& is) {
    size_ = static_cast<u32>(std::remove_if(begin(), end(), is) - begin());
  }

 private:
  void swap(Held& other) {
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
    alignas(Piece) unsigned char mine[sizeof(Piece)];  // whichever lies there
    std::memcpy(mine, &one_, sizeof(Piece));
    std::memcpy(&one_, &other.one_, sizeof(Piece));
    std::memcpy(&other.one_, mine, sizeof(Piece));
  }

  void assign(const Held& other) {
    if (other.size_ > room_) {
      clear();
      grow(other.size_);
    }
    std::copy(other.begin(), other.end(), begin());
    size_ = other.size_;
  }

  void grow(u32 room) {
    Piece* wider = new Piece[room];
    std::copy(begin(), end(), wider);
    if (room_ != 1) delete[] many_;
    many_ = wider;
    room_ = room;
  }

  u32 size_ = 0, room_ = 1;
  union {
    Piece one_{};  // if there is room for one
    Piece* many_;
  };
};

inline i32 slices_of(const Held& held) {
  i32 count = 0;
  for (const Piece& piece : held) count += std::popcount(piece.mask);
  return count;
}

inline bool has_node(const Held& held, u32 node) {
  return std::any_of(held.begin(), held.end(), [node](const Piece& piece) { return piece.node == node; });
}

// The slices of both, each node once, in the order in which they come.
inline void join(Held& into, const Held& more) {
  for (const Piece& piece : more) {
    Piece* same = std::find_if(into.begin(), into.end(), [&](const Piece& each) { return each.node == piece.node; });
    if (same == into.end())
      into.push_back(piece);
    else
      same->mask |= piece.mask;
  }
}

}  // namespace haltere
