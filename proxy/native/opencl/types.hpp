// What kind of argument a kernel's parameter takes, by what the compiler says of it.
#pragma once

#include "objects.hpp"

namespace haltere {

enum class ArgKind { kBuffer, kImage, kSampler, kLocal, kValue };

// Where the compiler says nothing (binaries without argument information) it is told by the call:
// no value means local memory, and a pointer to a live object means that object.
ArgKind kind_of(const Argument& declared, std::size_t nbytes, const void* value);

// Size of a built-in scalar or vector type; 0: not one (a struct, a typedef).
std::size_t scalar_bytes(const std::string& type_name);

// Live images, buffers and samplers, for arguments of unknown kind.
void note_object(const void* object, ArgKind kind);
void forget_object(const void* object);

}  // namespace haltere
