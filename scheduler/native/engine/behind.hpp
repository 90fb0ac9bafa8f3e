// Running jobs that others may have halted or shrunk, of one part, by how many slices they run on and
// how many of those they can spare: so that whoever looks for slices sees sizes, not jobs.
#pragma once

#include <limits>
#include <vector>

#include "jobs.hpp"
#include "ordered.hpp"

namespace haltere {

// Who may take from whom. Basic jobs by how many levels must lie between them and a basic one that
// takes from them, and standard ones for premium.
enum View : u8 { kNear, kOneApart, kFarApart, kStandardBears, kViews };
constexpr u8 kNoView = 0xff;

class Behind {
 public:
  // `size`: slices it runs on; `slack`: how many of them it can do without.
  void insert(u8 view, i32 size, i32 slack, u64 order);
  void erase(u8 view, i32 size, i32 slack, u64 order);

  struct Choice {
    struct Taken {
      i32 size;
      i64 count;  // of that size, those that stand last
    };
    std::vector<Taken> whole;
    u64 last = 0;      // one more, by order; 0: none
    i32 last_size = 0;
    i32 last_keeps = 0;  // slices; 0: it is halted
    i64 gained = 0;
    i64 halted() const;  // slices of those that keep none
  };

  // Whom to take `wanted` slices from, as _fitting of policies/victims.py. `views`: bits; `most`: what
  // one that gives more than is wanted may have at most.
  Choice fitting(u32 views, i64 wanted, double most) const;
  // The `count` that stand last among those of a size, the last first.
  void last_of(u32 views, i32 size, i64 count, std::vector<u64>& into) const;

 private:
  struct Group {
    i32 slack;
    u8 view;
    Ordered<u64> orders;
  };
  struct Size {
    i32 size;
    i64 counts[kViews] = {};
    std::vector<Group> groups;
    i64 count(u32 views) const;
  };

  Size& of(i32 size);
  const Size* find(i32 size) const;

  std::vector<Size> sizes_;  // falling
};

}  // namespace haltere
