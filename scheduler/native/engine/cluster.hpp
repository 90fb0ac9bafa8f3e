// One cluster that runs in simulated time: machine, policy and executor under scheduler/loop.py's loop.
#pragma once

#include "digest.hpp"
#include "elastic.hpp"
#include "executor.hpp"

namespace haltere {

struct Summary {  // scheduler/native/cluster.py has the same fields
  i64 now_us, steps, events;
  i64 alive, promised_ppm, digest;
  i64 over, losses, restarts, saves;  // jobs that ended, nodes lost, attempts that ended so, jobs saved
  double lost_h, held_h;  // slice-hours: of work that was lost with nodes, and held in all
  i64 waiting_jobs[3], waiting_slices[3], running_jobs[3], running_slices[3];  // by tier
};

struct Standing {  // slices, as policies see them; scheduler/native/cluster.py has the same fields
  i64 capacity, free, waiting;
  i64 promised_ppm;  // to those that were admitted and those that wait to be
};

class Cluster {
 public:
  Cluster(const Params& params, const Costs& costs, const std::vector<Node>& nodes);
  Cluster(const Cluster&) = delete;

  u32 add_curve(Curve curve);
  void submit(const Asked* jobs, std::size_t count);
  // All that happens up to then, and at that moment; at most `most_steps` steps. False: not there yet.
  bool advance(i64 until_us, i64 most_steps);
  bool idles() { return executor_.next_us() == std::numeric_limits<i64>::max(); }
  Summary summary() const;
  Standing standing() const;
  // A job that waits goes elsewhere: what it has still to do, at full speed. False: it does not wait.
  bool withdraw(u32 job, i64& left_us, bool& has_checkpoint);
  // What will go wrong, and be right again: by time, none before `foreseen_us` or now.
  void foresee(const Fault* faults, std::size_t count) { executor_.foresee(faults, count); }
  i64 foreseen_us() const { return executor_.foreseen_us(); }
  std::size_t nodes() const { return nodes_; }
  // Jobs that wait and were promised nothing, first in the queue first; at most so many.
  std::vector<u32> movable(std::size_t most) const;
  std::size_t curves() const { return curves_.size(); }
  const Curve& curve(std::size_t number) const { return curves_[number - 1]; }
  i64 now_us() const { return std::max(until_us_, machine.now_us); }
  i64 newest_us() const { return machine.newest_us(); }

  Machine machine;
  Digest digest;

 private:
  bool step(i64 until_us);
  void record();
  void record(const Held& slices);

  std::size_t nodes_;
  Params params_;
  Elastic policy_;
  Executor executor_;
  std::deque<Curve> curves_;
  std::vector<Event> events_;
  std::vector<Command> commands_;
  i128 held_us_ = 0;  // slices held, over time
  i64 counted_us_ = 0;
  i64 until_us_ = 0, steps_ = 0, event_count_ = 0;
};

}  // namespace haltere
