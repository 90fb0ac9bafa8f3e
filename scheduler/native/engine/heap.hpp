// A heap of what is to come, the earliest on top: what comes soon as a small heap, all else in blocks
// by time, unsorted, so that most of it is touched only in rows. What has become void meanwhile stays
// until it comes up, or until it may be half of all: so it is as small as what is alive, whatever
// happens.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <vector>

#include "base.hpp"
#include "pages.hpp"

namespace haltere {

template <class Item>  // `at_us`, not negative; ordered as std's heaps have it: the greatest is on top
class Heap {
 public:
  bool empty() const { return near_.empty(); }
  const Item& first() const { return near_.front(); }
  // What comes next, in no order: everything up to some moment.
  const Large<Item>& near() const { return near_; }

  // `warm` is called when other items have come near.
  template <class Warm>
  Item pop(Warm&& warm) {
    std::pop_heap(near_.begin(), near_.end());
    const Item item = near_.back();
    near_.pop_back();
    --size_;
    if (near_.empty()) {
      refill();
      warm();
    }
    return item;
  }

  Item pop() {
    return pop([] {});
  }

  template <class IsVoid>
  void push(const Item& item, IsVoid&& is_void) {
    if (size_ >= full_) purge(is_void);
    ++size_;
    if (item.at_us > upto_us_) {
      far_[block_of(item)].push_back(item);
      refill();
    } else {
      near_.push_back(item);
      std::push_heap(near_.begin(), near_.end());
    }
  }

 private:
  static constexpr std::size_t kLeast = 64;  // of them nothing is void enough to look through
  static constexpr std::size_t kNear = 32;   // a block of so many is sorted at once
  static constexpr std::size_t kKept = 4096;  // room for so many is kept by an empty block

  // By the highest bit in which its time and `upto_us_` differ: the higher, the later. When `upto_us_`
  // changes in the bits below that alone, it stays in its block.
  std::size_t block_of(const Item& item) const {
    return static_cast<std::size_t>(std::bit_width(static_cast<u64>(item.at_us ^ upto_us_)));
  }

  // If nothing is near, the earliest block is cut up until something is.
  void refill() {
    while (near_.empty() && size_ != 0) {
      std::size_t first = 0;
      while (far_[first].empty()) ++first;
      Large<Item> block;
      block.swap(far_[first]);
      if (block.size() <= kNear) {
        upto_us_ |= (i64{1} << first) - 1;  // to the end of the block
        near_.swap(block);
        std::make_heap(near_.begin(), near_.end());
      } else {
        upto_us_ = std::min_element(block.begin(), block.end(), [](const Item& one, const Item& other) {
                     return one.at_us < other.at_us;
                   })->at_us;
        for (const Item& item : block) {
          if (item.at_us == upto_us_)
            near_.push_back(item);
          else
            far_[block_of(item)].push_back(item);
        }
        std::make_heap(near_.begin(), near_.end());
      }
      block.clear();
      if (block.capacity() <= kKept) far_[first].swap(block);
    }
  }

  template <class IsVoid>
  void purge(IsVoid& is_void) {
    std::erase_if(near_, is_void);
    std::make_heap(near_.begin(), near_.end());
    size_ = near_.size();
    for (auto& block : far_) {
      std::erase_if(block, is_void);
      size_ += block.size();
    }
    refill();
    full_ = std::max(kLeast, 2 * size_);
  }

  Large<Item> near_;                // up to `upto_us_`
  std::array<Large<Item>, 64> far_;  // later ones
  i64 upto_us_ = 0;
  std::size_t size_ = 0;
  std::size_t full_ = kLeast;  // then it is looked through
};

}  // namespace haltere
