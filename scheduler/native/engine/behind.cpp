#include "behind.hpp"

namespace haltere {

namespace {

constexpr u64 kAfterAll = ~u64{0};

bool has(u32 views, u8 view) { return (views >> view & 1) != 0; }

}  // namespace

i64 Behind::Choice::halted() const {
  i64 sum = last != 0 && last_keeps == 0 ? last_size : 0;
  for (const Taken& taken : whole) sum += taken.size * taken.count;
  return sum;
}

i64 Behind::Size::count(u32 views) const {
  i64 sum = 0;
  for (u8 view = 0; view < kViews; ++view)
    if (has(views, view)) sum += counts[view];
  return sum;
}

Behind::Size& Behind::of(i32 size) {
  auto at = sizes_.begin();
  while (at != sizes_.end() && at->size > size) ++at;
  if (at == sizes_.end() || at->size != size) {
    at = sizes_.emplace(at);
    at->size = size;
  }
  return *at;
}

const Behind::Size* Behind::find(i32 size) const {
  for (const Size& each : sizes_)
    if (each.size == size) return &each;
  return nullptr;
}

void Behind::insert(u8 view, i32 size, i32 slack, u64 order) {
  Size& there = of(size);
  ++there.counts[view];
  for (Group& group : there.groups)
    if (group.slack == slack && group.view == view) return group.orders.insert(order);
  there.groups.push_back({slack, view, {}});
  there.groups.back().orders.insert(order);
}

void Behind::erase(u8 view, i32 size, i32 slack, u64 order) {
  Size& there = of(size);
  --there.counts[view];
  for (Group& group : there.groups)
    if (group.slack == slack && group.view == view) return group.orders.erase(order);
}

Behind::Choice Behind::fitting(u32 views, i64 wanted, double most) const {
  Choice choice;
  // one that can be shrunk to give all of it, the last first
  for (const Size& there : sizes_) {
    if (there.size <= wanted) break;
    if (there.count(views) == 0) continue;
    for (const Group& group : there.groups) {
      if (!has(views, group.view) || group.slack < wanted || group.orders.empty()) continue;
      if (group.orders.last() <= choice.last) continue;
      choice.last = group.orders.last();
      choice.last_size = there.size;
    }
  }
  if (choice.last != 0) {
    choice.last_keeps = choice.last_size - static_cast<i32>(wanted);
    choice.gained = wanted;
    return choice;
  }
  u64 larger = 0;  // the smallest that is more than what is still wanted
  i32 larger_size = 0;
  for (const Size& there : sizes_) {
    const i64 count = there.count(views);
    if (count == 0) continue;
    const i64 rest = wanted - choice.gained;
    const i64 taken = there.size > rest ? 0 : std::min(count, rest / there.size);
    u64 before = kAfterAll;  // those behind it are taken
    if (taken > 0) {
      choice.whole.push_back({there.size, taken});
      choice.gained += taken * there.size;
      if (choice.gained == wanted) return choice;
      if (taken == count) continue;
      std::vector<u64> found;
      last_of(views, there.size, taken, found);
      before = found.back();
    }
    const i64 left = wanted - choice.gained;
    u64 shrinks = 0, first = kAfterAll, promised = 0;
    for (const Group& group : there.groups) {
      if (!has(views, group.view) || group.orders.empty()) continue;
      const u64* next = group.orders.before(before);
      if (next == nullptr) continue;
      if (group.view == kStandardBears)
        promised = std::max(promised, *next);
      else
        first = std::min(first, group.orders.first());
      if (group.slack >= left && *next > shrinks) shrinks = *next;
    }
    if (shrinks != 0) {
      choice.last = shrinks;
      choice.last_size = there.size;
      choice.last_keeps = there.size - static_cast<i32>(left);
      choice.gained = wanted;
      return choice;
    }
    if (first == kAfterAll) first = promised;  // only if no basic one is as large
    larger = there.size <= most ? first : 0;
    larger_size = there.size;
  }
  if (larger == 0 || choice.gained == wanted) return choice;
  while (!choice.whole.empty()) {  // not needed with the larger one
    Choice::Taken& smallest = choice.whole.back();
    if (choice.gained - smallest.size + larger_size < wanted) break;
    choice.gained -= smallest.size;
    if (--smallest.count == 0) choice.whole.pop_back();
  }
  choice.last = larger;
  choice.last_size = larger_size;
  choice.gained += larger_size;
  return choice;
}

void Behind::last_of(u32 views, i32 size, i64 count, std::vector<u64>& into) const {
  const Size* there = find(size);
  u64 before = kAfterAll;
  for (; count > 0; --count) {
    u64 best = 0;
    for (const Group& group : there->groups) {
      if (!has(views, group.view) || group.orders.empty()) continue;
      const u64* next = group.orders.before(before);
      if (next != nullptr && *next > best) best = *next;
    }
    into.push_back(best);
    before = best;
  }
}

}  // namespace haltere
