#include "elastic.hpp"

namespace haltere {

std::vector<Decision>& Elastic::plan() {
  books.follow();
  homes_.follow(books);
  saves_.follow(books);
  round_.begin();
  homes_.keep(round_);
  hand_over(kPremium);
  hand_over(kStandard);
  serve_guaranteed(kPremium);
  serve_guaranteed(kStandard);
  serve_basic();
  homes_.forget(round_.yielded);
  if (const i64 now_us = round_.now_us(); now_us >= looked_us_ + books.params.look_us) {
    looked_us_ = now_us;
    if (round_.free.any()) {
      give_back(round_);
      if (books.waiting == 0) grow(round_);
    }
  }
  saves_.decide(round_);
  round_.end();
  if (const i64 rise_us = books.next_rise_us(); rise_us >= 0) round_.wake(rise_us);
  if (books.waiting != 0 || books.running != 0) round_.wake(round_.now_us() + books.params.look_us);
  return round_.decisions;
}

// What was let go for an admitted job is its own: who comes after has others halted for itself.
void Elastic::hand_over(i32 rank) {
  handed_over_[rank] = 0;
  books.admitted[rank].each([&](const std::pair<i128, u32>& each) {
    Job& job = *books.machine.find(each.second);
    const i64 count = job.asked.count;
    if (job.given < count || round_.home_of(job) != nullptr || !is_ready(job)) return;
    const i64 pending = std::min<i64>(job.pending, count);
    for (i32 part = 0; part < static_cast<i32>(round_.free.parts()); ++part) {
      if (!suits(job, part) || round_.free.count(part) < count - pending || round_.coming(part) < pending) continue;
      if (pending == 0) {
        round_.place(job, part, count);
      } else {
        round_.keep(part, count - pending);
        round_.keep_coming(part, pending);
      }
      job.handed_over = round_.plan;
      handed_over_[rank] += count;
      return;
    }
  });
}

void Elastic::serve_guaranteed(i32 rank) {
  round_.claims = books.asked_slices[rank] - handed_over_[rank];
  restore(rank);
  while (!books.unadmitted[rank].empty())
    if (!admit(*books.machine.find(books.unadmitted[rank].first()))) break;
  round_.claims = books.asked_slices[rank] - handed_over_[rank];
  books.admitted[rank].each([&](const std::pair<i128, u32>& each) {
    Job& job = *books.machine.find(each.second);
    if (job.handed_over == round_.plan) return;
    round_.claims -= job.asked.count;
    if (is_ready(job)) serve(job);
  });
}

bool Elastic::is_ready(const Job& job) {
  if (job.idle_until_us <= round_.now_us()) return true;
  round_.wake(job.idle_until_us);
  return false;
}

bool Elastic::admit(Job& job) {
  i64 there = 0;
  for (std::size_t part = 0; part < round_.free.parts(); ++part) there += round_.free.capacity(static_cast<i32>(part));
  const i64 need_ppm = books.set_aside_ppm(job);
  const i64 kept = books.promised_ppm != 0 ? (there * books.params.reserve_ppm + kFullPpm / 2) / kFullPpm : 0;
  const i64 limit_ppm = (there - kept) * kFullPpm;
  if (books.promised_ppm + need_ppm > limit_ppm) return false;
  round_.admit(job);
  return true;
}

// Admitted jobs that run on less than they asked for.
void Elastic::restore(i32 rank) {
  if (books.shrunk[rank].empty()) return;
  std::vector<u32> numbers;
  books.shrunk[rank].each([&](u32 number) { numbers.push_back(number); });
  for (const u32 number : numbers) {
    Job& job = *books.machine.find(number);
    if (!round_.is_rested(job)) continue;
    const i64 missing = job.asked.count - job.run_slices;
    const i64 wanted = missing - round_.free.count(job.part) - round_.coming(job.part);
    if (wanted > 0) {
      const u64 before = job.touched;
      job.touched = round_.plan;  // it is not to be its own victim
      reclaim(round_, job, job.part, wanted, wanted);
      job.touched = before;
    }
    if (round_.free.count(job.part) >= missing)
      round_.extend(job, job.asked.count, 0);
    else if (job.given != 0)  // what was let go for it
      round_.keep(job.part, missing);
  }
}

void Elastic::serve_basic() {
  i32 stuck = std::numeric_limits<i32>::max();  // the least that somebody could not have: nobody behind can
  for (u64 last = 0; stuck > 1;) {
    const u64* next = nullptr;
    for (const auto& [least, orders] : books.basic) {
      if (least >= stuck) break;
      const u64* found = orders.after(last);
      if (found != nullptr && (next == nullptr || *found < *next)) next = found;
    }
    if (next == nullptr) return;
    last = *next;
    Job& job = *books.machine.find(id_of(last));
    if (is_ready(job) && !serve(job)) stuck = job.asked.least;
  }
}

bool Elastic::suits(const Job& job, i32 part) const {
  return (job.part < 0 || job.part == part) && round_.free.capacity(part) >= job.asked.least;
}

// False if it can have nothing, now or soon.
bool Elastic::serve(Job& job) {
  const Round::Kept* home = round_.home_of(job);
  if (home == nullptr) return serve_from(job, 0, static_cast<i32>(round_.free.parts()), false);
  if (home->pending != 0) {
    await(job, *home);
    return true;
  }
  const Held mine = home->free;
  const i32 part = home->part;
  round_.give(mine);
  const bool served = serve_from(job, part, part + 1, true);
  if (Round::Kept* kept = round_.home_of(job)) {  // it was not placed
    kept->free.clear();
    for (Piece piece : mine)
      if ((piece.mask &= round_.free.node(piece.node).free) != 0) kept->free.push_back(piece);
    round_.take(kept->free);
  }
  return served;
}

// What it left itself is still being cleared; what it lacks besides is made ready.
void Elastic::await(Job& job, const Round::Kept& home) {
  const i64 lacks = job.asked.count - slices_of(home.free) - home.pending;
  const i64 wanted = lacks - round_.free.count(home.part) - round_.coming(home.part);
  if (wanted > 0) reclaim(round_, job, home.part, wanted, wanted - (job.asked.count - job.asked.least));
  if (lacks > 0) round_.keep(home.part, lacks);
}

// From parts `first` up to `last`, or from the one where its home is, though too little be left there.
bool Elastic::serve_from(Job& job, i32 first, i32 last, bool goes_home) {
  for (i32 part = first; part < last; ++part) {
    if (!goes_home && !suits(job, part)) continue;
    if (!round_.homes.empty() && round_.free.count(part) < job.asked.count) round_.yield_homes(job, part);
    if (round_.free.count(part) >= job.asked.count) {
      round_.place(job, part, job.asked.count);
      return true;
    }
  }
  for (i32 part = first; part < last; ++part)
    if ((goes_home || suits(job, part)) && make_room(job, part)) return true;
  return false;
}

bool Elastic::make_room(Job& job, i32 part) {
  const i64 count = job.asked.count, least = job.asked.least;
  i64 at_hand = round_.free.count(part) + round_.coming(part);
  if (at_hand < count) {
    reclaim(round_, job, part, count - at_hand, least - at_hand);
    at_hand = round_.free.count(part) + round_.coming(part);
  }
  const i64 free = round_.free.count(part);
  if (at_hand < count && least <= free) {
    round_.place(job, part, free);
    return true;
  }
  if (at_hand < least) return false;
  round_.keep(part, count);
  return true;
}

}  // namespace haltere
