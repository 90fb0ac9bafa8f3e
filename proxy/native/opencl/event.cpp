// Events: a command's place in the ring, or a value that the program sets.
#include "answer.hpp"
#include "entries.hpp"
#include "order.hpp"
#include "watch.hpp"

namespace haltere {
namespace {

cl_event CL_API_CALL create_user(cl_context context, cl_int* errcode_ret) {
  HALTERE_MAKE(cl_event, {
    check(valid(context), CL_INVALID_CONTEXT);
    auto event = Ref<_cl_event>::adopt(new _cl_event);
    event->context = Ref(context);
    event->type = CL_COMMAND_USER;
    event->user = true;
    return event.detach();
  })
}

cl_int CL_API_CALL set_user_status(cl_event event, cl_int status) {
  HALTERE_CODE({
    check(valid(event) && event->user, CL_INVALID_EVENT);
    check(status <= CL_COMPLETE, CL_INVALID_VALUE);
    event->context->check_own();
    check(event->settled.load() == _cl_event::kOpen, CL_INVALID_OPERATION);
    settle(*event, status);
  })
}

cl_int CL_API_CALL wait_for_all(cl_uint count, const cl_event* events) {
  HALTERE_CODE({
    check(count && events, CL_INVALID_VALUE);
    for (cl_uint i = 0; i < count; ++i) {
      check(valid(events[i]), CL_INVALID_EVENT);
      check(events[i]->context.get() == events[0]->context.get(), CL_INVALID_CONTEXT);
    }
    events[0]->context->check_own();
    bool failed = false;
    for (cl_uint i = 0; i < count; ++i) {
      _cl_event& event = *events[i];
      {
        std::unique_lock lock(event.context->graph);
        event.context->changed.wait(lock, [&event] { return event.resolved(); });
      }
      if (event.settled.load() == _cl_event::kOpen) event.context->session->wait(event.last);
      failed |= event.status() < 0;
    }
    events[0]->context->session->deliver_prints();
    if (failed) {
      events[0]->context->session->take_error();  // this tells it
      throw Failure(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    }
  })
}

cl_int CL_API_CALL keep(cl_event event) {
  if (!valid(event)) return CL_INVALID_EVENT;
  retain(event);
  return CL_SUCCESS;
}

cl_int CL_API_CALL let_go(cl_event event) {
  if (!valid(event)) return CL_INVALID_EVENT;
  release(event);
  return CL_SUCCESS;
}

cl_int CL_API_CALL info(cl_event event, cl_event_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(event), CL_INVALID_EVENT);
    const Answer answer(room, into, size_ret);
    switch (query) {
      case CL_EVENT_COMMAND_QUEUE: answer.value(event->queue.get()); break;
      case CL_EVENT_CONTEXT: answer.value(event->context.get()); break;
      case CL_EVENT_COMMAND_TYPE: answer.value(event->type); break;
      case CL_EVENT_COMMAND_EXECUTION_STATUS: {
        const cl_int status = event->status();
        event->context->session->deliver_prints();
        answer.value(status);
        break;
      }
      case CL_EVENT_REFERENCE_COUNT: answer.value(cl_uint{event->references}); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

Clock times(Session& session, Number command) {
  Session::Dialogue dialogue(session);
  return Session::clock_of(dialogue.ask(Times{command}));
}

Clock clock_of(_cl_event& event) {
  {
    const std::lock_guard lock(event.context->graph);
    if (event.clock) return *event.clock;
  }
  Session& session = *event.context->session;
  Clock clock{};
  if (event.timed) {
    clock = times(session, event.first);
    if (event.last != event.first) {
      const std::uint64_t ended_ns = times(session, event.last).ended_ns;
      clock = ended_ns ? Clock{clock.queued_ns, clock.submitted_ns, clock.started_ns, ended_ns} : Clock{};
    }
  } else if (event.behind) {
    const std::uint64_t then = times(session, event.behind).ended_ns;
    clock = {then, then, then, then};
  }
  const std::lock_guard lock(event.context->graph);
  return event.clock.emplace(clock);
}

cl_int CL_API_CALL profiling(cl_event event, cl_profiling_info query, std::size_t room, void* into, std::size_t* size_ret) {
  HALTERE_CODE({
    check(valid(event), CL_INVALID_EVENT);
    check(event->queue && event->queue->profiling() && event->status() == CL_COMPLETE, CL_PROFILING_INFO_NOT_AVAILABLE);
    const Answer answer(room, into, size_ret);
    const Clock clock = clock_of(*event);
    switch (query) {
      case CL_PROFILING_COMMAND_QUEUED: answer.value(cl_ulong{clock.queued_ns}); break;
      case CL_PROFILING_COMMAND_SUBMIT: answer.value(cl_ulong{clock.submitted_ns}); break;
      case CL_PROFILING_COMMAND_START: answer.value(cl_ulong{clock.started_ns}); break;
      case CL_PROFILING_COMMAND_END:
      case CL_PROFILING_COMMAND_COMPLETE: answer.value(cl_ulong{clock.ended_ns}); break;
      default: throw Failure(CL_INVALID_VALUE);
    }
  })
}

cl_int CL_API_CALL set_callback(cl_event event, cl_int status, void(CL_CALLBACK* notify)(cl_event, cl_int, void*), void* data) {
  HALTERE_CODE({
    check(valid(event), CL_INVALID_EVENT);
    check(notify && (status == CL_SUBMITTED || status == CL_RUNNING || status == CL_COMPLETE), CL_INVALID_VALUE);
    event->context->check_own();
    const std::lock_guard lock(event->context->graph);
    if (event->resolved())
      event->context->watch->add(Ref(event), {status, notify, data});
    else
      event->callbacks.push_back({status, notify, data});
  })
}

}  // namespace

void enter_event(cl_icd_dispatch& table) {
  table.clCreateUserEvent = create_user;
  table.clSetUserEventStatus = set_user_status;
  table.clWaitForEvents = wait_for_all;
  table.clRetainEvent = keep;
  table.clReleaseEvent = let_go;
  table.clGetEventInfo = info;
  table.clGetEventProfilingInfo = profiling;
  table.clSetEventCallback = set_callback;
}

}  // namespace haltere
