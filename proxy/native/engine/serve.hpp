// The hot loop over all sessions of a device.
#pragma once

#include <atomic>

#include "slicer.hpp"

namespace haltere {

enum class Why : int { kTime = 0, kPython = 1, kInterrupted = 2, kProgress = 3 };

struct Engine {
  Device device;
  Slicer slicer{0};
  std::int64_t poll_ns = 50'000;  // looks at what is on its way for so long before it sleeps
  std::int64_t moved_ns = 0;      // when it last found something to do
  std::int64_t taken_ns = 0;      // when it last took a record, if none of a worker that waits came since
  std::int64_t watchdog_ns = 0;   // the longest that the device may be at one flight; 0: any time
};

// Serves until something needs Python (a call, a session's end, the server's own bell is not `seen`),
// or `limit_ns` have passed (0: one round), or a signal arrived.
Why serve(Engine& engine, Tenant* const* tenants, std::size_t count, const std::uint32_t* page_bell,
          std::uint32_t page_seen, std::int64_t limit_ns);

}  // namespace haltere
