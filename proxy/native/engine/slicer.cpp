#include "slicer.hpp"

#include <algorithm>

namespace haltere {
namespace {

constexpr u64 kFewest = 2;    // less, and the device waits for the server

}  // namespace

Tenant* Slicer::lowest(Tenant* const* tenants, std::size_t count, const Tenant* but) const {
  Tenant* best = nullptr;
  for (std::size_t i = 0; i < count; ++i)
    if (tenants[i] != but && tenants[i]->wants && (!best || tenants[i]->pace < best->pace)) best = tenants[i];
  return best;
}

void Slicer::begin(Tenant* const* tenants, std::size_t count, std::int64_t now) {
  alone_ = count < 2 || lead_ns_ == 0;
  if (alone_) return;
  Tenant* owner = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    Tenant& tenant = *tenants[i];
    const bool wants = tenant.has_records() && !tenant.words->fault;
    if (wants && !tenant.wants) tenant.pace = std::max(tenant.pace, front_ - static_cast<double>(lead_ns_));
    tenant.wants = wants || !tenant.flights.empty();
    if (&tenant == owner_ || (!tenant.flights.empty() && owner == nullptr)) owner = &tenant;
  }
  Tenant* next = lowest(tenants, count, owner);
  const double lead = static_cast<double>(lead_ns_);
  if (owner && owner->wants) {
    front_ = owner->pace_at(now);
    closing_ = next && next->pace + lead < front_;
    if (!closing_ || !owner->flights.empty()) {
      owner_ = owner;
      return;
    }
  }
  closing_ = false;
  if (next == nullptr) return;
  switches += owner_ != next;
  owner_ = next;
  front_ = next->pace;
}

u64 Slicer::window(const Tenant& tenant) const {
  if (alone_) return kMaxWindow;
  if (&tenant != owner_ || closing_) return 0;
  const double each = std::max(tenant.record_ns, 1.0);
  return std::clamp<u64>(static_cast<u64>(static_cast<double>(lead_ns_) / 2 / each), kFewest, tenant.stride);
}

void Slicer::charge(Tenant& tenant, std::int64_t taken_ns) const {
  if (!alone_) tenant.pace += static_cast<double>(taken_ns) / static_cast<double>(std::max<u64>(tenant.words->weight, 1));
}

}  // namespace haltere
