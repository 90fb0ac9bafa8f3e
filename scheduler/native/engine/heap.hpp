// A heap of what is to come, the earliest on top. What has become void meanwhile stays in it until it
// comes up, or until it may be half of all: so the heap is as small as what is alive, whatever happens.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace haltere {

template <class Item>  // ordered as std's heaps have it: the greatest is on top
class Heap {
 public:
  bool empty() const { return items_.empty(); }
  const Item& first() const { return items_.front(); }

  Item pop() {
    std::pop_heap(items_.begin(), items_.end());
    const Item item = items_.back();
    items_.pop_back();
    return item;
  }

  template <class IsVoid>
  void push(const Item& item, IsVoid&& is_void) {
    if (items_.size() >= full_) {
      std::erase_if(items_, is_void);
      std::make_heap(items_.begin(), items_.end());
      full_ = std::max(kLeast, 2 * items_.size());
    }
    items_.push_back(item);
    std::push_heap(items_.begin(), items_.end());
  }

 private:
  static constexpr std::size_t kLeast = 64;

  std::vector<Item> items_;
  std::size_t full_ = kLeast;  // then it is looked through
};

}  // namespace haltere
