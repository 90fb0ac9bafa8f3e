// Programs from units that are compiled separately.
#include "../units.hpp"

#include "objects.hpp"

namespace haltere {
namespace {

// Programs that are released when the linking is over, whether it failed or not.
class Kept {
 public:
  explicit Kept(const Device& device) : device_(device) {}
  ~Kept() {
    for (const cl_program program : programs) device_.cl->clReleaseProgram(program);
  }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  cl_program source(cl_context context, const std::string& source) {
    if (source.find('\0') != std::string::npos)
      throw Refused{"program_rejected", "the source of a unit holds a zero byte", CL_INVALID_VALUE};
    const char* text = source.c_str();
    const std::size_t nbytes = source.size();
    cl_int status = CL_SUCCESS;
    const cl_program made = device_.cl->clCreateProgramWithSource(context, 1, &text, &nbytes, &status);
    check(status, "load of a unit");
    programs.push_back(made);
    return made;
  }

  std::vector<cl_program> programs;

 private:
  const Device& device_;
};

}  // namespace

cl_program Objects::linked(Bytes payload, const std::string& options, bool compile_only) {
  const auto units = unpack_units(payload.text());
  if (!units || units->empty() || (compile_only && units->size() != 1))
    throw Refused{"program_rejected", "units that cannot be read", CL_INVALID_VALUE};
  if (!device.cl->clCompileProgram || !device.cl->clLinkProgram)
    throw Refused{"unsupported", "this device's driver cannot compile and link separately", CL_COMPILER_NOT_AVAILABLE};
  Kept kept(device);
  std::vector<cl_program> compiled;
  for (const Unit& unit : *units) {
    std::vector<cl_program> headers;
    std::vector<const char*> names;
    for (const auto& [name, source] : unit.headers) {
      headers.push_back(kept.source(context, source));
      names.push_back(name.c_str());
    }
    const cl_program program = compiled.emplace_back(kept.source(context, unit.source));
    const std::string all = unit.options + " -cl-kernel-arg-info";
    const auto count = static_cast<cl_uint>(headers.size());
    const cl_int status =
        device.cl->clCompileProgram(program, 1, &device.id, all.c_str(), count, count ? headers.data() : nullptr,
                                    count ? names.data() : nullptr, nullptr, nullptr);
    if (status != CL_SUCCESS) reject(program, status);
  }
  if (compile_only) {
    device.cl->clRetainProgram(compiled[0]);
    return compiled[0];
  }
  cl_int status = CL_SUCCESS;
  const auto link = [&](const std::string& all) {
    return device.cl->clLinkProgram(context, 1, &device.id, all.c_str(), static_cast<cl_uint>(compiled.size()),
                                    compiled.data(), nullptr, nullptr, &status);
  };
  // the kinds of arguments must be known; a driver that keeps them anyway may not know the option
  cl_program made = link(options + " -cl-kernel-arg-info");
  if (!made && status == CL_INVALID_LINKER_OPTIONS) made = link(options);
  if (status != CL_SUCCESS) {
    if (!made) check(status, "link of a program");
    kept.programs.push_back(made);
    reject(made, status);
  }
  return made;
}

}  // namespace haltere
