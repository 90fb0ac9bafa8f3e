// The hot loop over all sessions of a device.
#pragma once

#include <atomic>

#include "tenant.hpp"

namespace haltere {

enum class Why : int { kTime = 0, kPython = 1, kInterrupted = 2 };

struct Engine {
  Device device;
  std::int64_t poll_ns = 50'000;  // looks at what is on its way for so long before it sleeps
};

// Serves until something needs Python (a call, a session's end, the server's own bell is not `seen`),
// or `limit_ns` have passed, or a signal arrived.
Why serve(Engine& engine, Tenant* const* tenants, std::size_t count, const std::uint32_t* page_bell,
          std::uint32_t page_seen, std::int64_t limit_ns);

}  // namespace haltere
