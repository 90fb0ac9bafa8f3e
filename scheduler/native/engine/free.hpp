// Free slices, as scheduler/core/free.py keeps them: nodes of a part in buckets by how many slices are
// free on them, in the order in which they were first seen.
#pragma once

#include <vector>

#include "bits.hpp"
#include "jobs.hpp"
#include "pages.hpp"

namespace haltere {

constexpr i32 kMaxNode = 64;  // slices of a node: they are bits of a word

struct Node {
  u64 free = 0;  // of those that are up
  u32 part : 24 = 0;
  u32 slice_count : 7 = 0;
  u32 is_up : 1 = 0;
  u32 first = 0;  // place of its first slice among all
};

class Free {
 public:
  explicit Free(const std::vector<Node>& nodes) : nodes_(nodes.begin(), nodes.end()) {}

  // A node that came up; `held`: slices of it that somebody holds still.
  void add(u32 node, u64 held);
  // A node that was lost: what is let go on it is not free.
  void remove(u32 node);
  void take(const Piece& piece);
  void give(const Piece& piece);

  std::size_t parts() const { return parts_.size(); }
  i64 count(i32 part) const { return parts_[static_cast<std::size_t>(part)].total; }
  i64 capacity(i32 part) const { return parts_[static_cast<std::size_t>(part)].capacity; }
  bool any() const;
  // Appends `need` free slices, on as few nodes as possible; fewer if there are no more.
  void pick(i32 part, i64 need, Held& into) const;

  const Node& node(u32 number) const { return nodes_[number]; }
  std::size_t slices() const { return nodes_.empty() ? 0 : nodes_.back().first + nodes_.back().slice_count; }

 private:
  struct Part {
    std::vector<Bits> buckets;  // by free slices; nobody asks for those with none
    i64 total = 0;
    i64 capacity = 0;
  };

  void enter(u32 node);
  void leave(u32 node);

  Large<Node> nodes_;
  std::vector<Part> parts_;
};

}  // namespace haltere
