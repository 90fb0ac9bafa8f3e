// Entry points that are not offered: each says so by its code. The device info tells it too.
#include <tuple>
#include <type_traits>

#include "entries.hpp"

namespace haltere {
namespace {

template <cl_int code, class Result, class... Args>
Result CL_API_CALL refused([[maybe_unused]] Args... args) {
  if constexpr (std::is_same_v<Result, cl_int>) {
    return code;
  } else if constexpr (!std::is_void_v<Result>) {
    const std::tuple<Args...> all(args...);
    if constexpr (std::is_same_v<std::tuple_element_t<sizeof...(Args) - 1, std::tuple<Args...>>, cl_int*>)
      if (cl_int* errcode_ret = std::get<sizeof...(Args) - 1>(all)) *errcode_ret = code;
    return nullptr;
  }
}

template <cl_int code, class Result, class... Args>
void refuse(Result(CL_API_CALL*& slot)(Args...)) {
  slot = refused<code, Result, Args...>;
}

// Slots for systems that are not this one have no type here: whatever calls them gets the code.
template <cl_int code>
void refuse(void*& slot) {
  slot = reinterpret_cast<void*>(+[]() -> cl_int { return code; });
}

}  // namespace

#define REFUSE(slot, code) refuse<code>(table.slot)

void enter_refused(cl_icd_dispatch& table) {
  // programs' own functions as commands (CL_EXEC_NATIVE_KERNEL is not among the capabilities)
  REFUSE(clEnqueueNativeKernel, CL_INVALID_OPERATION);
  // one device from several, and parts of one
  REFUSE(clCreateSubDevicesEXT, CL_DEVICE_PARTITION_FAILED);
  REFUSE(clRetainDeviceEXT, CL_INVALID_DEVICE);
  REFUSE(clReleaseDeviceEXT, CL_INVALID_DEVICE);
  // queue properties after creation: removed in OpenCL 1.1
  REFUSE(clSetCommandQueueProperty, CL_INVALID_OPERATION);
  // memory with one address on both sides: host and device are different processes here
  REFUSE(clSVMAlloc, CL_INVALID_OPERATION);
  REFUSE(clSVMFree, CL_INVALID_OPERATION);
  REFUSE(clEnqueueSVMFree, CL_INVALID_OPERATION);
  REFUSE(clEnqueueSVMMemcpy, CL_INVALID_OPERATION);
  REFUSE(clEnqueueSVMMemFill, CL_INVALID_OPERATION);
  REFUSE(clEnqueueSVMMap, CL_INVALID_OPERATION);
  REFUSE(clEnqueueSVMUnmap, CL_INVALID_OPERATION);
  REFUSE(clEnqueueSVMMigrateMem, CL_INVALID_OPERATION);
  REFUSE(clSetKernelArgSVMPointer, CL_INVALID_OPERATION);
  REFUSE(clSetKernelExecInfo, CL_INVALID_OPERATION);
  // pipes, queues on the device, sub-groups
  REFUSE(clCreatePipe, CL_INVALID_OPERATION);
  REFUSE(clGetPipeInfo, CL_INVALID_MEM_OBJECT);
  REFUSE(clSetDefaultDeviceCommandQueue, CL_INVALID_OPERATION);
  REFUSE(clGetKernelSubGroupInfo, CL_INVALID_OPERATION);
  REFUSE(clGetKernelSubGroupInfoKHR, CL_INVALID_OPERATION);
  // clocks of host and device together
  REFUSE(clGetDeviceAndHostTimer, CL_INVALID_OPERATION);
  REFUSE(clGetHostTimer, CL_INVALID_OPERATION);
  // SPIR-V specialization, and destructors in programs (removed in OpenCL 3.0)
  REFUSE(clSetProgramReleaseCallback, CL_INVALID_OPERATION);
  REFUSE(clSetProgramSpecializationConstant, CL_INVALID_OPERATION);
  // graphics
  REFUSE(clCreateFromGLBuffer, CL_INVALID_OPERATION);
  REFUSE(clCreateFromGLTexture, CL_INVALID_OPERATION);
  REFUSE(clCreateFromGLTexture2D, CL_INVALID_OPERATION);
  REFUSE(clCreateFromGLTexture3D, CL_INVALID_OPERATION);
  REFUSE(clCreateFromGLRenderbuffer, CL_INVALID_OPERATION);
  REFUSE(clGetGLObjectInfo, CL_INVALID_GL_OBJECT);
  REFUSE(clGetGLTextureInfo, CL_INVALID_GL_OBJECT);
  REFUSE(clEnqueueAcquireGLObjects, CL_INVALID_OPERATION);
  REFUSE(clEnqueueReleaseGLObjects, CL_INVALID_OPERATION);
  REFUSE(clGetGLContextInfoKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateEventFromGLsyncKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromEGLImageKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueAcquireEGLObjectsKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueReleaseEGLObjectsKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateEventFromEGLSyncKHR, CL_INVALID_OPERATION);
  REFUSE(clGetDeviceIDsFromD3D10KHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromD3D10BufferKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromD3D10Texture2DKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromD3D10Texture3DKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueAcquireD3D10ObjectsKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueReleaseD3D10ObjectsKHR, CL_INVALID_OPERATION);
  REFUSE(clGetDeviceIDsFromD3D11KHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromD3D11BufferKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromD3D11Texture2DKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromD3D11Texture3DKHR, CL_INVALID_OPERATION);
  REFUSE(clCreateFromDX9MediaSurfaceKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueAcquireD3D11ObjectsKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueReleaseD3D11ObjectsKHR, CL_INVALID_OPERATION);
  REFUSE(clGetDeviceIDsFromDX9MediaAdapterKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueAcquireDX9MediaSurfacesKHR, CL_INVALID_OPERATION);
  REFUSE(clEnqueueReleaseDX9MediaSurfacesKHR, CL_INVALID_OPERATION);
}

}  // namespace haltere
