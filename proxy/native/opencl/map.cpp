// Mapping: a buffer's own memory where program and device share it; else host memory behind a buffer
// or image, fetched when it is mapped and sent back when it is unmapped. With CL_MEM_USE_HOST_PTR it is
// the program's own memory, at the place it expects.
#include <cstdlib>

#include "direct.hpp"
#include "entries.hpp"
#include "image.hpp"
#include "order.hpp"

namespace haltere {
namespace {

constexpr cl_map_flags kWrites = CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION;
constexpr std::size_t kAlign = 4096;

void check_map(cl_mem memory, cl_map_flags flags) {
  check(flags && !(flags & ~(CL_MAP_READ | kWrites)), CL_INVALID_VALUE);
  check(!(flags & CL_MAP_WRITE_INVALIDATE_REGION) || !(flags & (CL_MAP_READ | CL_MAP_WRITE)), CL_INVALID_VALUE);
  if (flags & CL_MAP_READ) check_host_reads(memory);
  if (flags & kWrites) check_host_writes(memory);
}

std::uint8_t* aligned(std::size_t nbytes) {
  void* made = std::aligned_alloc(kAlign, (nbytes + kAlign - 1) / kAlign * kAlign);
  check(made, CL_OUT_OF_HOST_MEMORY);
  return static_cast<std::uint8_t*>(made);
}

std::uint8_t* host_of(cl_mem root) {
  if (root->host_ptr) return static_cast<std::uint8_t*>(root->host_ptr);
  const std::lock_guard lock(root->maps_lock);
  if (!root->shadow) root->shadow = aligned(root->size);
  return static_cast<std::uint8_t*>(root->shadow);
}

void forget(cl_mem memory, const MapRecord& map) {
  const std::lock_guard lock(memory->maps_lock);
  const auto found = std::find_if(memory->maps.begin(), memory->maps.end(), [&](const MapRecord& one) { return one.pointer == map.pointer; });
  if (found != memory->maps.end()) memory->maps.erase(found);
}

// Remembers the map and fetches, unless all of it will be overwritten.
template <class Fetch>
void* map(Order order, cl_mem memory, const MapRecord& made, Fetch&& fetch) {
  {
    const std::lock_guard lock(memory->maps_lock);
    memory->maps.push_back(made);
  }
  try {
    if (made.flags & CL_MAP_WRITE_INVALIDATE_REGION) {
      order.has_record = false;
      enqueue(order, {memory}, [](Session& session) { return session.sent(); });
    } else if (made.in_place) {
      order.has_record = false;
      enqueue(order, {memory}, [&](Session& session) { return mapped_in_place(session, memory, made.offset, made.nbytes); });
    } else {
      enqueue(order, {memory}, fetch);
    }
  } catch (...) {
    forget(memory, made);
    throw;
  }
  return made.pointer;
}

void* CL_API_CALL map_buffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, cl_map_flags flags,
                             std::size_t offset, std::size_t nbytes, cl_uint count, const cl_event* waits,
                             cl_event* out, cl_int* errcode_ret) {
  HALTERE_MAKE(void*, {
    check_buffer(queue, buffer);
    check_map(buffer, flags);
    check_range(buffer, offset, nbytes);
    const std::size_t at = buffer->origin + offset;
    const Order order{queue, CL_COMMAND_MAP_BUFFER, count, waits, out, blocking != CL_FALSE};
    check_order(order);
    const bool shared = buffer->root()->shared, may = shared && may_be_direct(order, buffer);
    if (shared && order.blocking) wait_to_touch(order);
    std::uint8_t* host = must_hold(order) ? nullptr : map_in_place(buffer, at, flags & CL_MAP_WRITE_INVALIDATE_REGION, flags & kWrites);
    const bool in_place = host != nullptr;
    if (!in_place) host = host_of(buffer->root()) + at;
    return map(order, buffer, {host, in_place, flags, at, nbytes, {}, {}, 0, 0},
               [may, buffer, at, host, nbytes](Session& session) { return get_bytes(session, buffer, may, at, host, nbytes); });
  })
}

void* CL_API_CALL map_image(cl_command_queue queue, cl_mem image, cl_bool blocking, cl_map_flags flags,
                            const std::size_t* origin, const std::size_t* region, std::size_t* row_ret,
                            std::size_t* slice_ret, cl_uint count, const cl_event* waits, cl_event* out,
                            cl_int* errcode_ret) {
  HALTERE_MAKE(void*, {
    check_image(queue, image);
    check_map(image, flags);
    check_box(image, origin, region);
    const bool flat = image->type == CL_MEM_OBJECT_IMAGE1D || image->type == CL_MEM_OBJECT_IMAGE1D_BUFFER || image->type == CL_MEM_OBJECT_IMAGE2D;
    check(row_ret && (flat || slice_ret), CL_INVALID_VALUE);
    MapRecord made{nullptr, false, flags, 0, 0, {origin[0], origin[1], origin[2]}, {region[0], region[1], region[2]}, 0, 0};
    const bool lines = image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
    if (image->host_ptr) {
      made.row = image->desc.image_row_pitch;
      made.slice = image->desc.image_slice_pitch;
      made.pointer = static_cast<std::uint8_t*>(image->host_ptr) + origin[0] * image->pixel_bytes +
                     origin[1] * (lines ? made.slice : made.row) + origin[2] * made.slice;
    } else {
      made.row = region[0] * image->pixel_bytes;
      made.slice = flat ? 0 : lines ? made.row : made.row * region[1];
      made.pointer = aligned(made.row * region[1] * region[2]);
    }
    const Spread host = image_spread(image, region, made.row, made.slice, made.pointer);
    void* pointer = nullptr;
    try {
      pointer = map({queue, CL_COMMAND_MAP_IMAGE, count, waits, out, blocking != CL_FALSE}, image, made,
                    [handle = image->handle, pixel = image->pixel_bytes, made, host](Session& session) {
                      return read_pixels(session, handle, pixel, made.origin, host);
                    });
    } catch (...) {
      if (!image->host_ptr) std::free(made.pointer);
      throw;
    }
    *row_ret = made.row;
    if (slice_ret) *slice_ret = made.slice;
    return pointer;
  })
}

MapRecord taken_map(cl_mem memory, void* pointer) {
  const std::lock_guard lock(memory->maps_lock);
  // the newest of several maps of one place; a writing one before those that only read
  auto found = memory->maps.rend();
  for (auto one = memory->maps.rbegin(); one != memory->maps.rend(); ++one)
    if (one->pointer == pointer && (found == memory->maps.rend() || ((one->flags & kWrites) && !(found->flags & kWrites)))) found = one;
  check(pointer && found != memory->maps.rend(), CL_INVALID_VALUE);
  const MapRecord map = *found;
  memory->maps.erase(std::next(found).base());
  return map;
}

cl_int CL_API_CALL unmap(cl_command_queue queue, cl_mem memory, void* pointer, cl_uint count, const cl_event* waits,
                         cl_event* out) {
  HALTERE_CODE({
    check(valid(queue), CL_INVALID_COMMAND_QUEUE);
    check(valid(memory), CL_INVALID_MEM_OBJECT);
    check(memory->context.get() == queue->context.get(), CL_INVALID_CONTEXT);
    Order order{queue, CL_COMMAND_UNMAP_MEM_OBJECT, count, waits, out};
    check_order(order);
    const MapRecord map = taken_map(memory, pointer);
    const bool own_memory = memory->is_image() && !memory->host_ptr;
    const auto done = std::shared_ptr<void>(own_memory ? pointer : nullptr, [](void* at) { std::free(at); });
    if (!(map.flags & kWrites)) {
      order.has_record = false;
      enqueue(order, {memory}, [done](Session& session) { return session.sent(); });
    } else if (memory->is_image()) {
      const Spread host = image_spread(memory, map.region, map.row, map.slice, pointer);
      enqueue(order, {memory}, [handle = memory->handle, pixel = memory->pixel_bytes, map, host, done](Session& session) {
        return write_pixels(session, handle, pixel, map.origin, host);
      });
    } else if (map.in_place) {
      order.has_record = false;
      enqueue(order, {memory}, [memory, map](Session& session) {
        return unmap_in_place(session, memory, map.offset, map.pointer, map.nbytes);
      });
    } else {
      enqueue(order, {memory}, [may = may_be_direct(order, memory), memory, map](Session& session) {
        return put_bytes(session, memory, may, map.offset, map.pointer, map.nbytes);
      });
    }
  })
}

}  // namespace

void enter_map(cl_icd_dispatch& table) {
  table.clEnqueueMapBuffer = map_buffer;
  table.clEnqueueMapImage = map_image;
  table.clEnqueueUnmapMemObject = unmap;
}

}  // namespace haltere
