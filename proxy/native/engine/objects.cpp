#include "objects.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace haltere {
namespace {

constexpr std::uint8_t kZeros[128] = {};  // the longest fill pattern OpenCL allows: fastest on PoCL
constexpr cl_mem_flags kAccess = CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY;
constexpr u64 kMaxPixelBytes = 16;

}  // namespace

Objects::Objects(Device& on) : device(on) {
  cl_int status = CL_SUCCESS;
  context = device.cl->clCreateContext(nullptr, 1, &device.id, nullptr, nullptr, &status);
  check(status, "create a context");
  queue = device.cl->clCreateCommandQueue(context, device.id, 0, &status);
  if (status != CL_SUCCESS) {
    device.cl->clReleaseContext(context);
    check(status, "create a queue");
  }
}

Objects::~Objects() {
  for (auto& [handle, found] : memory.live) release(found);
  for (auto& [handle, found] : programs.live) release(found);
  drop_built();
  for (auto& [handle, found] : samplers.live) device.cl->clReleaseSampler(found.sampler);
  device.cl->clReleaseCommandQueue(queue);
  device.cl->clReleaseContext(context);
}

// ---- memory

void Objects::take(u64 nbytes, bool shared) {
  if (!within(used_bytes, nbytes, limit_bytes))
    throw Refused{"out_of_memory",
                  text("alloc of %llu bytes: this session holds %llu of the %llu it may", llu(nbytes),
                       llu(used_bytes), llu(limit_bytes)),
                  CL_MEM_OBJECT_ALLOCATION_FAILURE};
  if (shared) {
    shared_bytes += nbytes;
  } else {
    check_room(nbytes);
    device.take(nbytes);
  }
  used_bytes += nbytes;
}

void Objects::give(u64 nbytes, bool shared) {
  if (shared)
    shared_bytes -= nbytes;
  else
    device.give(nbytes);
  used_bytes -= nbytes;
}

void Objects::alloc(const Alloc& asked) {
  memory.check_new(asked.buffer);
  try {
    if (asked.nbytes == 0 || asked.nbytes > device.max_buffer_bytes)
      throw usage(CL_INVALID_BUFFER_SIZE, text("alloc of %llu bytes: a buffer holds 1 to %llu bytes",
                                               llu(asked.nbytes), llu(device.max_buffer_bytes)));
    const auto shared = heap.find(asked.buffer, asked.nbytes);
    take(asked.nbytes, shared.has_value());
    Memory made{.nbytes = asked.nbytes, .counted = asked.nbytes, .usage = asked.usage};
    try {
      made.mem = native_buffer(asked.nbytes, shared ? shared->bytes : nullptr);
      if (shared) {
        made.place = shared->place;
        made.writes = shared_word(made.place->writes).load(std::memory_order_acquire);
        shared_word(made.place->live).store(asked.buffer, std::memory_order_release);
      } else {
        zero(made);
      }
    } catch (const Refused& why) {
      if (made.mem) device.cl->clReleaseMemObject(made.mem);
      give(asked.nbytes, shared.has_value());
      if (!shared) find_room(why, asked.nbytes);
      throw;
    }
    memory.add(asked.buffer, std::move(made));
  } catch (const Refused&) {
    memory.add_failed(asked.buffer);
    throw;
  }
}

cl_mem Objects::native_buffer(u64 nbytes, std::uint8_t* over) {
  cl_int status = CL_SUCCESS;
  const cl_mem_flags flags = CL_MEM_READ_WRITE | (over ? CL_MEM_USE_HOST_PTR : 0);
  const cl_mem made = device.cl->clCreateBuffer(context, flags, nbytes, over, &status);
  check(status, text("alloc of %llu bytes", llu(nbytes)));
  return made;
}

void Objects::zero(Memory& made) {
  const auto fill = [&](std::size_t pattern, u64 from, u64 nbytes) {
    if (nbytes == 0) return;
    check(device.cl->clEnqueueFillBuffer(queue, made.mem, kZeros, pattern, from, nbytes, 0, nullptr, nullptr),
          "zero a buffer");
  };
  if (made.image) {
    const Region all = whole(made.made);
    check(device.cl->clEnqueueFillImage(queue, made.mem, kZeros, all.at, all.size, 0, nullptr, nullptr),
          "zero an image");
    return;
  }
  const u64 even = made.nbytes - made.nbytes % sizeof kZeros;
  fill(sizeof kZeros, 0, even);
  fill(1, even, made.nbytes - even);
}

void Objects::create_image(const CreateImage& asked) {
  memory.check_new(asked.image);
  u64 counted = 0;
  Memory made{.image = true, .made = asked};
  try {
    if (!device.images) throw usage(CL_INVALID_OPERATION, "this device has no images");
    cl_mem over = nullptr;
    if (asked.buffer) over = buffer(asked.buffer).mem;
    const Region all = whole(asked);
    if (!over) {
      u64 pixels = 1;
      for (const std::size_t size : all.size) pixels = times(pixels, size);
      if (pixels == 0 || pixels > device.max_buffer_bytes)
        throw usage(CL_INVALID_IMAGE_SIZE, text("image of %llu pixels: an object holds 1 to %llu bytes",
                                                llu(pixels), llu(device.max_buffer_bytes)));
      const u64 at_most = times(pixels, kMaxPixelBytes);
      take(at_most);
      counted = at_most;
    }
    made.mem = native_image(asked, over);
    std::size_t pixel = 0;
    check(device.cl->clGetImageInfo(made.mem, CL_IMAGE_ELEMENT_SIZE, sizeof pixel, &pixel, nullptr),
          "an image's pixel size");
    made.pixel = pixel;
    made.nbytes = pixel;
    for (const std::size_t size : all.size) made.nbytes = times(made.nbytes, size);
    if (over) {
      check_over(made, buffer(asked.buffer).nbytes);
      check(device.cl->clRetainMemObject(over), "hold the buffer of an image");
      made.over = over;
    } else {
      zero(made);
      give(counted - made.nbytes);
      made.counted = counted = made.nbytes;
    }
    memory.add(asked.image, std::move(made));
  } catch (const Refused& why) {
    if (made.mem) device.cl->clReleaseMemObject(made.mem);
    give(counted);
    find_room(why, counted);
    memory.add_failed(asked.image);
    throw;
  }
}

cl_mem Objects::native_image(const CreateImage& asked, cl_mem over) {
  const cl_image_format format{static_cast<cl_channel_order>(asked.order), static_cast<cl_channel_type>(asked.type)};
  cl_image_desc desc{};
  desc.image_type = static_cast<cl_mem_object_type>(asked.kind);
  desc.image_width = asked.width;
  desc.image_height = asked.height;
  desc.image_depth = asked.depth;
  desc.image_array_size = asked.array_size;
  if (over) {
    desc.image_row_pitch = asked.row;
    desc.image_slice_pitch = asked.slice;
    desc.buffer = over;
  }
  cl_int status = CL_SUCCESS;
  const cl_mem made = device.cl->clCreateImage(context, asked.flags & kAccess, &format, &desc, nullptr, &status);
  check(status, "create an image");
  return made;
}

// An image must lie inside the buffer it is over: not every driver looks.
void Objects::check_over(const Memory& made, u64 nbytes) {
  std::size_t row = 0, slice = 0;
  check(device.cl->clGetImageInfo(made.mem, CL_IMAGE_ROW_PITCH, sizeof row, &row, nullptr), "an image's rows");
  check(device.cl->clGetImageInfo(made.mem, CL_IMAGE_SLICE_PITCH, sizeof slice, &slice, nullptr), "an image's slices");
  const Region all = whole(made.made);
  u64 end = times(all.size[0], made.pixel);
  end = plus(end, times(all.size[1] - 1, std::max<u64>(row, end)));
  end = plus(end, times(all.size[2] - 1, slice));
  if (all.size[1] == 0 || all.size[2] == 0 || end > nbytes)
    throw usage(CL_INVALID_IMAGE_SIZE, text("an image of %llu bytes over a buffer of %llu", llu(end), llu(nbytes)));
}

void Objects::free(u64 handle) {
  if (memory.forget_failed(handle)) return;
  release(memory.get(handle));
  memory.live.erase(handle);
  ++generation;
}

// OpenCL keeps the memory until queued commands are through with it.
void Objects::release(Memory& found) {
  if (found.out) {
    device.owned_bytes -= found.counted;
    used_bytes -= found.counted;
    out_bytes -= found.counted;
    return;
  }
  release_native(found);
  give(found.counted, found.place != nullptr);
}

void Objects::release_native(Memory& found) {
  for (const auto& [offset, part] : found.parts) device.cl->clReleaseMemObject(part);
  found.parts.clear();
  device.cl->clReleaseMemObject(found.mem);
  if (found.over) device.cl->clReleaseMemObject(found.over);
  found.mem = found.over = nullptr;
}

Memory& Objects::buffer(u64 handle) {
  Memory& found = memory.get(handle);
  if (found.image) throw usage(CL_INVALID_MEM_OBJECT, text("%llu is an image, not a buffer", llu(handle)));
  return found;
}

Memory& Objects::image(u64 handle) {
  Memory& found = memory.get(handle);
  if (!found.image) throw usage(CL_INVALID_MEM_OBJECT, text("%llu is a buffer, not an image", llu(handle)));
  return found;
}

cl_mem Objects::part(Memory& found, u64 offset) {
  if (offset == 0) return found.mem;
  if (offset % device.align || offset >= found.nbytes)
    throw usage(CL_MISALIGNED_SUB_BUFFER_OFFSET,
                text("argument at offset %llu of %llu bytes: this device takes multiples of %llu inside the buffer",
                     llu(offset), llu(found.nbytes), llu(device.align)));
  const auto known = found.parts.find(offset);
  if (known != found.parts.end()) return known->second;
  if (found.parts.size() >= kMaxParts) {
    for (const auto& [at, old] : found.parts) device.cl->clReleaseMemObject(old);
    found.parts.clear();
    ++generation;
  }
  const cl_buffer_region region{offset, found.nbytes - offset};
  cl_int status = CL_SUCCESS;
  const cl_mem made =
      device.cl->clCreateSubBuffer(found.mem, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
  check(status, text("argument at offset %llu", llu(offset)));
  return found.parts[offset] = made;
}

// ---- samplers

void Objects::create_sampler(const CreateSampler& asked) {
  samplers.check_new(asked.sampler);
  cl_int status = CL_SUCCESS;
  const cl_sampler made = device.cl->clCreateSampler(
      context, asked.normalized != 0, static_cast<cl_addressing_mode>(asked.addressing),
      static_cast<cl_filter_mode>(asked.filter), &status);
  if (status != CL_SUCCESS) samplers.add_failed(asked.sampler);
  check(status, "create a sampler");
  samplers.add(asked.sampler, {made, asked});
}

void Objects::drop_sampler(u64 handle) {
  if (samplers.forget_failed(handle)) return;
  device.cl->clReleaseSampler(samplers.get(handle).sampler);
  samplers.live.erase(handle);
  ++generation;
}

// ---- reading and writing what stands still

void Objects::profile() {
  if (profiling_) return;
  cl_int status = CL_SUCCESS;
  const cl_command_queue made = device.cl->clCreateCommandQueue(context, device.id, CL_QUEUE_PROFILING_ENABLE, &status);
  check(status, "create a queue");
  cl_event before = nullptr;
  status = device.cl->clEnqueueMarkerWithWaitList(queue, 0, nullptr, &before);
  if (status == CL_SUCCESS) status = device.cl->clFlush(queue);
  if (status == CL_SUCCESS) status = device.cl->clEnqueueBarrierWithWaitList(made, 1, &before, nullptr);
  if (before) device.cl->clReleaseEvent(before);
  device.cl->clReleaseCommandQueue(status == CL_SUCCESS ? std::exchange(queue, made) : made);
  check(status, "go on in another queue");
  profiling_ = true;
}

void Objects::finish() { check(device.cl->clFinish(queue), "wait for the queue"); }

void Objects::transfer(u64 handle, u64 offset, u64 nbytes, std::uint8_t* data, bool write) {
  Memory& found = memory.get(handle);
  if (!within(offset, nbytes, found.nbytes))
    throw usage(CL_INVALID_VALUE, text("bytes %llu to %llu of buffer %llu, which holds %llu", llu(offset),
                                       llu(plus(offset, nbytes)), llu(handle), llu(found.nbytes)));
  if (nbytes == 0) return;
  if (found.image) return image_transfer(found, offset, nbytes, data, write);
  check(write ? device.cl->clEnqueueWriteBuffer(queue, found.mem, CL_TRUE, offset, nbytes, data, 0, nullptr, nullptr)
              : device.cl->clEnqueueReadBuffer(queue, found.mem, CL_TRUE, offset, nbytes, data, 0, nullptr, nullptr),
        "transfer");
}

Region whole(const CreateImage& made) {
  const std::size_t width = made.width, height = made.height, depth = made.depth, layers = made.array_size;
  switch (made.kind) {
    case CL_MEM_OBJECT_IMAGE1D:
    case CL_MEM_OBJECT_IMAGE1D_BUFFER: return {{0, 0, 0}, {width, 1, 1}};
    case CL_MEM_OBJECT_IMAGE1D_ARRAY: return {{0, 0, 0}, {width, layers, 1}};
    case CL_MEM_OBJECT_IMAGE2D: return {{0, 0, 0}, {width, height, 1}};
    case CL_MEM_OBJECT_IMAGE2D_ARRAY: return {{0, 0, 0}, {width, height, layers}};
    case CL_MEM_OBJECT_IMAGE3D: return {{0, 0, 0}, {width, height, depth}};
  }
  throw usage(CL_INVALID_IMAGE_DESCRIPTOR, text("%#llx is no kind of image", llu(made.kind)));
}

// `count` whole rows from number `row` on, which are numbered through all slices.
void Objects::image_rows(Memory& found, u64 row, u64 count, std::uint8_t* data, bool write) {
  const Region all = whole(found.made);
  const u64 row_bytes = all.size[0] * found.pixel, height = all.size[1];
  while (count) {
    const u64 rows = std::min(count, height - row % height);
    const std::size_t at[3] = {0, row % height, row / height}, size[3] = {all.size[0], rows, 1};
    check(write ? device.cl->clEnqueueWriteImage(queue, found.mem, CL_TRUE, at, size, 0, 0, data, 0, nullptr, nullptr)
                : device.cl->clEnqueueReadImage(queue, found.mem, CL_TRUE, at, size, 0, 0, data, 0, nullptr, nullptr),
          "transfer of an image");
    data += rows * row_bytes;
    row += rows;
    count -= rows;
  }
}

void Objects::image_transfer(Memory& found, u64 offset, u64 nbytes, std::uint8_t* data, bool write) {
  const u64 row_bytes = whole(found.made).size[0] * found.pixel;
  const u64 first = offset / row_bytes, count = (offset + nbytes - 1) / row_bytes + 1 - first;
  std::vector<std::uint8_t> rows(count * row_bytes);
  const u64 skip = offset - first * row_bytes;
  if (!write || skip || nbytes != rows.size()) image_rows(found, first, count, rows.data(), false);
  if (!write) {
    std::memcpy(data, rows.data() + skip, nbytes);
    return;
  }
  std::memcpy(rows.data() + skip, data, nbytes);
  image_rows(found, first, count, rows.data(), true);
}

}  // namespace haltere
