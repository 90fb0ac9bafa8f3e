// Kernels exist here only: a launch carries the name and all arguments.
#include "answer.hpp"
#include "entries.hpp"
#include "types.hpp"

namespace haltere {
namespace {

cl_kernel make_kernel(cl_program program, const std::shared_ptr<Built>& built, const Entry& entry) {
  auto kernel = Ref<_cl_kernel>::adopt(new _cl_kernel);
  kernel->built = built;
  kernel->entry = &entry;
  kernel->args.resize(entry.arguments.size());
  kernel->missing = entry.arguments.size();
  kernel->program = Ref(program);
  program->kernels.fetch_add(1);
  return kernel.detach();
}

std::shared_ptr<Built> built_of(cl_program program) {
  check(valid(program), CL_INVALID_PROGRAM);
  const std::lock_guard lock(program->lock);
  check(program->built != nullptr, CL_INVALID_PROGRAM_EXECUTABLE);
  return program->built;
}

cl_kernel CL_API_CALL create(cl_program program, const char* name, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_kernel, {
    const auto built = built_of(program);
    check(name, CL_INVALID_VALUE);
    for (const Entry& entry : built->entries)
      if (entry.name == name) return make_kernel(program, built, entry);
    throw Failure(CL_INVALID_KERNEL_NAME);
  })
}

cl_int CL_API_CALL create_all(cl_program program, cl_uint room, cl_kernel* kernels, cl_uint* count) {
  HALTERE_CODE({
    const auto built = built_of(program);
    check(!kernels || room >= built->entries.size(), CL_INVALID_VALUE);
    for (std::size_t i = 0; kernels && i < built->entries.size(); ++i)
      kernels[i] = make_kernel(program, built, built->entries[i]);
    if (count) *count = static_cast<cl_uint>(built->entries.size());
  })
}

cl_kernel CL_API_CALL clone(cl_kernel source, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_kernel, {
    check(valid(source), CL_INVALID_KERNEL);
    cl_kernel kernel = make_kernel(source->program.get(), source->built, *source->entry);
    kernel->args = source->args;
    kernel->missing = source->missing;
    return kernel;
  })
}

cl_int CL_API_CALL keep(cl_kernel kernel) {
  if (!valid(kernel)) return CL_INVALID_KERNEL;
  retain(kernel);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_kernel kernel) {
  if (!valid(kernel)) return CL_INVALID_KERNEL;
  release(kernel);
  return CL_SUCCESS;
}

// ---- arguments

template <class Object>
Object* object_in(std::size_t nbytes, const void* value, cl_int otherwise) {
  check(nbytes == sizeof(Object*), CL_INVALID_ARG_SIZE);
  if (!value) return nullptr;
  Object* object = *static_cast<Object* const*>(value);
  check(!object || valid(object), otherwise);
  return object;
}

void set_memory(ArgValue& arg, cl_kernel kernel, std::size_t nbytes, const void* value, bool image) {
  cl_mem memory = object_in<_cl_mem>(nbytes, value, CL_INVALID_MEM_OBJECT);
  check(!image || (memory && memory->is_image()), CL_INVALID_MEM_OBJECT);
  check(image || !memory || !memory->is_image(), CL_INVALID_ARG_VALUE);
  check(!memory || memory->context.get() == kernel->program->context.get(), CL_INVALID_MEM_OBJECT);
  arg.memory = memory;
  Arg wire;
  wire.kind = image ? Arg::kObject : Arg::kBuffer;
  if (memory) {
    memory->root()->given = true;
    wire.handle = memory->handle;
    wire.offset = memory->is_image() ? 0 : memory->origin;
  }
  wire.append_to(arg.encoded);
}

cl_int CL_API_CALL set_arg(cl_kernel kernel, cl_uint index, std::size_t nbytes, const void* value) {
  HALTERE_CODE({
    check(valid(kernel), CL_INVALID_KERNEL);
    check(index < kernel->args.size(), CL_INVALID_ARG_INDEX);
    const Argument& declared = kernel->entry->arguments[index];
    ArgValue made;
    made.set = true;
    Arg wire;
    switch (kind_of(declared, nbytes, value)) {
      case ArgKind::kBuffer: set_memory(made, kernel, nbytes, value, false); break;
      case ArgKind::kImage: set_memory(made, kernel, nbytes, value, true); break;
      case ArgKind::kSampler:
        made.sampler = object_in<_cl_sampler>(nbytes, value, CL_INVALID_SAMPLER);
        check(made.sampler && made.sampler->context.get() == kernel->program->context.get(), CL_INVALID_SAMPLER);
        wire.kind = Arg::kObject;
        wire.handle = made.sampler->handle;
        wire.append_to(made.encoded);
        break;
      case ArgKind::kLocal:
        check(nbytes, CL_INVALID_ARG_SIZE);
        check(!value, CL_INVALID_ARG_VALUE);
        wire.kind = Arg::kLocal;
        wire.handle = nbytes;
        wire.append_to(made.encoded);
        break;
      case ArgKind::kValue: {
        check(value, CL_INVALID_ARG_VALUE);
        const std::size_t expected = scalar_bytes(declared.type_name);
        check(nbytes && (!expected || expected == nbytes), CL_INVALID_ARG_SIZE);
        wire.scalar = Bytes(value, nbytes);
        wire.append_to(made.encoded);
        break;
      }
    }
    ArgValue& arg = kernel->args[index];
    if (!arg.set) --kernel->missing;
    made.at = arg.at;
    if (made.encoded.size() == arg.encoded.size() && !kernel->prefix.empty())
      std::memcpy(kernel->prefix.data() + made.at, made.encoded.data(), made.encoded.size());
    else
      kernel->prefix.clear();
    arg = std::move(made);
  })
}

// ---- descriptions

cl_int CL_API_CALL info(cl_kernel kernel, cl_kernel_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(kernel), CL_INVALID_KERNEL);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_KERNEL_FUNCTION_NAME: answer.text(kernel->entry->name); break;
      case CL_KERNEL_NUM_ARGS: answer.value(static_cast<cl_uint>(kernel->args.size())); break;
      case CL_KERNEL_REFERENCE_COUNT: answer.value(cl_uint{kernel->references}); break;
      case CL_KERNEL_CONTEXT: answer.value(kernel->program->context.get()); break;
      case CL_KERNEL_PROGRAM: answer.value(kernel->program.get()); break;
      case CL_KERNEL_ATTRIBUTES: answer.text(kernel->entry->attributes); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL arg_info(cl_kernel kernel, cl_uint index, cl_kernel_arg_info query, std::size_t room, void* into,
                            std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(kernel), CL_INVALID_KERNEL);
    check(index < kernel->args.size(), CL_INVALID_ARG_INDEX);
    const Argument& declared = kernel->entry->arguments[index];
    check(declared.address, CL_KERNEL_ARG_INFO_NOT_AVAILABLE);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_KERNEL_ARG_ADDRESS_QUALIFIER: answer.value(declared.address); break;
      case CL_KERNEL_ARG_ACCESS_QUALIFIER: answer.value(declared.access); break;
      case CL_KERNEL_ARG_TYPE_NAME: answer.text(declared.type_name); break;
      case CL_KERNEL_ARG_TYPE_QUALIFIER: answer.value(declared.qualifiers); break;
      case CL_KERNEL_ARG_NAME: answer.text(declared.name); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL work_group_info(cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info query,
                                   std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(kernel), CL_INVALID_KERNEL);
    const auto& devices = kernel->program->context->devices;
    check(device ? std::find(devices.begin(), devices.end(), device) != devices.end() : devices.size() == 1, CL_INVALID_DEVICE);
    const Answer answer(room, into, size_ret);
    const Entry& entry = *kernel->entry;
    switch (query) {
      case CL_KERNEL_WORK_GROUP_SIZE: answer.value(static_cast<std::size_t>(entry.work_group)); break;
      case CL_KERNEL_COMPILE_WORK_GROUP_SIZE: answer.bytes(entry.compiled_size, sizeof entry.compiled_size); break;
      case CL_KERNEL_LOCAL_MEM_SIZE: {
        cl_ulong total = entry.local_bytes;
        for (std::size_t i = 0; i < kernel->args.size(); ++i)
          if (kernel->args[i].set && load_u64(reinterpret_cast<const std::uint8_t*>(kernel->args[i].encoded.data())) == Arg::kLocal)
            total += load_u64(reinterpret_cast<const std::uint8_t*>(kernel->args[i].encoded.data()) + 8);
        answer.value(total);
        break;
      }
      case CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE: answer.value(static_cast<std::size_t>(entry.multiple)); break;
      case CL_KERNEL_PRIVATE_MEM_SIZE: answer.value(cl_ulong{entry.private_bytes}); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

}  // namespace

void enter_kernel(cl_icd_dispatch& table) {
  table.clCreateKernel = create;
  table.clCreateKernelsInProgram = create_all;
  table.clCloneKernel = clone;
  table.clRetainKernel = keep;
  table.clReleaseKernel = let_go;
  table.clSetKernelArg = set_arg;
  table.clGetKernelInfo = info;
  table.clGetKernelArgInfo = arg_info;
  table.clGetKernelWorkGroupInfo = work_group_info;
}

}  // namespace haltere

_cl_kernel::~_cl_kernel() {
  if (program) program->kernels.fetch_sub(1);
}
