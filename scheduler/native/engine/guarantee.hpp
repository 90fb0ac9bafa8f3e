// What a tier is promised, as an allowance of lost time that fills up again: see policies/guarantee.py.
// It is counted exactly, so it may be asked for at any moment.
#pragma once

#include <algorithm>

#include "jobs.hpp"
#include "params.hpp"

namespace haltere {

inline i128 burst_of(const Params& params, i32 rank) { return i128{params.burst_us[rank]} * kFullPpm; }

// Millionths of a microsecond that are left at `now_us`.
inline i128 left_of(const Params& params, const Job& job, i64 now_us) {
  if (!job.admitted) return 0;
  return std::min(job.left - i128{now_us - job.since_us} * job.lost_ppm, burst_of(params, job.rank()));
}

inline i64 left_us_of(const Params& params, const Job& job, i64 now_us) {
  return static_cast<i64>(floor_div(left_of(params, job, now_us), i128{kFullPpm}));
}

// When a job that waits has nothing left, in millionths of a microsecond: the order does not change
// while they wait, since those of one tier lose at the same pace.
inline i128 urgency_of(const Job& job) { return job.left + i128{job.since_us} * job.lost_ppm; }

}  // namespace haltere
