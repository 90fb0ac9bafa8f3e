// A context is a session of its own, on the server of its first device.
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "answer.hpp"
#include "entries.hpp"
#include "order.hpp"
#include "rendezvous.hpp"
#include "watch.hpp"

namespace haltere {
namespace {

using Notify = void(CL_CALLBACK*)(const char*, const void*, std::size_t, void*);

std::mutex open_lock;
std::vector<cl_context> open_contexts;  // oldest first; of this process or a parent's

void leave_all() {
  const std::unique_lock lock(open_lock, std::try_to_lock);
  if (!lock.owns_lock()) return;
  for (cl_context context : open_contexts) context->session->leave();
}

// Where a new session belongs: contexts of one device stay together when sessions are moved.
std::string server_for(cl_device_id device) {
  for (cl_context context : open_contexts)
    if (context->devices.front() == device && !context->session->foreign()) return context->session->server();
  return whereabouts(proxy_root(), device->server);
}

// Address space for all buffers of a session, with holes between them, where they may be shared: see
// proxy/heap.py. More go by the arena.
std::size_t heap_bytes_for(cl_device_id device) {
  constexpr std::uint64_t kMost = std::uint64_t{256} << 30;
  const bool shares = (device->number<cl_device_type>(CL_DEVICE_TYPE, 0) & CL_DEVICE_TYPE_CPU) &&
                      device->number<cl_bool>(CL_DEVICE_HOST_UNIFIED_MEMORY, CL_FALSE);
  return shares ? std::min(2 * device->number<cl_ulong>(CL_DEVICE_GLOBAL_MEM_SIZE, 0), kMost) : 0;
}

void check_name(const std::string& name) {  // as proxy/paths.py
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || std::strchr(":_.-", c); };
  if (name.size() > 90 || !std::isalnum(static_cast<unsigned char>(name[0])) || !std::all_of(name.begin(), name.end(), plain))
    throw Failure(CL_INVALID_VALUE, "HALTERE_SESSION is '" + name + "': use letters, digits, ':', '_', '.', '-'");
}

std::unique_ptr<Session> open_session(cl_device_id device) {
  static const int once = std::atexit(leave_all);
  (void)once;
  const std::string root = proxy_root();
  const std::size_t heap_bytes = heap_bytes_for(device);
  const char* given = std::getenv("HALTERE_SESSION");
  const bool named = given && *given;
  try {
    if (!named) return std::make_unique<Session>(root, server_for(device), "p" + random_word().substr(0, 12), false, heap_bytes);
    check_name(given);
    while (true) {
      const std::string name = free_name(root, given);
      try {
        return std::make_unique<Session>(root, server_for(device), name, true, heap_bytes);
      } catch (const Failure&) {
        if (free_name(root, given) == name) throw;  // else another process was faster: the next name
      }
    }
  } catch (const Failure& failure) {
    tell(failure.what());
    throw;
  }
}

cl_context make(const cl_context_properties* properties, cl_uint count, const cl_device_id* devices, Notify notify,
                void* data) {
  check(count && devices && (notify || !data), CL_INVALID_VALUE);
  auto context = Ref<_cl_context>::adopt(new _cl_context);
  for (const cl_context_properties* at = properties; at && *at; at += 2) {
    if (at[0] == CL_CONTEXT_PLATFORM)
      check(valid(reinterpret_cast<cl_platform_id>(at[1])), CL_INVALID_PLATFORM);
    else
      check(at[0] == CL_CONTEXT_INTEROP_USER_SYNC, CL_INVALID_PROPERTY);
    context->properties.insert(context->properties.end(), {at[0], at[1]});
  }
  if (properties) context->properties.push_back(0);
  for (cl_uint i = 0; i < count; ++i) {
    check(valid(devices[i]), CL_INVALID_DEVICE);
    if (std::find(context->devices.begin(), context->devices.end(), devices[i]) == context->devices.end())
      context->devices.push_back(devices[i]);
  }
  const std::lock_guard lock(open_lock);
  context->session = open_session(context->devices.front());
  open_contexts.push_back(context.get());
  return context.detach();
}

cl_context CL_API_CALL create(const cl_context_properties* properties, cl_uint count, const cl_device_id* devices,
                              Notify notify, void* data, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_context, { return make(properties, count, devices, notify, data); })
}

cl_context CL_API_CALL create_from_type(const cl_context_properties* properties, cl_device_type type, Notify notify,
                                        void* data, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_context, {
    cl_uint count = 0;
    const cl_int code = dispatch_table.clGetDeviceIDs(the_platform(), type, 0, nullptr, &count);
    check(code == CL_SUCCESS, code);
    std::vector<cl_device_id> devices(count);
    dispatch_table.clGetDeviceIDs(the_platform(), type, count, devices.data(), nullptr);
    return make(properties, count, devices.data(), notify, data);
  })
}

cl_int CL_API_CALL keep(cl_context context) {
  if (!valid(context)) return CL_INVALID_CONTEXT;
  retain(context);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_context context) {
  if (!valid(context)) return CL_INVALID_CONTEXT;
  release(context);
  return CL_SUCCESS;
}

cl_int CL_API_CALL info(cl_context context, cl_context_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(context), CL_INVALID_CONTEXT);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_CONTEXT_REFERENCE_COUNT: answer.value(cl_uint{context->references}); break;
      case CL_CONTEXT_NUM_DEVICES: answer.value(static_cast<cl_uint>(context->devices.size())); break;
      case CL_CONTEXT_DEVICES: answer.list(context->devices); break;
      case CL_CONTEXT_PROPERTIES: answer.list(context->properties); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL set_destructor(cl_context context, void(CL_CALLBACK* notify)(cl_context, void*), void* data) {
  HALTERE_CODE({
    check(valid(context), CL_INVALID_CONTEXT);
    check(notify, CL_INVALID_VALUE);
    const std::lock_guard lock(context->graph);
    context->destructors.emplace_back(notify, data);
  })
}

}  // namespace

void enter_context(cl_icd_dispatch& table) {
  table.clCreateContext = create;
  table.clCreateContextFromType = create_from_type;
  table.clRetainContext = keep;
  table.clReleaseContext = let_go;
  table.clGetContextInfo = info;
  table.clSetContextDestructorCallback = set_destructor;
}

}  // namespace haltere

_cl_context::_cl_context() : watch(std::make_shared<haltere::Watch>()) {}

_cl_context::~_cl_context() {
  for (auto callback = destructors.rbegin(); callback != destructors.rend(); ++callback) callback->first(this, callback->second);
  const std::lock_guard lock(haltere::open_lock);
  std::erase(haltere::open_contexts, this);
}
