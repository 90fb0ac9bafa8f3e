#include "homes.hpp"

#include <algorithm>

namespace haltere {

void Homes::follow(Books& books) {
  const i64 now_us = books.machine.now_us;
  for (const u32 number : books.followed) {
    const Job* job = books.machine.find(number);
    if (job == nullptr || job->home.empty()) continue;
    const auto same = std::find_if(homes_.begin(), homes_.end(), [&](const Home& home) { return home.job == number; });
    if (same == homes_.end())
      homes_.push_back({number, job->home, now_us + keep_us_});
    else
      *same = {number, job->home, now_us + keep_us_};
  }
  std::erase_if(homes_, [&](const Home& home) {
    const Job* job = books.machine.find(home.job);
    return job == nullptr || home.until_us <= now_us || !waits(job->state);
  });
}

void Homes::keep(Round& round) const {
  round.homes.clear();
  for (const Home& home : homes_) {
    const Job& job = *round.books.machine.find(home.job);
    Round::Kept kept{home.job, 0, {}, 0};
    for (const Piece& piece : home.slices) {
      const Node& node = round.free.node(piece.node);
      if (!node.is_up) continue;
      const u64 clearing = round.books.machine.clearing(job, piece.node) & piece.mask;
      const u64 mine = (node.free & piece.mask) | clearing;
      if (mine == 0) continue;
      kept.part = node.part;
      kept.pending += std::popcount(clearing);
      kept.free.push_back({piece.node, mine & ~clearing});
    }
    if (!kept.free.empty()) round.homes.push_back(std::move(kept));
  }
  for (Round::Kept& kept : round.homes) {
    for (Piece& piece : kept.free) piece.mask &= round.free.node(piece.node).free;
    kept.free.erase_if([](const Piece& piece) { return piece.mask == 0; });
    round.take(kept.free);
  }
}

void Homes::forget(const std::vector<u32>& jobs) {
  if (jobs.empty()) return;
  std::erase_if(homes_, [&](const Home& home) { return std::find(jobs.begin(), jobs.end(), home.job) != jobs.end(); });
}

}  // namespace haltere
