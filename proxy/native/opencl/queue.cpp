// Command queues: names for an order in the context's one ring.
#include "answer.hpp"
#include "entries.hpp"
#include "order.hpp"

namespace haltere {
namespace {

constexpr cl_command_queue_properties kHostProperties = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE;

Ref<_cl_command_queue> make(cl_context context, cl_device_id device, cl_command_queue_properties properties) {
  check(valid(context), CL_INVALID_CONTEXT);
  check(valid(device) && std::find(context->devices.begin(), context->devices.end(), device) != context->devices.end(),
        CL_INVALID_DEVICE);
  constexpr cl_command_queue_properties kDevice = CL_QUEUE_ON_DEVICE | CL_QUEUE_ON_DEVICE_DEFAULT;
  check(!(properties & ~(kHostProperties | kDevice)), CL_INVALID_VALUE);
  check(!(properties & kDevice), CL_INVALID_QUEUE_PROPERTIES);
  context->check_own();
  auto queue = Ref<_cl_command_queue>::adopt(new _cl_command_queue);
  queue->context = Ref(context);
  queue->device = device;
  queue->properties = properties;
  return queue;
}

cl_command_queue CL_API_CALL create(cl_context context, cl_device_id device, cl_command_queue_properties properties,
                                    cl_int* errcode_ret) {
  HALTERE_MAKE(cl_command_queue, { return make(context, device, properties).detach(); })
}

cl_command_queue CL_API_CALL create_with_properties(cl_context context, cl_device_id device,
                                                    const cl_queue_properties* given, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_command_queue, {
    cl_command_queue_properties properties = 0;
    bool sized = false;
    std::vector<cl_queue_properties> kept;
    for (const cl_queue_properties* at = given; at && *at; at += 2) {
      kept.insert(kept.end(), {at[0], at[1]});
      if (at[0] == CL_QUEUE_PROPERTIES)
        properties = at[1];
      else if (at[0] == CL_QUEUE_SIZE)
        sized = true;
      else
        throw Failure(CL_INVALID_VALUE);
    }
    if (given) kept.push_back(0);
    check(!sized || (properties & CL_QUEUE_ON_DEVICE), CL_INVALID_VALUE);
    auto queue = make(context, device, properties);
    queue->given = kept;
    return queue.detach();
  })
}

cl_int CL_API_CALL keep(cl_command_queue queue) {
  if (!valid(queue)) return CL_INVALID_COMMAND_QUEUE;
  retain(queue);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_command_queue queue) {
  if (!valid(queue)) return CL_INVALID_COMMAND_QUEUE;
  release(queue);
  return CL_SUCCESS;
}

cl_int CL_API_CALL info(cl_command_queue queue, cl_command_queue_info query, std::size_t room, void* into,
                        std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(queue), CL_INVALID_COMMAND_QUEUE);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_QUEUE_CONTEXT: answer.value(queue->context.get()); break;
      case CL_QUEUE_DEVICE: answer.value(queue->device); break;
      case CL_QUEUE_REFERENCE_COUNT: answer.value(cl_uint{queue->references}); break;
      case CL_QUEUE_PROPERTIES: answer.value(queue->properties); break;
      case CL_QUEUE_PROPERTIES_ARRAY: answer.list(queue->given); break;
      case CL_QUEUE_DEVICE_DEFAULT: answer.value(cl_command_queue{nullptr}); break;
      case CL_QUEUE_SIZE: throw Failure(CL_INVALID_COMMAND_QUEUE);  // of queues on devices only
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL flush(cl_command_queue queue) {
  HALTERE_CODE({
    check(valid(queue), CL_INVALID_COMMAND_QUEUE);
    queue->context->check_own();
  })
}

cl_int CL_API_CALL finish_queue(cl_command_queue queue) {
  HALTERE_CODE({
    check(valid(queue), CL_INVALID_COMMAND_QUEUE);
    finish(queue);
  })
}

// Complete when all before it in its queue is, or what it waits for.
void mark(Order order, bool barrier) {
  check_order(order);  // before its list is looked at
  order.barrier = barrier || order.wait_count == 0;
  order.has_record = false;
  std::vector<const _cl_event*> waits(order.waits, order.waits + order.wait_count);
  const _cl_command_queue* queue = order.queue;
  enqueue(order, {}, [queue, waits](Session& session) -> Number {
    if (waits.empty()) return queue->last.load();
    Number last = 0;
    for (const _cl_event* event : waits) last = std::max(last, event->last.load());
    (void)session;
    return last;
  });
}

cl_int CL_API_CALL marker_with_waits(cl_command_queue queue, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({ mark({queue, CL_COMMAND_MARKER, count, waits, out}, false); })
}

cl_int CL_API_CALL barrier_with_waits(cl_command_queue queue, cl_uint count, const cl_event* waits, cl_event* out) {
  HALTERE_CODE({ mark({queue, CL_COMMAND_BARRIER, count, waits, out}, true); })
}

cl_int CL_API_CALL marker(cl_command_queue queue, cl_event* out) {
  HALTERE_CODE({
    check(out, CL_INVALID_VALUE);
    mark({queue, CL_COMMAND_MARKER, 0, nullptr, out}, false);
  })
}

cl_int CL_API_CALL wait_for_events(cl_command_queue queue, cl_uint count, const cl_event* waits) {
  HALTERE_CODE({
    check(count && waits, CL_INVALID_VALUE);
    mark({queue, CL_COMMAND_BARRIER, count, waits}, true);
  })
}

cl_int CL_API_CALL barrier(cl_command_queue queue) {
  HALTERE_CODE({ mark({queue, CL_COMMAND_BARRIER}, true); })
}

}  // namespace

void enter_queue(cl_icd_dispatch& table) {
  table.clCreateCommandQueue = create;
  table.clCreateCommandQueueWithProperties = create_with_properties;
  table.clRetainCommandQueue = keep;
  table.clReleaseCommandQueue = let_go;
  table.clGetCommandQueueInfo = info;
  table.clFlush = flush;
  table.clFinish = finish_queue;
  table.clEnqueueMarkerWithWaitList = marker_with_waits;
  table.clEnqueueBarrierWithWaitList = barrier_with_waits;
  table.clEnqueueMarker = marker;
  table.clEnqueueWaitForEvents = wait_for_events;
  table.clEnqueueBarrier = barrier;
}

}  // namespace haltere
