#include "round.hpp"

#include <algorithm>

namespace haltere {

namespace {

// `keep` of the slices, on as few nodes as possible.
Held together(const Held& slices, i64 keep) {
  Held ordered = slices;
  std::stable_sort(ordered.begin(), ordered.end(), [](const Piece& one, const Piece& other) {
    return std::popcount(one.mask) > std::popcount(other.mask);
  });
  Held kept;
  for (Piece piece : ordered) {
    while (std::popcount(piece.mask) > keep) piece.mask &= ~std::bit_floor(piece.mask);
    if (piece.mask == 0) break;
    keep -= std::popcount(piece.mask);
    kept.push_back(piece);
  }
  return kept;
}

}  // namespace

void Round::begin() {
  ++plan;
  wake_us = -1;
  decisions.clear();
  yielded.clear();
  coming_.clear();
  for (const Books::Part& part : books.parts) coming_.push_back(part.leaving);
  books.machine.each_clearing([&](i32 part, i64 slices) { coming_[static_cast<std::size_t>(part)] += slices; });
}

void Round::end() {
  for (const Piece& piece : taken_) free.give(piece);
  taken_.clear();
}

Held Round::pick(i32 part, i64 slices) {
  Held chosen;
  free.pick(part, slices, chosen);
  take(chosen);
  return chosen;
}

void Round::take(const Held& slices) {
  for (const Piece& piece : slices) free.take(piece);
  taken_.insert(taken_.end(), slices.begin(), slices.end());
}

void Round::give(const Held& slices) {
  for (const Piece& piece : slices) {
    for (Piece& taken : taken_)
      if (taken.node == piece.node) taken.mask &= ~piece.mask;
    free.give(piece);
  }
}

Round::Kept* Round::home_of(const Job& job) {
  for (Kept& home : homes)
    if (home.job == job.id) return &home;
  return nullptr;
}

void Round::yield_homes(const Job& job, i32 part) {
  std::vector<std::pair<u64, u32>> behind;
  i64 kept = 0;
  for (const Kept& home : homes) {
    if (home.part != part || home.free.empty()) continue;
    const u64 order = books.machine.find(home.job)->order();
    if (order <= job.order()) continue;
    behind.emplace_back(order, home.job);
    kept += slices_of(home.free);
  }
  if (free.count(part) + kept < job.asked.least && !job.admitted) return;
  std::sort(behind.rbegin(), behind.rend());
  for (const auto& [order, number] : behind) {
    if (free.count(part) >= job.asked.count) return;
    const auto home = std::find_if(homes.begin(), homes.end(), [&](const Kept& each) { return each.job == number; });
    give(home->free);
    homes.erase(home);
    yielded.push_back(number);
  }
}

void Round::save(Job& job) {
  books.touch(job, plan);
  decisions.push_back({Decision::kSave, &job, {}});
}

void Round::admit(Job& job) {
  books.admit(job);
  decisions.push_back({Decision::kAdmit, &job, {}});
}

void Round::place(Job& job, i32 part, i64 slices) {
  Held chosen;
  if (const Kept* home = home_of(job)) {
    if (home->part == part) chosen = together(home->free, slices);
    take(chosen);
    std::erase_if(homes, [&](const Kept& each) { return each.job == job.id; });
  }
  join(chosen, pick(part, slices - slices_of(chosen)));
  decisions.push_back({Decision::kPlace, &job, std::move(chosen)});
}

void Round::keep(i32 part, i64 slices) {
  const i64 kept = std::min(free.count(part), slices);
  pick(part, kept);
  i64& left = coming_[static_cast<std::size_t>(part)];
  left = std::max(i64{0}, left - (slices - kept));
}

void Round::evict(Job& job, Job& taker) {
  lets_go(job, job.run_slices, taker);
  decisions.push_back({Decision::kEvict, &job, {}});
}

void Round::shrink(Job& job, i64 keep, Job& taker) {
  lets_go(job, job.run_slices - keep, taker);
  decisions.push_back({Decision::kResize, &job, together(job.slices, keep)});
}

void Round::lets_go(Job& job, i64 slices, Job& taker) {
  coming_[static_cast<std::size_t>(job.part)] += slices;
  taker.given += slices;
  job.asker = taker.id;
  books.touch(job, plan);
}

void Round::extend(Job& job, i64 most, i64 spare) {
  if (job.touched == plan) return;
  const i64 more = std::min(most - job.run_slices, free.count(job.part) - spare);
  const bool little = job.run_slices + more < most && static_cast<double>(more) < job.run_slices * params.grow_share;
  if (more < 1 || little) return;
  Held slices = job.slices;
  join(slices, pick(job.part, more));
  books.touch(job, plan);
  decisions.push_back({Decision::kResize, &job, std::move(slices)});
}

}  // namespace haltere
