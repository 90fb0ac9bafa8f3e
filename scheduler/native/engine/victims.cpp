// Whose slices: how room is made for a job with as little disruption as can be. The rules are those of
// scheduler/policies/victims.py; who may be asked stands in indices of the books, by size.
#include <algorithm>
#include <limits>

#include "round.hpp"

namespace haltere {

namespace {

constexpr double kMostOver = 1.5;
constexpr i64 kWakeUs = 5 * kSecond;
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

struct Victim {
  Job* job;
  i64 keeps;  // 0: it is halted
};

i64 hard_us_of(const Round& round, const Job& taker) {
  return taker.preemptions != 0 ? round.params.bear_us : round.params.hard_us;
}

bool may_halt(Round& round, const Job& taker) {
  const bool again = taker.given >= taker.asked.count;
  if (!taker.admitted) return taker.level == 0 && !(round.books.promised_ppm != 0 && again);
  const i64 left_us = round.left_us(taker), bear_us = round.params.bear_us, hard_us = hard_us_of(round, taker);
  const i64 until_us = left_us > bear_us ? bear_us : hard_us;
  if (left_us > until_us) round.wake(round.now_us() + std::max(left_us - until_us, kWakeUs));
  return left_us <= (again ? hard_us : bear_us);
}

bool is_hard_up(const Round& round, const Job& taker) {
  return taker.admitted && round.left_us(taker) <= hard_us_of(round, taker);
}

double fits(const Round& round, i64 wanted) {
  return static_cast<double>(wanted) * kMostOver + static_cast<double>(round.claims);
}

double most_of(const Round& round, const Job& taker, i64 wanted) {
  if (taker.admitted) return is_hard_up(round, taker) ? kUnbounded : fits(round, wanted);
  return round.books.promised_ppm != 0 ? static_cast<double>(wanted) * kMostOver : kUnbounded;
}

u32 views_of(const Round& round, const Job& taker) {
  constexpr u32 far = 1U << kFarApart, one = 1U << kOneApart, near = 1U << kNear;
  if (taker.rank() == kPremium) return far | one | near | 1U << kStandardBears;
  if (taker.rank() == kStandard) return far | one | near;
  return round.books.promised_ppm != 0 ? far : far | one;
}

// Equals of an admitted job that can better bear it, those that have most left first.
std::vector<Job*> equals_of(const Round& round, const Job& taker, i32 part) {
  std::vector<std::pair<i64, Job*>> found;
  const i64 least_us = std::max(round.params.floor_us, round.left_us(taker) + round.params.turn_us);
  round.books.guaranteed[taker.rank()].each([&](u32 number) {
    Job& job = *round.books.machine.find(number);
    if (job.part != part || job.run_slices > job.asked.count || !round.is_rested(job)) return;
    if (round.books.is_young(job)) return;
    if (const i64 left_us = round.left_us(job); left_us >= least_us) found.emplace_back(-left_us, &job);
  });
  std::stable_sort(found.begin(), found.end(), [](auto& one, auto& other) { return one.first < other.first; });
  std::vector<Job*> jobs;
  for (const auto& [left, job] : found) jobs.push_back(job);
  return jobs;
}

// As Behind::fitting, of a few jobs in their order.
i64 fitting(std::vector<Job*> able, i64 wanted, double most, std::vector<Victim>& into) {
  for (Job* job : able) {
    if (wanted <= job->run_slices - job->asked.least) {
      into.push_back({job, job->run_slices - wanted});
      return wanted;
    }
  }
  std::stable_sort(able.begin(), able.end(),
                   [](const Job* one, const Job* other) { return one->run_slices > other->run_slices; });
  const std::size_t begin = into.size();
  Job* larger = nullptr;
  i64 gained = 0;
  for (Job* job : able) {
    const i64 rest = wanted - gained;
    if (rest <= job->run_slices - job->asked.least) {
      into.push_back({job, job->run_slices - rest});
      return wanted;
    }
    if (job->run_slices > rest) {
      if (larger == nullptr || job->run_slices < larger->run_slices) larger = job->run_slices <= most ? job : nullptr;
      continue;
    }
    into.push_back({job, 0});
    gained += job->run_slices;
    if (gained == wanted) return gained;
  }
  if (larger == nullptr) return gained;
  while (into.size() > begin && gained - into.back().job->run_slices + larger->run_slices >= wanted) {
    gained -= into.back().job->run_slices;
    into.pop_back();
  }
  into.push_back({larger, 0});
  return gained + larger->run_slices;
}

}  // namespace

void reclaim(Round& round, Job& taker, i32 number, i64 wanted, i64 least) {
  Books& books = round.books;
  Books::Part& part = books.parts[static_cast<std::size_t>(number)];
  const i64 from_grown = std::min(wanted, part.excess);
  i64 gained = from_grown;
  Behind::Choice choice;
  const u32 views = views_of(round, taker);
  std::vector<Victim> equals;
  if (const i64 short_of = wanted - gained; short_of > 0 && may_halt(round, taker)) {
    choice = part.behind.fitting(views, short_of, most_of(round, taker, short_of));
    const bool enough = choice.gained >= short_of;
    if (is_hard_up(round, taker) && !(enough && static_cast<double>(choice.halted()) <= fits(round, short_of))) {
      const std::vector<Job*> able = equals_of(round, taker, number);
      const i64 instead = fitting(able, short_of, fits(round, short_of), equals);
      if (instead >= short_of) {
        choice = {};
        gained += instead;
      } else {
        equals.clear();
        if (!enough) gained += fitting(able, short_of - choice.gained, kUnbounded, equals);
      }
    }
    gained += choice.gained;
  }
  if (gained < std::max(least, i64{1})) return;

  const auto job_of = [&](u64 order) { return books.machine.find(id_of(order)); };
  std::vector<Victim> victims;
  i64 rest = from_grown;
  for (const u64* order = part.grown.empty() ? nullptr : &part.grown.last(); rest > 0; order = part.grown.before(*order)) {
    Job* job = job_of(*order);
    const i64 take = std::min<i64>(job->run_slices - job->asked.count, rest);
    victims.push_back({job, job->run_slices - take});
    rest -= take;
  }
  std::vector<u64> orders;
  for (const auto& [size, count] : choice.whole) part.behind.last_of(views, size, count, orders);
  for (const u64 order : orders) victims.push_back({job_of(order), 0});
  if (choice.last != 0) victims.push_back({job_of(choice.last), choice.last_keeps});
  victims.insert(victims.end(), equals.begin(), equals.end());
  for (const auto& [job, keeps] : victims) {
    if (keeps != 0)
      round.shrink(*job, keeps, taker);
    else
      round.evict(*job, taker);
  }
}

}  // namespace haltere
