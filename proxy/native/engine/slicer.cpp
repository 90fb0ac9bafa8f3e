#include "slicer.hpp"

#include <algorithm>

namespace haltere {
namespace {

constexpr u64 kFewest = 2;    // less, and the device waits for the server

}  // namespace

Tenant* Slicer::lowest(Tenant* const* tenants, std::size_t count, const Tenant* but) {
  Tenant* best = nullptr;
  for (std::size_t i = 0; i < count; ++i)
    if (tenants[i] != but && tenants[i]->wants && (!best || tenants[i]->pace < best->pace)) best = tenants[i];
  return best;
}

void Slicer::begin(Tenant* const* tenants, std::size_t count, std::int64_t now) {
  alone_ = count < 2 || lead_ns_ == 0;
  if (alone_) return;
  const double lead = static_cast<double>(lead_ns_);
  Tenant* owner = nullptr;
  bool left = true;  // whoever had the device before has nothing on its way
  for (std::size_t i = 0; i < count; ++i) {
    Tenant& tenant = *tenants[i];
    const bool wants = tenant.has_records() && !tenant.words->fault;
    if (wants && !tenant.wants) tenant.pace = std::max(tenant.pace, front_ - lead);
    tenant.wants = wants || !tenant.flights.empty();
    if (&tenant == owner_) owner = &tenant;
    if (&tenant == leaving_ && !tenant.flights.empty()) left = false;
  }
  if (left) leaving_ = nullptr;
  if (owner && owner->wants) {
    front_ = left ? owner->pace_at(now) : owner->pace;
    if (!left) return;
  }
  Tenant* next = lowest(tenants, count, owner);
  if (next == nullptr || (owner && owner->wants && next->pace + lead >= front_)) return;
  switches += owner_ != next;
  leaving_ = owner_;
  owner_ = next;
  front_ = next->pace;
}

u64 Slicer::window(const Tenant& tenant) const {
  if (alone_) return kMaxWindow;
  if (&tenant != owner_) return 0;
  const double each = std::max(tenant.record_ns, 1.0);
  return std::clamp<u64>(static_cast<u64>(static_cast<double>(lead_ns_) / each), kFewest, tenant.stride);
}

void Slicer::charge(Tenant& tenant, std::int64_t taken_ns) const {
  if (!alone_) tenant.pace += static_cast<double>(taken_ns) / static_cast<double>(std::max<u64>(tenant.words->weight, 1));
}

}  // namespace haltere
