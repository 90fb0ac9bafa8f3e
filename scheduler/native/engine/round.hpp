// One plan in the making, as scheduler/policies/round.py: what has been decided so far, what is left.
#pragma once

#include "books.hpp"

namespace haltere {

class Round {
 public:
  explicit Round(Books& books) : books(books), params(books.params), free(books.machine.free) {}

  void begin();
  // What was taken in the plan is free again; its decisions are carried out next.
  void end();

  // Slices about to be free that are not yet spoken for.
  i64 coming(i32 part) const { return coming_[static_cast<std::size_t>(part)]; }
  bool is_rested(const Job& job) const { return books.is_rested(job, plan); }
  i64 left_us(const Job& job) const { return left_us_of(params, job, now_us()); }
  i64 now_us() const { return books.machine.now_us; }
  void wake(i64 at_us) { wake_us = wake_us < 0 ? at_us : std::min(wake_us, at_us); }

  void admit(Job& job);
  void place(Job& job, i32 part, i64 slices);
  // What is free of so many slices, and else what comes, is for nobody else.
  void keep(i32 part, i64 slices);
  // What comes, of so many slices.
  void keep_coming(i32 part, i64 slices) { coming_[static_cast<std::size_t>(part)] -= slices; }
  void evict(Job& job, Job& taker);
  void shrink(Job& job, i64 keep, Job& taker);
  // Up to `most`, but leave `spare`; and not for little.
  void extend(Job& job, i64 most, i64 spare);

  void save(Job& job);

  // Slices of a job on its way back to them: those taken for it, and so many more that it is still
  // about to let go of itself.
  struct Kept {
    u32 job;
    i32 part;
    Held free;
    i32 pending;
  };
  Kept* home_of(const Job& job);
  // Of slices kept for jobs that stand behind it, as many as it lacks: those of the last one first.
  void yield_homes(const Job& job, i32 part);
  void take(const Held& slices);
  void give(const Held& slices);  // what was taken in this plan, back

  std::vector<Kept> homes;
  std::vector<u32> yielded;  // jobs for whom they are kept no longer

  Books& books;
  const Params& params;
  Free& free;
  std::vector<Decision> decisions;
  i64 claims = 0;  // slices for admitted jobs of the tier being served whose turn is to come
  u64 plan = 0;  // counts plans
  i64 wake_us = -1;

 private:
  Held pick(i32 part, i64 slices);
  void lets_go(Job& job, i64 slices, Job& taker);

  std::vector<i64> coming_;
  std::vector<Piece> taken_;
};

// ---- victims.cpp: whose slices

// Has others let go of up to `wanted` slices and perhaps some more, if that brings `least` or more.
void reclaim(Round& round, Job& taker, i32 part, i64 wanted, i64 least);

// ---- idle.cpp: what is left over

void give_back(Round& round);
void grow(Round& round);

}  // namespace haltere
