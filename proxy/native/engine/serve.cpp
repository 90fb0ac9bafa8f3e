#include "serve.hpp"

#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>

#include "bells.hpp"

namespace haltere {
namespace {

constexpr u64 kBatch = 64;           // commands of one session in a turn

// While programs enqueue and wait for nothing, the server looks now and then instead of being woken
// by every record, which costs more than most records do.
constexpr std::int64_t kGlanceNs = 10'000;     // polls so long first, for who is about to wait
constexpr std::int64_t kLookNs = 5'000'000;    // behind a command that failed the device may tell nothing
constexpr std::int64_t kDozeNs = 50'000;
constexpr std::int64_t kDrowsyNs = 1'000'000;  // it dozes for so long after it last took something
constexpr double kTinyNs = 25'000;  // the device's own thread does commands that take no longer
constexpr int kPasses = 4;
constexpr unsigned long kTimerSlackNs = 1'000;  // Linux's own is as long as a doze

std::uint32_t load(const std::uint32_t* bell) {
  return std::atomic_ref<std::uint32_t>(*const_cast<std::uint32_t*>(bell)).load(std::memory_order_acquire);
}

class Loop final : private Sleeper {
 public:
  Loop(Engine& engine, Tenant* const* tenants, std::size_t count, const std::uint32_t* page_bell)
      : engine_(engine), tenants_(tenants), count_(std::min(count, kDoors - 2)), page_bell_(page_bell) {}

  Why run(std::uint32_t page_seen, std::int64_t limit_ns) {
    std::int64_t now = now_ns();
    const std::int64_t until = now + limit_ns;
    while (true) {
      look();
      const bool progress = round(now);
      now = now_ns();
      if (progress) engine_.moved_ns = now;
      if (python_) return Why::kPython;
      if (limit_ns == 0) return progress ? Why::kProgress : Why::kTime;
      if (load(page_bell_) != page_seen) return Why::kPython;
      if (now >= until) return Why::kTime;
      if (progress) continue;
      const bool flies = flying(), awaited = flies && waited_for();
      if (flies && now < engine_.moved_ns + poll_ns(awaited)) {
        sched_yield();
        now = now_ns();
        continue;
      }
      const bool doze = !awaited && now < engine_.taken_ns + kDrowsyNs;
      if (!(doze ? nap(now, until, page_seen) : sleep(now, until, page_seen))) return Why::kInterrupted;
      now = now_ns();
    }
  }

 private:
  // Looking takes a processor from a device that is one, and hers from threads that yield for her.
  std::int64_t poll_ns(bool awaited) const {
    return engine_.device.tells ? 0 : awaited ? engine_.poll_ns : kGlanceNs;
  }

  // ---- in the device's own thread, while this one sleeps: see bells.hpp

  Next arrived(u64 whose, u64 upto) override {
    Tenant* found = nullptr;
    bool more = false;
    for (std::size_t i = 0; i < count_; ++i) {
      if (tenants_[i]->id == whose) found = tenants_[i];
      more |= tenants_[i]->has_records();
    }
    if (!found || !found->arrived(upto)) return give_up();
    if (guard_ != Guard::kStays && found->record_ns <= kTinyNs) return rung();
    return more || guard_ == Guard::kAway ? give_up() : Next::kGo;
  }

  // Does what there is. If that is little, the thread comes back behind it; if it is nothing, it stays.
  Next rung() override {
    ++turns_;
    for (int pass = 0; pass < kPasses; ++pass) {
      const std::int64_t now = now_ns();
      look();
      const bool progress = round(now, true);
      if (progress) engine_.moved_ns = now;
      bool more = false;
      for (std::size_t i = 0; i < count_; ++i) {
        Tenant& tenant = *tenants_[i];
        if (tenant.stuck || !tenant.soon() || (!tenant.flights.empty() && !tenant.tell())) return give_up();
        more |= tenant.has_records();
      }
      if (python_) return give_up();
      if (flying()) {
        rest(Rest::AWAKE);
        guard_ = Guard::kAway;
        return Next::kGo;
      }
      if (more) continue;
      rest(Rest::ASLEEP);
      if (std::any_of(tenants_, tenants_ + count_, [](const Tenant* tenant) { return tenant->has_records(); })) continue;
      guard_ = Guard::kStays;
      return Next::kStay;
    }
    return give_up();
  }

  Next give_up() {
    guard_ = Guard::kLoop;
    return Next::kWake;
  }

  std::size_t doors(futex_waitv* into) const override {
    for (std::size_t i = 0; i < count_; ++i)
      into[i] = {seen_[i], reinterpret_cast<std::uintptr_t>(bell_address(tenants_[i]->segment, Line::BELL)), FUTEX_32, 0};
    return count_;
  }

  // ---- in this one

  // A turn for everybody; true if there was something to do.
  bool round(std::int64_t now, bool plain = false) {
    bool progress = false;
    engine_.slicer.begin(tenants_, count_, now);
    for (std::size_t i = 0; i < count_; ++i) {
      Tenant& tenant = *tenants_[i];
      const std::size_t before = tenant.flights.size();
      const u64 issued = tenant.words->issued;
      const std::int64_t begun = now_ns();
      const Turn turn = tenant.turn(kBatch, engine_.slicer.window(tenant), plain);
      progress |= turn == Turn::kProgress;
      if (tenant.words->issued != issued) engine_.taken_ns = tenant.awaited ? 0 : now;
      if (turn == Turn::kProgress && before == 0 && tenant.flights.empty())
        engine_.slicer.charge(tenant, now_ns() - begun);
      if (engine_.watchdog_ns && !engine_.device.abandoned && tenant.age_ns(now) > engine_.watchdog_ns)
        tenant.words->overdue = tenant.flights.front().upto;
      python_ |= turn < Turn::kIdle || tenant.closed() || tenant.wants_python() || tenant.words->overdue || tenant.words->waits == 1;
    }
    return progress;
  }

  // What all bells say, before looking for work: whoever rings later is not slept through.
  void look() {
    device_seen_ = device_bell().load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count_; ++i)
      seen_[i] = tenants_[i]->segment.bell(Line::BELL).load(std::memory_order_acquire);
  }

  bool flying() const {
    return std::any_of(tenants_, tenants_ + count_, [](const Tenant* tenant) { return !tenant->flights.empty(); });
  }

  // Somebody sleeps until the device is done with something.
  bool waited_for() const {
    return std::any_of(tenants_, tenants_ + count_, [](const Tenant* tenant) {
      return tenant->segment.get(Line::CLIENT_ASLEEP) != static_cast<u64>(Asleep::NO);
    });
  }

  bool nap(std::int64_t now, std::int64_t until, std::uint32_t page_seen) {
    rest(Rest::DOZING);
    if (flying() && waited_for()) return rest(Rest::AWAKE), true;  // it saw a server that was awake
    return wait(std::min(until, now + kDozeNs), until, page_seen);
  }

  // False: a signal arrived.
  bool sleep(std::int64_t now, std::int64_t until, std::uint32_t page_seen) {
    std::int64_t first = until;
    if (engine_.watchdog_ns && flying()) first = std::min(first, now + engine_.watchdog_ns / 4);
    for (std::size_t i = 0; i < count_; ++i) {
      if (tenants_[i]->flights.empty()) continue;
      first = std::min(first, now + (tenants_[i]->tell() ? kLookNs : kDrowsyNs));
    }
    rest(Rest::ASLEEP);
    return wait(first, until, page_seen);
  }

  void rest(Rest how) {
    for (std::size_t i = 0; i < count_; ++i) {
      const bool full = how == Rest::ASLEEP && !tenants_[i]->flights.empty() && tenants_[i]->has_records();
      tenants_[i]->segment.set(Line::SERVER_ASLEEP, static_cast<u64>(full ? Rest::DOZING : how));
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  // Until `first`, or `until` while the device's own thread does what there is to do.
  bool wait(std::int64_t first, std::int64_t until, std::uint32_t page_seen) {
    futex_waitv waiters[kDoors] = {{page_seen, reinterpret_cast<std::uintptr_t>(page_bell_), FUTEX_32, 0},
                                   {device_seen_, reinterpret_cast<std::uintptr_t>(&device_bell()), FUTEX_32, 0}};
    const std::uint32_t device_seen = device_seen_;
    std::size_t count = 2 + doors(waiters + 2);
    u64 turns = turns_;
    int error = 0;
    {
      const Sleeping sleeping(*this);
      while (true) {
        error = sleep_at(waiters, count, first);
        if (error && error != EAGAIN && error != ETIMEDOUT && error != EINTR)
          sleep_on(&device_bell(), device_seen, 500'000);  // a kernel without futex_waitv: look often
        const auto lock = sleeping.lock();
        const bool idle = guard_ == Guard::kLoop || turns_ == turns;
        if (idle || error == EINTR || device_bell() != device_seen || load(page_bell_) != page_seen) break;
        const std::int64_t now = now_ns();
        if (now >= until) break;
        turns = turns_;
        count = 2;
        first = std::min(until, now + kDrowsyNs);
      }
    }
    guard_ = Guard::kLoop;
    rest(Rest::AWAKE);
    return error != EINTR;
  }

  Engine& engine_;
  Tenant* const* tenants_;
  std::size_t count_;
  const std::uint32_t* page_bell_;
  // Who looks after the sessions while this thread sleeps: it itself, by its bells; the device's thread, which comes
  // back when commands are done, or stays at the doors.
  enum class Guard { kLoop, kAway, kStays } guard_ = Guard::kLoop;
  u64 turns_ = 0;  // of the device's thread
  bool python_ = false;
  std::uint32_t device_seen_ = 0;
  std::uint32_t seen_[kDoors] = {};
};

}  // namespace

Why serve(Engine& engine, Tenant* const* tenants, std::size_t count, const std::uint32_t* page_bell,
          std::uint32_t page_seen, std::int64_t limit_ns) {
  [[maybe_unused]] static thread_local const int sharp = prctl(PR_SET_TIMERSLACK, kTimerSlackNs);
  return Loop(engine, tenants, count, page_bell).run(page_seen, limit_ns);
}

}  // namespace haltere
