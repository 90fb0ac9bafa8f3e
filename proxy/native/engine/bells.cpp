#include "bells.hpp"

#include <algorithm>
#include <cerrno>

#include "../segment.hpp"

namespace haltere {

std::int64_t now_ns();
void arrive(std::uint64_t whose, std::uint64_t upto);

namespace {

struct Arrival {
  std::uint64_t whose, upto;
};

// Looks for a moment before it sleeps, while that pays: as long as a wake-up takes, which both sides save
// if something comes meanwhile. Where the waker waits for this very processor nothing ever does: after
// each failure it looks half as often.
class Glance {
 public:
  bool at(const futex_waitv* doors, std::size_t count) {
    if (skip_ && skip_--) return false;
    const std::int64_t until = now_ns() + kGlanceNs;
    bool found = false;
    do {
      for (std::size_t i = 0; i < count; ++i)
        found |= std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(doors[i].uaddr))
                     .load(std::memory_order_acquire) != static_cast<std::uint32_t>(doors[i].val);
      __builtin_ia32_pause();
    } while (!found && now_ns() < until);
    missed_ = found ? 0 : std::min(missed_ + 1, kRarest);
    skip_ = found ? 0 : 1u << missed_;
    return found;
  }

 private:
  static constexpr std::int64_t kGlanceNs = 10'000;
  static constexpr unsigned kRarest = 10;
  unsigned missed_ = 0, skip_ = 0;
};

std::atomic<std::uint32_t> g_bell;
std::mutex g_lock;  // held while somebody calls a sleeper: for some microseconds
Sleeper* g_sleepers = nullptr;
std::uint64_t g_sleeps = 0;
std::atomic<std::uint32_t> g_go;  // a bell for those who stay
unsigned g_stay = 0;              // so many do

void ring() {
  g_bell.fetch_add(1, std::memory_order_release);
  wake(&g_bell);
}

void CL_CALLBACK on_event(cl_event, cl_int, void*) { ring(); }

void CL_CALLBACK on_turn(void* given) {
  const auto* arrival = static_cast<const Arrival*>(given);
  arrive(arrival->whose, arrival->upto);
}

}  // namespace

// By number, not by address: the session may be gone, and so may the sleeper when this thread looks again.
void arrive(std::uint64_t whose, std::uint64_t upto) {
  using Next = Sleeper::Next;
  static thread_local Glance glance;
  Next next = Next::kWake;
  {
    std::unique_lock lock(g_lock);
    Sleeper* who = g_sleepers;
    for (; who; who = who->next_)
      if ((next = who->arrived(whose, upto)) != Next::kWake) break;
    for (const std::uint64_t sleep = who ? who->sleep_ : 0; next == Next::kStay;) {
      futex_waitv doors[kDoors];
      std::size_t count = who->doors(doors);
      doors[count++] = {g_go.load(), reinterpret_cast<std::uintptr_t>(&g_go), FUTEX_32, 0};
      ++g_stay;
      lock.unlock();
      const int error = glance.at(doors, count) ? 0 : sleep_at(doors, count, 0);
      lock.lock();
      --g_stay;
      for (who = g_sleepers; who && who->sleep_ != sleep;) who = who->next_;
      next = !who ? Next::kGo : error == ENOSYS ? Next::kWake : who->rung();
    }
  }
  if (next == Next::kWake) ring();
}

Sleeping::Sleeping(Sleeper& who) : who_(who) {
  const std::lock_guard lock(g_lock);
  who.sleep_ = ++g_sleeps;
  who.next_ = g_sleepers;
  g_sleepers = &who;
}

Sleeping::~Sleeping() {
  const std::lock_guard lock(g_lock);
  Sleeper** at = &g_sleepers;
  while (*at != &who_) at = &(*at)->next_;
  *at = who_.next_;
  if (g_stay == 0) return;
  g_go.fetch_add(1, std::memory_order_release);
  wake(&g_go);
}

std::unique_lock<std::mutex> Sleeping::lock() const { return std::unique_lock(g_lock); }

std::atomic<std::uint32_t>& device_bell() { return g_bell; }

int sleep_at(futex_waitv* doors, std::size_t count, std::int64_t until_ns) {
  const timespec until{until_ns / 1'000'000'000, until_ns % 1'000'000'000};
  return syscall(SYS_futex_waitv, doors, count, 0, until_ns ? &until : nullptr, CLOCK_MONOTONIC) < 0 ? errno : 0;
}

cl_int tell_behind(const Device& device, cl_command_queue queue, std::uint64_t whose, std::uint64_t upto) {
  Arrival arrival{whose, upto};
  return device.cl->clEnqueueNativeKernel(queue, on_turn, &arrival, sizeof arrival, 0, nullptr, nullptr, 0, nullptr,
                                          nullptr);
}

cl_int tell_when(const Device& device, cl_event event) {
  return device.cl->clSetEventCallback(event, CL_COMPLETE, on_event, nullptr);
}

}  // namespace haltere
