// Commands on rectangles and images: every region is checked here, for not every driver looks.
#include "commands.hpp"

namespace haltere {
namespace {

constexpr u64 kBulk = 256 << 10;

struct Box {
  std::size_t at[3];
  std::size_t size[3];
  u64 row = 0, slice = 0;
};

// The end of the bytes that a rectangle in a buffer covers; pitches that are 0 are derived.
Box rectangle(const Memory& memory, u64 x, u64 y, u64 z, u64 width, u64 height, u64 depth, u64 row, u64 slice,
              const char* what) {
  if (width == 0 || height == 0 || depth == 0) throw usage(CL_INVALID_VALUE, text("%s: an empty region", what));
  if (row == 0) row = width;
  if (slice == 0) slice = times(row, height);
  if (row < width || slice < times(row, height) || slice % row)
    throw usage(CL_INVALID_VALUE, text("%s: rows of %llu and slices of %llu bytes do not hold the region", what,
                                       llu(row), llu(slice)));
  u64 end = plus(plus(times(plus(z, depth - 1), slice), times(plus(y, height - 1), row)), plus(x, width));
  if (end > memory.nbytes)
    throw usage(CL_INVALID_VALUE, text("%s: the region ends at byte %llu of a buffer that holds %llu", what,
                                       llu(end), llu(memory.nbytes)));
  return {{x, y, z}, {width, height, depth}, row, slice};
}

Box of_image(const Memory& image, u64 x, u64 y, u64 z, u64 width, u64 height, u64 depth, const char* what) {
  const Region all = whole(image.made);
  if (width == 0 || height == 0 || depth == 0 || !within(x, width, all.size[0]) || !within(y, height, all.size[1]) ||
      !within(z, depth, all.size[2]))
    throw usage(CL_INVALID_VALUE, text("%s: the region lies outside an image of %zu x %zu x %zu", what, all.size[0],
                                       all.size[1], all.size[2]));
  return {{x, y, z}, {width, height, depth}};
}

u64 bytes_of(const Memory& image, const Box& box) {
  return times(times(times(box.size[0], box.size[1]), box.size[2]), image.pixel);
}

void check_size(u64 stated, u64 needed, const char* what) {
  if (stated != needed)
    throw usage(CL_INVALID_VALUE, text("%s: %llu bytes for a region of %llu", what, llu(stated), llu(needed)));
}

}  // namespace

bool Commands::run(const CopyRect& asked) {
  Memory &from = tenant.objects.buffer(asked.source, false), &to = tenant.objects.buffer(asked.target);
  const Box source = rectangle(from, asked.source_x, asked.source_y, asked.source_z, asked.width, asked.height,
                               asked.depth, asked.source_row, asked.source_slice, "copy from");
  const Box target = rectangle(to, asked.target_x, asked.target_y, asked.target_z, asked.width, asked.height,
                               asked.depth, asked.target_row, asked.target_slice, "copy to");
  return done(cl().clEnqueueCopyBufferRect(queue(), from.mem, to.mem, source.at, target.at, source.size, source.row,
                                           source.slice, target.row, target.slice, 0, nullptr, event()),
              "copy of a rectangle");
}

bool Commands::run(const WriteRect& asked) {
  Memory& to = tenant.objects.buffer(asked.buffer);
  const Box box = rectangle(to, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, asked.row,
                            asked.slice, "write");
  const std::uint8_t* data = this->source(asked.arena, times(times(asked.width, asked.height), asked.depth));
  const std::size_t zero[3] = {};
  return done(cl().clEnqueueWriteBufferRect(queue(), to.mem, CL_FALSE, box.at, zero, box.size, box.row, box.slice,
                                            asked.width, asked.width * asked.height, data, 0, nullptr, event()),
              "write of a rectangle");
}

bool Commands::run(const ReadRect& asked) {
  Memory& from = tenant.objects.buffer(asked.buffer, false);
  const Box box = rectangle(from, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, asked.row,
                            asked.slice, "read");
  const u64 nbytes = times(times(asked.width, asked.height), asked.depth);
  std::uint8_t* into = tenant.arena(asked.arena, nbytes);
  tenant.bulk_ = nbytes >= kBulk;
  const std::size_t zero[3] = {};
  return done(cl().clEnqueueReadBufferRect(queue(), from.mem, CL_FALSE, box.at, zero, box.size, box.row, box.slice,
                                           asked.width, asked.width * asked.height, into, 0, nullptr, event()),
              "read of a rectangle");
}

bool Commands::run(const WriteImage& asked) {
  Memory& to = tenant.objects.image(asked.image);
  const Box box = of_image(to, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, "write");
  check_size(asked.nbytes, bytes_of(to, box), "write");
  const std::uint8_t* data = this->source(asked.arena, asked.nbytes);
  return done(cl().clEnqueueWriteImage(queue(), to.mem, CL_FALSE, box.at, box.size, 0, 0, data, 0, nullptr, event()),
              "write of an image");
}

bool Commands::run(const ReadImage& asked) {
  Memory& from = tenant.objects.image(asked.image, false);
  const Box box = of_image(from, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, "read");
  check_size(asked.nbytes, bytes_of(from, box), "read");
  std::uint8_t* into = tenant.arena(asked.arena, asked.nbytes);
  tenant.bulk_ = asked.nbytes >= kBulk;
  return done(cl().clEnqueueReadImage(queue(), from.mem, CL_FALSE, box.at, box.size, 0, 0, into, 0, nullptr, event()),
              "read of an image");
}

bool Commands::run(const CopyImage& asked) {
  Memory &from = tenant.objects.image(asked.source, false), &to = tenant.objects.image(asked.target);
  const Box source = of_image(from, asked.source_x, asked.source_y, asked.source_z, asked.width, asked.height,
                              asked.depth, "copy from");
  const Box target = of_image(to, asked.target_x, asked.target_y, asked.target_z, asked.width, asked.height,
                              asked.depth, "copy to");
  return done(cl().clEnqueueCopyImage(queue(), from.mem, to.mem, source.at, target.at, source.size, 0, nullptr,
                                      event()),
              "copy of an image");
}

bool Commands::run(const CopyImageToBuffer& asked) {
  Memory& from = tenant.objects.image(asked.image, false);
  const Box box = of_image(from, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, "copy from");
  Memory& to = range(asked.buffer, asked.offset, bytes_of(from, box), "copy to");
  return done(cl().clEnqueueCopyImageToBuffer(queue(), from.mem, to.mem, box.at, box.size, asked.offset, 0, nullptr,
                                              event()),
              "copy of an image to a buffer");
}

bool Commands::run(const CopyBufferToImage& asked) {
  Memory& to = tenant.objects.image(asked.image);
  const Box box = of_image(to, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, "copy to");
  Memory& from = range(asked.buffer, asked.offset, bytes_of(to, box), "copy from", false);
  return done(cl().clEnqueueCopyBufferToImage(queue(), from.mem, to.mem, asked.offset, box.at, box.size, 0, nullptr,
                                              event()),
              "copy of a buffer to an image");
}

bool Commands::run(const FillImage& asked) {
  Memory& to = tenant.objects.image(asked.image);
  const Box box = of_image(to, asked.x, asked.y, asked.z, asked.width, asked.height, asked.depth, "fill");
  check_size(asked.color.size, 16, "fill");
  alignas(16) std::uint8_t color[16];
  std::copy(asked.color.data, asked.color.data + 16, color);
  return done(cl().clEnqueueFillImage(queue(), to.mem, color, box.at, box.size, 0, nullptr, event()),
              "fill of an image");
}

}  // namespace haltere
