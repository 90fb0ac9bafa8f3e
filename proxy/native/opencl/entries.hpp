// Every file of entry points puts its own into the dispatch table.
#pragma once

#include "objects.hpp"

namespace haltere {

void enter_platform(cl_icd_dispatch& table);
void enter_context(cl_icd_dispatch& table);
void enter_queue(cl_icd_dispatch& table);
void enter_memory(cl_icd_dispatch& table);
void enter_transfer(cl_icd_dispatch& table);
void enter_map(cl_icd_dispatch& table);
void enter_image(cl_icd_dispatch& table);
void enter_image_transfer(cl_icd_dispatch& table);
void enter_sampler(cl_icd_dispatch& table);
void enter_program(cl_icd_dispatch& table);
void enter_build(cl_icd_dispatch& table);
void enter_kernel(cl_icd_dispatch& table);
void enter_launch(cl_icd_dispatch& table);
void enter_event(cl_icd_dispatch& table);
void enter_refused(cl_icd_dispatch& table);  // first: all that is not offered

cl_platform_id the_platform();
void* extension_function(const char* name);

}  // namespace haltere

// The two ends of an entry point that returns a code, and of one that returns an object.
#define HALTERE_CODE(...)               \
  try {                                 \
    __VA_ARGS__                         \
  } catch (...) {                       \
    return haltere::code_of_exception(); \
  }                                     \
  return CL_SUCCESS;
#define HALTERE_MAKE(Type, ...)                                                        \
  try {                                                                                \
    Type made = [&]() -> Type { __VA_ARGS__ }();                                       \
    if (errcode_ret) *errcode_ret = CL_SUCCESS;                                        \
    return made;                                                                       \
  } catch (...) {                                                                      \
    return haltere::refused_with<Type>(errcode_ret, haltere::code_of_exception());     \
  }
