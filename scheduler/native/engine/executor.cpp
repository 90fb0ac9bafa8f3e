#include "executor.hpp"

#include <algorithm>
#include <limits>

namespace haltere {

void Executor::schedule(Item item) {
  item.made = ++made_;
  heap_.push(item, [this](const Item& each) { return is_void(each); });
}

bool Executor::is_void(const Item& item) const {
  if (item.kind <= kFailed || item.kind == kRelease) return false;
  const Job* job = machine_.find(item.job);
  return job == nullptr || job->version != item.version;  // halted, ended or released meanwhile
}

i64 Executor::next_us() {
  i64 next = std::numeric_limits<i64>::max();
  if (!heap_.empty()) next = heap_.first().at_us;
  if (!arrivals_.empty()) next = std::min(next, arrivals_.front().first);
  if (faulted_ < faults_.size()) next = std::min(next, faults_[faulted_].at_us);
  if (wake_at_us_ >= 0) next = std::min(next, wake_at_us_);
  return next;
}

void Executor::poll(i64 until_us, std::vector<Event>& batch) {
  constexpr std::pair<i64, u64> kNever{std::numeric_limits<i64>::max(), 0};
  for (;;) {
    const auto item = heap_.empty() ? kNever : std::pair{heap_.first().at_us, heap_.first().made};
    const auto job = arrivals_.empty() ? kNever : arrivals_.front();
    const auto wake = wake_at_us_ >= 0 ? std::pair{wake_at_us_, wake_made_} : kNever;
    const auto fault = faulted_ < faults_.size() ? std::pair{faults_[faulted_].at_us, u64{0}} : kNever;
    const auto next = std::min({item, job, wake, fault});
    if (next == kNever || next.first > until_us || (!batch.empty() && next.first != now_us_)) return;
    if (next.first > kLatest) throw Failure("infeasible", "the simulated time is over two years");
    now_us_ = next.first;
    if (next == fault) {
      go_wrong(faults_[faulted_++]);
    } else if (next == item) {
      make(heap_.pop([this] { warm(); }), batch);
    } else if (next == job) {
      arrivals_.pop_front();
      batch.push_back({.kind = Event::kJobSubmitted, .at_us = now_us_, .job = ++arrived_});
    } else {
      wake_at_us_ = -1;
      batch.push_back({.kind = Event::kTimePassed, .at_us = now_us_});
    }
  }
}

void Executor::make(const Item& item, std::vector<Event>& batch) {
  const auto tell = [&](Event::Kind kind, u32 slot = 0) {
    batch.push_back({kind, now_us_, item.job, item.epoch, slot});
  };
  if (item.kind == kNode) return tell(Event::kDeviceAdded);
  if (item.kind == kLose) {
    tell(Event::kDeviceLost);
    return fall(item.job);
  }
  if (item.kind == kFailed) return tell(static_cast<Event::Kind>(item.version));
  if (item.kind == kCancel) return tell(Event::kCancelRequested);
  if (item.kind == kRelease) return tell(Event::kLeaseReleased, item.version);
  if (is_void(item)) return;
  Job* job = machine_.find(item.job);
  if (item.kind != kRun && item.kind != kEnd) job->failing = Event::kTimePassed;
  if (item.kind == kResize || item.kind == kTell) job->on = Job::On::kTarget;
  switch (item.kind) {
    case kStart:
      run(*job);
      return tell(Event::kJobStarted);
    case kResize:
      run(*job);
      return tell(Event::kJobResized);
    case kRun:
      return run(*job);
    case kTell:
      return tell(Event::kJobResized);
    case kSave:
      job->cut_us = job->left_us;
      ++saves;
      run(*job);
      return tell(Event::kJobSaved);
    case kEnd:
      stand(*job);
      return tell(Event::kJobExited);
    case kCheckpoint:
      job->cut_us = job->left_us;
      ++job->version;
      job->on = Job::On::kNowhere;
      return tell(Event::kJobCheckpointed);
    default:
      return;
  }
}

void Executor::execute(const Command& command) {
  if (command.kind == Command::kWakeAt) {
    made_ += 2;  // as many numbers as the twin uses up
    wake_at_us_ = command.at_us;
    wake_made_ = made_;
    return;
  }
  Job* job = machine_.find(command.job);
  const Item item{0, 0, command.job, command.epoch, job != nullptr ? job->version : 0, kRun};
  const auto after = [&](i64 cost_us, Kind kind) {
    Item due = item;
    due.at_us = now_us_ + cost_us;
    due.kind = kind;
    if (job != nullptr) due.version = job->version;
    if (kind == kRelease) due.version = command.slot;
    schedule(due);
  };
  switch (command.kind) {
    case Command::kStart:
      if (!job->has_checkpoint) {
        if (job->epoch == 1) job->left_us = job->asked.work_us;
        job->cut_us = job->asked.work_us;
      }
      lost_us += i128{job->cut_us - job->left_us} * job->asked.count;
      job->left_us = job->cut_us;
      job->work_slices = job->slice_count;
      job->on = Job::On::kSlices;
      job->failing = Event::kStartFailed;
      return after(job->has_checkpoint ? stored(costs_.restore_us) : costs_.start_us, kStart);
    case Command::kResize: {
      const bool grows = job->target_count > job->work_slices;
      stand(*job);
      job->failing = Event::kResizeFailed;
      job->before_slices = job->work_slices;
      job->on = Job::On::kSlices;  // those that it has and those that it will have
      job->work_slices = job->target_count;
      const i64 cost_us = grows ? costs_.grow_us : costs_.shrink_us;
      if (grows || costs_.checkpoint_us >= cost_us) return after(cost_us, kResize);
      after(costs_.checkpoint_us, kTell);
      return after(cost_us, kRun);
    }
    case Command::kCheckpoint:
      stand(*job);
      job->failing = Event::kCheckpointFailed;
      return after(stored(costs_.checkpoint_us), kCheckpoint);
    case Command::kSave:
      stand(*job);
      job->failing = Event::kSaveFailed;
      return after(stored(costs_.save_us), kSave);
    case Command::kRelease:
      if (job != nullptr) {
        stand(*job);
        job->failing = Event::kTimePassed;
        job->on = Job::On::kNowhere;
      }
      over += command.is_final;
      return after(costs_.release_us, kRelease);
    default:
      return;
  }
}

void Executor::run(Job& job) {
  i64 ppm = speed_ppm(job, job.work_slices);
  if (job.work_slices < job.asked.count) ppm = ppm * costs_.turns_ppm / kFullPpm;
  if (stragglers_ != 0) {  // a gang is as slow as the slowest of it
    i32 share = kFullPpm;
    for (const Piece& piece : job.stands_on()) share = std::min(share, straggling_[piece.node]);
    ppm = std::max(i64{1}, ppm * share / kFullPpm);
  }
  job.ppm = ppm;
  job.counted_us = now_us_;
  ++job.version;
  const i128 rest_us = ceil_div(i128{job.left_us} * kFullPpm, i128{ppm});
  if (rest_us > kLatest) throw Failure("infeasible", text("job %u would run for over two years", job.id));
  schedule({now_us_ + static_cast<i64>(rest_us), 0, job.id, job.epoch, job.version, kEnd});
}

void Executor::stand(Job& job) {
  const i128 done_us = i128{now_us_ - job.counted_us} * job.ppm / kFullPpm;
  job.left_us = done_us >= job.left_us ? 0 : job.left_us - static_cast<i64>(done_us);
  job.ppm = 0;
  job.counted_us = now_us_;
  ++job.version;
}

std::vector<u32> Executor::on(u32 node) const {
  std::vector<u32> jobs = machine_.holders(node);  // more than those, when something else has just happened
  std::erase_if(jobs, [&](u32 number) { return !has_node(machine_.find(number)->stands_on(), node); });
  return jobs;
}

// What happens next is fetched all at once, rather than one after the other.
void Executor::warm() const {
  for (const Item& item : heap_.near())
    if (item.kind > kFailed) machine_.warm(item.job);
  for (const Item& item : heap_.near())
    if (item.kind > kFailed) machine_.warm_slices(item.job);
}

// All that was running there is gone.
void Executor::fall(u32 node) {
  for (const u32 number : on(node)) {
    Job& job = *machine_.find(number);
    stand(job);
    const Event::Kind failing = std::exchange(job.failing, Event::kTimePassed);
    if (failing == Event::kTimePassed) continue;
    if (failing == Event::kResizeFailed) {
      job.work_slices = job.before_slices;
      job.on = Job::On::kKept;
      if (!has_node(job.stands_on(), node)) run(job);
    }
    if (failing == Event::kStartFailed) job.on = Job::On::kNowhere;  // no release follows if it is cancelled next
    schedule({now_us_, 0, number, job.epoch, failing, kFailed});
  }
}

void Executor::foresee(const Fault* faults, std::size_t count) {
  faults_.erase(faults_.begin(), faults_.begin() + static_cast<std::ptrdiff_t>(faulted_));
  faulted_ = 0;
  faults_.insert(faults_.end(), faults, faults + count);
}

// Before all else that happens at that moment; losses and returns are told after it.
void Executor::go_wrong(const Fault& fault) {
  switch (fault.what) {
    case Fault::kLost:
      return schedule({now_us_, 0, fault.node, 0, 0, kLose});
    case Fault::kBack:
      return schedule({now_us_, 0, fault.node, 0, 0, kNode});
    case Fault::kStraggles:
      return straggle(fault.node, static_cast<i32>(fault.ppm));
    default:
      store_ppm_ = fault.ppm;
  }
}

// Whoever is on it runs at that share of its speed from now on.
void Executor::straggle(u32 node, i32 ppm) {
  stragglers_ += (ppm != kFullPpm) - (straggling_[node] != kFullPpm);
  straggling_[node] = ppm;
  for (const u32 number : on(node)) {
    Job& job = *machine_.find(number);
    if (job.ppm == 0) continue;
    stand(job);
    run(job);
  }
}

}  // namespace haltere
