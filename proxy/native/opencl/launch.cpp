// Launching kernels: the hot path. All of a launch's record but sizes and number is kept ready in
// the kernel; OpenCL's own checks are made here, so that their codes come back at once.
#include "entries.hpp"
#include "order.hpp"

namespace haltere {
namespace {

void append(std::string& out, const void* data, std::size_t nbytes) { out.append(static_cast<const char*>(data), nbytes); }

void make_prefix(_cl_kernel& kernel) {
  std::string& out = kernel.prefix;
  out.assign(kHeadBytes, '\0');
  const std::uint16_t operation = Launch::operation;
  std::memcpy(out.data() + 4, &operation, sizeof operation);
  Writer write(out);
  write(kernel.built->handle);
  write(Bytes(kernel.entry->name));
  write(std::uint64_t{kernel.args.size()});
  for (ArgValue& arg : kernel.args) {
    arg.at = out.size();
    out += arg.encoded;
  }
}

// A record to put; copies of it (made only when a command is held) own all that it names.
struct PutLaunch {
  cl_kernel kernel;
  std::string* borrowed;
  std::string own;
  Ref<_cl_kernel> kept;
  std::vector<Ref<_cl_mem>> memory;
  std::vector<Ref<_cl_sampler>> samplers;

  PutLaunch(cl_kernel of, std::string* record) : kernel(of), borrowed(record) {}
  PutLaunch(const PutLaunch& other)
      : kernel(other.kernel), borrowed(nullptr), own(other.borrowed ? *other.borrowed : other.own),
        kept(other.kernel), memory(other.memory), samplers(other.samplers) {
    if (!other.borrowed) return;
    for (const ArgValue& arg : kernel->args) {
      if (valid(arg.memory)) memory.emplace_back(arg.memory);
      if (valid(arg.sampler)) samplers.emplace_back(arg.sampler);
    }
  }
  Number operator()(Session& session) { return session.put_launch(borrowed ? *borrowed : own); }
};

struct Grid {
  cl_uint dimensions;
  const std::size_t* offset;
  const std::size_t* global;
  const std::size_t* local;
};

bool may_be_non_uniform(cl_kernel kernel, cl_device_id device) {
  return device->number<cl_bool>(CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT, CL_FALSE) &&
         (kernel->program->options.find("-cl-std=CL2") != std::string::npos ||
          kernel->program->options.find("-cl-std=CL3") != std::string::npos);
}

void check_grid(cl_kernel kernel, cl_device_id device, const Grid& grid) {
  const auto dimensions = device->number<cl_uint>(CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, kMaxDimensions);
  check(grid.dimensions && grid.dimensions <= std::min<cl_uint>(dimensions, kMaxDimensions), CL_INVALID_WORK_DIMENSION);
  check(grid.global, CL_INVALID_GLOBAL_WORK_SIZE);
  const Entry& entry = *kernel->entry;
  if (!grid.local) return;
  std::size_t items = 1;
  for (cl_uint i = 0; i < grid.dimensions; ++i) {
    check(grid.local[i], CL_INVALID_WORK_GROUP_SIZE);
    items *= grid.local[i];
  }
  check(!entry.work_group || items <= entry.work_group, CL_INVALID_WORK_GROUP_SIZE);
  const std::string* limits = device->raw(CL_DEVICE_MAX_WORK_ITEM_SIZES);
  for (cl_uint i = 0; i < grid.dimensions; ++i) {
    if (limits && limits->size() >= (i + 1) * sizeof(std::size_t))
      check(grid.local[i] <= load_u64(reinterpret_cast<const std::uint8_t*>(limits->data()) + i * sizeof(std::size_t)),
            CL_INVALID_WORK_ITEM_SIZE);
    check(grid.global[i] % grid.local[i] == 0 || may_be_non_uniform(kernel, device), CL_INVALID_WORK_GROUP_SIZE);
  }
  if (entry.compiled_size[0])
    for (cl_uint i = 0; i < kMaxDimensions; ++i)
      check((i < grid.dimensions ? grid.local[i] : 1) == entry.compiled_size[i], CL_INVALID_WORK_GROUP_SIZE);
}

void launch(Order order, cl_kernel kernel, Grid grid) {
  check(valid(order.queue), CL_INVALID_COMMAND_QUEUE);
  check(valid(kernel), CL_INVALID_KERNEL);
  check(kernel->program->context.get() == order.queue->context.get(), CL_INVALID_CONTEXT);
  check(!kernel->missing, CL_INVALID_KERNEL_ARGS);
  if (!grid.local && kernel->entry->compiled_size[0]) grid.local = kernel->entry->compiled_size;
  check_grid(kernel, order.queue->device, grid);
  for (cl_uint i = 0; i < grid.dimensions; ++i)
    if (!grid.global[i]) {  // nothing to do, in its place of the order
      order.has_record = false;
      return enqueue(order, {}, [](Session& session) { return session.sent(); });
    }
  if (kernel->prefix.empty()) make_prefix(*kernel);
  static thread_local std::string record;
  record.assign(kernel->prefix);
  const std::uint64_t dimensions = grid.dimensions, none = 0;
  append(record, &dimensions, 8);
  append(record, grid.global, 8 * dimensions);
  append(record, grid.local ? &dimensions : &none, 8);
  if (grid.local) append(record, grid.local, 8 * dimensions);
  append(record, grid.offset ? &dimensions : &none, 8);
  if (grid.offset) append(record, grid.offset, 8 * dimensions);
  const auto length = static_cast<std::uint32_t>(record.size());
  std::memcpy(record.data(), &length, sizeof length);
  PutLaunch put(kernel, &record);
  enqueue(order, {}, put);
}

cl_int CL_API_CALL nd_range(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const std::size_t* offset,
                            const std::size_t* global, const std::size_t* local, cl_uint count, const cl_event* waits,
                            cl_event* out) {
  HALTERE_CODE({ launch({queue, CL_COMMAND_NDRANGE_KERNEL, count, waits, out}, kernel, {dimensions, offset, global, local}); })
}

cl_int CL_API_CALL task(cl_command_queue queue, cl_kernel kernel, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({
    const std::size_t one = 1;
    launch({queue, CL_COMMAND_TASK, count, waits, out}, kernel, {1, nullptr, &one, &one});
  })
}

}  // namespace

void enter_launch(cl_icd_dispatch& table) {
  table.clEnqueueNDRangeKernel = nd_range;
  table.clEnqueueTask = task;
}

}  // namespace haltere
