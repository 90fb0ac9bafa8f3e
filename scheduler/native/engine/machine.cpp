#include "machine.hpp"

#include "transitions.hpp"

namespace haltere {

u32 Machine::accept(const Asked& asked, const Curve* curve) {
  asked_.push_back(asked);
  curves_.push_back(curve);
  return newest();
}

void Machine::handle(const Event& event, std::vector<Command>& commands) {
  if (event.at_us < now_us) throw Failure("invalid_transition", "time went back");
  now_us = event.at_us;
  switch (event.kind) {
    case Event::kJobSubmitted:
      return submit(event.job);
    case Event::kDeviceAdded: {
      const Node& node = nodes_[event.job];
      return free.add(event.job, node.part, node.slice_count, 0);
    }
    case Event::kLeaseReleased:
      return released(event);
    case Event::kTimePassed:
      wake_at_us_ = -1;
      return;
    case Event::kCancelRequested:
      if (Job* job = find(event.job)) tell(*job, kHearsCancel, nullptr, commands);
      return;
    default:
      return report(event, commands);
  }
}

void Machine::submit(u32 number) {
  if (jobs_.size() != number)
    throw Failure("invalid_transition", text("job %u came after job %zu", number, jobs_.size() - 1));
  Job* job;
  if (spare_.empty()) {
    job = &room_.emplace_back();
  } else {
    job = spare_.back();
    spare_.pop_back();
    *job = Job{};
  }
  job->id = number;
  job->asked = asked_[number - 1];
  if (job->asked.carried != 0) {
    job->has_checkpoint = true;
    job->left_us = job->asked.work_us;
  }
  job->curve = curves_[number - 1];
  jobs_.push_back(job);
  ++alive_;
  mark(*job);
}

void Machine::released(const Event& event) {
  Release& lease = releases_[event.slot];
  if (!lease.is_open || lease.job != event.job || lease.epoch != event.epoch)
    throw Failure("invalid_transition", text("job %u reports a release that nobody asked for", event.job));
  give(lease.slices);
  lease.slices.clear();
  lease.is_open = false;
  open_slots_.push_back(event.slot);
}

void Machine::report(const Event& event, std::vector<Command>& commands) {
  Job* job = find(event.job);
  if (job == nullptr || event.epoch < job->epoch || (event.epoch == job->epoch && !job->listening)) {
    ++fenced;
    return;
  }
  if (event.epoch > job->epoch)
    throw Failure("invalid_transition", text("job %u: attempt %u was never made", event.job, event.epoch));
  tell(*job, heard(event.kind), nullptr, commands);
}

void Machine::apply(Decision& decision, std::vector<Command>& commands) {
  switch (decision.kind) {
    case Decision::kAdmit:
      return tell(*decision.job, kHearsAdmit, nullptr, commands);
    case Decision::kPlace:
      check(*decision.job, decision.slices);
      return tell(*decision.job, kHearsPlace, &decision.slices, commands);
    case Decision::kEvict:
      return tell(*decision.job, kHearsEvict, nullptr, commands);
    case Decision::kResize:
      check(*decision.job, decision.slices);
      return tell(*decision.job, kHearsResize, &decision.slices, commands);
  }
}

void Machine::wake_at(i64 at_us, std::vector<Command>& commands) {
  if (at_us <= now_us) throw Failure("invalid_plan", "a wish to be woken in the past");
  if (at_us == wake_at_us_) return;
  wake_at_us_ = at_us;
  commands.push_back({.kind = Command::kWakeAt, .at_us = at_us});
}

void Machine::check(const Job& job, const Held& slices) const {
  const i32 count = slices_of(slices);
  if (count < job.asked.least || count > job.asked.most)
    throw Failure("invalid_plan", text("job %u: %d slices for a gang of %d to %d", job.id, count,
                                       job.asked.least, job.asked.most));
}

void Machine::mark(Job& job) {
  if (job.is_changed) return;
  job.is_changed = true;
  changed.push_back(job.id);
}

void Machine::take(const Held& slices) {
  for (const Piece& piece : slices) free.take(piece);
}

void Machine::give(const Held& slices) {
  for (const Piece& piece : slices) free.give(piece);
}

void Machine::release(Job& job, bool is_final, std::vector<Command>& commands) {
  u32 slot = static_cast<u32>(releases_.size());
  if (open_slots_.empty()) {
    releases_.emplace_back();
  } else {
    slot = open_slots_.back();
    open_slots_.pop_back();
  }
  releases_[slot] = {job.id, job.epoch, std::move(job.slices), true};
  job.slices.clear();
  job.target.clear();
  job.kept.clear();
  job.slice_count = job.target_count = 0;
  job.listening = false;
  commands.push_back({.kind = Command::kRelease, .job = job.id, .epoch = job.epoch, .is_final = is_final,
                      .slot = slot});
}

void Machine::forget(Job& job) {
  jobs_[job.id] = nullptr;
  --alive_;
  spare_.push_back(&job);
}

}  // namespace haltere
