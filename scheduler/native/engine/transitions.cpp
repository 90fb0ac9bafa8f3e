// THE TABLE, as scheduler/core/transitions.py has it: what a job does in each state when told something.
// What is not in it is an error.
#include "transitions.hpp"

#include "machine.hpp"

namespace haltere {

namespace {

enum Step : u8 { kNone, kAdmit, kPlace, kStarted, kResize, kResized, kEvict, kCheckpointed, kExit, kDrop, kCancel };

constexpr auto table() {
  std::array<std::array<Step, kTriggers>, kStates> steps{};
  const auto set = [&steps](State state, Trigger trigger, Step step) {
    steps[static_cast<std::size_t>(state)][trigger] = step;
  };
  set(State::kQueued, kHearsAdmit, kAdmit);
  set(State::kQueued, kHearsPlace, kPlace);
  set(State::kQueued, kHearsCancel, kDrop);
  set(State::kStarting, kHearsStarted, kStarted);
  set(State::kRunning, kHearsEvict, kEvict);
  set(State::kRunning, kHearsResize, kResize);
  set(State::kResizing, kHearsResized, kResized);
  set(State::kCheckpointing, kHearsCheckpointed, kCheckpointed);
  set(State::kPreempted, kHearsPlace, kPlace);
  set(State::kMigrating, kHearsStarted, kStarted);
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

// The slices of both, each node once, in the order in which they come.
void join(Held& into, const Held& more) {
  for (const Piece& piece : more) {
    auto same = into.begin();
    while (same != into.end() && same->node != piece.node) ++same;
    if (same == into.end())
      into.push_back(piece);
    else
      same->mask |= piece.mask;
  }
}

}  // namespace

void Machine::tell(Job& job, u8 trigger, Held* slices, std::vector<Command>& commands) {
  switch (kTable[static_cast<std::size_t>(job.state)][trigger]) {
    case kNone:
      throw Failure("invalid_transition", text("job %u in state %d cannot hear trigger %d", job.id,
                                               static_cast<int>(job.state), trigger));
    case kAdmit:
      job.admitted = true;
      break;
    case kPlace:
      take(*slices);
      job.state = job.state == State::kPreempted ? State::kMigrating : State::kStarting;
      ++job.epoch;
      job.listening = true;
      job.slices = std::move(*slices);
      job.slice_count = slices_of(job.slices);
      job.part = nodes_[job.slices.front().node].part;
      commands.push_back({.kind = Command::kStart, .job = job.id, .epoch = job.epoch});
      break;
    case kStarted:
      job.state = State::kRunning;
      job.started_us = now_us;
      break;
    case kResize: {
      const Held added = without(*slices, job.slices);
      take(added);
      job.state = State::kResizing;
      job.kept = job.slices;
      join(job.slices, added);
      job.slice_count = slices_of(job.slices);
      job.target = std::move(*slices);
      job.target_count = slices_of(job.target);
      commands.push_back({.kind = Command::kResize, .job = job.id, .epoch = job.epoch});
      break;
    }
    case kResized:
      give(without(job.slices, job.target));
      job.state = State::kRunning;
      job.slices = std::move(job.target);
      job.slice_count = job.target_count;
      job.target.clear();
      job.kept.clear();
      job.target_count = 0;
      ++job.resizes;
      break;
    case kEvict:
      job.state = State::kCheckpointing;
      commands.push_back({.kind = Command::kCheckpoint, .job = job.id, .epoch = job.epoch});
      break;
    case kCheckpointed:
      give(job.slices);
      job.state = State::kPreempted;
      job.has_checkpoint = true;
      job.slices.clear();
      job.slice_count = 0;
      ++job.preemptions;
      break;
    case kExit:
      end(job, State::kSucceeded, true, commands);
      break;
    case kDrop:
      end(job, State::kCancelled, false, commands);
      break;
    case kCancel:
      end(job, State::kCancelled, true, commands);
      break;
  }
  mark(job);
}

void Machine::end(Job& job, State state, bool releases, std::vector<Command>& commands) {
  job.state = state;
  const Asked& asked = job.asked;
  done.push_back({asked.submitted_us, job.started_us, now_us, asked.work_us, static_cast<i32>(job.id),
                  asked.count, static_cast<i32>(job.preemptions), static_cast<i32>(job.resizes), asked.tier,
                  static_cast<i32>(state)});
  if (releases) release(job, true, commands);
}

}  // namespace haltere
