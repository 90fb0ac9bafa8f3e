// The platform and its virtual devices. Everything about them was asked by the servers when they
// started (`opencl.records`); what this driver does otherwise is answered here.
#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string>

#include "answer.hpp"
#include "entries.hpp"
#include "rendezvous.hpp"

namespace haltere {
namespace {

// Extensions that would need entry points or memory that this driver does not have.
bool offered(const std::string& extension) {
  static const char* const kRefused[] = {"_gl_",         "egl",         "d3d",      "dx9",
                                         "svm",          "pipe",       "command_buffer", "device_enqueue",
                                         "external_",    "semaphore",  "subgroup",    "sub_group", "spir",
                                         "fission",      "mutable_dispatch", "usm",   "unified_shared",
                                         "create_command_queue", "priority_hints", "throttle_hints",
                                         "terminate_context", "context_abort", "suggested_local",
                                         "content_size", "device_attribute_query_pci", "cl_khr_icd"};
  return std::none_of(std::begin(kRefused), std::end(kRefused),
                      [&](const char* part) { return extension.find(part) != std::string::npos; });
}

std::string offered_extensions(const std::string& all) {
  std::istringstream words(all);
  std::string word, kept;
  while (words >> word)
    if (offered(word)) kept += (kept.empty() ? "" : " ") + word;
  return kept;
}

std::vector<cl_name_version> offered_versions(const std::string& raw) {
  std::vector<cl_name_version> all(raw.size() / sizeof(cl_name_version));
  std::memcpy(all.data(), raw.data(), all.size() * sizeof(cl_name_version));
  std::erase_if(all, [](const cl_name_version& one) { return !offered(one.name); });
  return all;
}

bool is_text(const std::string& raw) { return !raw.empty() && raw.back() == '\0'; }

std::string text_of(const std::string* raw) { return raw && is_text(*raw) ? raw->substr(0, raw->size() - 1) : ""; }

bool read_values(const std::string& records, _cl_device_id& device) {
  std::size_t at = 0;
  while (at + kHeadBytes <= records.size()) {
    std::uint32_t length;
    std::memcpy(&length, records.data() + at, sizeof length);
    if (length < kHeadBytes || length > records.size() - at) return false;
    const bool read = visit_record(Bytes(records.data() + at, length), [&device](Number, const auto& record) {
      if constexpr (std::is_same_v<std::decay_t<decltype(record)>, DeviceValue>)
        device.values[{record.scope, record.query}] = std::string(record.data.text());
    });
    if (!read) return false;
    at += length;
  }
  return at == records.size() && device.raw(CL_DEVICE_TYPE);
}

// HALTERE_DEVICE: names of servers, separated by commas; else all that live.
std::vector<std::string> wanted_servers(const std::string& root) {
  std::vector<std::string> living = living_servers(root);
  const char* given = std::getenv("HALTERE_DEVICE");
  if (!given || !*given) return living;
  std::vector<std::string> wanted;
  std::istringstream names(given);
  for (std::string name; std::getline(names, name, ',');) {
    if (name.rfind("proxy:", 0) == 0) name.erase(0, 6);
    name = whereabouts(root, name);
    if (std::find(living.begin(), living.end(), name) != living.end())
      wanted.push_back(name);
    else
      tell("no server of " + name + " runs under " + root);
  }
  return wanted;
}

struct Platform : _cl_platform_id {
  Platform() {
    const std::string root = proxy_root();
    std::vector<std::unique_ptr<_cl_device_id>> served;
    for (const std::string& server : wanted_servers(root)) {
      auto device = std::make_unique<_cl_device_id>();
      device->server = server;
      if (read_values(read_file(server_home(root, server) + "/opencl.records"), *device))
        served.push_back(std::move(device));
    }
    if (served.empty()) {
      tell("no server of an OpenCL device runs under " + root + ": start one (haltere proxy opencl:0), or use haltere run");
      return;
    }
    const char* given = std::getenv("HALTERE_DEVICES");
    const long asked = given ? std::atol(given) : 0;
    const std::size_t count = asked > 0 ? static_cast<std::size_t>(asked) : served.size();
    for (std::size_t index = 0; index < count; ++index) {
      auto device = std::make_unique<_cl_device_id>();
      const _cl_device_id& real = *served[index % served.size()];
      device->index = index;
      device->server = real.server;
      device->values = real.values;
      devices.push_back(std::move(device));
    }
  }
};

cl_int CL_API_CALL get_platform_ids(cl_uint entries, cl_platform_id* platforms, cl_uint* count) {
  HALTERE_CODE({
    check((platforms || count) && !(platforms && entries == 0), CL_INVALID_VALUE);
    if (platforms) platforms[0] = the_platform();
    if (count) *count = 1;
  })
}

cl_int CL_API_CALL get_platform_info(cl_platform_id platform, cl_platform_info query, std::size_t room, void* into,
                                     std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(platform), CL_INVALID_PLATFORM);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_PLATFORM_PROFILE: answer.text("FULL_PROFILE"); break;
      case CL_PLATFORM_VERSION: answer.text("OpenCL 3.0 haltere"); break;
      case CL_PLATFORM_NAME: answer.text("haltere"); break;
      case CL_PLATFORM_VENDOR: answer.text("haltere"); break;
      case CL_PLATFORM_EXTENSIONS: answer.text("cl_khr_icd"); break;
      case CL_PLATFORM_ICD_SUFFIX_KHR: answer.text("HALTERE"); break;
      case CL_PLATFORM_HOST_TIMER_RESOLUTION: answer.value(cl_ulong{0}); break;
      case CL_PLATFORM_NUMERIC_VERSION: answer.value(cl_version{CL_MAKE_VERSION(3, 0, 0)}); break;
      case CL_PLATFORM_EXTENSIONS_WITH_VERSION: {
        cl_name_version icd{CL_MAKE_VERSION(1, 0, 0), "cl_khr_icd"};
        answer.value(icd);
        break;
      }
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL get_device_ids(cl_platform_id platform, cl_device_type type, cl_uint entries, cl_device_id* devices,
                                  cl_uint* count) {
  HALTERE_CODE({
    if (!platform) platform = the_platform();
    check(valid(platform), CL_INVALID_PLATFORM);
    check((devices || count) && !(devices && entries == 0), CL_INVALID_VALUE);
    constexpr cl_device_type kKnown = CL_DEVICE_TYPE_DEFAULT | CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU |
                                      CL_DEVICE_TYPE_ACCELERATOR | CL_DEVICE_TYPE_CUSTOM;
    check(type == CL_DEVICE_TYPE_ALL || (type && !(type & ~kKnown)), CL_INVALID_DEVICE_TYPE);
    cl_uint found = 0;
    for (const auto& device : platform->devices) {
      const auto own = device->number<cl_device_type>(CL_DEVICE_TYPE, CL_DEVICE_TYPE_DEFAULT);
      const bool first = (type & CL_DEVICE_TYPE_DEFAULT) && type != CL_DEVICE_TYPE_ALL && device->index == 0;
      if (type != CL_DEVICE_TYPE_ALL && !(own & type & ~cl_device_type{CL_DEVICE_TYPE_DEFAULT}) && !first) continue;
      if (devices && found < entries) devices[found] = device.get();
      ++found;
    }
    if (count) *count = found;
    check(found, CL_DEVICE_NOT_FOUND);
  })
}

// What this driver answers itself; true if it did.
bool own_answer(cl_device_id device, cl_device_info query, const Answer& answer) {
  switch (query) {
    case CL_DEVICE_PLATFORM: answer.value(the_platform()); return true;
    case CL_DEVICE_EXTENSIONS: answer.text(offered_extensions(text_of(device->raw(query)))); return true;
    case CL_DEVICE_EXTENSIONS_WITH_VERSION:
      if (!device->raw(query)) return false;
      answer.list(offered_versions(*device->raw(query)));
      return true;
    // Programs key caches of binaries by it: ours are not the native driver's.
    case CL_DRIVER_VERSION: answer.text(text_of(device->raw(query)) + " haltere"); return true;
    case CL_DEVICE_PARENT_DEVICE: answer.value(cl_device_id{nullptr}); return true;
    case CL_DEVICE_REFERENCE_COUNT: answer.value(cl_uint{1}); return true;
    case CL_DEVICE_AVAILABLE: answer.value(cl_bool{holder_lives(server_home(proxy_root(), device->server) + "/lock")}); return true;
    case CL_DEVICE_PARTITION_MAX_SUB_DEVICES: answer.value(cl_uint{0}); return true;
    case CL_DEVICE_PARTITION_PROPERTIES: answer.value(cl_device_partition_property{0}); return true;
    case CL_DEVICE_PARTITION_TYPE: answer.bytes(nullptr, 0); return true;
    case CL_DEVICE_PARTITION_AFFINITY_DOMAIN: answer.value(cl_device_affinity_domain{0}); return true;
    case CL_DEVICE_QUEUE_PROPERTIES:  // also CL_DEVICE_QUEUE_ON_HOST_PROPERTIES
      answer.value(cl_command_queue_properties{CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE});
      return true;
    case CL_DEVICE_EXECUTION_CAPABILITIES: answer.value(cl_device_exec_capabilities{CL_EXEC_KERNEL}); return true;
    case CL_DEVICE_HOST_UNIFIED_MEMORY: answer.value(cl_bool{CL_FALSE}); return true;
    case CL_DEVICE_SVM_CAPABILITIES: answer.value(cl_device_svm_capabilities{0}); return true;
    case CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES: answer.value(cl_command_queue_properties{0}); return true;
    case CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES: answer.value(cl_device_device_enqueue_capabilities{0}); return true;
    case CL_DEVICE_PIPE_SUPPORT: answer.value(cl_bool{CL_FALSE}); return true;
    case CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE:
    case CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE:
    case CL_DEVICE_MAX_ON_DEVICE_QUEUES:
    case CL_DEVICE_MAX_ON_DEVICE_EVENTS:
    case CL_DEVICE_MAX_PIPE_ARGS:
    case CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS:
    case CL_DEVICE_PIPE_MAX_PACKET_SIZE:
    case CL_DEVICE_MAX_NUM_SUB_GROUPS: answer.value(cl_uint{0}); return true;
    case CL_DEVICE_SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS: answer.value(cl_bool{CL_FALSE}); return true;
    case CL_DEVICE_BUILT_IN_KERNELS: answer.text(""); return true;
    case CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION: answer.bytes(nullptr, 0); return true;
    default: return false;
  }
}

cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info query, std::size_t room, void* into,
                                   std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(device), CL_INVALID_DEVICE);
    const Answer answer(room, into, size_ret);
    if (own_answer(device, query, answer)) return CL_SUCCESS;
    const std::string* raw = device->raw(query);
    check(raw, CL_INVALID_VALUE);
    answer.bytes(raw->data(), raw->size());
  })
}

cl_int CL_API_CALL create_sub_devices(cl_device_id device, const cl_device_partition_property*, cl_uint, cl_device_id*,
                                      cl_uint*) {
  return valid(device) ? CL_INVALID_VALUE : CL_INVALID_DEVICE;  // no way of partitioning is supported
}

cl_int CL_API_CALL keep_device(cl_device_id device) { return valid(device) ? CL_SUCCESS : CL_INVALID_DEVICE; }

void* CL_API_CALL function_address(const char* name) { return extension_function(name); }

void* CL_API_CALL platform_function_address(cl_platform_id, const char* name) { return extension_function(name); }

cl_int CL_API_CALL unload_compiler() { return CL_SUCCESS; }

cl_int CL_API_CALL unload_platform_compiler(cl_platform_id platform) {
  return valid(platform) ? CL_SUCCESS : CL_INVALID_PLATFORM;
}

}  // namespace

cl_platform_id the_platform() {
  static Platform* platform = new Platform;  // lives as long as the process: programs keep its handles
  return platform;
}

void enter_platform(cl_icd_dispatch& table) {
  table.clGetPlatformIDs = get_platform_ids;
  table.clGetPlatformInfo = get_platform_info;
  table.clGetDeviceIDs = get_device_ids;
  table.clGetDeviceInfo = get_device_info;
  table.clCreateSubDevices = create_sub_devices;
  table.clRetainDevice = keep_device;
  table.clReleaseDevice = keep_device;
  table.clGetExtensionFunctionAddress = function_address;
  table.clGetExtensionFunctionAddressForPlatform = platform_function_address;
  table.clUnloadCompiler = unload_compiler;
  table.clUnloadPlatformCompiler = unload_platform_compiler;
}

}  // namespace haltere
