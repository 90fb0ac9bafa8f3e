#include "machine.hpp"

#include <algorithm>

#include "transitions.hpp"

namespace haltere {

namespace {

constexpr std::size_t kFirstRoom = 64, kMostRoom = 4096;  // jobs: a huge page has room for so many

template <class Do>
void each_bit(u64 mask, Do&& act) {
  for (; mask != 0; mask &= mask - 1) act(static_cast<u32>(std::countr_zero(mask)));
}

std::vector<Node> in_rows(std::vector<Node> nodes) {
  u32 first = 0;
  for (Node& node : nodes) {
    node.first = first;
    first += node.slice_count;
  }
  return nodes;
}

}  // namespace

Machine::Machine(std::vector<Node> nodes) : free(in_rows(std::move(nodes))) {
  holders_.resize(free.slices());
}

void Machine::handle(const Event& event, std::vector<Command>& commands) {
  if (event.at_us < now_us) throw Failure("invalid_transition", "time went back");
  now_us = event.at_us;
  switch (event.kind) {
    case Event::kJobSubmitted:
      return submit(event.job);
    case Event::kDeviceAdded:
      return add_node(event.job);
    case Event::kDeviceLost:
      return lose_node(event.job, commands);
    case Event::kLeaseReleased:
      return released(event, commands);
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
  if (spare_.empty()) {
    Large<Job>& more = room_.emplace_back(std::clamp(alive_, kFirstRoom, kMostRoom));
    for (auto each = more.rbegin(); each != more.rend(); ++each) spare_.push_back(&*each);
  }
  Job* job = spare_.back();
  spare_.pop_back();
  *job = Job{};
  job->id = number;
  job->asked = coming_.front().asked;
  job->curve = coming_.front().curve;
  coming_.pop_front();
  if (job->asked.carried != 0) {
    job->has_checkpoint = true;
    job->left_us = job->cut_us = job->asked.work_us;
  }
  jobs_.push_back(job);
  ++alive_;
  mark(*job);
}

void Machine::count_up(i64 more) {
  up_us_ += up_ * (now_us - up_since_us_);
  up_since_us_ = now_us;
  up_ += more;
}

void Machine::add_node(u32 number) {
  const Node& node = free.node(number);
  if (node.is_up) throw Failure("invalid_event", text("node %u was added while it is up", number));
  u64 held = 0;
  for (u32 slice = 0; slice < node.slice_count; ++slice)
    if (holders_[node.first + slice] != 0) held |= u64{1} << slice;
  for (const Release& lease : releases_)
    for (const Piece& piece : lease.slices)
      if (piece.node == number) held |= piece.mask;
  free.add(number, held);
  count_up(1);
}

void Machine::lose_node(u32 number, std::vector<Command>& commands) {
  if (!free.node(number).is_up) return;
  free.remove(number);
  count_up(-1);
  ++losses;
  for (const u32 job : holders(number)) tell(*jobs_[job], kHearsLost, nullptr, commands, number);
}

void Machine::released(const Event& event, std::vector<Command>& commands) {
  Release& lease = releases_[event.slot];
  if (!lease.is_open || lease.job != event.job || lease.epoch != event.epoch)
    throw Failure("invalid_transition", text("job %u reports a release that nobody asked for", event.job));
  give(lease.slices);
  lease.slices.clear();
  Job* job = find(event.job);
  if (lease.owes) {
    lease.owes = false;
    commands.push_back({.kind = Command::kRelease, .job = event.job, .epoch = event.epoch, .is_final = true,
                        .slot = event.slot});
    return;
  }
  lease.is_open = false;
  if (job != nullptr && job->release == event.slot + 1) job->release = 0;
  open_slots_.push_back(event.slot);
}

u64 Machine::clearing(const Job& job, u32 node) const {
  u64 held = 0;
  for (const Release& lease : releases_)
    if (lease.is_open && lease.job == job.id)
      for (const Piece& piece : lease.slices)
        if (piece.node == node) held |= piece.mask;
  return held;
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
    case Decision::kSave:
      return tell(*decision.job, kHearsSave, nullptr, commands);
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

void Machine::take(Job& job, const Held& slices) {
  for (const Piece& piece : slices) free.take(piece);
  hold(job, slices);
  held += slices_of(slices);
}

void Machine::give(const Held& slices) {
  for (const Piece& piece : slices) free.give(piece);
  held -= slices_of(slices);
}

void Machine::hold(const Job& job, const Held& slices) {
  for (const Piece& piece : slices)
    each_bit(piece.mask, [&, first = free.node(piece.node).first](u32 slice) { holders_[first + slice] = job.id; });
}

void Machine::leave(const Held& slices) {
  for (const Piece& piece : slices)
    each_bit(piece.mask, [&, first = free.node(piece.node).first](u32 slice) { holders_[first + slice] = 0; });
}

std::vector<u32> Machine::holders(u32 number) const {
  const Node& node = free.node(number);
  std::vector<u32> jobs;
  for (u32 slice = 0; slice < node.slice_count; ++slice)
    if (const u32 job = holders_[node.first + slice]; job != 0) jobs.push_back(job);
  std::sort(jobs.begin(), jobs.end());
  jobs.erase(std::unique(jobs.begin(), jobs.end()), jobs.end());
  return jobs;
}

void Machine::warm_slices(u32 number) const {
  const Job* job = find(number);
  if (job == nullptr || job->slices.empty()) return;
  const u32 node = job->slices.front().node;
  soon(&free.node(node));
}

void Machine::release(Job& job, bool is_final, std::vector<Command>& commands) {
  leave(job.slices);
  job.listening = false;
  job.saving_us = -1;
  job.target.clear();
  job.kept.clear();
  job.slice_count = job.target_count = 0;
  if (job.release != 0 && releases_[job.release - 1].epoch == job.epoch) {  // it is being released already
    releases_[job.release - 1].owes = true;
    return;
  }
  u32 slot = static_cast<u32>(releases_.size());
  if (open_slots_.empty()) {
    releases_.emplace_back();
  } else {
    slot = open_slots_.back();
    open_slots_.pop_back();
  }
  releases_[slot] = {job.id, job.epoch, std::move(job.slices), true, false};
  job.slices.clear();
  job.release = slot + 1;
  commands.push_back({.kind = Command::kRelease, .job = job.id, .epoch = job.epoch, .is_final = is_final,
                      .slot = slot});
}

void Machine::forget_ended() {
  for (Job* job : ended_) {
    jobs_[job->id] = nullptr;
    --alive_;
    spare_.push_back(job);
  }
  ended_.clear();
}

}  // namespace haltere
