// A session's heap as the engine has it: where a buffer's memory is, if it is there. What the program
// writes there is not believed.
#pragma once

#include <optional>

#include "../heap.hpp"
#include "device.hpp"

namespace haltere {

class SharedHeap {
 public:
  SharedHeap() = default;
  // `base`: null for none; else `nbytes` from there on stay mapped as long as buffers are.
  SharedHeap(std::uint8_t* base, std::uint64_t nbytes) : base_(base), nbytes_(nbytes) {}

  // Its table's entry and its bytes; nullopt: it does not lie here, or its entry makes no sense.
  struct Found {
    Place* place;
    std::uint8_t* bytes;
  };
  std::optional<Found> find(std::uint64_t handle, std::uint64_t nbytes) const;

 private:
  std::uint8_t* base_ = nullptr;
  std::uint64_t nbytes_ = 0;
};

// Whether commands on a buffer over the host's memory are done in that memory, and nowhere else: a CPU
// that says so, and is tried.
bool shares_memory(const Device& device);

}  // namespace haltere
