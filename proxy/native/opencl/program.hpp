// What the files about programs share.
#pragma once

#include "objects.hpp"

namespace haltere {

// A binary of ours: source (or whatever was given) and options, so that it works on another driver.
std::string synthetic_binary(const std::string& format, const std::string& options, const std::string& payload);
bool read_synthetic(Bytes binary, _cl_program& program);

// Whether the device takes a program's bytes: asked of the server.
bool can_load(cl_program program);

// Devices of a build: none given, or devices of the context. Throws Failure.
void check_devices(cl_program program, cl_uint count, const cl_device_id* devices);

}  // namespace haltere
