#include "bells.hpp"

#include <mutex>

#include "../segment.hpp"

namespace haltere {

void arrive(std::uint64_t whose, std::uint64_t upto);

namespace {

struct Arrival {
  std::uint64_t whose, upto;
};

std::atomic<std::uint32_t> g_bell;
std::mutex g_lock;  // held while somebody goes through a sleeper's doors: for some microseconds
Sleeper* g_sleepers = nullptr;

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

// By number, not by address: the session may be gone.
void arrive(std::uint64_t whose, std::uint64_t upto) {
  {
    const std::lock_guard lock(g_lock);
    for (Sleeper* sleeper = g_sleepers; sleeper; sleeper = sleeper->next_)
      if (sleeper->arrived(whose, upto)) return;
  }
  ring();
}

Sleeping::Sleeping(Sleeper& who) : who_(who) {
  const std::lock_guard lock(g_lock);
  who.next_ = g_sleepers;
  g_sleepers = &who;
}

Sleeping::~Sleeping() {
  const std::lock_guard lock(g_lock);
  Sleeper** at = &g_sleepers;
  while (*at != &who_) at = &(*at)->next_;
  *at = who_.next_;
}

std::atomic<std::uint32_t>& device_bell() { return g_bell; }

cl_int tell_behind(const Device& device, cl_command_queue queue, std::uint64_t whose, std::uint64_t upto) {
  Arrival arrival{whose, upto};
  return device.cl->clEnqueueNativeKernel(queue, on_turn, &arrival, sizeof arrival, 0, nullptr, nullptr, 0, nullptr,
                                          nullptr);
}

cl_int tell_when(const Device& device, cl_event event) {
  return device.cl->clSetEventCallback(event, CL_COMPLETE, on_event, nullptr);
}

}  // namespace haltere
