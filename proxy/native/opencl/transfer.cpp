// Reading, writing, copying and filling buffers.
#include "direct.hpp"
#include "entries.hpp"
#include "memory.hpp"
#include "order.hpp"

namespace haltere {
namespace {

// Blocking writes from this size on wait until they may be direct: the arena has no room for them, so
// that they would wait for the device anyway.
constexpr std::size_t kPatientBytes = 4 << 20;

cl_int CL_API_CALL read(cl_command_queue queue, cl_mem buffer, cl_bool blocking, std::size_t offset, std::size_t nbytes,
                        void* into, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, buffer);
    check(into, CL_INVALID_VALUE);
    check_range(buffer, offset, nbytes);
    check_host_reads(buffer);
    const Order order{queue, CL_COMMAND_READ_BUFFER, count, waits, out, blocking != CL_FALSE};
    check_order(order);
    const bool may = may_be_direct(order, buffer);
    if (may && order.blocking) wait_to_touch(order);
    enqueue(order, {buffer}, [may, buffer, at = buffer->origin + offset, into, nbytes](Session& session) {
      return get_bytes(session, buffer, may, at, into, nbytes);
    });
  })
}

cl_int CL_API_CALL write(cl_command_queue queue, cl_mem buffer, cl_bool blocking, std::size_t offset,
                         std::size_t nbytes, const void* data, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, buffer);
    check(data, CL_INVALID_VALUE);
    check_range(buffer, offset, nbytes);
    check_host_writes(buffer);
    // `blocking` says that `data` may be changed afterwards. It was copied: only what is held waits.
    const Order order{queue, CL_COMMAND_WRITE_BUFFER, count, waits, out};
    check_order(order);
    const bool may = may_be_direct(order, buffer);
    if (may && blocking != CL_FALSE && nbytes >= kPatientBytes && !queue->context->session->is_logged()) wait_to_touch(order);
    const auto issue = [may, buffer, at = buffer->origin + offset, data, nbytes](Session& session) {
      return put_bytes(session, buffer, may, at, data, nbytes);
    };
    if (blocking != CL_FALSE && must_hold(order)) {
      Order patient = order;
      patient.blocking = true;
      enqueue(patient, {buffer}, issue);
    } else {
      enqueue(order, {buffer}, [issue, blocking](Session& session) {
        const bool calm = blocking != CL_FALSE && session.calm();
        const Number last = issue(session);
        if (calm) session.stay_calm();
        return last;
      });
      if (!out || blocking == CL_FALSE) return CL_SUCCESS;
      _cl_event& event = **out;
      if (!event.timed && event.resolved() && queue->context->session->calm_up_to(event.last))
        event.settled = CL_COMPLETE;
      else
        event.complete_for_host = true;
    }
  })
}

cl_int CL_API_CALL copy(cl_command_queue queue, cl_mem source, cl_mem target, std::size_t from, std::size_t to,
                        std::size_t nbytes, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, source);
    check_buffer(queue, target);
    check_range(source, from, nbytes);
    check_range(target, to, nbytes);
    const std::size_t begin = source->origin + from, end = target->origin + to;
    if (source->root() == target->root())
      check(begin + nbytes <= end || end + nbytes <= begin, CL_MEM_COPY_OVERLAP);
    enqueue({queue, CL_COMMAND_COPY_BUFFER, count, waits, out}, {source, target},
            [=, source = source->handle, target = target->handle](Session& session) {
              return session.put(Copy{source, begin, target, end, nbytes});
            });
  })
}

cl_int CL_API_CALL fill(cl_command_queue queue, cl_mem buffer, const void* pattern, std::size_t pattern_bytes,
                        std::size_t offset, std::size_t nbytes, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, buffer);
    check(pattern && pattern_bytes && pattern_bytes <= 128 && !(pattern_bytes & (pattern_bytes - 1)), CL_INVALID_VALUE);
    check(offset % pattern_bytes == 0 && nbytes % pattern_bytes == 0, CL_INVALID_VALUE);
    check_range(buffer, offset, nbytes);
    enqueue({queue, CL_COMMAND_FILL_BUFFER, count, waits, out}, {buffer},
            [handle = buffer->handle, at = buffer->origin + offset, nbytes,
             bytes = std::string(static_cast<const char*>(pattern), pattern_bytes)](Session& session) {
              return session.put(Fill{handle, at, nbytes, Bytes(bytes)});
            });
  })
}

// A box of bytes in a buffer or in host memory, its pitches filled in.
struct Box {
  std::size_t x, y, z, row, slice;

  Box(const std::size_t* origin, const std::size_t* region, std::size_t row_pitch, std::size_t slice_pitch)
      : x(origin[0]), y(origin[1]), z(origin[2]), row(row_pitch ? row_pitch : region[0]) {
    check(row >= region[0], CL_INVALID_VALUE);
    slice = slice_pitch ? slice_pitch : region[1] * row;
    check(slice >= region[1] * row && slice % row == 0, CL_INVALID_VALUE);
  }
  std::size_t begin() const { return z * slice + y * row + x; }
  std::size_t end(const std::size_t* region) const {
    return begin() + (region[2] - 1) * slice + (region[1] - 1) * row + region[0];
  }
};

void check_region(const std::size_t* region) {
  check(region && region[0] && region[1] && region[2], CL_INVALID_VALUE);
}

// Writes (or reads) a box between host memory and a buffer. Origins in a sub-buffer become bytes in x.
template <class Record, class Put>
Number rect_pieces(Session& session, std::uint64_t handle, std::size_t base, const Box& there, const Box& here,
                   std::uint8_t* host, const std::size_t (&region)[3], Put&& put) {
  return for_pieces(region[0], region[1], region[2], 1, session.chunk_bytes(),
                    [&](std::size_t x, std::size_t y, std::size_t z, std::size_t w, std::size_t h, std::size_t d) {
                      const Spread spread{host + here.begin() + z * here.slice + y * here.row + x, w, h, d, here.row,
                                          here.slice};
                      // one position for all: the server needs no y and z beyond the pitches
                      const std::size_t at = base + there.begin() + z * there.slice + y * there.row + x;
                      const std::uint64_t row_of = at / there.slice, rest = at % there.slice;
                      return put(Record{handle, rest % there.row, rest / there.row, row_of, w, h, d, there.row,
                                        there.slice, 0},
                                 spread);
                    });
}

cl_int CL_API_CALL read_rect(cl_command_queue queue, cl_mem buffer, cl_bool blocking, const std::size_t* buffer_origin,
                             const std::size_t* host_origin, const std::size_t* region, std::size_t buffer_row,
                             std::size_t buffer_slice, std::size_t host_row, std::size_t host_slice, void* into,
                             cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, buffer);
    check(into && buffer_origin && host_origin, CL_INVALID_VALUE);
    check_region(region);
    const Box there(buffer_origin, region, buffer_row, buffer_slice), here(host_origin, region, host_row, host_slice);
    check(there.end(region) <= buffer->size, CL_INVALID_VALUE);
    check_host_reads(buffer);
    enqueue({queue, CL_COMMAND_READ_BUFFER_RECT, count, waits, out, blocking != CL_FALSE}, {buffer},
            [=, handle = buffer->handle, base = buffer->origin, w = region[0], h = region[1], d = region[2]](Session& session) {
              const std::size_t size[3] = {w, h, d};
              return rect_pieces<ReadRect>(session, handle, base, there, here, static_cast<std::uint8_t*>(into), size,
                                           [&](const ReadRect& record, const Spread& spread) {
                                             return session.put_into(record, spread);
                                           });
            });
  })
}

cl_int CL_API_CALL write_rect(cl_command_queue queue, cl_mem buffer, cl_bool blocking, const std::size_t* buffer_origin,
                              const std::size_t* host_origin, const std::size_t* region, std::size_t buffer_row,
                              std::size_t buffer_slice, std::size_t host_row, std::size_t host_slice, const void* data,
                              cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, buffer);
    check(data && buffer_origin && host_origin, CL_INVALID_VALUE);
    check_region(region);
    const Box there(buffer_origin, region, buffer_row, buffer_slice), here(host_origin, region, host_row, host_slice);
    check(there.end(region) <= buffer->size, CL_INVALID_VALUE);
    check_host_writes(buffer);
    auto* host = static_cast<std::uint8_t*>(const_cast<void*>(data));
    enqueue({queue, CL_COMMAND_WRITE_BUFFER_RECT, count, waits, out, blocking != CL_FALSE}, {buffer},
            [=, handle = buffer->handle, base = buffer->origin, w = region[0], h = region[1], d = region[2]](Session& session) {
              const std::size_t size[3] = {w, h, d};
              return rect_pieces<WriteRect>(session, handle, base, there, here, host, size,
                                            [&](const WriteRect& record, const Spread& spread) {
                                              return session.put_from(record, spread);
                                            });
            });
  })
}

bool boxes_overlap(const Box& a, const Box& b, const std::size_t* region) {
  if (a.row != b.row || a.slice != b.slice)  // no common grid: by their ends
    return a.begin() < b.end(region) && b.begin() < a.end(region);
  const auto apart = [](std::size_t from, std::size_t to, std::size_t size) { return from + size <= to || to + size <= from; };
  return !apart(a.x, b.x, region[0]) && !apart(a.y, b.y, region[1]) && !apart(a.z, b.z, region[2]);
}

cl_int CL_API_CALL copy_rect(cl_command_queue queue, cl_mem source, cl_mem target, const std::size_t* source_origin,
                             const std::size_t* target_origin, const std::size_t* region, std::size_t source_row,
                             std::size_t source_slice, std::size_t target_row, std::size_t target_slice, cl_uint count,
                             const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_buffer(queue, source);
    check_buffer(queue, target);
    check(source_origin && target_origin, CL_INVALID_VALUE);
    check_region(region);
    const Box from(source_origin, region, source_row, source_slice), to(target_origin, region, target_row, target_slice);
    check(from.end(region) <= source->size && to.end(region) <= target->size, CL_INVALID_VALUE);
    check(source != target || !boxes_overlap(from, to, region), CL_MEM_COPY_OVERLAP);
    const std::size_t a = source->origin + from.begin(), b = target->origin + to.begin();
    const CopyRect record{source->handle, target->handle,
                          a % from.slice % from.row, a % from.slice / from.row, a / from.slice,
                          b % to.slice % to.row, b % to.slice / to.row, b / to.slice,
                          region[0], region[1], region[2], from.row, from.slice, to.row, to.slice};
    enqueue({queue, CL_COMMAND_COPY_BUFFER_RECT, count, waits, out}, {source, target},
            [record](Session& session) { return session.put(record); });
  })
}

// The session's device is where everything is.
cl_int CL_API_CALL migrate(cl_command_queue queue, cl_uint memory_count, const cl_mem* memory,
                           cl_mem_migration_flags flags, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check(valid(queue), CL_INVALID_COMMAND_QUEUE);
    check(memory_count && memory, CL_INVALID_VALUE);
    check(!(flags & ~cl_mem_migration_flags{CL_MIGRATE_MEM_OBJECT_HOST | CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED}), CL_INVALID_VALUE);
    for (cl_uint i = 0; i < memory_count; ++i) {
      check(valid(memory[i]), CL_INVALID_MEM_OBJECT);
      check(memory[i]->context.get() == queue->context.get(), CL_INVALID_CONTEXT);
    }
    Order order{queue, CL_COMMAND_MIGRATE_MEM_OBJECTS, count, waits, out};
    order.has_record = false;
    enqueue(order, {}, [](Session& session) { return session.sent(); });
  })
}

}  // namespace

void enter_transfer(cl_icd_dispatch& table) {
  table.clEnqueueReadBuffer = read;
  table.clEnqueueWriteBuffer = write;
  table.clEnqueueCopyBuffer = copy;
  table.clEnqueueFillBuffer = fill;
  table.clEnqueueReadBufferRect = read_rect;
  table.clEnqueueWriteBufferRect = write_rect;
  table.clEnqueueCopyBufferRect = copy_rect;
  table.clEnqueueMigrateMemObjects = migrate;
}

}  // namespace haltere
