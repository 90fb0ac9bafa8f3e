// The books of the elastic policy: who waits, who runs, at what level, and who may be asked for slices,
// given some, or let grow; all kept by what changes and by what falls due, so that no plan looks for it.
// Twin of scheduler/policies/books.py, with what the other files of policies/ look for as indices.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "behind.hpp"
#include "guarantee.hpp"
#include "heap.hpp"
#include "machine.hpp"

namespace haltere {

// What is to be in order of (ratio of slices to those asked for, order).
using Grows = std::pair<double, u64>;

class Books {
 public:
  Books(const Params& params, Machine& machine);

  // Follow what changed since the last plan, and what fell due.
  void follow();
  void admit(Job& job);
  // This plan halts or resizes it: nobody else may have it.
  void touch(Job& job, u64 plan);

  bool is_rested(const Job& job, u64 plan) const;
  bool is_young(const Job& job) const { return machine.now_us < job.admitted_us + params.young_us; }
  i64 next_rise_us();  // -1: none
  i64 set_aside_ppm(const Job& job) const { return job.asked.count * params.share_ppm[job.rank()]; }

  const Params& params;
  Machine& machine;

  std::vector<u32> followed;  // jobs that had changed

  // ---- who waits
  i64 waiting = 0;
  std::map<i32, Ordered<u64>> basic;                  // by the least they need
  Ordered<u32> unadmitted[2];                         // premium, standard: by number
  Ordered<std::pair<i128, u32>> admitted[2];          // by urgency
  i64 asked_slices[2] = {};                           // by those
  i64 waiting_slices[3] = {}, waiting_jobs[3] = {};   // by tier

  // ---- who runs
  i64 running = 0;
  i64 running_slices[3] = {}, running_jobs[3] = {};
  Ordered<u32> guaranteed[2];  // that run, by number
  Ordered<u32> shrunk[2];      // of those, on fewer slices than they asked for
  struct Part {
    i64 leaving = 0;                          // slices about to be free
    Behind behind;                            // rested
    Ordered<u64> grown;                       // rested, on more slices than they asked for
    i64 excess = 0;                           // of them
    std::map<i32, Ordered<u64>> give_back;    // settled and shrunk; by how many slices are worth a stop
    std::map<i32, Ordered<Grows>> growable;   // settled, for long enough; likewise
  };
  std::vector<Part> parts;
  i64 promised_ppm = 0;

 private:
  enum class Due : u8 { kRest, kGiveBack, kGrow, kBear };
  struct Timer {
    i64 at_us;
    u32 job;
    u32 stamp;
    Due due;
    bool operator<(const Timer& other) const { return at_us > other.at_us; }
  };

  void follow(Job& job);
  void count(Job& job);
  void enter(Job& job);
  void ask(Job& job);
  void take_out(Job& job);
  void foretell(Job& job);
  void rise(Job& job);
  std::pair<u8, i128> level_of(const Job& job) const;

  void when(Job& job, i64 at_us, Due due);
  void fall_due(Job& job, Due due);
  void rest(Job& job);
  void settle(Job& job, Due due);
  void stand(Job& job, u8 view);
  void watch(Job& job);
  u8 view_of(const Job& job) const;
  void drop(Job& job);  // from all that depends on its being rested or settled
  void drop_behind(Job& job);
  Part& part_of(const Job& job) { return parts[static_cast<std::size_t>(job.seen_part)]; }

  Heap<Timer> rises_, timers_;
};

}  // namespace haltere
