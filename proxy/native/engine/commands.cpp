#include "commands.hpp"

#include <algorithm>
#include <cstring>

#include "../digest.hpp"

namespace haltere {
namespace {

constexpr u64 kBulkBytes = 256 << 10;  // transfers from this size on complete one by one
constexpr u64 kMaxGridSize = (u64{1} << 31) - 1;  // as hal/context.py
constexpr u64 kMaxGridItems = u64{1} << 32;

void check_grid(const Launch& asked) {
  const Sizes &grid = asked.global_size, &local = asked.local_size, &offset = asked.global_offset;
  if (grid.count < 1) throw usage(CL_INVALID_WORK_DIMENSION, "grid: 1 to 3 dimensions, each at least 1");
  u64 items = 1;
  for (u64 i = 0; i < grid.count; ++i) {
    if (grid.value[i] < 1 || grid.value[i] > kMaxGridSize)
      throw usage(CL_INVALID_GLOBAL_WORK_SIZE,
                  text("grid of %llu items in dimension %llu: 1 to %llu", llu(grid.value[i]), llu(i), llu(kMaxGridSize)));
    items = times(items, grid.value[i]);
  }
  if (items > kMaxGridItems)
    throw usage(CL_INVALID_GLOBAL_WORK_SIZE,
                text("grid of %llu items: at most %llu in all; launch it in parts", llu(items), llu(kMaxGridItems)));
  if (local.count && local.count != grid.count)
    throw usage(CL_INVALID_WORK_GROUP_SIZE, "local size of other dimensions than the grid");
  for (u64 i = 0; i < local.count; ++i)
    if (local.value[i] < 1 || grid.value[i] % local.value[i])
      throw usage(CL_INVALID_WORK_GROUP_SIZE,
                  text("local size %llu must divide global size %llu", llu(local.value[i]), llu(grid.value[i])));
  if (offset.count && offset.count != grid.count)
    throw usage(CL_INVALID_GLOBAL_OFFSET, "global offset of other dimensions than the grid");
  for (u64 i = 0; i < offset.count; ++i)
    if (plus(offset.value[i], grid.value[i]) == UINT64_MAX)
      throw usage(CL_INVALID_GLOBAL_OFFSET, "global offset beyond the numbers that there are");
}

const char* name_of(ArgKind kind) {
  switch (kind) {
    case ArgKind::kBuffer: return "BufferArg";
    case ArgKind::kScalar: return "ScalarArg";
    case ArgKind::kLocal: return "LocalArg";
    case ArgKind::kImage: return "image";
    case ArgKind::kSampler: return "sampler";
    case ArgKind::kWord: return "value, image or sampler";
    case ArgKind::kUnknown: break;
  }
  return "type that cannot be passed";
}

const char* name_of(Arg::Kind kind) {
  switch (kind) {
    case Arg::kBuffer: return "BufferArg";
    case Arg::kScalar: return "ScalarArg";
    case Arg::kLocal: return "LocalArg";
    case Arg::kObject: break;
  }
  return "ObjectArg";
}

bool fits(ArgKind wanted, Arg::Kind given) {
  switch (wanted) {
    case ArgKind::kBuffer: return given == Arg::kBuffer;
    case ArgKind::kScalar: return given == Arg::kScalar;
    case ArgKind::kLocal: return given == Arg::kLocal;
    case ArgKind::kImage:
    case ArgKind::kSampler: return given == Arg::kObject;
    case ArgKind::kWord: return given == Arg::kScalar || given == Arg::kObject;
    case ArgKind::kUnknown: break;
  }
  return false;
}

}  // namespace

// An event stands for all before it, for the queue is in order: what a launch surely follows needs none.
cl_event* Commands::event() {
  return tenant.launch_follows_ && !tenant.bulk_ && !tenant.timed_next_ ? nullptr : &event_;
}

bool Commands::done(int status, const std::string& what) {
  check(status, what);
  Flight& loose = tenant.loose_;
  if (loose.event) cl().clReleaseEvent(loose.event);
  loose.event = event_;
  if (reads_arena_ && loose.first_write == 0) loose.first_write = tenant.words->issued;
  if (tenant.timed_next_) {
    tenant.timed_next_ = false;
    cl().clRetainEvent(event_);
    tenant.timed_.push_back({tenant.words->issued, event_});
    if (tenant.timed_.size() > kMaxTimed) {
      cl().clReleaseEvent(tenant.timed_.front().event);
      tenant.timed_.pop_front();
    }
  }
  return true;
}

const std::uint8_t* Commands::source(u64 offset, u64 nbytes) {
  if (tenant.payload_ == nullptr) {
    const std::uint8_t* at = tenant.arena(offset, nbytes);
    reads_arena_ = true;
    tenant.bulk_ = nbytes >= kBulkBytes;
    return at;
  }
  if (tenant.payload_->size() != nbytes)
    throw usage(CL_INVALID_VALUE, text("a write of %llu bytes with %zu", llu(nbytes), tenant.payload_->size()));
  return tenant.hold(Bytes(std::string_view(*tenant.payload_)));
}

Memory& Commands::range(u64 handle, u64 offset, u64 nbytes, const char* what) {
  Memory& found = tenant.objects.buffer(handle);
  if (!within(offset, nbytes, found.nbytes))
    throw usage(CL_INVALID_VALUE, text("%s: bytes %llu to %llu of buffer %llu, which holds %llu", what, llu(offset),
                                       llu(plus(offset, nbytes)), llu(handle), llu(found.nbytes)));
  return found;
}

void Commands::changes(Memory& memory) {
  memory.changed = ++tenant.words->changes;
  if (memory.over == nullptr) return;
  const auto found = tenant.objects.memory.live.find(memory.made.buffer);
  if (found != tenant.objects.memory.live.end()) found->second.changed = memory.changed;
}

// ---- objects

bool Commands::run(const Alloc& asked) {
  tenant.objects.alloc(asked);
  changes(tenant.objects.buffer(asked.buffer));
  return false;  // later commands see its zeros: the queue is in order
}

bool Commands::run(const Free& asked) {
  tenant.objects.free(asked.buffer);
  return false;
}

bool Commands::run(const Unload& asked) {
  tenant.objects.unload(asked.program);
  return false;
}

bool Commands::run(const CreateImage& asked) {
  tenant.objects.create_image(asked);
  changes(tenant.objects.image(asked.image));
  return false;
}

bool Commands::run(const CreateSampler& asked) {
  tenant.objects.create_sampler(asked);
  return false;
}

bool Commands::run(const DropSampler& asked) {
  tenant.objects.drop_sampler(asked.sampler);
  return false;
}

bool Commands::run(const Timed&) {
  tenant.objects.profile();
  tenant.timed_next_ = true;
  return false;
}

// ---- buffers

bool Commands::run(const Write& asked) {
  const std::uint8_t* data = source(asked.arena, asked.nbytes);
  Memory& target = range(asked.buffer, asked.offset, asked.nbytes, "write");
  if (asked.nbytes == 0) return false;
  changes(target);
  return done(cl().clEnqueueWriteBuffer(queue(), target.mem, CL_FALSE, asked.offset, asked.nbytes, data, 0,
                                        nullptr, event()),
              "write");
}

bool Commands::run(const WriteInline& asked) {
  Memory& target = range(asked.buffer, asked.offset, asked.data.size, "write");
  if (asked.data.size == 0) return false;
  changes(target);
  return done(cl().clEnqueueWriteBuffer(queue(), target.mem, CL_FALSE, asked.offset, asked.data.size,
                                        tenant.hold(asked.data), 0, nullptr, event()),
              "write");
}

bool Commands::run(const Read& asked) {
  std::uint8_t* into = tenant.arena(asked.arena, asked.nbytes);
  Memory& from = range(asked.buffer, asked.offset, asked.nbytes, "read");
  if (asked.nbytes == 0) return false;
  tenant.bulk_ = asked.nbytes >= kBulkBytes;
  return done(cl().clEnqueueReadBuffer(queue(), from.mem, CL_FALSE, asked.offset, asked.nbytes, into, 0,
                                       nullptr, event()),
              "read");
}

bool Commands::run(const Copy& asked) {
  Memory& from = range(asked.source, asked.source_offset, asked.nbytes, "copy from");
  Memory& to = range(asked.target, asked.target_offset, asked.nbytes, "copy to");
  if (&from == &to && asked.source_offset < asked.target_offset + asked.nbytes &&
      asked.target_offset < asked.source_offset + asked.nbytes)
    throw usage(CL_MEM_COPY_OVERLAP, "copy within one buffer: the ranges overlap; copy in two steps");
  if (asked.nbytes == 0) return false;
  changes(to);
  return done(cl().clEnqueueCopyBuffer(queue(), from.mem, to.mem, asked.source_offset, asked.target_offset,
                                       asked.nbytes, 0, nullptr, event()),
              "copy");
}

bool Commands::run(const Fill& asked) {
  Memory& target = range(asked.buffer, asked.offset, asked.nbytes, "fill");
  const std::size_t size = asked.pattern.size;
  if (size == 0 || size > 128 || (size & (size - 1)) || asked.offset % size || asked.nbytes % size)
    throw usage(CL_INVALID_VALUE, text("fill of %llu bytes from %llu with a pattern of %zu: a power of two up to "
                                       "128, and multiples of it",
                                       llu(asked.nbytes), llu(asked.offset), size));
  if (asked.nbytes == 0) return false;
  changes(target);
  alignas(128) std::uint8_t pattern[128];
  std::memcpy(pattern, asked.pattern.data, size);
  return done(cl().clEnqueueFillBuffer(queue(), target.mem, pattern, size, asked.offset, asked.nbytes, 0,
                                       nullptr, event()),
              "fill");
}

// Of memory that is shared it is what was read; elsewhere the commands before it are being done again.
bool Commands::run(const Saw& asked) {
  Memory& seen = range(asked.buffer, asked.offset, asked.nbytes, "look");
  if (seen.place) return false;
  Digest digest;
  std::vector<std::uint8_t> block(std::min<u64>(asked.nbytes, kDigestBlock));
  for (u64 at = 0; at < asked.nbytes; at += kDigestBlock) {
    const u64 size = std::min<u64>(kDigestBlock, asked.nbytes - at);
    tenant.objects.transfer(asked.buffer, asked.offset + at, size, block.data(), false);
    digest.add(block.data(), size);
  }
  if (digest.value() != asked.digest)
    throw Refused{"replay_diverged",
                  text("the program had read other bytes in %llu to %llu of buffer %llu: its kernels do not compute the "
                       "same each time",
                       llu(asked.offset), llu(asked.offset + asked.nbytes), llu(asked.buffer)),
                  0};
  return false;
}

// ---- launches

bool Commands::run(const Launch& asked) {
  Program& program = tenant.objects.programs.get(asked.program);
  Kernel& kernel = tenant.objects.kernel(program, asked.entry.text());
  check_grid(asked);
  Printing& printing = tenant.objects.device.printing;
  const bool prints = program.prints && printing.on();
  if (prints && printing.busy()) throw Busy{};
  set_arguments(asked, kernel);
  for (Memory* memory : kernel.touched) changes(*memory);
  const Sizes &grid = asked.global_size, &local = asked.local_size, &offset = asked.global_offset;
  static_assert(sizeof(std::size_t) == sizeof(u64));
  const auto sizes = [](const Sizes& given) {
    return given.count ? reinterpret_cast<const std::size_t*>(given.value) : nullptr;
  };
  if (prints) {
    printing.begin();
    tenant.bulk_ = true;  // it departs by itself
  }
  const int status = cl().clEnqueueNDRangeKernel(queue(), kernel.kernel, static_cast<cl_uint>(grid.count),
                                                 sizes(offset), sizes(grid), sizes(local), 0, nullptr, event());
  if (status != CL_SUCCESS && prints) printing.end();
  if (status != CL_SUCCESS) check(status, "launch '" + std::string(asked.entry.text()) + "'");
  done(status, {});
  if (prints) tenant.loose_.prints = tenant.words->issued;
  ++tenant.loose_.kernels;
  tenant.loose_.entry = asked.entry.text();
  return true;
}

// Nothing is set anew if all is as at the last launch and no object went since.
void Commands::set_arguments(const Launch& asked, Kernel& kernel) {
  const std::string_view encoded = asked.args.encoded.text();
  if (kernel.generation == tenant.objects.generation && kernel.last == encoded) return;
  if (asked.args.count != kernel.kinds.size())
    throw Refused{"program_rejected",
                  text("launch '%.*s': %llu arguments; the kernel takes %zu", int(asked.entry.size),
                       asked.entry.text().data(), llu(asked.args.count), kernel.kinds.size()),
                  CL_INVALID_KERNEL_ARGS};
  kernel.generation = 0;  // whatever happens now
  kernel.touched.clear();
  asked.args.each([&](u64 index, const Arg& arg) {
    if (!fits(kernel.kinds[index], arg.kind))
      throw Refused{"program_rejected",
                    text("launch '%.*s': argument %llu is a %s; the kernel takes a %s", int(asked.entry.size),
                         asked.entry.text().data(), llu(index), name_of(arg.kind), name_of(kernel.kinds[index])),
                    CL_INVALID_ARG_VALUE};
    set_argument(static_cast<cl_uint>(index), arg, kernel);
  });
  kernel.last = encoded;
  kernel.generation = tenant.objects.generation;
}

void Commands::set_argument(cl_uint index, const Arg& arg, Kernel& kernel) {
  Objects& objects = tenant.objects;
  std::size_t size = sizeof(void*);
  const void* value = nullptr;
  cl_mem memory = nullptr;
  cl_sampler sampler = nullptr;
  ArgKind kind = kernel.kinds[index];
  if (kind == ArgKind::kWord && arg.kind == Arg::kObject)
    kind = objects.samplers.live.contains(arg.handle) ? ArgKind::kSampler : ArgKind::kImage;
  switch (kind) {
    case ArgKind::kBuffer:
      if (arg.handle) {
        Memory& buffer = objects.buffer(arg.handle);
        memory = objects.part(buffer, arg.offset);
        kernel.touched.push_back(&buffer);
      }
      value = arg.handle ? &memory : nullptr;
      break;
    case ArgKind::kImage:
      kernel.touched.push_back(&objects.image(arg.handle));
      memory = kernel.touched.back()->mem;
      value = &memory;
      break;
    case ArgKind::kSampler:
      sampler = objects.samplers.get(arg.handle).sampler;
      value = &sampler;
      break;
    case ArgKind::kLocal:
      size = arg.handle;
      if (size == 0 || size > objects.device.local_bytes)
        throw usage(CL_INVALID_ARG_SIZE, text("argument %u of %zu bytes of local memory: 1 to %llu", index, size,
                                              llu(objects.device.local_bytes)));
      break;
    default:
      size = arg.scalar.size;
      value = arg.scalar.data;
      if (size == 0) throw usage(CL_INVALID_ARG_SIZE, text("argument %u of no bytes", index));
  }
  const int status = cl().clSetKernelArg(kernel.kernel, index, size, value);
  if (status != CL_SUCCESS) check(status, text("argument %u of %zu bytes", index, size));
}

// ---- errors

void write_failed(std::uint8_t* at, std::size_t size, u64 number, const Refused& why, bool sticky) {
  const std::string native = why.native ? std::to_string(why.native) : "";
  std::string_view message = why.message;
  std::string cut, record;
  while (true) {
    encode(record, number, Failed{sticky, Bytes(std::string_view(why.code)), Bytes(message),
                                  Bytes(std::string_view(native))});
    if (record.size() <= size) break;
    std::size_t room = message.size() - std::min(message.size(), record.size() - size + 16);
    while (room && (static_cast<unsigned char>(why.message[room]) & 0xC0) == 0x80) --room;  // whole characters
    cut = why.message.substr(0, room) + " [cut]";
    message = cut;
  }
  std::memcpy(at, record.data(), record.size());
}

}  // namespace haltere
