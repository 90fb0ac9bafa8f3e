#include "saves.hpp"

#include <algorithm>
#include <cmath>

namespace haltere {

namespace {

// policies/intervals.py, operation by operation: both must round alike.
double young_s(double save_s, double mtbf_s) { return std::sqrt(2 * save_s * mtbf_s); }

double daly_s(double save_s, double mtbf_s) {
  if (save_s >= 2 * mtbf_s) return mtbf_s;
  const double ratio = save_s / (2 * mtbf_s);
  return young_s(save_s, mtbf_s) * (1 + std::sqrt(ratio) / 3 + ratio / 9) - save_s;
}

double seconds(i64 us) { return static_cast<double>(us) / static_cast<double>(kSecond); }

}  // namespace

i64 Saves::interval_us(const Books& books, const Job& job) const {
  const auto [lost, up_us] = books.machine.failures();
  const double each_s = static_cast<double>(books.params.mtbf_us / kSecond + up_us / kSecond) / static_cast<double>(1 + lost);
  double cost_s = static_cast<double>(books.params.save_cost_us / kSecond);
  if (job.save_took_us != 0)
    cost_s = seconds(job.save_took_us);
  else if (count_ != 0)
    cost_s = seconds(took_us_) / static_cast<double>(count_);
  const double interval_s = daly_s(cost_s, each_s / static_cast<double>(job.slices.size()));
  return static_cast<i64>(std::nearbyint(interval_s * static_cast<double>(kSecond)));
}

void Saves::follow(Books& books) {
  if (books.params.saves == 0) return;
  const i64 now_us = books.machine.now_us;
  const auto is_void = [&](const Due& due) {
    const Job* job = books.machine.find(due.job);
    return job == nullptr || job->save_due_us != due.at_us;
  };
  for (const u32 number : books.followed) {
    Job* job = books.machine.find(number);
    if (job == nullptr) continue;
    job->save_due_us = -1;
    if (is_terminal(job->state)) continue;
    if (job->saved_us == now_us && job->save_took_us != 0) {
      took_us_ += job->save_took_us;
      ++count_;
    }
    if (job->state != State::kRunning || job->saving_us >= 0 || job->pinned) continue;
    const i64 since_us = std::max(job->started_us, job->saved_us);
    job->save_due_us = std::max(since_us + interval_us(books, *job), job->save_after_us);
    heap_.push({job->save_due_us, number}, is_void);
  }
}

void Saves::decide(Round& round) {
  while (!heap_.empty()) {
    const Due due = heap_.first();
    Job* job = round.books.machine.find(due.job);
    const bool holds = job != nullptr && job->save_due_us == due.at_us;
    if (holds && due.at_us > round.now_us()) return round.wake(due.at_us);
    heap_.pop();
    if (holds && job->touched != round.plan) round.save(*job);
  }
}

}  // namespace haltere
