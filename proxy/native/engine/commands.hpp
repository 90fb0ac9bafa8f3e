// Doing one command: what it names is looked up, what it asks for is checked, OpenCL is called.
#pragma once

#include "tenant.hpp"

namespace haltere {

class Commands {
 public:
  explicit Commands(Tenant& whose) : tenant(whose) {}

  // Each: true if the device has something to complete. Throws Refused, Violation.
  bool run(const Alloc& asked);
  bool run(const Free& asked);
  bool run(const Unload& asked);
  bool run(const Write& asked);
  bool run(const WriteInline& asked);
  bool run(const Read& asked);
  bool run(const Copy& asked);
  bool run(const Launch& asked);
  bool run(const Signal&) { return false; }  // the tenant's own
  bool run(const Fill& asked);
  bool run(const CopyRect& asked);
  bool run(const WriteRect& asked);
  bool run(const ReadRect& asked);
  bool run(const CreateImage& asked);
  bool run(const WriteImage& asked);
  bool run(const ReadImage& asked);
  bool run(const CopyImage& asked);
  bool run(const CopyImageToBuffer& asked);
  bool run(const CopyBufferToImage& asked);
  bool run(const FillImage& asked);
  bool run(const CreateSampler& asked);
  bool run(const DropSampler& asked);
  bool run(const Timed&);
  bool run(const Saw& asked);

 private:
  Tenant& tenant;
  const cl_icd_dispatch& cl() const { return *tenant.objects.device.cl; }
  cl_command_queue queue() const { return tenant.objects.queue; }
  // Where the next command's event goes.
  cl_event* event();
  bool done(int status, const std::string& what);
  // The bytes of a write: in the arena, where they must stay, or those of the backlog.
  const std::uint8_t* source(u64 offset, u64 nbytes);
  Memory& range(u64 buffer, u64 offset, u64 nbytes, const char* what);
  // The command may write to it, and to what it lies in.
  void changes(Memory& memory);
  void set_arguments(const Launch& asked, Kernel& kernel);
  void set_argument(cl_uint index, const Arg& arg, Kernel& kernel);

  cl_event event_ = nullptr;
  bool reads_arena_ = false;
};

// `why` as a Failed record into an area of shared memory; a long message is cut.
void write_failed(std::uint8_t* at, std::size_t size, u64 number, const Refused& why, bool sticky);

}  // namespace haltere
