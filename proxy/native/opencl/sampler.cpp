// Samplers.
#include "answer.hpp"
#include "entries.hpp"
#include "types.hpp"

namespace haltere {
namespace {

Ref<_cl_sampler> make(cl_context context, cl_bool normalized, cl_addressing_mode addressing, cl_filter_mode filter) {
  check(valid(context), CL_INVALID_CONTEXT);
  check(context->devices.front()->number<cl_bool>(CL_DEVICE_IMAGE_SUPPORT, CL_FALSE), CL_INVALID_OPERATION);
  check(addressing >= CL_ADDRESS_NONE && addressing <= CL_ADDRESS_MIRRORED_REPEAT, CL_INVALID_VALUE);
  check(filter == CL_FILTER_NEAREST || filter == CL_FILTER_LINEAR, CL_INVALID_VALUE);
  auto sampler = Ref<_cl_sampler>::adopt(new _cl_sampler);
  sampler->normalized = normalized ? CL_TRUE : CL_FALSE;
  sampler->addressing = addressing;
  sampler->filter = filter;
  const std::lock_guard lock(context->session->order());
  const std::uint64_t handle = context->mint();
  context->session->put(CreateSampler{handle, sampler->normalized, addressing, filter});
  sampler->context = Ref(context);
  sampler->handle = handle;
  note_object(sampler.get(), ArgKind::kSampler);
  return sampler;
}

cl_sampler CL_API_CALL create(cl_context context, cl_bool normalized, cl_addressing_mode addressing,
                              cl_filter_mode filter, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_sampler, { return make(context, normalized, addressing, filter).detach(); })
}

cl_sampler CL_API_CALL create_with_properties(cl_context context, const cl_sampler_properties* given,
                                              cl_int* errcode_ret) {
  HALTERE_MAKE(cl_sampler, {
    cl_bool normalized = CL_TRUE;
    cl_addressing_mode addressing = CL_ADDRESS_CLAMP;
    cl_filter_mode filter = CL_FILTER_NEAREST;
    std::vector<cl_sampler_properties> kept;
    for (const cl_sampler_properties* at = given; at && *at; at += 2) {
      kept.insert(kept.end(), {at[0], at[1]});
      switch (at[0]) {
        case CL_SAMPLER_NORMALIZED_COORDS: normalized = static_cast<cl_bool>(at[1]); break;
        case CL_SAMPLER_ADDRESSING_MODE: addressing = static_cast<cl_addressing_mode>(at[1]); break;
        case CL_SAMPLER_FILTER_MODE: filter = static_cast<cl_filter_mode>(at[1]); break;
        default: throw Failure(CL_INVALID_VALUE);
      }
    }
    if (given) kept.push_back(0);
    auto sampler = make(context, normalized, addressing, filter);
    sampler->properties = kept;
    return sampler.detach();
  })
}

cl_int CL_API_CALL keep(cl_sampler sampler) {
  if (!valid(sampler)) return CL_INVALID_SAMPLER;
  retain(sampler);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_sampler sampler) {
  if (!valid(sampler)) return CL_INVALID_SAMPLER;
  release(sampler);
  return CL_SUCCESS;
}

cl_int CL_API_CALL info(cl_sampler sampler, cl_sampler_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(sampler), CL_INVALID_SAMPLER);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_SAMPLER_REFERENCE_COUNT: answer.value(cl_uint{sampler->references}); break;
      case CL_SAMPLER_CONTEXT: answer.value(sampler->context.get()); break;
      case CL_SAMPLER_NORMALIZED_COORDS: answer.value(sampler->normalized); break;
      case CL_SAMPLER_ADDRESSING_MODE: answer.value(sampler->addressing); break;
      case CL_SAMPLER_FILTER_MODE: answer.value(sampler->filter); break;
      case CL_SAMPLER_PROPERTIES: answer.list(sampler->properties); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

}  // namespace

void enter_sampler(cl_icd_dispatch& table) {
  table.clCreateSampler = create;
  table.clCreateSamplerWithProperties = create_with_properties;
  table.clRetainSampler = keep;
  table.clReleaseSampler = let_go;
  table.clGetSamplerInfo = info;
}

}  // namespace haltere

_cl_sampler::~_cl_sampler() {
  haltere::forget_object(this);
  if (handle) context->drop(haltere::DropSampler{handle});
}
