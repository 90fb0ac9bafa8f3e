#include "executor.hpp"

#include <algorithm>
#include <limits>

namespace haltere {

void Executor::schedule(Item item) {
  item.made = ++made_;
  heap_.push_back(item);
  std::push_heap(heap_.begin(), heap_.end());
}

void Executor::submitted(u32 job) { arrivals_.emplace_back(machine_.asked(job).submitted_us, ++made_); }

i64 Executor::next_us() {
  i64 next = std::numeric_limits<i64>::max();
  if (!heap_.empty()) next = heap_.front().at_us;
  if (arrived_ < arrivals_.size()) next = std::min(next, arrivals_[arrived_].first);
  if (wake_at_us_ >= 0) next = std::min(next, wake_at_us_);
  return next;
}

void Executor::poll(i64 until_us, std::vector<Event>& batch) {
  constexpr std::pair<i64, u64> kNever{std::numeric_limits<i64>::max(), 0};
  for (;;) {
    const auto item = heap_.empty() ? kNever : std::pair{heap_.front().at_us, heap_.front().made};
    const auto job = arrived_ < arrivals_.size() ? arrivals_[arrived_] : kNever;
    const auto wake = wake_at_us_ >= 0 ? std::pair{wake_at_us_, wake_made_} : kNever;
    const auto next = std::min({item, job, wake});
    if (next == kNever || next.first > until_us || (!batch.empty() && next.first != now_us_)) return;
    if (next.first > kLatest) throw Failure("infeasible", "the simulated time is over two years");
    now_us_ = next.first;
    if (next == item) {
      const Item due = heap_.front();
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
      make(due, batch);
    } else if (next == job) {
      batch.push_back({.kind = Event::kJobSubmitted, .at_us = now_us_, .job = static_cast<u32>(++arrived_)});
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
  if (item.kind == kCancel) return tell(Event::kCancelRequested);
  if (item.kind == kRelease) return tell(Event::kLeaseReleased, item.version);
  Job* job = machine_.find(item.job);
  if (job == nullptr || job->version != item.version) return;  // halted, ended or released meanwhile
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
    case kEnd:
      stand(*job);
      return tell(Event::kJobExited);
    case kCheckpoint:
      ++job->version;
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
      if (!job->has_checkpoint) job->left_us = job->asked.work_us;
      job->work_slices = job->slice_count;
      return after(job->has_checkpoint ? costs_.restore_us : costs_.start_us, kStart);
    case Command::kResize: {
      const bool grows = job->target_count > job->work_slices;
      stand(*job);
      job->work_slices = job->target_count;
      const i64 cost_us = grows ? costs_.grow_us : costs_.shrink_us;
      if (grows || costs_.checkpoint_us >= cost_us) return after(cost_us, kResize);
      after(costs_.checkpoint_us, kTell);
      return after(cost_us, kRun);
    }
    case Command::kCheckpoint:
      stand(*job);
      return after(costs_.checkpoint_us, kCheckpoint);
    case Command::kRelease:
      if (job != nullptr) stand(*job);
      return after(costs_.release_us, kRelease);
    default:
      return;
  }
}

void Executor::run(Job& job) {
  i64 ppm = speed_ppm(job, job.work_slices);
  if (job.work_slices < job.asked.count) ppm = ppm * costs_.turns_ppm / kFullPpm;
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

}  // namespace haltere
