// What one session holds on the device, by the worker's handles: none of which is believed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "../segment.hpp"
#include "device.hpp"
#include "heap.hpp"

namespace haltere {

using u64 = std::uint64_t;
using llu = unsigned long long;

inline constexpr std::size_t kMaxHandles = 1 << 16;  // as proxy/handles.py
inline constexpr std::size_t kMaxParts = 64;         // native sub-buffers kept of one buffer

struct Memory {
  cl_mem mem = nullptr;
  u64 nbytes = 0;
  u64 counted = 0;  // bytes of the device's memory: an image over a buffer has none of its own
  u64 usage = 0;
  u64 changed = 0;  // the count of changes at the newest command that may have written to it
  Place* place = nullptr;  // of a buffer in the heap,
  u64 writes = 0;          // and how often the program itself had written to it, as far as `changed` knows
  bool image = false;
  bool out = false;  // swapped out: it has no native memory, and its bytes are elsewhere
  CreateImage made{};     // of an image
  cl_mem over = nullptr;  // of an image: the buffer it lies in, kept alive
  u64 pixel = 0;       // bytes
  std::map<u64, cl_mem> parts{};  // offset to a native sub-buffer from there to the end
};

enum class ArgKind : std::uint8_t { kBuffer, kScalar, kLocal, kImage, kSampler, kWord, kUnknown };  // kWord: see probed_kind

struct Kernel {
  cl_kernel kernel = nullptr;
  std::vector<ArgKind> kinds{};
  std::string last{};  // the encoded arguments that are set
  std::vector<Memory*> touched{};  // what they let the kernel write to, while generation is the objects'
  u64 generation = 0;  // of the objects when they were
};

struct Program {
  cl_program program = nullptr;
  std::map<std::string, Kernel, std::less<>> kernels{};
  bool prints = false;  // or may
};

struct Sampler {
  cl_sampler sampler = nullptr;
  CreateSampler made{};
};

template <class T>
class Table {
 public:
  Table(const char* what, int native) : what_(what), native_(native) {}

  // Throws Violation unless `handle` may be given to a new object.
  void check_new(u64 handle) const {
    if (handle <= highest)
      throw Violation{text("%s %llu: numbers rise, and %llu was used already", what_, llu(handle), llu(highest))};
    if (live.size() + failed_.size() >= kMaxHandles)
      throw Violation{text("more than %zu live %ss", kMaxHandles, what_)};
  }
  T& add(u64 handle, T value) {
    highest = std::max(highest, handle);
    return live.insert_or_assign(handle, std::move(value)).first->second;
  }
  void add_failed(u64 handle) {
    highest = std::max(highest, handle);
    failed_.insert(handle);
  }
  // Throws Refused for a handle that names nothing now.
  T& get(u64 handle) {
    const auto found = live.find(handle);
    if (found == live.end())
      throw usage(native_, text("%s %llu is not live in this session: it was freed, or creating it failed",
                                what_, llu(handle)));
    return found->second;
  }
  // True if creating it had failed: it is forgotten, and there is nothing to release.
  bool forget_failed(u64 handle) { return failed_.erase(handle) != 0; }

  std::unordered_map<u64, T> live{};
  u64 highest = 0;

 private:
  const char* what_;
  int native_;
  std::unordered_set<u64> failed_{};
};

class Objects {
 public:
  explicit Objects(Device& device);
  ~Objects();
  Objects(const Objects&) = delete;
  Objects& operator=(const Objects&) = delete;

  // Both leave zeros in what they make, and the queue's later commands see them; but a buffer in the
  // heap is as it lies there: of a new one the program made zeros.
  void alloc(const Alloc& asked);
  void create_image(const CreateImage& asked);
  void free(u64 handle);
  void create_sampler(const CreateSampler& asked);
  void drop_sampler(u64 handle);
  // Builds a program, which nobody sees before it is adopted: any thread may, while others use the
  // session, but one at a time. Throws Refused with the build log.
  void build(std::string_view format, Bytes payload, const std::string& options);
  // What was built last gets its handle; if that failed, the handle is used up.
  void adopt(u64 handle);
  // From units that are compiled separately. Throws Refused.
  cl_program linked(Bytes payload, const std::string& options, bool compile_only);
  // Of a program from source; whether it may print is found out.
  int build_source(cl_program program, std::string_view source, const std::string& options, bool& prints);
  [[noreturn]] void reject(cl_program program, cl_int status);  // with the build log
  std::string build_log(u64 program);
  std::string log_of(cl_program program);
  void unload(u64 handle);

  Memory& buffer(u64 handle);
  Memory& image(u64 handle);
  // The native memory of a buffer from `offset` on.
  cl_mem part(Memory& memory, u64 offset);
  Kernel& kernel(Program& program, std::string_view entry);
  // KernelInfo and ArgInfo records of all kernels of a program.
  std::string describe(u64 program);

  // Gives back the native memory of a buffer or image, whose bytes the caller has read; false: it must
  // stay. `restore` makes it anew, to be filled by the caller. See swap.cpp.
  bool evict(u64 handle);
  void restore(u64 handle);

  // A blocking transfer of bytes [offset, offset + nbytes) of a buffer or an image: of a queue that
  // stands still, or is drained by it.
  void transfer(u64 handle, u64 offset, u64 nbytes, std::uint8_t* data, bool write);
  void finish();
  // From the next command on the device's clock is read around each, which costs a tiny one a tenth.
  void profile();

  Device& device;
  cl_context context = nullptr;
  cl_command_queue queue = nullptr;
  u64 limit_bytes = UINT64_MAX;  // this session's own
  SharedHeap heap{};
  u64 used_bytes = 0;    // there or swapped out,
  u64 out_bytes = 0;     // of them, swapped out,
  u64 shared_bytes = 0;  // and in the heap, which is no memory of the device
  bool insists = false;  // nobody can be swapped out any more: what has no room now fails
  u64 generation = 1;  // changes when a native object goes
  Table<Memory> memory{"buffer", CL_INVALID_MEM_OBJECT};
  Table<Program> programs{"program", CL_INVALID_PROGRAM};
  Table<Sampler> samplers{"sampler", CL_INVALID_SAMPLER};

 private:
  bool profiling_ = false;
  // `over`: null, or the host's memory that it is.
  cl_mem native_buffer(u64 nbytes, std::uint8_t* over = nullptr);
  cl_mem native_image(const CreateImage& asked, cl_mem over);
  void zero(Memory& made);
  void check_over(const Memory& made, u64 nbytes);
  void take(u64 nbytes, bool shared = false);
  void check_room(u64 nbytes) const;
  void find_room(const Refused& why, u64 nbytes) const;
  void give(u64 nbytes, bool shared = false);
  void release(Memory& memory);
  void release_native(Memory& memory);
  void release(Program& program);
  void drop_built();
  std::optional<Program> built_{};
  void image_rows(Memory& memory, u64 row, u64 count, std::uint8_t* data, bool write);
  void image_transfer(Memory& memory, u64 offset, u64 nbytes, std::uint8_t* data, bool write);
};

// The image's size as OpenCL takes a region: arrays' layers are its last dimension in use.
struct Region {
  std::size_t at[3];
  std::size_t size[3];
};
Region whole(const CreateImage& made);

}  // namespace haltere
