// Reading, writing, copying and filling images.
#include "entries.hpp"
#include "image.hpp"
#include "order.hpp"

namespace haltere {
namespace {

struct Corner {
  std::size_t at[3];
  explicit Corner(const std::size_t* given) : at{given[0], given[1], given[2]} {}
};

cl_int CL_API_CALL read(cl_command_queue queue, cl_mem image, cl_bool blocking, const std::size_t* origin,
                        const std::size_t* region, std::size_t row, std::size_t slice, void* into, cl_uint count,
                        const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_image(queue, image);
    check(into, CL_INVALID_VALUE);
    check_box(image, origin, region);
    check_host_reads(image);
    const Spread host = image_spread(image, region, row, slice, into);
    enqueue({queue, CL_COMMAND_READ_IMAGE, count, waits, out, blocking != CL_FALSE}, {image},
            [handle = image->handle, pixel = image->pixel_bytes, corner = Corner(origin), host](Session& session) {
              return read_pixels(session, handle, pixel, corner.at, host);
            });
  })
}

cl_int CL_API_CALL write(cl_command_queue queue, cl_mem image, cl_bool blocking, const std::size_t* origin,
                         const std::size_t* region, std::size_t row, std::size_t slice, const void* data, cl_uint count,
                         const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_image(queue, image);
    check(data, CL_INVALID_VALUE);
    check_box(image, origin, region);
    check_host_writes(image);
    const Spread host = image_spread(image, region, row, slice, const_cast<void*>(data));
    enqueue({queue, CL_COMMAND_WRITE_IMAGE, count, waits, out, blocking != CL_FALSE}, {image},
            [handle = image->handle, pixel = image->pixel_bytes, corner = Corner(origin), host](Session& session) {
              return write_pixels(session, handle, pixel, corner.at, host);
            });
  })
}

cl_int CL_API_CALL copy(cl_command_queue queue, cl_mem source, cl_mem target, const std::size_t* from,
                        const std::size_t* to, const std::size_t* region, cl_uint count, const cl_event* waits,
                        cl_event* out) {
  HALTERE_CODE({
    check_image(queue, source);
    check_image(queue, target);
    check(source->format.image_channel_order == target->format.image_channel_order &&
              source->format.image_channel_data_type == target->format.image_channel_data_type,
          CL_IMAGE_FORMAT_MISMATCH);
    check_box(source, from, region);
    check_box(target, to, region);
    if (source == target) {
      bool apart = false;
      for (int i = 0; i < 3; ++i) apart |= from[i] + region[i] <= to[i] || to[i] + region[i] <= from[i];
      check(apart, CL_MEM_COPY_OVERLAP);
    }
    const CopyImage record{source->handle, target->handle, from[0], from[1], from[2], to[0], to[1], to[2],
                           region[0], region[1], region[2]};
    enqueue({queue, CL_COMMAND_COPY_IMAGE, count, waits, out}, {source, target},
            [record](Session& session) { return session.put(record); });
  })
}

cl_int CL_API_CALL to_buffer(cl_command_queue queue, cl_mem image, cl_mem buffer, const std::size_t* origin,
                             const std::size_t* region, std::size_t offset, cl_uint count, const cl_event* waits,
                             cl_event* out) {
  HALTERE_CODE({
    check_image(queue, image);
    check_buffer(queue, buffer);
    check_box(image, origin, region);
    check_range(buffer, offset, region[0] * region[1] * region[2] * image->pixel_bytes);
    const CopyImageToBuffer record{image->handle, buffer->handle, origin[0], origin[1], origin[2],
                                   region[0], region[1], region[2], buffer->origin + offset};
    enqueue({queue, CL_COMMAND_COPY_IMAGE_TO_BUFFER, count, waits, out}, {image, buffer},
            [record](Session& session) { return session.put(record); });
  })
}

cl_int CL_API_CALL from_buffer(cl_command_queue queue, cl_mem buffer, cl_mem image, std::size_t offset,
                               const std::size_t* origin, const std::size_t* region, cl_uint count,
                               const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_image(queue, image);
    check_buffer(queue, buffer);
    check_box(image, origin, region);
    check_range(buffer, offset, region[0] * region[1] * region[2] * image->pixel_bytes);
    const CopyBufferToImage record{buffer->handle, image->handle, buffer->origin + offset, origin[0], origin[1],
                                   origin[2], region[0], region[1], region[2]};
    enqueue({queue, CL_COMMAND_COPY_BUFFER_TO_IMAGE, count, waits, out}, {image, buffer},
            [record](Session& session) { return session.put(record); });
  })
}

cl_int CL_API_CALL fill(cl_command_queue queue, cl_mem image, const void* color, const std::size_t* origin,
                        const std::size_t* region, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    check_image(queue, image);
    check(color, CL_INVALID_VALUE);
    check_box(image, origin, region);
    const std::size_t nbytes = image->format.image_channel_order == CL_DEPTH ? 4 : 16;
    std::string bytes(static_cast<const char*>(color), nbytes);
    bytes.resize(16);
    enqueue({queue, CL_COMMAND_FILL_IMAGE, count, waits, out}, {image},
            [handle = image->handle, from = Corner(origin), size = Corner(region), bytes](Session& session) {
              return session.put(FillImage{handle, from.at[0], from.at[1], from.at[2], size.at[0], size.at[1],
                                           size.at[2], Bytes(bytes)});
            });
  })
}

}  // namespace

void enter_image_transfer(cl_icd_dispatch& table) {
  table.clEnqueueReadImage = read;
  table.clEnqueueWriteImage = write;
  table.clEnqueueCopyImage = copy;
  table.clEnqueueCopyImageToBuffer = to_buffer;
  table.clEnqueueCopyBufferToImage = from_buffer;
  table.clEnqueueFillImage = fill;
}

}  // namespace haltere
