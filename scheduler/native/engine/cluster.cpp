#include "cluster.hpp"

#include <algorithm>

namespace haltere {

Cluster::Cluster(const Params& params, const Costs& costs, const std::vector<Node>& nodes)
    : machine(nodes), nodes_(nodes.size()), params_(params), policy_(params_, machine), executor_(costs, machine, nodes.size()) {
  for (u32 node = 0; node < nodes.size(); ++node) executor_.add_node(node, 0);
}

u32 Cluster::add_curve(Curve curve) {
  curves_.push_back(std::move(curve));
  return static_cast<u32>(curves_.size());
}

void Cluster::submit(const Asked* jobs, std::size_t count) {
  for (const Asked* job = jobs; job != jobs + count; ++job) {
    const auto curve = static_cast<std::size_t>(job->curve);
    machine.accept(*job, curve == 0 ? nullptr : &curves_[curve - 1]);
    executor_.submitted(job->submitted_us);
  }
}

bool Cluster::advance(i64 until_us, i64 most_steps) {
  while (most_steps-- > 0) {
    if (step(until_us)) continue;
    until_us_ = until_us;
    return true;
  }
  return false;
}

bool Cluster::step(i64 until_us) {
  events_.clear();
  commands_.clear();
  executor_.poll(until_us, events_);
  if (events_.empty()) return false;
  held_us_ += i128{machine.held} * (events_.front().at_us - counted_us_);
  counted_us_ = events_.front().at_us;
  for (const Event& event : events_) machine.handle(event, commands_);
  for (Decision& decision : policy_.plan()) machine.apply(decision, commands_);
  if (policy_.wake_us() >= 0) machine.wake_at(policy_.wake_us(), commands_);
  record();
  for (const Command& command : commands_) executor_.execute(command);
  machine.forget_ended();
  ++steps_;
  event_count_ += static_cast<i64>(events_.size());
  return true;
}

Standing Cluster::standing() const {
  const Books& books = policy_.books;
  Standing found{};
  for (std::size_t part = 0; part < machine.free.parts(); ++part) {
    found.capacity += machine.free.capacity(static_cast<i32>(part));
    found.free += machine.free.count(static_cast<i32>(part));
  }
  for (const i64 slices : books.waiting_slices) found.waiting += slices;
  found.promised_ppm =
      books.promised_ppm + (books.waiting_slices[kPremium] + books.waiting_slices[kStandard]) * kFullPpm;
  return found;
}

bool Cluster::withdraw(u32 number, i64& left_us, bool& has_checkpoint) {
  const Job* job = machine.find(number);
  if (job == nullptr || !waits(job->state)) return false;
  has_checkpoint = job->has_checkpoint;
  left_us = has_checkpoint ? job->cut_us : job->asked.work_us;
  if (job->epoch > 0) executor_.lost_us += i128{left_us - job->left_us} * job->asked.count;
  executor_.cancel(number, now_us());
  return true;
}

std::vector<u32> Cluster::movable(std::size_t most) const {
  const Books& books = policy_.books;
  std::vector<u32> found;
  const auto take = [&](u32 number) {  // the books do not know what the last plan did
    const Job* job = machine.find(number);
    if (job != nullptr && waits(job->state) && !job->admitted) found.push_back(number);
  };
  for (const auto& tier : books.unadmitted) tier.each(take);
  std::vector<u64> basic;
  for (const auto& [least, jobs] : books.basic) {
    if (jobs.empty()) continue;
    const u64* next = &jobs.first();
    for (std::size_t count = 0; next != nullptr && count < most; next = jobs.after(*next)) {
      const Job* job = machine.find(id_of(*next));
      if (job == nullptr || !waits(job->state)) continue;
      basic.push_back(*next);
      ++count;
    }
  }
  std::sort(basic.begin(), basic.end());
  for (const u64 order : basic) take(id_of(order));
  if (found.size() > most) found.resize(most);
  return found;
}

// The form is described in scheduler/sim/digest.py.
void Cluster::record() {
  digest.add(static_cast<i64>(events_.size()));
  digest.add(static_cast<i64>(commands_.size()));
  for (const Event& event : events_) {
    digest.add(event.kind);
    digest.add(event.at_us);
    if (event.kind == Event::kTimePassed) continue;
    digest.add(event.job);
    if (event.kind <= Event::kDeviceLost) {
      if (event.kind == Event::kDeviceLost) continue;
      digest.add(machine.free.node(event.job).part);
      digest.add(machine.free.node(event.job).slice_count);
    } else if (event.kind >= Event::kJobStarted) {
      digest.add(event.epoch);
      if (event.kind == Event::kJobExited) digest.add(0);  // its exit code
    }
  }
  for (const Command& command : commands_) {
    digest.add(command.kind);
    if (command.kind == Command::kWakeAt) {
      digest.add(command.at_us);
      continue;
    }
    digest.add(command.job);
    digest.add(command.epoch);
    if (command.kind == Command::kRelease) digest.add(command.is_final);
    if (command.kind != Command::kStart && command.kind != Command::kResize) continue;
    const Job& job = *machine.find(command.job);
    if (command.kind == Command::kStart) digest.add(job.has_checkpoint);
    record(command.kind == Command::kStart ? job.slices : job.target);
  }
}

void Cluster::record(const Held& slices) {
  Held rising = slices;
  std::sort(rising.begin(), rising.end(), [](const Piece& one, const Piece& other) { return one.node < other.node; });
  digest.add(slices_of(slices));
  for (const Piece& piece : rising)
    for (u64 rest = piece.mask; rest != 0; rest &= rest - 1)
      digest.add(static_cast<i64>(piece.node) << 16 | std::countr_zero(rest));
}

Summary Cluster::summary() const {
  Summary found{};
  const Books& books = policy_.books;
  found.now_us = now_us();
  found.steps = steps_;
  found.events = event_count_;
  found.alive = static_cast<i64>(machine.alive());
  found.promised_ppm = books.promised_ppm;
  found.digest = static_cast<i64>(digest.value());
  found.over = executor_.over;
  found.losses = static_cast<i64>(machine.losses);
  found.restarts = static_cast<i64>(machine.restarts);
  found.saves = executor_.saves;
  found.lost_h = static_cast<double>(executor_.lost_us) / 3.6e9;
  found.held_h = static_cast<double>(held_us_) / 3.6e9;
  for (std::size_t tier = 0; tier < 3; ++tier) {
    found.waiting_jobs[tier] = books.waiting_jobs[tier];
    found.waiting_slices[tier] = books.waiting_slices[tier];
    found.running_jobs[tier] = books.running_jobs[tier];
    found.running_slices[tier] = books.running_slices[tier];
  }
  return found;
}

}  // namespace haltere
