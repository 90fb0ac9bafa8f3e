// The executor in simulated time, as scheduler/sim/executor.py: it answers commands after what they
// cost, and ends jobs when their work is done. What was foretold before a change is void.
#pragma once

#include <deque>
#include <vector>

#include "heap.hpp"
#include "machine.hpp"

namespace haltere {

struct Costs {  // scheduler/sim/costs.py
  i64 start_us, checkpoint_us, restore_us, shrink_us, grow_us, release_us, turns_ppm, save_us;
};

// What goes wrong, or is right again. scheduler/native/cluster.py has the same fields.
struct Fault {
  enum What : i32 { kLost, kBack, kStraggles, kSlowStore, kWhats };
  i64 at_us;
  i64 ppm;   // of the node's speed that is left; of how long the store takes
  u32 node;  // of kSlowStore: none
  i32 what;
};

class Executor {
 public:
  Executor(const Costs& costs, Machine& machine, std::size_t nodes)
      : costs_(costs), machine_(machine), straggling_(nodes, i32{kFullPpm}) {}

  // Nodes come first, then jobs when they were submitted.
  void add_node(u32 node, i64 at_us) { schedule({at_us, 0, node, 0, 0, kNode}); }
  // By time, none before those that are known already.
  void foresee(const Fault* faults, std::size_t count);
  i64 foreseen_us() const { return faults_.empty() ? 0 : faults_.back().at_us; }
  void submitted(i64 at_us) { arrivals_.emplace_back(at_us, ++made_); }
  void cancel(u32 job, i64 at_us) { schedule({at_us, 0, job, 0, 0, kCancel}); }

  // All events of the next moment at which something happens, if that is not after `until_us`.
  void poll(i64 until_us, std::vector<Event>& batch);
  void execute(const Command& command);
  i64 next_us();

  i64 over = 0;     // jobs that ended
  i64 saves = 0;    // of running jobs
  i128 lost_us = 0;  // work that was lost with nodes, times slices asked for

 private:
  enum Kind : u8 {
    kNode,
    kLose,
    kCancel,
    kFailed,
    kStart,
    kResize,
    kRun,
    kTell,
    kEnd,
    kCheckpoint,
    kSave,
    kRelease,
  };

  struct Item {
    i64 at_us;
    u64 made;
    u32 job;      // of kNode: the node
    u32 epoch;
    u32 version;  // of the job, for which this holds; of kRelease: the slot; of kFailed: what failed
    Kind kind;
    bool operator<(const Item& other) const {  // std's heaps have the greatest on top
      return at_us != other.at_us ? at_us > other.at_us : made > other.made;
    }
  };

  void schedule(Item item);
  bool is_void(const Item& item) const;
  void make(const Item& item, std::vector<Event>& batch);
  void run(Job& job);
  void stand(Job& job);
  void fall(u32 node);
  void go_wrong(const Fault& fault);
  void straggle(u32 node, i32 ppm);
  // Jobs that the loss of a node concerns.
  std::vector<u32> on(u32 node) const;
  void warm() const;
  i64 stored(i64 cost_us) const { return static_cast<i64>(i128{cost_us} * store_ppm_ / kFullPpm); }

  Costs costs_;
  Machine& machine_;
  Large<i32> straggling_;  // of each node: at which share of its speed
  i64 stragglers_ = 0;
  i64 store_ppm_ = kFullPpm;
  i64 now_us_ = 0;
  u64 made_ = 0;
  Heap<Item> heap_;
  std::deque<std::pair<i64, u64>> arrivals_;  // when, made; of jobs that are still to come, by number
  u32 arrived_ = 0;
  std::vector<Fault> faults_;
  std::size_t faulted_ = 0;
  i64 wake_at_us_ = -1;  // -1: nobody wants to be woken
  u64 wake_made_ = 0;
};

}  // namespace haltere
