// The executor in simulated time, as scheduler/sim/executor.py: it answers commands after what they
// cost, and ends jobs when their work is done. What was foretold before a change is void when its time
// comes; nothing is ever looked for in the heap.
#pragma once

#include <vector>

#include "machine.hpp"

namespace haltere {

struct Costs {  // scheduler/sim/costs.py
  i64 start_us, checkpoint_us, restore_us, shrink_us, grow_us, release_us, turns_ppm;
};

class Executor {
 public:
  Executor(const Costs& costs, Machine& machine) : costs_(costs), machine_(machine) {}

  // Nodes come first, then jobs when they were submitted.
  void add_node(u32 node) { schedule({0, 0, node, 0, 0, kNode}); }
  void submitted(u32 job);
  void cancel(u32 job, i64 at_us) { schedule({at_us, 0, job, 0, 0, kCancel}); }

  // All events of the next moment at which something happens, if that is not after `until_us`.
  void poll(i64 until_us, std::vector<Event>& batch);
  void execute(const Command& command);
  i64 next_us();

 private:
  enum Kind : u8 { kNode, kCancel, kStart, kResize, kRun, kTell, kEnd, kCheckpoint, kRelease };

  struct Item {
    i64 at_us;
    u64 made;
    u32 job;      // of kNode: the node
    u32 epoch;
    u32 version;  // of the job, for which this holds; of kRelease: the slot
    Kind kind;
    bool operator<(const Item& other) const {  // std's heaps have the greatest on top
      return at_us != other.at_us ? at_us > other.at_us : made > other.made;
    }
  };

  void schedule(Item item);
  void make(const Item& item, std::vector<Event>& batch);
  void run(Job& job);
  void stand(Job& job);

  Costs costs_;
  Machine& machine_;
  i64 now_us_ = 0;
  u64 made_ = 0;
  std::vector<Item> heap_;
  std::vector<std::pair<i64, u64>> arrivals_;  // when, made; of jobs, by number
  std::size_t arrived_ = 0;
  i64 wake_at_us_ = -1;  // -1: nobody wants to be woken
  u64 wake_made_ = 0;
};

}  // namespace haltere
