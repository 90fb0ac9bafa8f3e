// Buffers and sub-buffers. A sub-buffer exists here only: the server knows parent and offset.
#include <cstdlib>

#include "answer.hpp"
#include "direct.hpp"
#include "entries.hpp"
#include "memory.hpp"
#include "order.hpp"
#include "types.hpp"

namespace haltere {
namespace {

constexpr cl_mem_flags kAccess = CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY;
constexpr cl_mem_flags kHostAccess = CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS;
constexpr cl_mem_flags kHostPtr = CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR;
constexpr cl_mem_flags kKernelReadWrite = CL_MEM_KERNEL_READ_AND_WRITE;
constexpr std::uint64_t kUsage = 7;  // hal.types.Usage.ALL
constexpr std::uint64_t kServerScope = 3, kSessionBytes = 0;  // see records.DeviceValue

bool more_than_one(cl_mem_flags flags) { return flags & (flags - 1); }

// What the server would surely refuse when it came to it: more than a session may have there, or the
// device has. (What other sessions hold is the server's to know.)
void promise(cl_context context, std::size_t size, Promise& made) {
  const cl_device_id device = context->devices.front();
  std::uint64_t most = device->number<cl_ulong>(CL_DEVICE_GLOBAL_MEM_SIZE, UINT64_MAX);
  const auto own = device->values.find({kServerScope, kSessionBytes});
  if (own != device->values.end() && own->second.size() == sizeof most)
    most = std::min(most, load_u64(reinterpret_cast<const std::uint8_t*>(own->second.data())));
  made.nbytes = size;
  made.all = &context->promised;
  check(context->promised.fetch_add(size) + size <= most, CL_MEM_OBJECT_ALLOCATION_FAILURE);
}

cl_mem make_buffer(cl_context context, cl_mem_flags flags, std::size_t size, void* host_ptr) {
  check(valid(context), CL_INVALID_CONTEXT);
  flags = checked_flags(flags, host_ptr);
  std::size_t limit = SIZE_MAX;
  for (cl_device_id device : context->devices)
    limit = std::min<std::size_t>(limit, device->number<cl_ulong>(CL_DEVICE_MAX_MEM_ALLOC_SIZE, UINT64_MAX));
  check(size && size <= limit, CL_INVALID_BUFFER_SIZE);
  auto buffer = Ref<_cl_mem>::adopt(new _cl_mem);
  buffer->flags = flags;
  buffer->size = size;
  promise(context, size, buffer->promise);
  if (flags & CL_MEM_USE_HOST_PTR) buffer->host_ptr = host_ptr;
  const std::lock_guard lock(context->session->order());
  const std::uint64_t handle = context->mint();
  buffer->context = Ref(context);
  buffer->handle = handle;
  place_in_heap(*buffer);
  buffer->used = context->session->put(Alloc{handle, size, kUsage});
  if (host_ptr) buffer->used = context->session->write(handle, 0, host_ptr, size);
  note_object(buffer.get(), ArgKind::kBuffer);
  return buffer.detach();
}

cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, std::size_t size, void* host_ptr,
                                 cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, { return make_buffer(context, flags, size, host_ptr); })
}

cl_mem CL_API_CALL create_buffer_with_properties(cl_context context, const cl_mem_properties* properties,
                                                 cl_mem_flags flags, std::size_t size, void* host_ptr,
                                                 cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, {
    check(!properties || !*properties, CL_INVALID_PROPERTY);
    cl_mem buffer = make_buffer(context, flags, size, host_ptr);
    if (properties) buffer->properties = {0};
    return buffer;
  })
}

cl_mem CL_API_CALL create_sub_buffer(cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type, const void* given,
                                     cl_int* errcode_ret) {
  HALTERE_MAKE(cl_mem, {
    check(valid(parent) && parent->type == CL_MEM_OBJECT_BUFFER && !parent->is_sub_buffer(), CL_INVALID_MEM_OBJECT);
    check(type == CL_BUFFER_CREATE_TYPE_REGION && given, CL_INVALID_VALUE);
    check(!(flags & ~(kAccess | kHostAccess)) && !more_than_one(flags & kAccess) && !more_than_one(flags & kHostAccess),
          CL_INVALID_VALUE);
    const bool widens = ((parent->flags & CL_MEM_READ_ONLY) && (flags & (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY))) ||
                        ((parent->flags & CL_MEM_WRITE_ONLY) && (flags & (CL_MEM_READ_WRITE | CL_MEM_READ_ONLY)));
    check(!widens, CL_INVALID_VALUE);
    const auto region = *static_cast<const cl_buffer_region*>(given);
    check(region.size, CL_INVALID_BUFFER_SIZE);
    check(region.origin <= parent->size && region.size <= parent->size - region.origin, CL_INVALID_VALUE);
    bool aligned = false;
    for (cl_device_id device : parent->context->devices) {
      const cl_uint bits = device->number<cl_uint>(CL_DEVICE_MEM_BASE_ADDR_ALIGN, 8);
      aligned |= region.origin % std::max<cl_uint>(1, bits / 8) == 0;
    }
    check(aligned, CL_MISALIGNED_SUB_BUFFER_OFFSET);
    auto buffer = Ref<_cl_mem>::adopt(new _cl_mem);
    buffer->flags = (flags & kAccess ? flags & kAccess : parent->flags & kAccess) |
                    (flags & kHostAccess ? flags & kHostAccess : parent->flags & kHostAccess) |
                    (parent->flags & kHostPtr);
    buffer->size = region.size;
    buffer->origin = region.origin;
    buffer->handle = parent->handle;
    buffer->context = parent->context;
    buffer->parent = Ref(parent);
    if (parent->host_ptr) buffer->host_ptr = static_cast<char*>(parent->host_ptr) + region.origin;
    note_object(buffer.get(), ArgKind::kBuffer);
    return buffer.detach();
  })
}

cl_int CL_API_CALL keep(cl_mem memory) {
  if (!valid(memory)) return CL_INVALID_MEM_OBJECT;
  retain(memory);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_mem memory) {
  if (!valid(memory)) return CL_INVALID_MEM_OBJECT;
  release(memory);
  return CL_SUCCESS;
}

cl_int CL_API_CALL info(cl_mem memory, cl_mem_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(memory), CL_INVALID_MEM_OBJECT);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_MEM_TYPE: answer.value(memory->type); break;
      case CL_MEM_FLAGS: answer.value(memory->flags); break;
      case CL_MEM_SIZE: answer.value(memory->size); break;
      case CL_MEM_HOST_PTR: answer.value(memory->host_ptr); break;
      case CL_MEM_MAP_COUNT: {
        const std::lock_guard lock(memory->maps_lock);
        answer.value(static_cast<cl_uint>(memory->maps.size()));
        break;
      }
      case CL_MEM_REFERENCE_COUNT: answer.value(cl_uint{memory->references}); break;
      case CL_MEM_CONTEXT: answer.value(memory->context.get()); break;
      case CL_MEM_ASSOCIATED_MEMOBJECT: answer.value(memory->parent.get()); break;
      case CL_MEM_OFFSET: answer.value(memory->origin); break;
      case CL_MEM_USES_SVM_POINTER: answer.value(cl_bool{CL_FALSE}); break;
      case CL_MEM_PROPERTIES: answer.list(memory->properties); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL set_destructor(cl_mem memory, void(CL_CALLBACK* notify)(cl_mem, void*), void* data) {
  HALTERE_CODE({
    check(valid(memory), CL_INVALID_MEM_OBJECT);
    check(notify, CL_INVALID_VALUE);
    const std::lock_guard lock(memory->maps_lock);
    memory->destructors.emplace_back(notify, data);
  })
}

}  // namespace

cl_mem_flags checked_flags(cl_mem_flags flags, const void* host_ptr) {
  check(!(flags & ~(kAccess | kHostAccess | kHostPtr | kKernelReadWrite)), CL_INVALID_VALUE);
  check(!more_than_one(flags & kAccess) && !more_than_one(flags & kHostAccess), CL_INVALID_VALUE);
  check(!(flags & CL_MEM_USE_HOST_PTR) || !(flags & (CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)), CL_INVALID_VALUE);
  check(static_cast<bool>(host_ptr) == static_cast<bool>(flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR)),
        CL_INVALID_HOST_PTR);
  return flags ? flags : CL_MEM_READ_WRITE;  // queries answer what was given
}

void enter_memory(cl_icd_dispatch& table) {
  table.clCreateBuffer = create_buffer;
  table.clCreateBufferWithProperties = create_buffer_with_properties;
  table.clCreateSubBuffer = create_sub_buffer;
  table.clRetainMemObject = keep;
  table.clReleaseMemObject = let_go;
  table.clGetMemObjectInfo = info;
  table.clSetMemObjectDestructorCallback = set_destructor;
}

}  // namespace haltere

_cl_mem::~_cl_mem() {
  haltere::forget_object(this);
  for (auto callback = destructors.rbegin(); callback != destructors.rend(); ++callback) callback->first(this, callback->second);
  if (handle && !is_sub_buffer()) {
    const haltere::Number freed = context->drop(haltere::Free{handle});
    if (shared) context->session->heap()->give(handle, freed);
  }
  for (const haltere::MapRecord& map : maps)
    if (is_image()) std::free(map.pointer);
  std::free(shadow);
}
