// One simulated cluster as C functions for ctypes: see scheduler/native/cluster.py, which calls them.
// Everything is checked here, once. Functions that can fail return false (or null, or a negative number)
// and leave the failure for haltere_failure_*.
#include <cstring>

#include "engine/cluster.hpp"

using namespace haltere;

namespace {

thread_local std::string g_code, g_message;  // of this thread's last call that failed

template <class Do>
auto guarded(decltype(std::declval<Do>()()) failed, Do&& act) -> decltype(act()) {
  try {
    return act();
  } catch (const Failure& error) {
    g_code = error.code;
    g_message = error.what();
  } catch (const std::exception& error) {
    g_code = "scheduler_error";
    g_message = text("the native engine failed: %s", error.what());
  }
  return failed;
}

[[noreturn]] void refuse(const std::string& message) { throw Failure("infeasible", message); }

void within(const char* what, i64 value, i64 least, i64 most) {
  if (value < least || value > most)
    refuse(text("%s is %lld, not %lld to %lld", what, static_cast<long long>(value),
                static_cast<long long>(least), static_cast<long long>(most)));
}

void check(const Params& params) {
  for (const i64 us : {params.first_level_us, params.look_us}) within("a time of the policy", us, 1, kLatest);
  for (const i64 us : {params.first_run_us, params.min_run_us, params.settle_us, params.grow_after_us,
                       params.turn_us, params.floor_us, params.young_us, params.bear_us, params.hard_us,
                       params.burst_us[0], params.burst_us[1]})
    within("a time of the policy", us, 0, kLatest);
  within("saves", params.saves, 0, 1);
  for (const i64 us : {params.save_cost_us, params.mtbf_us, params.home_us}) within("a time of the policy", us, 0, kLatest);
  within("level_ratio", params.level_ratio, 2, 1'000'000);
  within("halts_a_level", params.halts_a_level, 1, 1'000'000);
  for (const i64 ppm : {params.reserve_ppm, params.refill_ppm[0], params.refill_ppm[1],
                        params.share_ppm[0], params.share_ppm[1]})
    within("a share of the policy", ppm, 0, kFullPpm);
  for (const double share : {params.grow_share, params.spare_share})
    if (!(share >= 0 && share <= 1e6)) refuse(text("a share of the policy is %g", share));
}

void check(const Costs& costs) {
  for (const i64 us : {costs.start_us, costs.checkpoint_us, costs.restore_us, costs.shrink_us,
                       costs.grow_us, costs.release_us, costs.save_us})
    within("a cost", us, 0, kLatest);
  within("turns_ppm", costs.turns_ppm, 100'000, kFullPpm);
}

void check(const Cluster& cluster, const Asked& job) {
  within("when it is submitted", job.submitted_us, 0, kLatest);
  within("its work", job.work_us, 1, kLatest);
  within("its tier", job.tier, kPremium, kBasic);
  within("its count", job.count, 1, kMaxCount);
  within("its least", job.least, 1, job.count);
  within("its most", job.most, job.count, kMaxCount);
  within("its curve", job.curve, 0, static_cast<i64>(cluster.curves()));
  within("whether it is carried", job.carried, 0, 1);
  if (job.curve != 0 && cluster.curve(static_cast<std::size_t>(job.curve)).front().first <= job.count)
    refuse(text("its curve must rise from its count, %d", job.count));
}

void check(const Cluster& cluster, const Fault& fault) {
  within("what it is", fault.what, 0, Fault::kWhats - 1);
  if (fault.what != Fault::kSlowStore) within("its node", fault.node, 0, static_cast<i64>(cluster.nodes()) - 1);
  if (fault.what == Fault::kStraggles) within("a share of its speed", fault.ppm, 1, kFullPpm);
  if (fault.what == Fault::kSlowStore) within("how much longer it takes", fault.ppm, kFullPpm, 1'000'000 * kFullPpm);
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API u64 haltere_sizes(int which) {
  const u64 sizes[] = {sizeof(Params), sizeof(Costs), sizeof(Asked), sizeof(Done), sizeof(Summary), sizeof(Fault)};
  return sizes[which];
}
API const char* haltere_failure_code() { return g_code.c_str(); }
API const char* haltere_failure_message() { return g_message.c_str(); }

// Nodes with `slices` slices each, of a part each; parts are numbered in the order in which they come.
API Cluster* haltere_open(const Params* params, const Costs* costs, const i32* parts, const i32* slices,
                          u64 count) {
  return guarded(static_cast<Cluster*>(nullptr), [&] {
    check(*params);
    check(*costs);
    within("nodes", static_cast<i64>(count), 1, i64{1} << 24);
    std::vector<Node> nodes;
    i32 known = 0;
    for (u64 at = 0; at < count; ++at) {
      within("a node's part", parts[at], 0, known);
      within("a node's slices", slices[at], 1, kMaxNode);
      known = std::max(known, parts[at] + 1);
      nodes.push_back({.part = static_cast<u32>(parts[at]), .slice_count = static_cast<u32>(slices[at])});
    }
    return new Cluster(*params, *costs, nodes);
  });
}

API void haltere_close(Cluster* cluster) { delete cluster; }

// A curve's number, for jobs to name; 0: refused.
API u32 haltere_curve(Cluster* cluster, const i32* slices, const i64* ppm, u64 count) {
  return guarded(u32{0}, [&] {
    within("points of a curve", static_cast<i64>(count), 1, kMaxCount);
    Curve curve;
    for (u64 at = 0; at < count; ++at) {
      within("slices of a curve", slices[at], at == 0 ? 1 : slices[at - 1] + 1, kMaxCount);
      within("speed of a curve", ppm[at], at == 0 ? kFullPpm : ppm[at - 1], 1'000'000 * kFullPpm);
      curve.emplace_back(slices[at], ppm[at]);
    }
    return cluster->add_curve(std::move(curve));
  });
}

// All of them or none. They are numbered on from the last one.
API bool haltere_submit(Cluster* cluster, const Asked* jobs, u64 count) {
  return guarded(false, [&] {
    within("jobs", static_cast<i64>(cluster->machine.newest() + count), 0, (i64{1} << 31) - 1);
    i64 before_us = std::max(cluster->newest_us(), cluster->now_us());
    for (u64 at = 0; at < count; ++at) {
      try {
        check(*cluster, jobs[at]);
        within("when it is submitted", jobs[at].submitted_us, before_us, kLatest);
      } catch (const Failure& error) {
        refuse(text("job %llu of the batch: %s", static_cast<unsigned long long>(at), error.what()));
      }
      before_us = jobs[at].submitted_us;
    }
    cluster->submit(jobs, count);
    return true;
  });
}

// 1: there is nothing more up to then; 0: there is, after so many steps; -1: failed.
API int haltere_advance(Cluster* cluster, i64 until_us, i64 most_steps) {
  return guarded(-1, [&] { return cluster->advance(until_us, most_steps) ? 1 : 0; });
}

API bool haltere_idles(Cluster* cluster) { return cluster->idles(); }
API void haltere_summary(const Cluster* cluster, Summary* into) { *into = cluster->summary(); }
API void haltere_standing(const Cluster* cluster, Standing* into) { *into = cluster->standing(); }

// 1: done, at its next step; 0: the job does not wait; -1: failed.
API int haltere_withdraw(Cluster* cluster, u32 job, i64* left_us, bool* has_checkpoint) {
  return guarded(-1, [&] { return cluster->withdraw(job, *left_us, *has_checkpoint) ? 1 : 0; });
}

// What will go wrong: all of them or none, by time, none before others that were foreseen.
API bool haltere_foresee(Cluster* cluster, const Fault* faults, u64 count) {
  return guarded(false, [&] {
    i64 before_us = std::max(cluster->foreseen_us(), cluster->now_us());
    for (u64 at = 0; at < count; ++at) {
      try {
        check(*cluster, faults[at]);
        within("when it happens", faults[at].at_us, before_us, kLatest);
      } catch (const Failure& error) {
        refuse(text("fault %llu of the batch: %s", static_cast<unsigned long long>(at), error.what()));
      }
      before_us = faults[at].at_us;
    }
    cluster->foresee(faults, count);
    return true;
  });
}

// Up to `most` jobs that wait and were promised nothing. Returns how many.
API u64 haltere_movable(const Cluster* cluster, u32* into, u64 most) {
  const std::vector<u32> found = cluster->movable(most);
  std::copy(found.begin(), found.end(), into);
  return found.size();
}

API u64 haltere_done_count(const Cluster* cluster) { return cluster->machine.done.size(); }

// Hands over all jobs that have ended since the last call; there must be room for them.
API void haltere_done(Cluster* cluster, Done* into) {
  std::vector<Done>& done = cluster->machine.done;
  std::copy(done.begin(), done.end(), into);
  done.clear();
}

// The words under the digest, from now on; to look for where two runs part.
API void haltere_keep_words(Cluster* cluster) { cluster->digest.keep(true); }
API const i64* haltere_words(const Cluster* cluster, u64* count) {
  *count = cluster->digest.kept().size();
  return cluster->digest.kept().data();
}
