// What platforms, devices, contexts and queues answer.
#include "suite.hpp"

using namespace suite;

namespace {

struct Param {
  cl_uint number;
  const char* name;
};
#define PARAM(name) {name, #name}

}  // namespace

CASE(platform_queries_answer_sizes_first) {
  cl_uint count = 0;
  OK(clGetPlatformIDs(0, nullptr, &count));
  std::printf("%u platforms\n", count);
  Host host;
  // What these answer is the driver's own.
  for (auto [number, name] : {Param PARAM(CL_PLATFORM_PROFILE), PARAM(CL_PLATFORM_VERSION),
                              PARAM(CL_PLATFORM_NAME), PARAM(CL_PLATFORM_VENDOR),
                              PARAM(CL_PLATFORM_EXTENSIONS)}) {
    Bytes value = queried(name, [&, number = number](auto... rest) {
      return clGetPlatformInfo(host.platform, number, rest...);
    });
    HOLDS(!value.empty() && value.back() == 0);
    std::printf("~ %s: %s\n", name, reinterpret_cast<char*>(value.data()));
  }
  Bytes version = queried("version", [&](auto... rest) {
    return clGetPlatformInfo(host.platform, CL_PLATFORM_VERSION, rest...);
  });
  std::printf("%.10s\n", reinterpret_cast<char*>(version.data()));
  TELL(clGetPlatformInfo(host.platform, 0x1234, 0, nullptr, nullptr));
  TELL(clGetPlatformIDs(0, nullptr, nullptr));
  cl_platform_id platform;
  TELL(clGetPlatformIDs(0, &platform, nullptr));
}

CASE(device_lists_follow_the_type) {
  Host host;
  for (auto [type, name] :
       {Param PARAM(CL_DEVICE_TYPE_DEFAULT), PARAM(CL_DEVICE_TYPE_CPU), PARAM(CL_DEVICE_TYPE_GPU),
        PARAM(CL_DEVICE_TYPE_ACCELERATOR), PARAM(CL_DEVICE_TYPE_CUSTOM),
        PARAM(CL_DEVICE_TYPE_ALL)}) {
    cl_uint count = 77;
    cl_int error = clGetDeviceIDs(host.platform, type, 0, nullptr, &count);
    std::printf("%s -> %s, %u\n", name, code(error).c_str(), error ? 0 : count);
  }
  cl_uint count = 0;
  cl_device_id device;
  HOLDS(clGetDeviceIDs(host.platform, 0x100000, 1, &device, &count) != CL_SUCCESS);
  TELL(clGetDeviceIDs(host.platform, CL_DEVICE_TYPE_ALL, 0, &device, nullptr));
  TELL(clGetDeviceIDs(host.platform, CL_DEVICE_TYPE_ALL, 0, nullptr, nullptr));
}

CASE(device_queries_answer_as_the_device) {
  Host host;
  const Param params[] = {
      PARAM(CL_DEVICE_TYPE), PARAM(CL_DEVICE_VENDOR_ID), PARAM(CL_DEVICE_MAX_COMPUTE_UNITS),
      PARAM(CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS), PARAM(CL_DEVICE_MAX_WORK_ITEM_SIZES),
      PARAM(CL_DEVICE_MAX_WORK_GROUP_SIZE), PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_CHAR),
      PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_SHORT), PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_INT),
      PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_LONG), PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT),
      PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_DOUBLE), PARAM(CL_DEVICE_PREFERRED_VECTOR_WIDTH_HALF),
      PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_CHAR), PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_SHORT),
      PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_INT), PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_LONG),
      PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT), PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_DOUBLE),
      PARAM(CL_DEVICE_NATIVE_VECTOR_WIDTH_HALF),
      PARAM(CL_DEVICE_ADDRESS_BITS), PARAM(CL_DEVICE_MAX_MEM_ALLOC_SIZE),
      PARAM(CL_DEVICE_IMAGE_SUPPORT), PARAM(CL_DEVICE_MAX_READ_IMAGE_ARGS),
      PARAM(CL_DEVICE_MAX_WRITE_IMAGE_ARGS), PARAM(CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS),
      PARAM(CL_DEVICE_IMAGE2D_MAX_WIDTH), PARAM(CL_DEVICE_IMAGE2D_MAX_HEIGHT),
      PARAM(CL_DEVICE_IMAGE3D_MAX_WIDTH), PARAM(CL_DEVICE_IMAGE3D_MAX_HEIGHT),
      PARAM(CL_DEVICE_IMAGE3D_MAX_DEPTH), PARAM(CL_DEVICE_IMAGE_MAX_BUFFER_SIZE),
      PARAM(CL_DEVICE_IMAGE_MAX_ARRAY_SIZE), PARAM(CL_DEVICE_MAX_SAMPLERS),
      PARAM(CL_DEVICE_IMAGE_PITCH_ALIGNMENT), PARAM(CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT),
      PARAM(CL_DEVICE_MAX_PARAMETER_SIZE), PARAM(CL_DEVICE_MEM_BASE_ADDR_ALIGN),
      PARAM(CL_DEVICE_MIN_DATA_TYPE_ALIGN_SIZE), PARAM(CL_DEVICE_SINGLE_FP_CONFIG),
      PARAM(CL_DEVICE_DOUBLE_FP_CONFIG), PARAM(CL_DEVICE_GLOBAL_MEM_CACHE_TYPE),
      PARAM(CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE), PARAM(CL_DEVICE_GLOBAL_MEM_CACHE_SIZE),
      PARAM(CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE),
      PARAM(CL_DEVICE_MAX_CONSTANT_ARGS), PARAM(CL_DEVICE_MAX_GLOBAL_VARIABLE_SIZE),
      PARAM(CL_DEVICE_LOCAL_MEM_TYPE), PARAM(CL_DEVICE_LOCAL_MEM_SIZE),
      PARAM(CL_DEVICE_ERROR_CORRECTION_SUPPORT), PARAM(CL_DEVICE_PROFILING_TIMER_RESOLUTION), PARAM(CL_DEVICE_ENDIAN_LITTLE),
      PARAM(CL_DEVICE_AVAILABLE), PARAM(CL_DEVICE_COMPILER_AVAILABLE),
      PARAM(CL_DEVICE_LINKER_AVAILABLE), PARAM(CL_DEVICE_QUEUE_ON_HOST_PROPERTIES),
      PARAM(CL_DEVICE_BUILT_IN_KERNELS), PARAM(CL_DEVICE_NAME), PARAM(CL_DEVICE_VENDOR),
      PARAM(CL_DEVICE_PROFILE), PARAM(CL_DEVICE_VERSION),
      PARAM(CL_DEVICE_OPENCL_C_VERSION), PARAM(CL_DEVICE_PRINTF_BUFFER_SIZE),
      PARAM(CL_DEVICE_PREFERRED_INTEROP_USER_SYNC), PARAM(CL_DEVICE_NUMERIC_VERSION),
      PARAM(CL_DEVICE_OPENCL_C_ALL_VERSIONS), PARAM(CL_DEVICE_OPENCL_C_FEATURES),
      PARAM(CL_DEVICE_MAX_NUM_SUB_GROUPS), PARAM(CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES),
      PARAM(CL_DEVICE_ATOMIC_FENCE_CAPABILITIES),
      PARAM(CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT),
      PARAM(CL_DEVICE_WORK_GROUP_COLLECTIVE_FUNCTIONS_SUPPORT),
      PARAM(CL_DEVICE_GENERIC_ADDRESS_SPACE_SUPPORT),
      PARAM(CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE), PARAM(CL_DEVICE_IL_VERSION),
      PARAM(CL_DEVICE_PIPE_SUPPORT), PARAM(0x1fff)};
  // Clock and memory are left out: PoCL's answer changes with the machine's load. So is unified
  // memory: the host that PoCL means is another process now. The driver's version is ours.
  for (auto [number, name] : params)
    show_bytes(name, queried(name, [&, number = number](auto... rest) {
                 return clGetDeviceInfo(host.device, number, rest...);
               }));
}

CASE(what_a_device_cannot_do_through_a_proxy_it_does_not_claim) {
  Host host;
  const auto ask = [&](cl_uint number) {
    return queried("asked", [&](auto... rest) { return clGetDeviceInfo(host.device, number, rest...); });
  };
  HOLDS(as<cl_platform_id>(ask(CL_DEVICE_PLATFORM)) == host.platform);
  HOLDS(as<cl_device_id>(ask(CL_DEVICE_PARENT_DEVICE)) == nullptr);
  HOLDS(as<cl_uint>(ask(CL_DEVICE_REFERENCE_COUNT)) == 1);

  const auto memory = as<cl_device_svm_capabilities>(ask(CL_DEVICE_SVM_CAPABILITIES));
  void* shared = clSVMAlloc(host.context, CL_MEM_READ_WRITE, 4096, 0);
  HOLDS((memory != 0) == (shared != nullptr));
  std::printf("~ SVM %s\n", memory ? "claimed" : "not claimed");
  if (shared) clSVMFree(host.context, shared);
  if (!memory) {
    char bytes[16] = {};
    HOLDS(clEnqueueSVMMemcpy(host.queue, CL_TRUE, bytes, bytes + 8, 8, 0, nullptr, nullptr) ==
          CL_INVALID_OPERATION);
    HOLDS(clEnqueueSVMMemFill(host.queue, bytes, bytes + 8, 1, 8, 0, nullptr, nullptr) ==
          CL_INVALID_OPERATION);
    HOLDS(clEnqueueSVMMap(host.queue, CL_TRUE, CL_MAP_READ, bytes, 8, 0, nullptr, nullptr) ==
          CL_INVALID_OPERATION);
  }

  const auto capabilities = as<cl_device_exec_capabilities>(ask(CL_DEVICE_EXECUTION_CAPABILITIES));
  HOLDS(capabilities & CL_EXEC_KERNEL);
  static int called = 0;
  const cl_int native = clEnqueueNativeKernel(
      host.queue, [](void*) { ++called; }, nullptr, 0, 0, nullptr, nullptr, 0, nullptr, nullptr);
  HOLDS((capabilities & CL_EXEC_NATIVE_KERNEL) ? native == CL_SUCCESS : native == CL_INVALID_OPERATION);
  OK(clFinish(host.queue));
  HOLDS(called == (native == CL_SUCCESS));

  const auto parts = as<cl_uint>(ask(CL_DEVICE_PARTITION_MAX_SUB_DEVICES));
  const cl_device_partition_property by[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
  cl_uint count = 0;
  const cl_int split = clCreateSubDevices(host.device, by, 0, nullptr, &count);
  std::printf("~ %u parts, %s\n", parts, code(split).c_str());
  HOLDS(split == CL_SUCCESS ? count > 0 && count <= parts : split == CL_INVALID_VALUE);
  OK(clRetainDevice(host.device));  // of a root device: nothing happens
  OK(clReleaseDevice(host.device));
  HOLDS(as<cl_uint>(ask(CL_DEVICE_REFERENCE_COUNT)) == 1);
}

CASE(extension_functions_are_found_or_not) {
  Host host;
  HOLDS(!clGetExtensionFunctionAddressForPlatform(host.platform, "clNoSuchThing"));
  HOLDS(!clGetExtensionFunctionAddress("clNoSuchThingEither"));
  Bytes names = queried("extensions", [&](auto... rest) {
    return clGetDeviceInfo(host.device, CL_DEVICE_EXTENSIONS, rest...);
  });
  for (std::uint8_t* at = names.data(); *at;) {  // by one blank, in the driver's order
    const std::size_t length = std::strcspn(reinterpret_cast<char*>(at), " ");
    if (length) std::printf("%.*s\n", static_cast<int>(length), at);
    at += length + (at[length] == ' ');
  }
}

CASE(contexts_answer_what_they_were_made_of) {
  Host host;
  const cl_context_properties list[] = {CL_CONTEXT_PLATFORM,
                                        reinterpret_cast<cl_context_properties>(host.platform), 0};
  cl_context context = MADE(clCreateContext(list, 1, &host.device, nullptr, nullptr, &error));
  const auto ask = [&](const char* name, cl_uint number) {
    return queried(name, [&](auto... rest) { return clGetContextInfo(context, number, rest...); });
  };
  HOLDS(as<cl_device_id>(ask("devices", CL_CONTEXT_DEVICES)) == host.device);
  HOLDS(as<cl_uint>(ask("count", CL_CONTEXT_NUM_DEVICES)) == 1);
  std::printf("references %u\n", as<cl_uint>(ask("references", CL_CONTEXT_REFERENCE_COUNT)));
  Bytes properties = ask("properties", CL_CONTEXT_PROPERTIES);
  HOLDS(properties.size() == sizeof list && !std::memcmp(properties.data(), list, sizeof list));
  OK(clRetainContext(context));
  std::printf("references %u\n", as<cl_uint>(ask("references", CL_CONTEXT_REFERENCE_COUNT)));
  OK(clReleaseContext(context));
  TELL(clGetContextInfo(context, 0x4321, 0, nullptr, nullptr));
  OK(clReleaseContext(context));

  context = MADE(clCreateContextFromType(list, CL_DEVICE_TYPE_ALL, nullptr, nullptr, &error));
  HOLDS(as<cl_device_id>(ask("devices", CL_CONTEXT_DEVICES)) == host.device);
  OK(clReleaseContext(context));
  context = MADE(clCreateContext(nullptr, 1, &host.device, nullptr, nullptr, &error));
  std::size_t size = 99;  // the value is not asked for: PoCL 3.0 copies from a null pointer
  OK(clGetContextInfo(context, CL_CONTEXT_PROPERTIES, 0, nullptr, &size));
  std::printf("%zu bytes of properties\n", size);
  OK(clReleaseContext(context));

  const cl_context_properties unknown[] = {0x7777, 1, 0};
  TELL_MADE(clCreateContext(unknown, 1, &host.device, nullptr, nullptr, &error));
  TELL_MADE(clCreateContext(nullptr, 0, &host.device, nullptr, nullptr, &error));
  TELL_MADE(clCreateContext(nullptr, 1, nullptr, nullptr, nullptr, &error));
  TELL_MADE(clCreateContext(nullptr, 1, &host.device, nullptr, &host, &error));
  cl_device_id none = nullptr;
  TELL_MADE(clCreateContext(nullptr, 1, &none, nullptr, nullptr, &error));
  TELL_MADE(clCreateContextFromType(list, CL_DEVICE_TYPE_CUSTOM, nullptr, nullptr, &error));
}

CASE(queues_of_every_kind_answer_their_properties) {
  Host host;
  for (cl_command_queue_properties wanted : {0, 1, 2, 3}) {
    cl_command_queue queue = host.new_queue(wanted);
    const auto ask = [&](const char* name, cl_uint number) {
      return queried(name, [&](auto... rest) { return clGetCommandQueueInfo(queue, number, rest...); });
    };
    HOLDS(as<cl_context>(ask("context", CL_QUEUE_CONTEXT)) == host.context);
    HOLDS(as<cl_device_id>(ask("device", CL_QUEUE_DEVICE)) == host.device);
    std::printf("properties %u\n", as<cl_uint>(ask("properties", CL_QUEUE_PROPERTIES)));
    std::printf("references %u\n", as<cl_uint>(ask("references", CL_QUEUE_REFERENCE_COUNT)));
    show_bytes("array", ask("array", CL_QUEUE_PROPERTIES_ARRAY));
    show_bytes("size", ask("size", CL_QUEUE_SIZE));
    show_bytes("default", ask("default", CL_QUEUE_DEVICE_DEFAULT));
    OK(clRetainCommandQueue(queue));
    std::printf("references %u\n", as<cl_uint>(ask("references", CL_QUEUE_REFERENCE_COUNT)));
    OK(clReleaseCommandQueue(queue));
    OK(clReleaseCommandQueue(queue));
    cl_command_queue old = MADE(clCreateCommandQueue(host.context, host.device, wanted, &error));
    cl_command_queue_properties found = 99;
    OK(clGetCommandQueueInfo(old, CL_QUEUE_PROPERTIES, sizeof found, &found, nullptr));
    HOLDS(found == wanted);
    OK(clReleaseCommandQueue(old));
  }
  cl_command_queue plain =
      MADE(clCreateCommandQueueWithProperties(host.context, host.device, nullptr, &error));
  OK(clFinish(plain));
  OK(clFlush(plain));
  OK(clReleaseCommandQueue(plain));
  const cl_queue_properties unknown[] = {0x7777, 1, 0};
  TELL_MADE(clCreateCommandQueueWithProperties(host.context, host.device, unknown, &error));
  const cl_queue_properties bits[] = {CL_QUEUE_PROPERTIES, 1u << 20, 0};
  TELL_MADE(clCreateCommandQueueWithProperties(host.context, host.device, bits, &error));
  TELL_MADE(clCreateCommandQueue(host.context, host.device, 1u << 20, &error));
  TELL(clGetCommandQueueInfo(host.queue, 0x4321, 0, nullptr, nullptr));
}
