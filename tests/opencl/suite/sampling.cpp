// Images in kernels: samplers, reads and writes of every kind.
#include "suite.hpp"

using namespace suite;

namespace {

constexpr std::size_t kWidth = 8, kHeight = 6;

cl_mem flat(const Host& host, const cl_image_format& format, void* data, cl_mem_flags flags = CL_MEM_READ_WRITE) {
  cl_image_desc made{};
  made.image_type = CL_MEM_OBJECT_IMAGE2D;
  made.image_width = kWidth;
  made.image_height = kHeight;
  return MADE(clCreateImage(host.context, flags | (data ? CL_MEM_COPY_HOST_PTR : 0), &format, &made, data, &error));
}

std::vector<float> reals(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t at = 0; at < count; ++at) values[at] = static_cast<float>(at) / 7.0f;
  return values;
}

const char* kSample = R"(
kernel void sample(read_only image2d_t image, sampler_t how, global float4* out, float scale) {
  int at = get_global_id(0);
  float2 where = (float2)((at % 12) - 2.3f, (at / 12) - 1.7f) * scale;
  out[at] = read_imagef(image, how, where);
})";

}  // namespace

CASE(samplers_of_every_kind_read_as_the_device_reads) {
  Host host;
  cl_kernel sample = host.kernel(kSample, "sample");
  auto data = reals(kWidth * kHeight * 4);
  cl_mem image = flat(host, {CL_RGBA, CL_FLOAT}, data.data());
  cl_mem out = host.buffer(120 * 16);
  for (cl_bool normal : {CL_FALSE, CL_TRUE})
    for (cl_addressing_mode mode : {CL_ADDRESS_NONE, CL_ADDRESS_CLAMP_TO_EDGE, CL_ADDRESS_CLAMP, CL_ADDRESS_REPEAT, CL_ADDRESS_MIRRORED_REPEAT})
      for (cl_filter_mode filter : {CL_FILTER_NEAREST, CL_FILTER_LINEAR}) {
        // Repeating needs normalized coordinates; linear filtering is not in every PoCL.
        if ((!normal && mode >= CL_ADDRESS_REPEAT) || mode == CL_ADDRESS_NONE || filter == CL_FILTER_LINEAR) continue;
        cl_sampler how = MADE(clCreateSampler(host.context, normal, mode, filter, &error));
        set_args(sample, image, how, out, normal ? 0.11f : 1.0f);
        host.launch(sample, 120);
        std::printf("%u %x %x ", normal, mode, filter);
        show("sampled", host.read<float>(out, 480));
        OK(clReleaseSampler(how));
      }
  OK(clReleaseKernel(sample));
  for (cl_mem object : {image, out}) OK(clReleaseMemObject(object));
}

CASE(samplers_answer_all_queries) {
  Host host;
  cl_sampler how = MADE(clCreateSampler(host.context, CL_TRUE, CL_ADDRESS_REPEAT, CL_FILTER_NEAREST, &error));
  const cl_sampler_properties list[] = {CL_SAMPLER_NORMALIZED_COORDS, CL_FALSE, CL_SAMPLER_ADDRESSING_MODE,
                                        CL_ADDRESS_CLAMP, CL_SAMPLER_FILTER_MODE, CL_FILTER_NEAREST, 0};
  cl_sampler modern = MADE(clCreateSamplerWithProperties(host.context, list, &error));
  for (cl_sampler sampler : {how, modern}) {
    for (auto [number, name] : {std::pair{CL_SAMPLER_NORMALIZED_COORDS, "normalized"}, {CL_SAMPLER_ADDRESSING_MODE, "addressing"},
                                {CL_SAMPLER_FILTER_MODE, "filter"}, {CL_SAMPLER_REFERENCE_COUNT, "references"}})
      show_bytes(name, queried(name, [&, number = number](auto... rest) { return clGetSamplerInfo(sampler, number, rest...); }));
    cl_context context = nullptr;
    OK(clGetSamplerInfo(sampler, CL_SAMPLER_CONTEXT, sizeof context, &context, nullptr));
    HOLDS(context == host.context);
    TELL(clGetSamplerInfo(sampler, 0x9999, 0, nullptr, nullptr));
    OK(clRetainSampler(sampler));
    OK(clReleaseSampler(sampler));
    OK(clReleaseSampler(sampler));
  }
  MAY_REFUSE_MADE(CL_INVALID_VALUE, clCreateSampler(host.context, CL_TRUE, 0x9999, CL_FILTER_NEAREST, &error));
  MAY_REFUSE_MADE(CL_INVALID_VALUE, clCreateSampler(host.context, CL_TRUE, CL_ADDRESS_REPEAT, 0x9999, &error));
  TELL_MADE(clCreateSampler(nullptr, CL_TRUE, CL_ADDRESS_REPEAT, CL_FILTER_NEAREST, &error));
}

CASE(kernels_write_images_that_other_kernels_read) {
  Host host;
  cl_program program = host.build(R"(
constant sampler_t near = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
kernel void paint(write_only image2d_t to, float by) {
  int2 at = (int2)(get_global_id(0), get_global_id(1));
  write_imagef(to, at, (float4)(at.x * by, at.y * by, 0.5f, 1.0f));
}
kernel void blur(read_only image2d_t from, write_only image2d_t to) {
  int2 at = (int2)(get_global_id(0), get_global_id(1));
  float4 sum = 0;
  for (int y = -1; y <= 1; ++y) for (int x = -1; x <= 1; ++x) sum += read_imagef(from, near, at + (int2)(x, y));
  write_imagef(to, at, sum / 9.0f);
})");
  cl_kernel paint = MADE(clCreateKernel(program, "paint", &error)), blur = MADE(clCreateKernel(program, "blur", &error));
  for (cl_channel_type type : {CL_FLOAT, CL_UNORM_INT8}) {
    const cl_image_format format = {CL_RGBA, type};
    cl_mem first = flat(host, format, nullptr), second = flat(host, format, nullptr);
    const std::size_t all[2] = {kWidth, kHeight}, zero[3] = {}, region[3] = {kWidth, kHeight, 1};
    set_args(paint, first, 0.1f);
    OK(clEnqueueNDRangeKernel(host.queue, paint, 2, nullptr, all, nullptr, 0, nullptr, nullptr));
    for (int round = 0; round < 6; ++round) {
      set_args(blur, round % 2 ? second : first, round % 2 ? first : second);
      OK(clEnqueueNDRangeKernel(host.queue, blur, 2, nullptr, all, nullptr, 0, nullptr, nullptr));
    }
    Bytes found(kWidth * kHeight * (type == CL_FLOAT ? 16 : 4));
    OK(clEnqueueReadImage(host.queue, first, CL_TRUE, zero, region, 0, 0, found.data(), 0, nullptr, nullptr));
    show("blurred", found);
    for (cl_mem object : {first, second}) OK(clReleaseMemObject(object));
  }
  for (cl_kernel kernel : {paint, blur}) OK(clReleaseKernel(kernel));
  OK(clReleaseProgram(program));
}

CASE(whole_numbers_pass_through_images_unchanged) {
  Host host;
  cl_program program = host.build(R"(
constant sampler_t near = CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP_TO_EDGE | CLK_FILTER_NEAREST;
kernel void naturals(read_only image2d_t from, write_only image2d_t to) {
  int2 at = (int2)(get_global_id(0), get_global_id(1));
  write_imageui(to, at, read_imageui(from, near, at).wzyx + 1u);
}
kernel void wholes(read_only image2d_t from, write_only image2d_t to) {
  int2 at = (int2)(get_global_id(0), get_global_id(1));
  write_imagei(to, at, -read_imagei(from, near, at));
})");
  struct { const char* name; cl_channel_type type; std::size_t size; } kinds[] = {
      {"naturals", CL_UNSIGNED_INT8, 4}, {"naturals", CL_UNSIGNED_INT16, 8}, {"naturals", CL_UNSIGNED_INT32, 16},
      {"wholes", CL_SIGNED_INT8, 4},     {"wholes", CL_SIGNED_INT16, 8},     {"wholes", CL_SIGNED_INT32, 16}};
  for (const auto& [name, type, size] : kinds) {
    auto data = counting<std::uint8_t>(kWidth * kHeight * size, 1);
    cl_mem first = flat(host, {CL_RGBA, type}, data.data()), second = flat(host, {CL_RGBA, type}, nullptr);
    cl_kernel kernel = MADE(clCreateKernel(program, name, &error));
    set_args(kernel, first, second);
    const std::size_t all[2] = {kWidth, kHeight}, zero[3] = {}, region[3] = {kWidth, kHeight, 1};
    OK(clEnqueueNDRangeKernel(host.queue, kernel, 2, nullptr, all, nullptr, 0, nullptr, nullptr));
    OK(clEnqueueReadImage(host.queue, second, CL_TRUE, zero, region, 0, 0, data.data(), 0, nullptr, nullptr));
    show(name, data);
    OK(clReleaseKernel(kernel));
    for (cl_mem object : {first, second}) OK(clReleaseMemObject(object));
  }
  OK(clReleaseProgram(program));
}

CASE(image_arguments_are_checked) {
  Host host;
  cl_kernel sample = host.kernel(kSample, "sample");
  cl_mem image = flat(host, {CL_RGBA, CL_FLOAT}, nullptr), out = host.buffer(64);
  TELL(clSetKernelArg(sample, 0, sizeof image, &image));
  TELL(clSetKernelArg(sample, 0, 4, &image));
  TELL(clSetKernelArg(sample, 1, 4, &out));
  HOLDS(clSetKernelArg(sample, 1, sizeof(cl_sampler), nullptr) != CL_SUCCESS);
  const std::size_t one = 1;
  TELL(clEnqueueNDRangeKernel(host.queue, sample, 1, nullptr, &one, nullptr, 0, nullptr, nullptr));
  OK(clReleaseKernel(sample));
  for (cl_mem object : {image, out}) OK(clReleaseMemObject(object));
}
