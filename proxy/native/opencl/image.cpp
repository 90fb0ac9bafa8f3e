// Images: creating and describing them. What formats there are is the device's business.
#include "image.hpp"

#include "answer.hpp"
#include "entries.hpp"
#include "order.hpp"
#include "types.hpp"

namespace haltere {
namespace {

constexpr std::uint64_t kFormatScope = 2;  // in opencl.records: query = image type, data = cl_image_format[]

bool image_support(cl_context context) {
  return context->devices.front()->number<cl_bool>(CL_DEVICE_IMAGE_SUPPORT, CL_FALSE);
}

std::size_t channels(cl_channel_order order) {
  switch (order) {
    case CL_R: case CL_A: case CL_INTENSITY: case CL_LUMINANCE: case CL_DEPTH: return 1;
    case CL_RG: case CL_RA: case CL_Rx: return 2;
    case CL_RGB: case CL_RGx: case CL_sRGB: return 3;
    case CL_RGBA: case CL_BGRA: case CL_ARGB: case CL_ABGR: case CL_RGBx: case CL_sRGBA: case CL_sBGRA: case CL_sRGBx: return 4;
    default: return 0;
  }
}

// Formats that OpenCL requires of devices with images; used where the server's device was not asked.
const std::vector<cl_image_format>& required_formats() {
  static const std::vector<cl_image_format> formats = [] {
    std::vector<cl_image_format> made;
    for (cl_channel_type type : {CL_UNORM_INT8, CL_UNORM_INT16, CL_SIGNED_INT8, CL_SIGNED_INT16, CL_SIGNED_INT32,
                                 CL_UNSIGNED_INT8, CL_UNSIGNED_INT16, CL_UNSIGNED_INT32, CL_HALF_FLOAT, CL_FLOAT})
      made.push_back({CL_RGBA, type});
    made.push_back({CL_BGRA, CL_UNORM_INT8});
    return made;
  }();
  return formats;
}

std::vector<cl_image_format> formats_of(cl_context context, cl_mem_object_type type) {
  const auto& values = context->devices.front()->values;
  const auto found = values.find({kFormatScope, type});
  if (found == values.end()) return required_formats();
  std::vector<cl_image_format> formats(found->second.size() / sizeof(cl_image_format));
  std::memcpy(formats.data(), found->second.data(), formats.size() * sizeof(cl_image_format));
  return formats;
}

struct Extent {
  std::size_t width, height, depth, layers;
};

Extent extent_of(const cl_image_desc& desc) {
  switch (desc.image_type) {
    case CL_MEM_OBJECT_IMAGE1D:
    case CL_MEM_OBJECT_IMAGE1D_BUFFER: return {desc.image_width, 1, 1, 1};
    case CL_MEM_OBJECT_IMAGE1D_ARRAY: return {desc.image_width, 1, 1, desc.image_array_size};
    case CL_MEM_OBJECT_IMAGE2D: return {desc.image_width, desc.image_height, 1, 1};
    case CL_MEM_OBJECT_IMAGE2D_ARRAY: return {desc.image_width, desc.image_height, 1, desc.image_array_size};
    case CL_MEM_OBJECT_IMAGE3D: return {desc.image_width, desc.image_height, desc.image_depth, 1};
    default: throw Failure(CL_INVALID_IMAGE_DESCRIPTOR);
  }
}

void check_limits(cl_context context, const cl_image_desc& desc, const Extent& extent) {
  check(extent.width && extent.height && extent.depth && extent.layers, CL_INVALID_IMAGE_SIZE);
  const cl_device_id device = context->devices.front();
  const auto limit = [device](cl_device_info query) { return device->number<std::size_t>(query, SIZE_MAX); };
  if (desc.image_type == CL_MEM_OBJECT_IMAGE3D)
    check(extent.width <= limit(CL_DEVICE_IMAGE3D_MAX_WIDTH) && extent.height <= limit(CL_DEVICE_IMAGE3D_MAX_HEIGHT) &&
              extent.depth <= limit(CL_DEVICE_IMAGE3D_MAX_DEPTH),
          CL_INVALID_IMAGE_SIZE);
  else if (desc.image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER)
    check(extent.width <= limit(CL_DEVICE_IMAGE_MAX_BUFFER_SIZE), CL_INVALID_IMAGE_SIZE);
  else
    check(extent.width <= limit(CL_DEVICE_IMAGE2D_MAX_WIDTH) && extent.height <= limit(CL_DEVICE_IMAGE2D_MAX_HEIGHT) &&
              extent.layers <= limit(CL_DEVICE_IMAGE_MAX_ARRAY_SIZE),
          CL_INVALID_IMAGE_SIZE);
}

cl_mem make_image(cl_context context, cl_mem_flags flags, const cl_image_format* format, const cl_image_desc* given,
                  void* host_ptr) {
  check(valid(context), CL_INVALID_CONTEXT);
  check(format && pixel_bytes(*format), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
  check(given, CL_INVALID_IMAGE_DESCRIPTOR);
  check(image_support(context), CL_INVALID_OPERATION);
  cl_image_desc desc = *given;
  check(!desc.num_mip_levels && !desc.num_samples, CL_INVALID_IMAGE_DESCRIPTOR);
  cl_mem buffer = desc.buffer;
  if (buffer) {
    const bool can = desc.image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER || desc.image_type == CL_MEM_OBJECT_IMAGE2D;
    check(can && valid(buffer) && !buffer->is_image() && !buffer->origin, CL_INVALID_IMAGE_DESCRIPTOR);
    check(buffer->context.get() == context, CL_INVALID_CONTEXT);
    if (!(flags & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY)))
      flags |= buffer->flags & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY);
  } else {
    check(desc.image_type != CL_MEM_OBJECT_IMAGE1D_BUFFER, CL_INVALID_IMAGE_DESCRIPTOR);
  }
  flags = checked_flags(flags, host_ptr);
  const Extent extent = extent_of(desc);
  check_limits(context, desc, extent);
  const auto formats = formats_of(context, desc.image_type);
  check(std::any_of(formats.begin(), formats.end(),
                    [&](const cl_image_format& one) {
                      return one.image_channel_order == format->image_channel_order &&
                             one.image_channel_data_type == format->image_channel_data_type;
                    }),
        CL_IMAGE_FORMAT_NOT_SUPPORTED);
  auto image = Ref<_cl_mem>::adopt(new _cl_mem);
  image->type = desc.image_type;
  image->flags = flags;
  image->format = *format;
  image->pixel_bytes = pixel_bytes(*format);
  const std::size_t packed = extent.width * image->pixel_bytes;
  check(host_ptr || buffer || (!desc.image_row_pitch && !desc.image_slice_pitch), CL_INVALID_IMAGE_DESCRIPTOR);
  const std::size_t row = desc.image_row_pitch ? desc.image_row_pitch : packed;
  const bool flat = desc.image_type == CL_MEM_OBJECT_IMAGE1D || desc.image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER || desc.image_type == CL_MEM_OBJECT_IMAGE2D;
  const std::size_t slice = flat ? 0 : desc.image_slice_pitch ? desc.image_slice_pitch : row * extent.height;
  check(row >= packed && row % image->pixel_bytes == 0 && (flat || slice >= row * extent.height), CL_INVALID_IMAGE_DESCRIPTOR);
  image->desc = desc;
  image->desc.image_row_pitch = row;
  image->desc.image_slice_pitch = slice;
  image->size = packed * extent.height * extent.depth * extent.layers;
  if (buffer) check(row * extent.height <= buffer->size, CL_INVALID_IMAGE_SIZE);
  if (flags & CL_MEM_USE_HOST_PTR) image->host_ptr = host_ptr;
  if (buffer) buffer->root()->aliased = true;
  const std::lock_guard lock(context->session->order());
  const std::uint64_t handle = context->mint();
  const cl_mem_flags plain = flags & ~cl_mem_flags{CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR};
  context->session->put(CreateImage{handle, format->image_channel_order, format->image_channel_data_type,
                                    desc.image_type, plain, desc.image_width, desc.image_height, desc.image_depth,
                                    desc.image_array_size, buffer ? desc.image_row_pitch : 0, 0,
                                    buffer ? buffer->handle : 0});
  image->context = Ref(context);
  image->handle = handle;
  image->parent = Ref(buffer);
  if (host_ptr) {
    const bool lines = desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
    const std::size_t origin[3] = {};
    const std::size_t region[3] = {extent.width, lines ? extent.layers : extent.height,
                                   lines ? 1 : std::max(extent.depth, extent.layers)};
    write_pixels(*context->session, handle, image->pixel_bytes, origin,
                 image_spread(image.get(), region, row, slice, host_ptr));
  }
  note_object(image.get(), ArgKind::kImage);
  return image.detach();
}

cl_mem CL_API_CALL create(cl_context context, cl_mem_flags flags, const cl_image_format* format,
                          const cl_image_desc* desc, void* host_ptr, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, { return make_image(context, flags, format, desc, host_ptr); })
}

cl_mem CL_API_CALL create_with_properties(cl_context context, const cl_mem_properties* properties, cl_mem_flags flags,
                                          const cl_image_format* format, const cl_image_desc* desc, void* host_ptr,
                                          cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, {
    check(!properties || !*properties, CL_INVALID_PROPERTY);
    cl_mem image = make_image(context, flags, format, desc, host_ptr);
    if (properties) image->properties = {0};
    return image;
  })
}

cl_mem CL_API_CALL create_2d(cl_context context, cl_mem_flags flags, const cl_image_format* format, std::size_t width,
                             std::size_t height, std::size_t row, void* host_ptr, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, {
    cl_image_desc desc{};
    desc.image_type = CL_MEM_OBJECT_IMAGE2D;
    desc.image_width = width;
    desc.image_height = height;
    desc.image_row_pitch = row;
    return make_image(context, flags, format, &desc, host_ptr);
  })
}

cl_mem CL_API_CALL create_3d(cl_context context, cl_mem_flags flags, const cl_image_format* format, std::size_t width,
                             std::size_t height, std::size_t depth, std::size_t row, std::size_t slice, void* host_ptr,
                             cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, {
    cl_image_desc desc{};
    desc.image_type = CL_MEM_OBJECT_IMAGE3D;
    desc.image_width = width;
    desc.image_height = height;
    desc.image_depth = depth;
    desc.image_row_pitch = row;
    desc.image_slice_pitch = slice;
    return make_image(context, flags, format, &desc, host_ptr);
  })
}

cl_int CL_API_CALL supported_formats(cl_context context, cl_mem_flags flags, cl_mem_object_type type, cl_uint room,
                                     cl_image_format* into, cl_uint* count) {
  HALTERE_CODE({
    check(valid(context), CL_INVALID_CONTEXT);
    (void)flags;
    check(type >= CL_MEM_OBJECT_IMAGE2D && type <= CL_MEM_OBJECT_IMAGE1D_BUFFER, CL_INVALID_VALUE);
    check(!into || room, CL_INVALID_VALUE);
    const auto formats = image_support(context) ? formats_of(context, type) : std::vector<cl_image_format>();
    if (into) std::copy_n(formats.begin(), std::min<std::size_t>(room, formats.size()), into);
    if (count) *count = static_cast<cl_uint>(formats.size());
  })
}

cl_int CL_API_CALL info(cl_mem image, cl_image_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(image) && image->is_image(), CL_INVALID_MEM_OBJECT);
    const Answer answer(room, into, size_ret);
    const cl_image_desc& desc = image->desc;
    const bool flat = desc.image_type == CL_MEM_OBJECT_IMAGE1D || desc.image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER || desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
    const bool array = desc.image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY || desc.image_type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
    switch (query) {
      case CL_IMAGE_FORMAT: answer.value(image->format); break;
      case CL_IMAGE_ELEMENT_SIZE: answer.value(image->pixel_bytes); break;
      case CL_IMAGE_ROW_PITCH: answer.value(desc.image_row_pitch); break;
      case CL_IMAGE_SLICE_PITCH: answer.value(desc.image_slice_pitch); break;
      case CL_IMAGE_WIDTH: answer.value(desc.image_width); break;
      case CL_IMAGE_HEIGHT: answer.value(flat ? std::size_t{0} : desc.image_height); break;
      case CL_IMAGE_DEPTH: answer.value(desc.image_type == CL_MEM_OBJECT_IMAGE3D ? desc.image_depth : std::size_t{0}); break;
      case CL_IMAGE_ARRAY_SIZE: answer.value(array ? desc.image_array_size : std::size_t{0}); break;
      case CL_IMAGE_BUFFER: answer.value(image->parent.get()); break;
      case CL_IMAGE_NUM_MIP_LEVELS:
      case CL_IMAGE_NUM_SAMPLES: answer.value(cl_uint{0}); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

template <class Record, class Put>
Number pixel_pieces(Session& session, std::uint64_t image, std::size_t pixel, const std::size_t (&origin)[3],
                    const Spread& host, Put&& put) {
  return for_pieces(host.width / pixel, host.height, host.depth, pixel, session.chunk_bytes(),
                    [&](std::size_t x, std::size_t y, std::size_t z, std::size_t w, std::size_t h, std::size_t d) {
                      const Spread piece{host.host + z * host.slice + y * host.row + x * pixel, w * pixel, h, d,
                                         host.row, host.slice};
                      return put(Record{image, origin[0] + x, origin[1] + y, origin[2] + z, w, h, d, w * h * d * pixel, 0},
                                 piece);
                    });
}

}  // namespace

std::size_t pixel_bytes(const cl_image_format& format) {
  const std::size_t count = channels(format.image_channel_order);
  switch (format.image_channel_data_type) {
    case CL_SNORM_INT8: case CL_UNORM_INT8: case CL_SIGNED_INT8: case CL_UNSIGNED_INT8: return count;
    case CL_SNORM_INT16: case CL_UNORM_INT16: case CL_SIGNED_INT16: case CL_UNSIGNED_INT16: case CL_HALF_FLOAT: return 2 * count;
    case CL_SIGNED_INT32: case CL_UNSIGNED_INT32: case CL_FLOAT: return 4 * count;
    case CL_UNORM_SHORT_565: case CL_UNORM_SHORT_555: return count == 3 ? 2 : 0;
    case CL_UNORM_INT_101010: return count == 3 ? 4 : 0;
    case CL_UNORM_INT_101010_2: return count == 4 ? 4 : 0;
    default: return 0;
  }
}

void check_box(cl_mem image, const std::size_t* origin, const std::size_t* region) {
  check(origin && region && region[0] && region[1] && region[2], CL_INVALID_VALUE);
  const Extent extent = extent_of(image->desc);
  const bool lines = image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
  const std::size_t size[3] = {extent.width, lines ? extent.layers : extent.height,
                               lines ? 1 : std::max(extent.depth, extent.layers)};
  for (int i = 0; i < 3; ++i) check(origin[i] <= size[i] && region[i] <= size[i] - origin[i], CL_INVALID_VALUE);
}

Spread image_spread(cl_mem image, const std::size_t* region, std::size_t row, std::size_t slice, void* host) {
  const std::size_t packed = region[0] * image->pixel_bytes;
  check(!row || row >= packed, CL_INVALID_VALUE);
  if (!row) row = packed;
  if (image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY && slice) row = slice;
  const bool volume = image->type == CL_MEM_OBJECT_IMAGE3D || image->type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
  check(!volume || !slice || slice >= row * region[1], CL_INVALID_VALUE);
  if (!volume || !slice) slice = row * region[1];
  return Spread{static_cast<std::uint8_t*>(host), packed, region[1], region[2], row, slice};
}

Number write_pixels(Session& session, std::uint64_t image, std::size_t pixel, const std::size_t (&origin)[3],
                    const Spread& host) {
  return pixel_pieces<WriteImage>(session, image, pixel, origin, host, [&session](const WriteImage& record, const Spread& piece) {
    return session.put_from(record, piece);
  });
}

Number read_pixels(Session& session, std::uint64_t image, std::size_t pixel, const std::size_t (&origin)[3],
                   const Spread& host) {
  return pixel_pieces<ReadImage>(session, image, pixel, origin, host, [&session](const ReadImage& record, const Spread& piece) {
    return session.put_into(record, piece);
  });
}

void enter_image(cl_icd_dispatch& table) {
  table.clCreateImage = create;
  table.clCreateImageWithProperties = create_with_properties;
  table.clCreateImage2D = create_2d;
  table.clCreateImage3D = create_3d;
  table.clGetSupportedImageFormats = supported_formats;
  table.clGetImageInfo = info;
}

}  // namespace haltere
