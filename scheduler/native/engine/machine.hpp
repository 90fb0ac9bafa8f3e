// The machine, as scheduler/core/machine.py: events and decisions in, commands out. It keeps nodes,
// jobs and who holds what; a job's state changes through the table in transitions.cpp alone.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "events.hpp"
#include "free.hpp"

namespace haltere {

// What a policy decides. `slices`: of Place and Resize.
struct Decision {
  enum Kind : u8 { kAdmit, kPlace, kEvict, kResize };
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
  explicit Machine(std::vector<Node> nodes) : nodes_(std::move(nodes)) {}

  // ---- in
  void handle(const Event& event, std::vector<Command>& commands);
  void apply(Decision& decision, std::vector<Command>& commands);
  void wake_at(i64 at_us, std::vector<Command>& commands);

  // Takes a job on; it is alive when its event says so. Returns its number.
  u32 accept(const Asked& asked, const Curve* curve);

  // ---- to read
  Job* find(u32 number) const { return number < jobs_.size() ? jobs_[number] : nullptr; }
  u32 newest() const { return static_cast<u32>(asked_.size()); }
  const Asked& asked(u32 number) const { return asked_[number - 1]; }
  const Node& described(u32 node) const { return nodes_[node]; }
  std::size_t alive() const { return alive_; }

  // ---- for the policy
  Free free;
  i64 now_us = 0;
  std::vector<u32> changed;  // jobs, since the last plan
  void forget(Job& job);     // one that has ended, once the books know it

  std::vector<Done> done;  // that ended, until somebody takes them
  u64 fenced = 0;

 private:
  struct Release {
    u32 job = 0, epoch = 0;
    Held slices;
    bool is_open = false;
  };

  void submit(u32 number);
  void released(const Event& event);
  void report(const Event& event, std::vector<Command>& commands);
  void mark(Job& job);
  void release(Job& job, bool is_final, std::vector<Command>& commands);
  void take(const Held& slices);
  void give(const Held& slices);
  void check(const Job& job, const Held& slices) const;

  // transitions.cpp
  void tell(Job& job, u8 trigger, Held* slices, std::vector<Command>& commands);
  void end(Job& job, State state, bool releases, std::vector<Command>& commands);

  std::vector<Node> nodes_;
  std::vector<Asked> asked_;
  std::vector<const Curve*> curves_;
  std::vector<Job*> jobs_{nullptr};  // by number; null: not there yet, or ended
  std::deque<Job> room_;
  std::vector<Job*> spare_;
  std::size_t alive_ = 0;
  std::vector<Release> releases_;
  std::vector<u32> open_slots_;
  i64 wake_at_us_ = -1;
};

}  // namespace haltere
