// The heap of a session: the memory of its buffers where program and device share it. The program
// makes it, a sealed memory file, and its server maps it too: see proxy/heap.py. At its beginning a
// table says where each buffer lies; all of it may be written by the program at any time, so that the
// server copies what it relies on, and checks it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace haltere {

struct Place {
  std::uint64_t handle;  // W: of the buffer
  std::uint64_t offset;  // W: of its bytes in the heap
  std::uint64_t writes;  // W: rises before the program writes to it by itself
  std::uint64_t live;    // S: the buffer's handle once its memory is here
};

inline constexpr std::size_t kPlaces = 1 << 16;  // a buffer's is its handle modulo this
inline constexpr std::size_t kHeapFirst = kPlaces * sizeof(Place);
inline constexpr std::size_t kHeapAlign = 256;  // at least; OpenCL's largest type has 128 bytes

inline std::atomic_ref<std::uint64_t> shared_word(std::uint64_t& word) { return std::atomic_ref<std::uint64_t>(word); }

inline Place& place_of(std::uint8_t* heap, std::uint64_t handle) {
  return reinterpret_cast<Place*>(heap)[handle % kPlaces];
}

// Of Line::HEAP: see proxy/segment.py.
inline constexpr bool heap_is_open(std::uint64_t word) { return word && word % 2 == 0; }

}  // namespace haltere
