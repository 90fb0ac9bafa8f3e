// THE TABLE, as scheduler/core/transitions.py has it: what a job does in each state when told something.
// What is not in it is an error.
#include "transitions.hpp"

#include <algorithm>

#include "machine.hpp"

namespace haltere {

namespace {

enum Step : u8 {
  kNone,
  kAdmit,
  kPlace,
  kStarted,
  kStartFailed,
  kResize,
  kResized,
  kResizeFailed,
  kEvict,
  kCheckpointed,
  kCheckpointFailed,
  kSave,
  kSaved,
  kSaveFailed,
  kExit,
  kDrop,
  kCancel,
  kLost,
  kNoteLoss,
};

constexpr i64 kBackoffUs = 500'000, kMaxBackoffUs = 30'000'000;  // core/transitions.py's Params
constexpr u32 kMaxStartFailures = 5;

i64 backoff(u32 failures) { return std::min(kBackoffUs << std::min(failures, u32{30}), kMaxBackoffUs); }

constexpr auto table() {
  std::array<std::array<Step, kTriggers>, kStates> steps{};
  const auto set = [&steps](State state, Trigger trigger, Step step) {
    steps[static_cast<std::size_t>(state)][trigger] = step;
  };
  set(State::kQueued, kHearsAdmit, kAdmit);
  set(State::kQueued, kHearsPlace, kPlace);
  set(State::kQueued, kHearsCancel, kDrop);
  set(State::kStarting, kHearsStarted, kStarted);
  set(State::kStarting, kHearsStartFailed, kStartFailed);
  set(State::kStarting, kHearsLost, kNoteLoss);
  set(State::kRunning, kHearsEvict, kEvict);
  set(State::kRunning, kHearsResize, kResize);
  set(State::kRunning, kHearsSave, kSave);
  set(State::kRunning, kHearsSaved, kSaved);
  set(State::kRunning, kHearsSaveFailed, kSaveFailed);
  set(State::kRunning, kHearsLost, kLost);
  set(State::kResizing, kHearsResized, kResized);
  set(State::kResizing, kHearsResizeFailed, kResizeFailed);
  set(State::kResizing, kHearsLost, kNoteLoss);
  set(State::kCheckpointing, kHearsCheckpointed, kCheckpointed);
  set(State::kCheckpointing, kHearsCheckpointFailed, kCheckpointFailed);
  set(State::kCheckpointing, kHearsLost, kNoteLoss);
  set(State::kPreempted, kHearsPlace, kPlace);
  set(State::kMigrating, kHearsStarted, kStarted);
  set(State::kMigrating, kHearsStartFailed, kStartFailed);
  set(State::kMigrating, kHearsLost, kNoteLoss);
  for (const State state : {State::kStarting, State::kRunning, State::kResizing, State::kCheckpointing,
                            State::kPreempted, State::kMigrating}) {
    set(state, kHearsExited, kExit);
    set(state, kHearsCancel, kCancel);
  }
  return steps;
}

constexpr auto kTable = table();

// Slices of `some` that are not among `others`.
Held without(const Held& some, const Held& others) {
  Held rest;
  for (Piece piece : some) {
    for (const Piece& other : others)
      if (other.node == piece.node) piece.mask &= ~other.mask;
    if (piece.mask != 0) rest.push_back(piece);
  }
  return rest;
}

bool is_lost(const Job& job, const Piece& piece) {
  return std::find(job.lost.begin(), job.lost.end(), piece.node) != job.lost.end();
}

}  // namespace

void Machine::tell(Job& job, u8 trigger, Held* slices, std::vector<Command>& commands, u32 node) {
  const Step step = kTable[static_cast<std::size_t>(job.state)][trigger];
  mark(job);
  switch (step) {
    case kNone:
      throw Failure("invalid_transition", text("job %u in state %d cannot hear trigger %d", job.id,
                                               static_cast<int>(job.state), trigger));
    case kAdmit:
      job.admitted = true;
      return;
    case kPlace:
      take(job, *slices);
      job.state = job.state == State::kPreempted ? State::kMigrating : State::kStarting;
      ++job.epoch;
      job.listening = true;
      job.slices = std::move(*slices);
      job.slice_count = slices_of(job.slices);
      job.part = free.node(job.slices.front().node).part;
      job.home.clear();
      job.release = 0;
      commands.push_back({.kind = Command::kStart, .job = job.id, .epoch = job.epoch});
      return;
    case kStarted:
      job.state = State::kRunning;
      job.started_us = now_us;
      job.start_failures = 0;
      if (!job.lost.empty()) recover(job, job.slices, commands);
      return;
    case kStartFailed:
      if (++job.start_failures >= kMaxStartFailures) return end(job, State::kFailed, true, commands);
      job.idle_until_us = now_us + backoff(job.start_failures - 1);
      leave(job.slices);
      give(job.slices);
      job.slices.clear();
      job.slice_count = 0;
      job.lost.clear();
      if (job.state == State::kStarting) job.part = -1;
      job.state = job.state == State::kMigrating ? State::kPreempted : State::kQueued;
      return;
    case kResize: {
      const Held added = without(*slices, job.slices);
      take(job, added);
      job.state = State::kResizing;
      job.kept = job.slices;
      join(job.slices, added);
      job.slice_count = slices_of(job.slices);
      job.target = std::move(*slices);
      job.target_count = slices_of(job.target);
      commands.push_back({.kind = Command::kResize, .job = job.id, .epoch = job.epoch});
      return;
    }
    case kResized:
    case kResizeFailed: {
      Held has = std::move(step == kResized ? job.target : job.kept);
      if (step == kResized) {
        ++job.resizes;
        job.resize_failures = 0;
      } else {
        job.keep_until_us = now_us + backoff(job.resize_failures++);
      }
      // what it has no more, too, is free only when it is released
      if (std::any_of(has.begin(), has.end(), [&](const Piece& piece) { return is_lost(job, piece); }))
        return recover(job, has, commands);
      resized(job, std::move(has));
      job.lost.clear();
      return;
    }
    case kEvict:
      job.state = State::kCheckpointing;
      commands.push_back({.kind = Command::kCheckpoint, .job = job.id, .epoch = job.epoch});
      return;
    case kCheckpointed:
      leave(job.slices);
      give(job.slices);
      job.state = State::kPreempted;
      job.has_checkpoint = true;
      job.saved_us = now_us;
      job.slices.clear();
      job.slice_count = 0;
      job.lost.clear();
      job.checkpoint_failures = 0;
      ++job.preemptions;
      return;
    case kCheckpointFailed:
      job.state = State::kRunning;
      job.keep_until_us = now_us + backoff(job.checkpoint_failures++);
      if (!job.lost.empty()) recover(job, job.slices, commands);
      return;
    case kSave:
      job.saving_us = now_us;
      commands.push_back({.kind = Command::kSave, .job = job.id, .epoch = job.epoch});
      return;
    case kSaved:
      job.has_checkpoint = true;
      job.saved_us = now_us;
      job.save_took_us = now_us - job.saving_us;
      job.saving_us = -1;
      job.save_failures = 0;
      if (!job.lost.empty()) recover(job, job.slices, commands);
      return;
    case kSaveFailed:
      job.saving_us = -1;
      job.save_after_us = now_us + backoff(job.save_failures++);
      if (!job.lost.empty()) recover(job, job.slices, commands);
      return;
    case kExit:
      return end(job, State::kSucceeded, true, commands);
    case kDrop:
      return end(job, State::kCancelled, false, commands);
    case kCancel:
      return end(job, State::kCancelled, true, commands);
    case kLost:
      job.lost.push_back(node);
      if (job.saving_us < 0) recover(job, job.slices, commands);
      return;
    case kNoteLoss:
      job.lost.push_back(node);
      return;
  }
}

// From now on it has these slices; others that it held are free.
void Machine::resized(Job& job, Held slices) {
  give(without(job.slices, slices));
  leave(job.slices);
  job.slices = std::move(slices);
  hold(job, job.slices);
  job.state = State::kRunning;
  job.slice_count = slices_of(job.slices);
  job.target_count = 0;
  job.target.clear();
  job.kept.clear();
}

// Ends an attempt whose node is gone: the job goes back to its checkpoint, or to the beginning. What a
// gang has left of what it `has` is noted as its home.
void Machine::recover(Job& job, const Held& has, std::vector<Command>& commands) {
  Held home;
  for (const Piece& piece : has)
    if (!is_lost(job, piece)) home.push_back(piece);
  release(job, false, commands);
  job.home = std::move(home);
  job.lost.clear();
  ++restarts;
  job.state = job.has_checkpoint ? State::kPreempted : State::kQueued;
  if (job.has_checkpoint) return;
  job.saved_us = 0;
  job.part = -1;
  job.pinned = false;
}

void Machine::end(Job& job, State state, bool releases, std::vector<Command>& commands) {
  job.state = state;
  job.listening = false;
  job.home.clear();
  job.lost.clear();
  const Asked& asked = job.asked;
  done.push_back({asked.submitted_us, job.started_us, now_us, asked.work_us, static_cast<i32>(job.id),
                  asked.count, static_cast<i32>(job.preemptions), static_cast<i32>(job.resizes), asked.tier,
                  static_cast<i32>(state)});
  if (releases) release(job, true, commands);
  ended_.push_back(&job);
}

}  // namespace haltere
