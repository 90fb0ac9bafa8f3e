// One job: what was asked for it, and what machine, books and executor know of it while it is alive.
// The fields' meanings are those of scheduler/core/jobs.py, policies/books.py and sim/executor.py.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "events.hpp"
#include "held.hpp"

namespace haltere {

// What a caller hands over; scheduler/native/cluster.py has the same fields.
struct Asked {
  i64 submitted_us;
  i64 work_us;  // at full speed
  i32 count, least, most;
  i32 tier;   // 0 premium, 1 standard, 2 basic
  i32 curve;  // number of a curve that was given before; 0: none
  i32 carried;  // it goes on from a checkpoint made elsewhere
};

constexpr i32 kPremium = 0, kStandard = 1, kBasic = 2;

enum class State : u8 {
  kQueued,
  kStarting,
  kRunning,
  kResizing,
  kCheckpointing,
  kPreempted,
  kMigrating,
  kSucceeded,
  kFailed,
  kCancelled,
};
constexpr std::size_t kStates = 10;

inline bool waits(State state) { return state == State::kQueued || state == State::kPreempted; }
inline bool is_terminal(State state) { return state >= State::kSucceeded; }

using Curve = std::vector<std::pair<i32, i64>>;  // slices, speed in ppm

// What is looked at whenever something happens to it comes first, in lines of the cache.
struct alignas(64) Job {
  Asked asked;
  u32 id = 0;
  u32 epoch = 0;
  i32 part = -1;  // of its devices, or of those it had; -1 while it has no checkpoint
  u32 version = 0;  // the executor's: what it foretold of another is void
  State state = State::kQueued;
  u8 level = 0;
  bool listening = false;
  bool has_checkpoint = false;
  bool is_changed = false;  // since the last plan
  bool admitted = false;
  bool pinned = false;
  bool is_entered = false;

  Held slices;
  i32 slice_count = 0, target_count = 0;
  i32 run_slices = 0;   // as the books have it
  i32 work_slices = 0;  // as the executor has it
  u32 rise_stamp = 0, stamp = 0;  // of its next rise of level; of its timers
  u32 release = 0;  // 1 + where the Release of its last attempt is kept; 0: none is under way
  i32 seen_part = -1;
  State seen = State::kQueued;  // with which it was entered, and the part
  u8 view = 0xff;               // of Behind; 0xff: it does not stand there
  bool in_grown = false;
  enum class On : u8 { kNowhere, kSlices, kTarget, kKept } on = On::kNowhere;
  Event::Kind failing = Event::kTimePassed;  // what is said if a node is lost now; kTimePassed: nothing

  // ---- the books'
  i64 since_us = 0;
  i64 service_us = 0;
  i64 ran_us = 0;
  i64 changed_us = 0;
  // ---- the executor's
  i64 left_us = 0;  // of its work, at full speed
  i64 counted_us = 0;
  i64 ppm = 0;
  const Curve* curve = nullptr;

  i128 left = 0;     // its allowance, in millionths of a microsecond
  i64 lost_ppm = 0;  // how fast that shrinks
  i64 started_us = 0;
  i64 saved_us = 0;
  i64 saving_us = -1;    // -1: it is not
  i64 save_due_us = -1;  // -1: not to be saved
  i64 cut_us = 0;        // when its checkpoint was cut: what was left then

  // ---- what is seldom looked at
  i64 save_took_us = 0;
  i64 save_after_us = 0;
  i64 idle_until_us = 0;
  i64 keep_until_us = 0;
  i64 given = 0;    // slices that others let go for it, since it last ran
  i32 pending = 0;  // of them, those that are still on their way
  u32 asker = 0;    // for whom it was halted or shrunk last
  i64 admitted_us = 0;
  u64 touched = 0;      // the plan that halts or resizes it
  u64 handed_over = 0;  // the plan that handed over what was let go for it
  double grow_ratio = 0;
  i32 give_back_need = 0, grow_need = 0;  // under which it stands there; 0: it does not
  i32 leaving = 0;                        // slices on their way
  i32 before_slices = 0;
  u32 resizes = 0;
  u32 preemptions = 0;
  u32 start_failures = 0, checkpoint_failures = 0, resize_failures = 0, save_failures = 0;
  Held target, kept, home;
  std::vector<u32> lost;  // nodes

  i32 rank() const { return asked.tier; }
  bool is_guaranteed() const { return asked.tier != kBasic; }
  // The slices whose loss concerns it now, as the executor has it; target and kept until they are settled.
  const Held& stands_on() const {
    static const Held none;
    switch (on) {
      case On::kNowhere:
        return none;
      case On::kTarget:
        return target.empty() ? slices : target;
      case On::kKept:
        return kept.empty() ? slices : kept;
      default:
        return slices;
    }
  }
  // Place among others: by tier, level, number.
  u64 order() const { return static_cast<u64>(asked.tier) << 62 | static_cast<u64>(level) << 40 | id; }
};

inline u32 id_of(u64 order) { return static_cast<u32>(order); }

// As scheduler/core/speed.py, for jobs that are alike on all parts.
inline i64 speed_ppm(const Job& job, i32 slices) {
  if (slices <= job.asked.count) return slices * kFullPpm / job.asked.count;
  i64 below = job.asked.count, speed_below = kFullPpm;
  if (job.curve != nullptr) {
    for (const auto& [point, ppm] : *job.curve) {
      if (slices <= point) return speed_below + (ppm - speed_below) * (slices - below) / (point - below);
      below = point;
      speed_below = ppm;
    }
  }
  return speed_below;
}

}  // namespace haltere
