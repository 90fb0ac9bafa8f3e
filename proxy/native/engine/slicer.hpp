// Whose turn on the device it is: sessions that want it at once have it one at a time, in slices, each
// as its weight says.
//
// A session's *pace* is the device's time that it had, over its weight. The one with the lowest pace is
// next, and keeps the device while it has work and is not ahead of another that wants it by more than
// the lead, half a quantum. Who comes back from idling begins at most that far behind the others. So
// shares are exact over any long time, whatever the lengths of kernels; who is alone never waits; and
// what is with the device is so little that a slice ends soon. The next one's first commands go to the
// device while the last ones of the slice before are done, so that it is never idle in between.
#pragma once

#include "tenant.hpp"

namespace haltere {

class Slicer {
 public:
  // 0: off, all sessions have the device at once.
  explicit Slicer(std::int64_t quantum_ns) : lead_ns_(quantum_ns / 2) {}

  // Decides for one round of the loop.
  void begin(Tenant* const* tenants, std::size_t count, std::int64_t now);
  // Records that `tenant` may have with the device in this round.
  u64 window(const Tenant& tenant) const;
  // `taken_ns` of the server's time went into records that gave the device nothing.
  void charge(Tenant& tenant, std::int64_t taken_ns) const;

  u64 switches = 0;

 private:
  static Tenant* lowest(Tenant* const* tenants, std::size_t count, const Tenant* but);

  std::int64_t lead_ns_;
  const Tenant* owner_ = nullptr;  // has the device, or had it last
  const Tenant* leaving_ = nullptr;  // had it before, and has something on its way still
  bool alone_ = true;
  double front_ = 0;  // the pace of whoever has the device
};

}  // namespace haltere
