// The machine, as scheduler/core/machine.py: events and decisions in, commands out. It keeps nodes,
// jobs and who holds what; a job's state changes through the table in transitions.cpp alone.
#pragma once

#include <deque>
#include <vector>

#include "events.hpp"
#include "free.hpp"

namespace haltere {

// What a policy decides. `slices`: of Place and Resize.
struct Decision {
  enum Kind : u8 { kAdmit, kPlace, kEvict, kResize, kSave };
  Kind kind;
  Job* job;
  Held slices;
};

struct Done {  // scheduler/native/cluster.py has the same fields
  i64 submitted_us, started_us, ended_us, work_us;
  i32 job, count, preemptions, resizes, tier, state;
};

class Machine {
 public:
  explicit Machine(std::vector<Node> nodes);

  // ---- in
  void handle(const Event& event, std::vector<Command>& commands);
  void apply(Decision& decision, std::vector<Command>& commands);
  void wake_at(i64 at_us, std::vector<Command>& commands);

  // Takes a job on; it is alive when its event says so. Returns its number.
  u32 accept(const Asked& asked, const Curve* curve) {
    coming_.push_back({asked, curve});
    newest_us_ = asked.submitted_us;
    return ++newest_;
  }

  // ---- to read
  Job* find(u32 number) const { return number < jobs_.size() ? jobs_[number] : nullptr; }
  u32 newest() const { return newest_; }
  i64 newest_us() const { return newest_us_; }  // when it comes, or came
  // Jobs that hold slices there, rising; not those that are being released.
  std::vector<u32> holders(u32 node) const;
  // What will be looked at if something happens to that job.
  void warm(u32 number) const {
    if (const Job* job = find(number)) soon<256>(job);
  }
  void warm_slices(u32 number) const;
  std::size_t alive() const { return alive_; }

  // ---- for the policy
  Free free;
  i64 now_us = 0;
  std::vector<u32> changed;  // jobs, since the last plan
  void forget_ended();       // once all have heard of it: at the end of a step

  std::vector<Done> done;  // that ended, until somebody takes them
  u64 fenced = 0, losses = 0, restarts = 0;
  i64 held = 0;  // slices with a lease

  // Devices lost so far, and the time that devices were up, in microseconds.
  std::pair<i64, i64> failures() const { return {static_cast<i64>(losses), up_us_ + up_ * (now_us - up_since_us_)}; }
  // Of slices on a node: those that a job which is being cleared still holds.
  u64 clearing(const Job& job, u32 node) const;

  // Slices of jobs that have ended, free in a moment: by part, how many.
  template <class Each>
  void each_clearing(Each&& each) const {
    if (open_slots_.size() == releases_.size()) return;
    for (const Release& lease : releases_) {
      if (!lease.is_open) continue;
      if (const Job* job = find(lease.job); job != nullptr && !is_terminal(job->state)) continue;
      for (const Piece& piece : lease.slices)
        if (const Node& node = free.node(piece.node); node.is_up) each(node.part, std::popcount(piece.mask));
    }
  }

 private:
  struct Release {
    u32 job = 0, epoch = 0;
    Held slices;
    bool is_open = false;
    bool owes = false;  // a final one is to follow
  };

  void submit(u32 number);
  void add_node(u32 node);
  void lose_node(u32 node, std::vector<Command>& commands);
  void count_up(i64 more);
  void released(const Event& event, std::vector<Command>& commands);
  void report(const Event& event, std::vector<Command>& commands);
  void mark(Job& job);
  void release(Job& job, bool is_final, std::vector<Command>& commands);
  void take(Job& job, const Held& slices);
  void give(const Held& slices);
  void hold(const Job& job, const Held& slices);
  void leave(const Held& slices);
  void check(const Job& job, const Held& slices) const;

  // transitions.cpp
  void tell(Job& job, u8 trigger, Held* slices, std::vector<Command>& commands, u32 node = 0);
  void recover(Job& job, const Held& has, std::vector<Command>& commands);
  void resized(Job& job, Held slices);
  void end(Job& job, State state, bool releases, std::vector<Command>& commands);

  struct Coming {
    Asked asked;
    const Curve* curve;
  };
  std::deque<Coming> coming_;  // jobs that were accepted and are not there yet
  u32 newest_ = 0;
  i64 newest_us_ = 0;
  Large<Job*> jobs_{nullptr};  // by number; null: ended
  std::vector<Large<Job>> room_;
  std::vector<Job*> spare_;  // of that: the last is used next
  std::vector<Job*> ended_;
  std::size_t alive_ = 0;
  std::vector<Release> releases_;
  std::vector<u32> open_slots_;
  Large<u32> holders_;  // of each slice: the job that has it; 0: none, or one that is being released
  i64 up_ = 0, up_us_ = 0, up_since_us_ = 0;
  i64 wake_at_us_ = -1;
};

}  // namespace haltere
