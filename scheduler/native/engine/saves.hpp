// Which running jobs are to be saved, and when, as scheduler/policies/saves.py: at Young's and Daly's
// intervals, from what saves took and how often nodes were lost.
#pragma once

#include "heap.hpp"
#include "round.hpp"

namespace haltere {

class Saves {
 public:
  void follow(Books& books);
  // Those that are due and that this plan leaves alone.
  void decide(Round& round);

 private:
  struct Due {
    i64 at_us;
    u32 job;
    bool operator<(const Due& other) const { return at_us != other.at_us ? at_us > other.at_us : job > other.job; }
  };

  i64 interval_us(const Books& books, const Job& job) const;

  Heap<Due> heap_;
  i64 took_us_ = 0;  // all saves so far, together
  i64 count_ = 0;
};

}  // namespace haltere
