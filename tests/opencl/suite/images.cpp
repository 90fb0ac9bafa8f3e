// Images of every kind: made, written, read, copied, filled, mapped; see sampling.cpp for kernels.
#include "suite.hpp"

using namespace suite;

namespace {

const cl_image_format kRgba8 = {CL_RGBA, CL_UNORM_INT8};

struct Shape {
  const char* name;
  cl_mem_object_type type;
  std::size_t width, height, depth, layers;
  std::size_t pixels() const { return width * (height ? height : 1) * (depth ? depth : 1) * (layers ? layers : 1); }
  // Region and origin as transfers take them: an array's layer is its last coordinate.
  void whole(std::size_t (&region)[3]) const {
    region[0] = width;
    region[1] = type == CL_MEM_OBJECT_IMAGE1D_ARRAY ? layers : height ? height : 1;
    region[2] = type == CL_MEM_OBJECT_IMAGE2D_ARRAY ? layers : depth ? depth : 1;
  }
  cl_image_desc description() const {
    cl_image_desc made{};
    made.image_type = type;
    made.image_width = width;
    made.image_height = height;
    made.image_depth = depth;
    made.image_array_size = layers;
    return made;
  }
};

const Shape kShapes[] = {{"1D", CL_MEM_OBJECT_IMAGE1D, 37, 0, 0, 0},
                         {"2D", CL_MEM_OBJECT_IMAGE2D, 17, 13, 0, 0},
                         {"3D", CL_MEM_OBJECT_IMAGE3D, 7, 5, 4, 0},
                         {"1D array", CL_MEM_OBJECT_IMAGE1D_ARRAY, 19, 0, 0, 5},
                         {"2D array", CL_MEM_OBJECT_IMAGE2D_ARRAY, 9, 6, 0, 3}};

cl_mem image(const Host& host, const Shape& shape, const cl_image_format& format, void* data = nullptr,
             cl_mem_flags flags = CL_MEM_READ_WRITE) {
  const cl_image_desc made = shape.description();
  return MADE(clCreateImage(host.context, flags | (data ? CL_MEM_COPY_HOST_PTR : 0), &format, &made, data, &error));
}

Bytes pixels(const Host& host, cl_mem image, const Shape& shape, std::size_t pixel_size = 4) {
  std::size_t origin[3] = {}, region[3];
  shape.whole(region);
  Bytes found(shape.pixels() * pixel_size);
  OK(clEnqueueReadImage(host.queue, image, CL_TRUE, origin, region, 0, 0, found.data(), 0, nullptr, nullptr));
  return found;
}

}  // namespace

CASE(formats_are_those_of_the_device) {
  Host host;
  for (const Shape& shape : kShapes)
    for (cl_mem_flags flags : {CL_MEM_READ_WRITE, CL_MEM_READ_ONLY, CL_MEM_WRITE_ONLY, CL_MEM_KERNEL_READ_AND_WRITE}) {
      cl_uint count = 0;
      OK(clGetSupportedImageFormats(host.context, flags, shape.type, 0, nullptr, &count));
      std::vector<cl_image_format> formats(count);
      if (count) OK(clGetSupportedImageFormats(host.context, flags, shape.type, count, formats.data(), nullptr));
      std::printf("%s, %u: %u formats %016llx\n", shape.name, static_cast<unsigned>(flags), count,
                  static_cast<unsigned long long>(digest(formats.data(), count * sizeof formats[0])));
    }
  cl_uint count = 0;
  TELL(clGetSupportedImageFormats(nullptr, CL_MEM_READ_WRITE, CL_MEM_OBJECT_IMAGE2D, 0, nullptr, &count));
  TELL(clGetSupportedImageFormats(host.context, CL_MEM_READ_WRITE, 0x9999, 0, nullptr, &count));
}

CASE(images_of_every_kind_hold_their_pixels) {
  Host host;
  for (const Shape& shape : kShapes) {
    std::printf("%s\n", shape.name);
    auto data = counting(shape.pixels() * 4);
    cl_mem made = image(host, shape, kRgba8, data.data());
    HOLDS(pixels(host, made, shape) == data);
    std::size_t origin[3] = {1, 1, 1}, region[3];
    shape.whole(region);
    for (int axis = 0; axis < 3; ++axis) region[axis] > 1 ? --region[axis] : (origin[axis] = 0);
    const std::size_t row = 4 * region[0] + 8, slice = row * (region[1] + 1);
    auto sent = counting<std::uint8_t>(slice * region[2] + row, 128);
    const bool sliced = region[2] > 1 || shape.type == CL_MEM_OBJECT_IMAGE3D || shape.type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
    OK(clEnqueueWriteImage(host.queue, made, CL_FALSE, origin, region, row, sliced ? slice : 0, sent.data(), 0, nullptr, nullptr));
    show("written", pixels(host, made, shape));
    Bytes back(sent.size(), 0xCC);
    OK(clEnqueueReadImage(host.queue, made, CL_FALSE, origin, region, row, sliced ? slice : 0, back.data(), 0, nullptr, nullptr));
    OK(clFinish(host.queue));
    show("read with pitches", back);
    OK(clReleaseMemObject(made));
  }
}

CASE(images_answer_all_queries) {
  Host host;
  for (const Shape& shape : kShapes) {
    std::printf("%s\n", shape.name);
    cl_mem made = image(host, shape, kRgba8);
    for (auto [number, name] : {std::pair{CL_IMAGE_FORMAT, "format"}, {CL_IMAGE_ELEMENT_SIZE, "element"},
                                {CL_IMAGE_ROW_PITCH, "row"}, {CL_IMAGE_SLICE_PITCH, "slice"},
                                {CL_IMAGE_WIDTH, "width"}, {CL_IMAGE_HEIGHT, "height"},
                                {CL_IMAGE_DEPTH, "depth"}, {CL_IMAGE_ARRAY_SIZE, "layers"},
                                {CL_IMAGE_BUFFER, "buffer"}, {CL_IMAGE_NUM_MIP_LEVELS, "levels"},
                                {CL_IMAGE_NUM_SAMPLES, "samples"}})
      show_bytes(name, queried(name, [&, number = number](auto... rest) {
                   return clGetImageInfo(made, number, rest...);
                 }));
    for (auto [number, name] : {std::pair{CL_MEM_TYPE, "type"}, {CL_MEM_FLAGS, "flags"}, {CL_MEM_SIZE, "size"},
                                {CL_MEM_OFFSET, "offset"}, {CL_MEM_ASSOCIATED_MEMOBJECT, "parent"}})
      show_bytes(name, queried(name, [&, number = number](auto... rest) {
                   return clGetMemObjectInfo(made, number, rest...);
                 }));
    TELL(clGetImageInfo(made, 0x9999, 0, nullptr, nullptr));
    OK(clReleaseMemObject(made));
  }
  cl_mem buffer = host.buffer(64);
  MAY_REFUSE(CL_INVALID_MEM_OBJECT, clGetImageInfo(buffer, CL_IMAGE_WIDTH, 0, nullptr, nullptr));
  OK(clReleaseMemObject(buffer));
}

CASE(images_are_filled_in_the_numbers_of_their_format) {
  Host host;
  const float real[4] = {0.25f, 0.5f, 0.75f, 1.0f};
  const cl_int whole[4] = {-5, 6, -7, 8};
  const cl_uint natural[4] = {5, 60000, 7, 80};
  struct { cl_image_format format; const void* color; std::size_t size; } fills[] = {
      {{CL_RGBA, CL_UNORM_INT8}, real, 4},   {{CL_RGBA, CL_SIGNED_INT8}, whole, 4},
      {{CL_RGBA, CL_UNSIGNED_INT16}, natural, 8}, {{CL_RGBA, CL_FLOAT}, real, 16},
      {{CL_R, CL_FLOAT}, real, 4},           {{CL_R, CL_UNSIGNED_INT32}, natural, 4},
      {{CL_RGBA, CL_SIGNED_INT16}, whole, 8}};
  for (const Shape& shape : kShapes)
    for (const auto& [format, color, size] : fills) {
      cl_mem made = image(host, shape, format);
      std::size_t origin[3] = {}, region[3];
      shape.whole(region);
      const float none[4] = {};
      OK(clEnqueueFillImage(host.queue, made, none, origin, region, 0, nullptr, nullptr));
      origin[0] = 2, region[0] = 3;
      OK(clEnqueueFillImage(host.queue, made, color, origin, region, 0, nullptr, nullptr));
      std::printf("%s %x %x ", shape.name, format.image_channel_order, format.image_channel_data_type);
      show("filled", pixels(host, made, shape, size));
      OK(clReleaseMemObject(made));
    }
}

CASE(images_and_buffers_are_copied_to_each_other) {
  Host host;
  for (const Shape& shape : kShapes) {
    std::printf("%s\n", shape.name);
    auto data = counting<std::uint8_t>(shape.pixels() * 4, 1);
    cl_mem first = image(host, shape, kRgba8, data.data()), second = image(host, shape, kRgba8);
    cl_mem buffer = host.filled(Bytes(shape.pixels() * 4 + 64, 0xCC));
    std::size_t zero[3] = {}, at[3] = {2, 0, 0}, region[3];
    shape.whole(region);
    const float none[4] = {};
    OK(clEnqueueFillImage(host.queue, second, none, zero, region, 0, nullptr, nullptr));
    region[0] -= 3;
    OK(clEnqueueCopyImage(host.queue, first, second, zero, at, region, 0, nullptr, nullptr));
    show("image to image", pixels(host, second, shape));
    OK(clEnqueueCopyImageToBuffer(host.queue, first, buffer, at, region, 16, 0, nullptr, nullptr));
    show("image to buffer", host.read(buffer, shape.pixels() * 4 + 64));
    OK(clEnqueueCopyBufferToImage(host.queue, buffer, second, 4, zero, region, 0, nullptr, nullptr));
    show("buffer to image", pixels(host, second, shape));
    for (cl_mem object : {first, second, buffer}) OK(clReleaseMemObject(object));
  }
}

CASE(images_are_mapped_with_their_pitches) {
  Host host;
  for (const Shape& shape : kShapes) {
    std::printf("%s\n", shape.name);
    auto data = counting<std::uint8_t>(shape.pixels() * 4, 3);
    cl_mem made = image(host, shape, kRgba8, data.data());
    std::size_t origin[3] = {1, 0, 0}, region[3], row = 0, slice = 0;
    shape.whole(region);
    region[0] -= 2;
    auto* at = static_cast<std::uint8_t*>(MADE(clEnqueueMapImage(
        host.queue, made, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, origin, region, &row, &slice, 0, nullptr, nullptr, &error)));
    std::printf("~ row %zu slice %zu\n", row, slice);
    HOLDS(row >= 4 * region[0] || region[1] * region[2] == 1);
    // The step from one layer of a 1D array to the next is the slice pitch.
    const std::size_t y_step = shape.type == CL_MEM_OBJECT_IMAGE1D_ARRAY ? slice : row;
    for (std::size_t z = 0; z < region[2]; ++z)
      for (std::size_t y = 0; y < region[1]; ++y) {
        auto* line = at + z * slice + y * y_step;
        show("line", Bytes(line, line + 4 * region[0]));
        line[1] = 0xAB;
      }
    OK(clEnqueueUnmapMemObject(host.queue, made, at, 0, nullptr, nullptr));
    show("after", pixels(host, made, shape));
    OK(clReleaseMemObject(made));
  }
}

CASE(images_lie_over_buffers_and_over_the_programs_memory) {
  Host host;
  cl_mem buffer = host.filled(counting(4096));
  cl_image_desc line{};
  line.image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER;
  line.image_width = 100;
  line.buffer = buffer;
  cl_mem over = MADE(clCreateImage(host.context, CL_MEM_READ_WRITE, &kRgba8, &line, nullptr, &error));
  cl_mem parent = nullptr;
  OK(clGetMemObjectInfo(over, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof parent, &parent, nullptr));
  HOLDS(parent == buffer);
  std::size_t origin[3] = {10, 0, 0}, region[3] = {20, 1, 1};
  const float red[4] = {1, 0, 0, 0};
  OK(clEnqueueFillImage(host.queue, over, red, origin, region, 0, nullptr, nullptr));
  show("buffer", host.read(buffer, 4096));
  Bytes found(80);
  OK(clEnqueueReadImage(host.queue, over, CL_TRUE, origin, region, 0, 0, found.data(), 0, nullptr, nullptr));
  show("image", found);
  for (cl_mem object : {over, buffer}) OK(clReleaseMemObject(object));

  auto data = counting(17 * 13 * 4);
  const cl_image_desc flat = kShapes[1].description();
  cl_mem own = MADE(clCreateImage(host.context, CL_MEM_USE_HOST_PTR, &kRgba8, &flat, data.data(), &error));
  const std::size_t zero[3] = {}, some[3] = {4, 4, 1};
  OK(clEnqueueFillImage(host.queue, own, red, zero, some, 0, nullptr, nullptr));
  std::size_t row = 0;
  auto* at = static_cast<std::uint8_t*>(MADE(clEnqueueMapImage(host.queue, own, CL_TRUE, CL_MAP_READ, zero, some, &row, nullptr, 0, nullptr, nullptr, &error)));
  HOLDS(at == data.data() && row == 17 * 4);
  OK(clEnqueueUnmapMemObject(host.queue, own, at, 0, nullptr, nullptr));
  show("own", pixels(host, own, kShapes[1]));
  OK(clReleaseMemObject(own));

  auto padded = counting(80 * 13);  // rows that are longer than the image is wide
  cl_image_desc pitched = flat;
  pitched.image_row_pitch = 80;
  cl_mem copied = MADE(clCreateImage(host.context, CL_MEM_COPY_HOST_PTR, &kRgba8, &pitched, padded.data(), &error));
  show("from padded rows", pixels(host, copied, kShapes[1]));
  OK(clReleaseMemObject(copied));
  cl_mem old = MADE(clCreateImage2D(host.context, CL_MEM_COPY_HOST_PTR, &kRgba8, 17, 13, 80, padded.data(), &error));
  show("as in OpenCL 1.1", pixels(host, old, kShapes[1]));
  OK(clReleaseMemObject(old));
}

CASE(images_that_make_no_sense_are_refused) {
  Host host;
  cl_image_desc flat = kShapes[1].description();
  const cl_image_format bad = {0x1111, CL_UNORM_INT8}, odd = {CL_RGB, CL_UNORM_INT8};
  TELL_MADE(clCreateImage(nullptr, 0, &kRgba8, &flat, nullptr, &error));
  TELL_MADE(clCreateImage(host.context, 0, nullptr, &flat, nullptr, &error));
  TELL_MADE(clCreateImage(host.context, 0, &kRgba8, nullptr, nullptr, &error));
  REFUSED_MADE(clCreateImage(host.context, 0, &bad, &flat, nullptr, &error));
  REFUSED_MADE(clCreateImage(host.context, 0, &odd, &flat, nullptr, &error));
  TELL_MADE(clCreateImage(host.context, CL_MEM_COPY_HOST_PTR, &kRgba8, &flat, nullptr, &error));
  TELL_MADE(clCreateImage(host.context, 0, &kRgba8, &flat, &host, &error));
  flat.image_width = 0;
  REFUSED_MADE(clCreateImage(host.context, 0, &kRgba8, &flat, nullptr, &error));
  flat.image_width = 1 << 20;
  REFUSED_MADE(clCreateImage(host.context, 0, &kRgba8, &flat, nullptr, &error));

  cl_mem made = image(host, kShapes[1], kRgba8), buffer = host.buffer(64);
  Bytes data(4096);
  const std::size_t zero[3] = {}, all[3] = {17, 13, 1}, wide[3] = {18, 13, 1}, empty[3] = {0, 1, 1}, deep[3] = {1, 1, 2};
  TELL(clEnqueueReadImage(host.queue, made, CL_TRUE, zero, wide, 0, 0, data.data(), 0, nullptr, nullptr));
  MAY_REFUSE(CL_INVALID_VALUE, clEnqueueReadImage(host.queue, made, CL_TRUE, zero, empty, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadImage(host.queue, made, CL_TRUE, zero, deep, 0, 0, data.data(), 0, nullptr, nullptr));
  MAY_REFUSE(CL_INVALID_VALUE, clEnqueueReadImage(host.queue, made, CL_TRUE, zero, all, 67, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadImage(host.queue, made, CL_TRUE, zero, all, 0, 0, nullptr, 0, nullptr, nullptr));
  TELL(clEnqueueReadImage(host.queue, buffer, CL_TRUE, zero, all, 0, 0, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueReadImage(host.queue, nullptr, CL_TRUE, zero, all, 0, 0, data.data(), 0, nullptr, nullptr));
  MAY_REFUSE(CL_INVALID_MEM_OBJECT, clEnqueueReadBuffer(host.queue, made, CL_TRUE, 0, 4, data.data(), 0, nullptr, nullptr));
  TELL(clEnqueueCopyImageToBuffer(host.queue, made, buffer, zero, all, 0, 0, nullptr, nullptr));
  TELL(clEnqueueCopyImage(host.queue, made, made, zero, zero, all, 0, nullptr, nullptr));
  cl_mem other = image(host, kShapes[1], {CL_R, CL_FLOAT});
  TELL(clEnqueueCopyImage(host.queue, made, other, zero, zero, all, 0, nullptr, nullptr));
  for (cl_mem object : {made, other, buffer}) OK(clReleaseMemObject(object));
}
