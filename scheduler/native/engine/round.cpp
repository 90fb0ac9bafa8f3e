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
  coming_.clear();
  for (const Books::Part& part : books.parts) coming_.push_back(part.leaving);
}

void Round::end() {
  for (const Piece& piece : taken_) free.give(piece);
  taken_.clear();
}

Held Round::pick(i32 part, i64 slices) {
  Held chosen;
  free.pick(part, slices, chosen);
  for (const Piece& piece : chosen) free.take(piece);
  taken_.insert(taken_.end(), chosen.begin(), chosen.end());
  return chosen;
}

void Round::admit(Job& job) {
  books.admit(job);
  decisions.push_back({Decision::kAdmit, &job, {}});
}

void Round::place(Job& job, i32 part, i64 slices) {
  decisions.push_back({Decision::kPlace, &job, pick(part, slices)});
}

void Round::keep(i32 part, i64 slices) {
  const i64 kept = std::min(free.count(part), slices);
  pick(part, kept);
  i64& left = coming_[static_cast<std::size_t>(part)];
  left = std::max(i64{0}, left - (slices - kept));
}

void Round::evict(Job& job) {
  coming_[static_cast<std::size_t>(job.part)] += job.run_slices;
  books.touch(job, plan);
  decisions.push_back({Decision::kEvict, &job, {}});
}

void Round::shrink(Job& job, i64 keep) {
  coming_[static_cast<std::size_t>(job.part)] += job.run_slices - keep;
  books.touch(job, plan);
  decisions.push_back({Decision::kResize, &job, together(job.slices, keep)});
}

void Round::extend(Job& job, i64 most, i64 spare) {
  if (job.touched == plan) return;
  const i64 more = std::min(most - job.run_slices, free.count(job.part) - spare);
  const bool little = job.run_slices + more < most && static_cast<double>(more) < job.run_slices * params.grow_share;
  if (more < 1 || little) return;
  Held slices = job.slices;
  for (const Piece& piece : pick(job.part, more)) {
    const auto same = std::find_if(slices.begin(), slices.end(),
                                   [&](const Piece& each) { return each.node == piece.node; });
    if (same == slices.end())
      slices.push_back(piece);
    else
      same->mask |= piece.mask;
  }
  books.touch(job, plan);
  decisions.push_back({Decision::kResize, &job, std::move(slices)});
}

}  // namespace haltere
