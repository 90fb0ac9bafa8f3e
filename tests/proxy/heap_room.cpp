// A heap's room under random taking and giving: no two live buffers overlap, each begins as zeros and
// keeps what is written to it, none comes back before its Free is done, and all of it comes back.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "proxy/native/opencl/heap.hpp"

using namespace haltere;

namespace {

constexpr std::size_t kBytes = kHeapFirst + (48 << 20);
constexpr std::size_t kSizes[] = {1, 100, 256, 4000, 65535, 65536, 100'000, 1 << 20, 3'000'000, 9 << 20};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "heap_room: %s\n", what);
  std::exit(1);
}

struct Taken {
  std::uint64_t handle;
  std::uint8_t* bytes;
  std::size_t size;
  std::uint8_t mark;
};

}  // namespace

int main() {
  const auto heap = Heap::make(kBytes);
  if (!heap) fail("no heap");
  std::mt19937 random(7);
  std::vector<Taken> live, given;
  std::uint64_t handle = 0, number = 0, retired = 0;
  for (int turn = 0; turn < 4000; ++turn) {
    if (random() % 5 < 3) {
      const std::size_t size = kSizes[random() % std::size(kSizes)];
      std::uint8_t* bytes = heap->take(++handle, size, retired);
      if (!bytes) continue;
      const Place& place = heap->place(handle);
      if (place.handle != handle || place.offset < kHeapFirst || place.offset % kHeapAlign || place.offset + size > kBytes)
        fail("its entry in the table is wrong");
      for (std::size_t at = 0; at < size; ++at)
        if (bytes[at]) fail("not zeros");
      const Taken made{handle, bytes, size, static_cast<std::uint8_t>(1 + random() % 255)};
      std::memset(bytes, made.mark, size);
      live.push_back(made);
    } else if (!live.empty()) {
      const std::size_t which = random() % live.size();
      heap->give(live[which].handle, ++number);
      given.push_back(live[which]);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
    }
    if (random() % 8 == 0) {
      for (const Taken& one : given)  // the device may be at them until now
        for (std::size_t at = 0; at < one.size; at += 97)
          if (one.bytes[at] != one.mark) fail("it was handed out too early");
      given.clear();
      retired = number;
    }
  }
  for (const Taken& one : live) {
    for (std::size_t at = 0; at < one.size; ++at)
      if (one.bytes[at] != one.mark) fail("two buffers overlap");
    heap->give(one.handle, ++number);
  }
  if (!heap->take(++handle, kBytes - kHeapFirst, number)) fail("room was lost");
  if (heap->take(++handle, 1, number)) fail("there is more room than there is");
  std::puts("done");
  return 0;
}
