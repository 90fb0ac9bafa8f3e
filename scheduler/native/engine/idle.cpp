// Idle slices, as scheduler/policies/idle.py: to jobs that were shrunk, then to those that can use more.
// Who is worth a stop with so many free stands in the books under that number.
#include "round.hpp"

namespace haltere {

namespace {

// The first of all that want no more than is there.
template <class Value>
const Value* first_of(const std::map<i32, Ordered<Value>>& classes, i64 there) {
  const Value* first = nullptr;
  for (const auto& [need, values] : classes) {
    if (need > there) break;
    if (first == nullptr || values.first() < *first) first = &values.first();
  }
  return first;
}

u64 order_of(u64 value) { return value; }
u64 order_of(const Grows& value) { return value.second; }

template <class Classes, class Room, class Upto>
void extend_all(Round& round, Classes Books::Part::* classes, Room&& room, Upto&& upto) {
  for (;;) {
    const auto* first = decltype(first_of(round.books.parts.front().*classes, 0)){nullptr};
    for (std::size_t part = 0; part < round.books.parts.size(); ++part) {
      const auto* found = first_of(round.books.parts[part].*classes, room(static_cast<i32>(part)));
      if (found != nullptr && (first == nullptr || *found < *first)) first = found;
    }
    if (first == nullptr) return;
    Job& job = *round.books.machine.find(id_of(order_of(*first)));
    round.extend(job, upto(job), round.free.count(job.part) - room(job.part));
    if (job.touched != round.plan) throw Failure("invalid_plan", text("job %u did not grow", job.id));
  }
}

}  // namespace

void give_back(Round& round) {
  extend_all(
      round, &Books::Part::give_back, [&](i32 part) { return round.free.count(part); },
      [](const Job& job) { return i64{job.asked.count}; });
}

void grow(Round& round) {
  const auto room = [&](i32 part) {
    const auto spare = static_cast<i64>(static_cast<double>(round.free.capacity(part)) * round.params.spare_share);
    return round.free.count(part) - spare;
  };
  extend_all(round, &Books::Part::growable, room, [](const Job& job) { return i64{job.asked.most}; });
}

}  // namespace haltere
