// Memory that leaves the device for a while, so that another session has room: Python decides whose, and
// keeps the bytes (proxy/swap.py). Of a session that has something out nothing is taken until all is back.
#include "objects.hpp"

namespace haltere {

// Throws NoRoom if others must make room first.
void Objects::check_room(u64 nbytes) const {
  if (within(device.used_bytes, nbytes, device.memory_bytes)) return;
  if (!within(device.owned_bytes, nbytes, device.promised_bytes)) return;  // which Device::take refuses
  const u64 own = used_bytes - shared_bytes;
  if (!within(own, nbytes, device.memory_bytes))
    throw Refused{"out_of_memory",
                  text("alloc of %llu bytes: this session alone holds %llu of the device's %llu", llu(nbytes),
                       llu(own), llu(device.memory_bytes)),
                  CL_MEM_OBJECT_ALLOCATION_FAILURE};
  if (!insists) throw NoRoom{nbytes};
  throw Refused{"out_of_memory",
                text("alloc of %llu bytes: %llu of %llu are in use, and no more can be swapped out", llu(nbytes),
                     llu(device.used_bytes), llu(device.memory_bytes)),
                CL_MEM_OBJECT_ALLOCATION_FAILURE};
}

// The driver has less than it says, or others than these sessions have some of it.
void Objects::find_room(const Refused& why, u64 nbytes) const {
  if (why.code == "out_of_memory" && device.swaps() && !insists && nbytes) throw NoRoom{nbytes, true};
}

bool Objects::evict(u64 handle) {
  Memory& found = memory.get(handle);
  if (found.out || found.over || found.place) return false;
  for (auto& [other, image] : memory.live)
    if (image.over == found.mem) {
      release_native(image);
      image.out = true;
    }
  release_native(found);
  found.out = true;
  device.used_bytes -= found.counted;
  out_bytes += found.counted;
  ++generation;
  return true;
}

void Objects::restore(u64 handle) {
  Memory& found = memory.get(handle);
  if (!found.out || found.made.buffer) return;  // an image over a buffer comes with that
  if (!within(device.used_bytes, found.counted, device.memory_bytes)) throw NoRoom{found.counted};
  try {
    found.mem = found.image ? native_image(found.made, nullptr) : native_buffer(found.nbytes);
  } catch (const Refused& why) {
    find_room(why, found.counted);
    throw;
  }
  found.out = false;
  device.used_bytes += found.counted;
  out_bytes -= found.counted;
  for (auto& [other, image] : memory.live)
    if (image.out && image.image && image.made.buffer == handle) {
      image.mem = native_image(image.made, found.mem);
      check(device.cl->clRetainMemObject(found.mem), "hold the buffer of an image");
      image.over = found.mem;
      image.out = false;
    }
}

}  // namespace haltere
