#include "books.hpp"

#include <algorithm>
#include <cmath>

namespace haltere {

namespace {

template <class Value>
void erase(std::map<i32, Ordered<Value>>& classes, i32 under, const Value& value) {
  const auto found = classes.find(under);
  found->second.erase(value);
  if (found->second.empty()) classes.erase(found);
}

}  // namespace

Books::Books(const Params& params, Machine& machine) : params(params), machine(machine) {}

void Books::follow() {
  const i64 now_us = machine.now_us;
  parts.resize(machine.free.parts());
  followed.clear();
  followed.swap(machine.changed);
  for (const u32 number : followed)
    if (Job* job = machine.find(number)) follow(*job);
  while (!rises_.empty() && rises_.first().at_us <= now_us) {
    const Timer due = rises_.pop();
    Job* job = machine.find(due.job);
    if (job != nullptr && job->rise_stamp == due.stamp) rise(*job);
  }
  while (!timers_.empty() && timers_.first().at_us <= now_us) {
    const Timer due = timers_.pop();
    Job* job = machine.find(due.job);
    if (job != nullptr && job->stamp == due.stamp) fall_due(*job, due.due);
  }
}

void Books::follow(Job& job) {
  const bool ran = job.is_entered && job.seen == State::kRunning;
  job.is_changed = false;
  count(job);
  take_out(job);
  ++job.stamp;
  if (is_terminal(job.state)) {
    if (job.admitted) promised_ppm -= set_aside_ppm(job);
    ++job.rise_stamp;
    return;
  }
  const i32 holds = job.target_count != 0 ? job.target_count : job.slice_count;
  if (!job.is_guaranteed()) job.level = level_of(job).first;
  if (job.state == State::kRunning && (!ran || holds != job.run_slices)) {
    job.changed_us = machine.now_us;
    job.given = 0;
  }
  job.run_slices = holds;
  enter(job);
  foretell(job);
}

void Books::count(Job& job) {
  const i64 now_us = machine.now_us, passed_us = now_us - job.since_us;
  job.left = left_of(params, job, now_us);
  job.service_us += passed_us * job.run_slices;
  if (job.run_slices != 0) job.ran_us += passed_us;
  job.since_us = now_us;
}

void Books::enter(Job& job) {
  job.is_entered = true;
  job.seen = job.state;
  job.seen_part = job.part;
  const i32 rank = job.rank();
  const bool is_saved = job.saving_us >= 0;
  const bool works = job.state == State::kRunning && !is_saved;
  const i64 speed = works ? std::min(speed_ppm(job, job.run_slices), kFullPpm) : 0;
  job.lost_ppm = job.is_guaranteed() ? kFullPpm - speed - params.refill_ppm[rank] : 0;
  if (waits(job.state)) {
    ++waiting;
    ++waiting_jobs[rank];
    waiting_slices[rank] += job.asked.count;
    if (!job.is_guaranteed())
      basic[job.asked.least].insert(job.order());
    else if (job.admitted)
      ask(job);
    else
      unadmitted[rank].insert(job.id);
  } else if (job.state == State::kRunning) {
    ++running;
    ++running_jobs[rank];
    running_slices[rank] += job.run_slices;
    const bool is_shrunk = job.run_slices < job.asked.count;
    if (job.is_guaranteed()) {
      guaranteed[rank].insert(job.id);
      if (is_shrunk) shrunk[rank].insert(job.id);
    }
    if (is_saved) return;  // it is left alone
    const i64 settled_us = job.changed_us + params.settle_us;
    if (!job.pinned) when(job, std::max(job.changed_us + params.min_run_us, job.keep_until_us), Due::kRest);
    if (is_shrunk)
      when(job, settled_us, Due::kGiveBack);
    else if (job.run_slices < job.asked.most && !job.is_guaranteed())
      when(job, settled_us, Due::kGrow);
  } else if (job.state == State::kCheckpointing || job.state == State::kResizing) {
    job.leaving = job.slice_count - job.target_count;
    part_of(job).leaving += job.leaving;
    if (Job* asker = machine.find(job.asker)) asker->pending += job.leaving;
  }
}

// By what it was entered with, which may have changed since.
void Books::take_out(Job& job) {
  if (!job.is_entered) return;
  job.is_entered = false;
  const i32 rank = job.rank();
  if (waits(job.seen)) {
    --waiting;
    --waiting_jobs[rank];
    waiting_slices[rank] -= job.asked.count;
    if (!job.is_guaranteed())
      erase(basic, job.asked.least, job.order());
    else if (job.admitted) {
      admitted[rank].erase({urgency_of(job), job.id});
      asked_slices[rank] -= job.asked.count;
    } else
      unadmitted[rank].erase(job.id);
  } else if (job.seen == State::kRunning) {
    --running;
    --running_jobs[rank];
    running_slices[rank] -= job.run_slices;
    if (job.is_guaranteed()) {
      guaranteed[rank].erase(job.id);
      if (job.run_slices < job.asked.count) shrunk[rank].erase(job.id);
    }
    drop(job);
  } else if (job.leaving != 0) {
    part_of(job).leaving -= job.leaving;
    if (Job* asker = machine.find(job.asker)) asker->pending -= job.leaving;
    job.leaving = 0;
  }
}

void Books::admit(Job& job) {
  count(job);
  unadmitted[job.rank()].erase(job.id);
  job.admitted = true;
  job.admitted_us = machine.now_us;
  job.left = burst_of(params, job.rank());
  ask(job);
  promised_ppm += set_aside_ppm(job);
}

void Books::ask(Job& job) {
  admitted[job.rank()].insert({urgency_of(job), job.id});
  asked_slices[job.rank()] += job.asked.count;
}

// ---- levels

std::pair<u8, i128> Books::level_of(const Job& job) const {
  const i128 first_us = i128{job.asked.count} * params.first_run_us;
  i128 rises_us = params.first_level_us;
  if (job.service_us < first_us) return {u8{0}, std::max(rises_us, first_us)};
  u8 level = 0;
  for (; rises_us <= job.service_us; rises_us *= params.level_ratio) ++level;
  return {level, rises_us};
}

void Books::foretell(Job& job) {
  ++job.rise_stamp;
  if (job.run_slices == 0 || job.is_guaranteed()) return;
  const i128 more_us = level_of(job).second - job.service_us;
  const i128 at_us = machine.now_us + ceil_div(more_us, i128{job.run_slices});
  rises_.push({static_cast<i64>(std::min(at_us, i128{2 * kLatest})), job.id, job.rise_stamp, Due::kRest}, [&](const Timer& each) {
    const Job* its = machine.find(each.job);
    return its == nullptr || its->rise_stamp != each.stamp;
  });
}

i64 Books::next_rise_us() {
  while (!rises_.empty()) {
    const Job* job = machine.find(rises_.first().job);
    if (job != nullptr && job->rise_stamp == rises_.first().stamp) return rises_.first().at_us;
    rises_.pop();
  }
  return -1;
}

void Books::rise(Job& job) {
  count(job);
  const u8 level = level_of(job).first;
  if (level != job.level) {
    if (waits(job.seen)) {
      erase(basic, job.asked.least, job.order());
      job.level = level;
      basic[job.asked.least].insert(job.order());
    } else if (job.seen == State::kRunning) {
      const bool rested = job.in_grown || job.view != kNoView;
      const bool gives_back = job.give_back_need != 0, grows = job.grow_need != 0;
      drop(job);
      job.level = level;
      if (rested) rest(job);
      if (gives_back) settle(job, Due::kGiveBack);
      if (grows) settle(job, Due::kGrow);
    } else {
      job.level = level;
    }
  }
  if (job.seen == State::kRunning && job.saving_us < 0 && job.grow_need == 0 && job.run_slices >= job.asked.count &&
      job.run_slices < job.asked.most && job.changed_us + params.settle_us <= machine.now_us)
    settle(job, Due::kGrow);
  foretell(job);
}

// ---- what falls due

void Books::when(Job& job, i64 at_us, Due due) {
  if (at_us <= machine.now_us) return fall_due(job, due);
  timers_.push({at_us, job.id, job.stamp, due}, [&](const Timer& each) {
    const Job* its = machine.find(each.job);
    return its == nullptr || its->stamp != each.stamp;
  });
}

void Books::fall_due(Job& job, Due due) {
  switch (due) {
    case Due::kRest:
      return rest(job);
    case Due::kBear:
      drop_behind(job);
      return watch(job);
    default:
      return settle(job, due);
  }
}

bool Books::is_rested(const Job& job, u64 plan) const {
  if (job.touched == plan || job.pinned || job.saving_us >= 0) return false;
  return std::max(job.changed_us + params.min_run_us, job.keep_until_us) <= machine.now_us;
}

void Books::rest(Job& job) {
  if (job.run_slices > job.asked.count) {
    Part& part = part_of(job);
    part.grown.insert(job.order());
    part.excess += job.run_slices - job.asked.count;
    job.in_grown = true;
  } else if (job.rank() == kStandard) {
    watch(job);
  } else if (job.rank() == kBasic) {
    stand(job, view_of(job));
  }
}

void Books::stand(Job& job, u8 view) {
  job.view = view;
  part_of(job).behind.insert(view, job.run_slices, job.run_slices - job.asked.least, job.order());
}

// Basic jobs spare each other by levels and halts: see is_spared in policies/victims.py.
u8 Books::view_of(const Job& job) const {
  const i64 apart = job.level - static_cast<i64>(job.preemptions) / params.halts_a_level;
  return apart >= 2 ? kFarApart : apart == 1 ? kOneApart : kNear;
}

// A standard job stands there while it can bear a halt, once it is no longer young.
void Books::watch(Job& job) {
  if (is_young(job)) return when(job, job.admitted_us + params.young_us, Due::kBear);
  const i128 enough = i128{params.floor_us} * kFullPpm, left = left_of(params, job, machine.now_us);
  const bool bears = left >= enough;
  if (bears) stand(job, kStandardBears);
  if (bears ? job.lost_ppm <= 0 : job.lost_ppm >= 0) return;
  if (!bears && burst_of(params, job.rank()) < enough) return;
  const i128 passes_us = bears ? (left - enough) / job.lost_ppm + 1 : ceil_div(enough - left, i128{-job.lost_ppm});
  when(job, machine.now_us + static_cast<i64>(std::min(passes_us, i128{kLatest})), Due::kBear);
}

void Books::settle(Job& job, Due due) {
  // as far as its level last rose, or it was last changed: see books.py
  if (due == Due::kGrow && job.ran_us < params.grow_after_us) return;
  if (due == Due::kGrow && job.grow_need != 0) return;  // its level rose at the same moment
  Part& part = part_of(job);
  const i32 upto = due == Due::kGrow ? job.asked.most : job.asked.count;
  const auto worth = static_cast<i32>(std::ceil(job.run_slices * params.grow_share));
  const i32 need = std::max(1, std::min(upto - job.run_slices, worth));
  if (due == Due::kGrow) {
    job.grow_need = need;
    job.grow_ratio = static_cast<double>(job.run_slices) / job.asked.count;
    part.growable[need].insert({job.grow_ratio, job.order()});
  } else {
    job.give_back_need = need;
    part.give_back[need].insert(job.order());
  }
}

void Books::drop_behind(Job& job) {
  if (job.view == kNoView) return;
  part_of(job).behind.erase(job.view, job.run_slices, job.run_slices - job.asked.least, job.order());
  job.view = kNoView;
}

void Books::drop(Job& job) {
  Part& part = part_of(job);
  drop_behind(job);
  if (job.in_grown) {
    part.grown.erase(job.order());
    part.excess -= job.run_slices - job.asked.count;
    job.in_grown = false;
  }
  if (job.give_back_need != 0) erase(part.give_back, job.give_back_need, job.order());
  if (job.grow_need != 0) erase(part.growable, job.grow_need, Grows{job.grow_ratio, job.order()});
  job.give_back_need = job.grow_need = 0;
}

void Books::touch(Job& job, u64 plan) {
  job.touched = plan;
  if (job.is_entered && job.seen == State::kRunning) drop(job);
}

}  // namespace haltere
