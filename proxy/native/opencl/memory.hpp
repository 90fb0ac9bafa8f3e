// What the files about buffers and images share.
#pragma once

#include "objects.hpp"

namespace haltere {

// Access and host pointer flags, checked and with their default. Throws Failure.
cl_mem_flags checked_flags(cl_mem_flags flags, const void* host_ptr);

// A buffer (not an image) of the queue's context. Throws Failure.
inline void check_buffer(cl_command_queue queue, cl_mem buffer) {
  check(valid(queue), CL_INVALID_COMMAND_QUEUE);
  check(valid(buffer) && !buffer->is_image(), CL_INVALID_MEM_OBJECT);
  check(buffer->context.get() == queue->context.get(), CL_INVALID_CONTEXT);
}
inline void check_image(cl_command_queue queue, cl_mem image) {
  check(valid(queue), CL_INVALID_COMMAND_QUEUE);
  check(valid(image) && image->is_image(), CL_INVALID_MEM_OBJECT);
  check(image->context.get() == queue->context.get(), CL_INVALID_CONTEXT);
}
inline void check_range(cl_mem buffer, std::size_t offset, std::size_t nbytes) {
  check(nbytes && offset <= buffer->size && nbytes <= buffer->size - offset, CL_INVALID_VALUE);
}
inline void check_host_reads(cl_mem memory) {
  check(!(memory->flags & (CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS)), CL_INVALID_OPERATION);
}
inline void check_host_writes(cl_mem memory) {
  check(!(memory->flags & (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS)), CL_INVALID_OPERATION);
}

// A box of bytes (or, for images, of pixels) in pieces whose packed data fits `limit_bytes`:
// then(x, y, z, width, height, depth). `unit_bytes`: of one step in x.
template <class Then>
Number for_pieces(std::size_t width, std::size_t height, std::size_t depth, std::size_t unit_bytes,
                  std::size_t limit_bytes, Then&& then) {
  const std::size_t columns = std::min(width, limit_bytes / unit_bytes);
  const std::size_t rows = columns < width ? 1 : std::min(height, limit_bytes / (width * unit_bytes));
  const std::size_t slices = rows < height ? 1 : std::min(depth, limit_bytes / (width * height * unit_bytes));
  Number last = 0;
  for (std::size_t z = 0; z < depth; z += slices)
    for (std::size_t y = 0; y < height; y += rows)
      for (std::size_t x = 0; x < width; x += columns)
        last = then(x, y, z, std::min(columns, width - x), std::min(rows, height - y), std::min(slices, depth - z));
  return last;
}

}  // namespace haltere
