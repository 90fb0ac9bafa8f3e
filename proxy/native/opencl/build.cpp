// Building, compiling and linking: done by the server, waited for here.
#include "../units.hpp"
#include "entries.hpp"
#include "includes.hpp"
#include "program.hpp"
#include "watch.hpp"

namespace haltere {
namespace {

using Notify = void(CL_CALLBACK*)(cl_program, void*);

// Kernels of a program, as the server describes them: a KernelInfo each, its ArgInfos behind it.
std::vector<Entry> read_entries(const std::string& records) {
  std::vector<Entry> entries;
  std::size_t at = 0;
  while (at + kHeadBytes <= records.size()) {
    std::uint32_t length;
    std::memcpy(&length, records.data() + at, sizeof length);
    check(length >= kHeadBytes && length <= records.size() - at, CL_OUT_OF_RESOURCES);
    visit_record(Bytes(records.data() + at, length), [&entries](Number, const auto& record) {
      using Record = std::decay_t<decltype(record)>;
      if constexpr (std::is_same_v<Record, KernelInfo>) {
        Entry& entry = entries.emplace_back();
        entry.name = record.name.text();
        entry.attributes = record.attributes.text();
        entry.arguments.reserve(record.arg_count);
        entry.work_group = record.work_group;
        entry.multiple = record.multiple;
        entry.local_bytes = record.local_bytes;
        entry.private_bytes = record.private_bytes;
        for (std::uint64_t i = 0; i < record.compiled_size.count; ++i) entry.compiled_size[i] = record.compiled_size.value[i];
      } else if constexpr (std::is_same_v<Record, ArgInfo>) {
        if (entries.empty()) return;
        entries.back().arguments.push_back({static_cast<cl_uint>(record.address), static_cast<cl_uint>(record.access),
                                            record.qualifiers, std::string(record.type_name.text()),
                                            std::string(record.name.text())});
      }
    });
    at += length;
  }
  return entries;
}

// Loads a payload under a new handle; `log` is the build's, also when it throws.
std::shared_ptr<Built> load(cl_context context, const std::string& format, const std::string& options,
                            const std::string& payload, std::string& log) {
  Session::Dialogue dialogue(*context->session);
  auto built = std::make_shared<Built>(context, context->mint());
  const std::uint64_t handle = std::exchange(built->handle, 0);  // nothing to unload yet
  try {
    dialogue.upload(Bytes(payload));
    dialogue.ask(Load{handle, Bytes(format), Bytes(options)});
    log = dialogue.download(Session::done_bytes(dialogue.ask(BuildLog{handle})));
  } catch (const Failure& failure) {
    log = failure.what();
    throw;
  }
  built->handle = handle;
  if (format != "opencl-compile") built->entries = read_entries(dialogue.download(Session::done_bytes(dialogue.ask(Kernels{handle}))));
  return built;
}

void begin(cl_program program, const char* options) {
  check(program->kernels.load() == 0, CL_INVALID_OPERATION);
  program->status = CL_BUILD_IN_PROGRESS;
  program->options = options ? options : "";
  program->log.clear();
  program->built.reset();
  program->binary_type = CL_PROGRAM_BINARY_TYPE_NONE;
}

// Does `work`, which sets the results; its failure is the build's.
template <class Work>
cl_int build_with(cl_program program, Work&& work) {
  try {
    work();
    program->status = CL_BUILD_SUCCESS;
    return CL_SUCCESS;
  } catch (...) {
    program->status = CL_BUILD_ERROR;
    return code_of_exception();
  }
}

void notify_later(cl_program program, Notify notify, void* data) {
  if (!notify) return;
  program->context->watch->add([kept = Ref(program), notify, data] { notify(kept.get(), data); });
}

cl_int CL_API_CALL build(cl_program program, cl_uint count, const cl_device_id* devices, const char* options,
                         Notify notify, void* data) {
  HALTERE_CODE({
    check(valid(program), CL_INVALID_PROGRAM);
    check(notify || !data, CL_INVALID_VALUE);
    check_devices(program, count, devices);
    cl_int code;
    {
      const std::lock_guard lock(program->lock);
      begin(program, options);
      code = build_with(program, [program] {
        const bool units = !program->units.empty();
        // of a binary of ours the options are in it, as they would be in the device's code
        program->built = load(program->context.get(), units ? "opencl-link" : program->format,
                              program->stored_options ? *program->stored_options : absolute_includes(program->options),
                              units ? program->units : program->payload, program->log);
        program->binary_type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
      });
    }
    notify_later(program, notify, data);
    return notify ? CL_SUCCESS : code;  // with a callback the status tells
  })
}

cl_int CL_API_CALL compile(cl_program program, cl_uint count, const cl_device_id* devices, const char* options,
                           cl_uint header_count, const cl_program* headers, const char** names, Notify notify,
                           void* data) {
  HALTERE_CODE({
    check(valid(program), CL_INVALID_PROGRAM);
    check(notify || !data, CL_INVALID_VALUE);
    check((header_count == 0) == (headers == nullptr) && (header_count == 0) == (names == nullptr), CL_INVALID_VALUE);
    check_devices(program, count, devices);
    check(program->from_source, CL_INVALID_OPERATION);
    Headers texts;
    for (cl_uint i = 0; i < header_count; ++i) {
      check(valid(headers[i]) && headers[i]->from_source, CL_INVALID_PROGRAM);
      texts.emplace_back(names[i], headers[i]->payload);
    }
    cl_int code;
    {
      const std::lock_guard lock(program->lock);
      begin(program, options);
      const std::string unit = pack_unit({program->payload, absolute_includes(program->options), texts});
      code = build_with(program, [program, &unit] {
        load(program->context.get(), "opencl-compile", program->options, unit, program->log);
        program->units = unit;
        program->binary_type = CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT;
      });
    }
    notify_later(program, notify, data);
    if (code == CL_BUILD_PROGRAM_FAILURE) code = CL_COMPILE_PROGRAM_FAILURE;
    return notify ? CL_SUCCESS : code;
  })
}

cl_program CL_API_CALL link(cl_context context, cl_uint count, const cl_device_id* devices, const char* options,
                            cl_uint input_count, const cl_program* inputs, Notify notify, void* data,
                            cl_int* errcode_ret) {
  cl_int code = CL_SUCCESS;
  try {
    check(valid(context), CL_INVALID_CONTEXT);
    check(input_count && inputs && (notify || !data) && (count == 0) == (devices == nullptr), CL_INVALID_VALUE);
    auto program = Ref<_cl_program>::adopt(new _cl_program);
    program->context = Ref(context);
    program->format = "opencl-link";
    program->options = options ? options : "";
    for (cl_uint i = 0; i < input_count; ++i) {
      check(valid(inputs[i]), CL_INVALID_PROGRAM);
      check(inputs[i]->context.get() == context && !inputs[i]->units.empty(), CL_INVALID_OPERATION);
      program->payload += inputs[i]->units;
    }
    const std::lock_guard lock(program->lock);
    if (program->options.find("-create-library") != std::string::npos) {
      program->units = program->payload;  // linked when something is linked with it
      program->status = CL_BUILD_SUCCESS;
      program->binary_type = CL_PROGRAM_BINARY_TYPE_LIBRARY;
    } else {
      code = build_with(program.get(), [&] {
        program->built = load(context, program->format, program->options, program->payload, program->log);
        program->binary_type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
      });
      if (code == CL_BUILD_PROGRAM_FAILURE) code = CL_LINK_PROGRAM_FAILURE;
    }
    notify_later(program.get(), notify, data);
    if (errcode_ret) *errcode_ret = notify ? CL_SUCCESS : code;
    return program.detach();  // also a failed one, for its log
  } catch (...) {
    return refused_with<cl_program>(errcode_ret, code_of_exception());
  }
}

}  // namespace

bool can_load(cl_program program) {
  std::string log;
  try {
    load(program->context.get(), program->format, "", program->payload, log);
    return true;
  } catch (const Failure& failure) {
    if (failure.code == CL_DEVICE_NOT_AVAILABLE) throw;
    return false;
  }
}

Built::Built(cl_context owner, std::uint64_t number) : context(owner), handle(number) {}

Built::~Built() {
  if (handle) context->drop(Unload{handle});
}

void enter_build(cl_icd_dispatch& table) {
  table.clBuildProgram = build;
  table.clCompileProgram = compile;
  table.clLinkProgram = link;
}

}  // namespace haltere
