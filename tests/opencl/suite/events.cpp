// Events: order, status, callbacks, the program's own events, profiling.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <ctime>

#include "suite.hpp"

using namespace suite;

namespace {

const char* kAdd = "kernel void add(global int* a, int by) { a[get_global_id(0)] = a[get_global_id(0)] * 3 + by; }";

cl_int status(cl_event event) {
  cl_int found = 99;
  OK(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof found, &found, nullptr));
  return found;
}

void pause_ms(int milliseconds) {
  const timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1'000'000};
  nanosleep(&pause, nullptr);
}

template <typename Condition>
void wait_until(Condition holds) {  // at most ten seconds
  for (int at = 0; at < 1000 && !holds(); ++at) pause_ms(10);
  HOLDS(holds());
}

cl_event user_event(const Host& host) { return MADE(clCreateUserEvent(host.context, &error)); }

struct Adder {  // launches `add` on one buffer
  const Host& host;
  cl_kernel kernel;
  cl_mem buffer;
  explicit Adder(const Host& host) : host(host), kernel(host.kernel(kAdd, "add")), buffer(host.filled(counting<cl_int>(16))) {}
  ~Adder() {
    clReleaseKernel(kernel);
    clReleaseMemObject(buffer);
  }
  Adder(const Adder&) = delete;
  cl_event operator()(cl_int by, std::vector<cl_event> after = {}, cl_command_queue queue = nullptr) const {
    const std::size_t size = 16;
    cl_event event;
    set_args(kernel, buffer, by);
    OK(clEnqueueNDRangeKernel(queue ? queue : host.queue, kernel, 1, nullptr, &size, nullptr, static_cast<cl_uint>(after.size()),
                              after.empty() ? nullptr : after.data(), &event));
    return event;
  }
  void show_result() const { show("result", host.read<cl_int>(buffer, 16)); }
};

}  // namespace

CASE(events_say_of_what_they_are) {
  Host host;
  Adder add(host);
  Bytes data(64);
  const std::size_t zero[3] = {}, region[3] = {8, 2, 1};
  const cl_uint pattern = 5;
  std::vector<cl_event> events{add(1)};
  const auto next = [&] { events.emplace_back(); return &events.back(); };
  events.reserve(32);
  OK(clEnqueueReadBuffer(host.queue, add.buffer, CL_FALSE, 0, 64, data.data(), 0, nullptr, next()));
  OK(clEnqueueWriteBuffer(host.queue, add.buffer, CL_FALSE, 0, 64, data.data(), 0, nullptr, next()));
  OK(clEnqueueCopyBuffer(host.queue, add.buffer, add.buffer, 0, 32, 32, 0, nullptr, next()));
  OK(clEnqueueFillBuffer(host.queue, add.buffer, &pattern, 4, 0, 64, 0, nullptr, next()));
  OK(clEnqueueReadBufferRect(host.queue, add.buffer, CL_FALSE, zero, zero, region, 0, 0, 0, 0, data.data(), 0, nullptr, next()));
  OK(clEnqueueWriteBufferRect(host.queue, add.buffer, CL_FALSE, zero, zero, region, 0, 0, 0, 0, data.data(), 0, nullptr, next()));
  void* mapped = MADE(clEnqueueMapBuffer(host.queue, add.buffer, CL_FALSE, CL_MAP_READ, 0, 64, 0, nullptr, next(), &error));
  OK(clWaitForEvents(1, &events.back()));
  OK(clEnqueueUnmapMemObject(host.queue, add.buffer, mapped, 0, nullptr, next()));
  OK(clEnqueueMarkerWithWaitList(host.queue, 0, nullptr, next()));
  OK(clEnqueueBarrierWithWaitList(host.queue, 0, nullptr, next()));
  OK(clEnqueueMarker(host.queue, next()));
  OK(clEnqueueMigrateMemObjects(host.queue, 1, &add.buffer, 0, 0, nullptr, next()));
  OK(clFinish(host.queue));
  events.push_back(user_event(host));
  for (cl_event event : events) {
    const auto ask = [&](const char* name, cl_uint number) {
      return queried(name, [&](auto... rest) { return clGetEventInfo(event, number, rest...); });
    };
    const bool own = event == events.back();
    HOLDS(as<cl_context>(ask("context", CL_EVENT_CONTEXT)) == host.context);
    HOLDS(as<cl_command_queue>(ask("queue", CL_EVENT_COMMAND_QUEUE)) == (own ? nullptr : host.queue));
    std::printf("%x status %d\n", as<cl_uint>(ask("type", CL_EVENT_COMMAND_TYPE)),
                as<cl_int>(ask("status", CL_EVENT_COMMAND_EXECUTION_STATUS)));
    HOLDS(as<cl_uint>(ask("references", CL_EVENT_REFERENCE_COUNT)) >= 1);
    TELL(clGetEventInfo(event, 0x9999, 0, nullptr, nullptr));
    OK(clRetainEvent(event));
    OK(clReleaseEvent(event));
    OK(clReleaseEvent(event));
  }
}

CASE(commands_wait_for_the_programs_own_event) {
  for (cl_command_queue_properties kind : {0, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE}) {
    Host host(kind);
    Adder add(host);
    cl_event gate = user_event(host);
    std::printf("gate %d\n", status(gate));
    cl_event first = add(1, {gate}), second = add(2, {first}), third = add(3, {second, gate});
    OK(clFlush(host.queue));
    pause_ms(50);
    HOLDS(status(first) > CL_COMPLETE && status(third) > CL_COMPLETE);
    OK(clSetUserEventStatus(gate, CL_COMPLETE));
    OK(clWaitForEvents(1, &third));
    std::printf("%d %d %d %d\n", status(gate), status(first), status(second), status(third));
    TELL(clSetUserEventStatus(gate, CL_COMPLETE));
    add.show_result();
    for (cl_event event : {gate, first, second, third}) OK(clReleaseEvent(event));
  }
}

CASE(a_failed_event_of_the_programs_own_fails_what_waits) {
  Host host(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
  Adder add(host);
  cl_event gate = user_event(host), free_one = add(7);
  cl_event first = add(1, {gate}), second = add(2, {first});
  OK(clSetUserEventStatus(gate, -42));
  HOLDS(clWaitForEvents(1, &second) == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
  wait_until([&] { return status(first) < 0 && status(second) < 0; });
  std::printf("gate %d\n", status(gate));
  TELL(clWaitForEvents(1, &free_one));
  OK(clFinish(host.queue));
  add.show_result();  // neither has run
  cl_event after = add(9);
  TELL(clWaitForEvents(1, &after));
  add.show_result();
  for (cl_event event : {gate, free_one, first, second, after}) OK(clReleaseEvent(event));
  gate = user_event(host);
  TELL(clSetUserEventStatus(gate, 1));
  TELL(clSetUserEventStatus(gate, CL_SUBMITTED));
  TELL(clSetUserEventStatus(free_one = add(1), CL_COMPLETE));
  OK(clSetUserEventStatus(gate, CL_COMPLETE));
  for (cl_event event : {gate, free_one}) OK(clReleaseEvent(event));
  TELL(clSetUserEventStatus(nullptr, CL_COMPLETE));
  TELL_MADE(clCreateUserEvent(nullptr, &error));
}

CASE(a_read_waits_for_an_event_set_by_another_thread) {
  Host host;
  Adder add(host);
  static cl_event gate;
  gate = user_event(host);
  cl_event first = add(1, {gate});
  pthread_t thread;
  HOLDS(!pthread_create(&thread, nullptr, [](void*) -> void* {
    pause_ms(60);
    clSetUserEventStatus(gate, CL_COMPLETE);
    return nullptr;
  }, nullptr));
  add.show_result();  // a blocking read behind it in the queue
  HOLDS(!pthread_join(thread, nullptr));
  for (cl_event event : {gate, first}) OK(clReleaseEvent(event));
}

CASE(many_gates_open_in_any_order) {
  Host host(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
  Adder add(host);
  std::vector<cl_event> gates, done;
  cl_event last = nullptr;
  for (int at = 0; at < 40; ++at) {  // a chain, each link with a gate of its own
    gates.push_back(user_event(host));
    std::vector<cl_event> after{gates.back()};
    if (last) after.push_back(last);
    done.push_back(last = add(at, after));
  }
  for (int at = 0; at < 40; ++at) OK(clSetUserEventStatus(gates[(at * 7 + 3) % 40], CL_COMPLETE));
  OK(clWaitForEvents(40, done.data()));
  add.show_result();
  for (cl_event event : gates) OK(clReleaseEvent(event));
  for (cl_event event : done) OK(clReleaseEvent(event));
}

CASE(queues_wait_for_each_others_events) {
  Host host;
  Adder add(host);
  std::vector<cl_command_queue> queues{host.new_queue(), host.new_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE), host.new_queue()};
  cl_event last = add(0);
  for (int at = 1; at < 60; ++at) {
    cl_event next = add(at, {last}, queues[at % 3]);
    OK(clReleaseEvent(last));
    last = next;
    OK(clFlush(queues[at % 3]));
  }
  OK(clWaitForEvents(1, &last));
  add.show_result();
  OK(clReleaseEvent(last));
  for (cl_command_queue queue : queues) OK(clReleaseCommandQueue(queue));
}

CASE(a_gate_on_one_queue_does_not_hold_another) {
  Host host;
  Adder add(host), other(host);
  cl_command_queue second = host.new_queue();
  cl_event gate = user_event(host), held = add(1, {gate}), goes_on = other(2, {}, second);
  OK(clFinish(second));
  std::printf("%d\n", status(goes_on));
  HOLDS(status(held) > CL_COMPLETE);
  std::vector<cl_int> found(16);
  OK(clEnqueueReadBuffer(second, other.buffer, CL_TRUE, 0, 64, found.data(), 0, nullptr, nullptr));
  show("other", found);
  OK(clSetUserEventStatus(gate, CL_COMPLETE));
  add.show_result();
  OK(clReleaseCommandQueue(second));
  for (cl_event event : {held, goes_on, gate}) OK(clReleaseEvent(event));
}

CASE(markers_and_barriers_wait_for_lists_and_for_all) {
  Host host(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
  Adder add(host), other(host);
  cl_event gate = user_event(host), held = add(1, {gate}), marker_one, marker_all;
  cl_event goes_on = other(2);
  OK(clEnqueueMarkerWithWaitList(host.queue, 1, &goes_on, &marker_one));
  OK(clEnqueueMarkerWithWaitList(host.queue, 0, nullptr, &marker_all));
  OK(clWaitForEvents(1, &goes_on));  // not for its marker: PoCL 3.0 holds that one too
  HOLDS(status(held) > CL_COMPLETE && status(marker_all) > CL_COMPLETE);
  cl_event barrier;
  OK(clEnqueueBarrierWithWaitList(host.queue, 0, nullptr, &barrier));
  cl_event behind = other(3);  // although it waits for nothing itself
  OK(clFlush(host.queue));
  pause_ms(50);
  HOLDS(status(behind) > CL_COMPLETE && status(barrier) > CL_COMPLETE);
  OK(clSetUserEventStatus(gate, CL_COMPLETE));
  OK(clWaitForEvents(1, &behind));
  HOLDS(status(held) == CL_COMPLETE && status(marker_one) == CL_COMPLETE && status(marker_all) == CL_COMPLETE && status(barrier) == CL_COMPLETE);
  OK(clEnqueueBarrier(host.queue));
  OK(clFinish(host.queue));
  add.show_result();
  other.show_result();
  for (cl_event event : {gate, held, goes_on, marker_one, marker_all, barrier, behind}) OK(clReleaseEvent(event));
}

CASE(callbacks_are_called_once_each) {
  Host host;
  Adder add(host);
  static std::atomic<int> submitted, running, complete, failed;
  const auto count = [](cl_event, cl_int state, void* given) {
    static_cast<std::atomic<int>*>(given)->fetch_add(1);
    if (state < 0) failed.fetch_add(1);
  };
  cl_event gate = user_event(host), event = add(1, {gate});
  OK(clSetEventCallback(event, CL_SUBMITTED, count, &submitted));
  OK(clSetEventCallback(event, CL_RUNNING, count, &running));
  OK(clSetEventCallback(event, CL_COMPLETE, count, &complete));
  OK(clSetEventCallback(event, CL_COMPLETE, count, &complete));
  OK(clSetEventCallback(gate, CL_COMPLETE, count, &complete));
  pause_ms(20);
  HOLDS(complete == 0);
  OK(clSetUserEventStatus(gate, CL_COMPLETE));
  OK(clWaitForEvents(1, &event));
  wait_until([] { return submitted == 1 && running == 1 && complete == 3; });
  OK(clSetEventCallback(event, CL_COMPLETE, count, &complete));  // it is over: at once
  wait_until([] { return complete == 4; });
  HOLDS(failed == 0);
  TELL(clSetEventCallback(event, CL_QUEUED, count, &complete));
  TELL(clSetEventCallback(event, 77, count, &complete));
  TELL(clSetEventCallback(event, CL_COMPLETE, nullptr, nullptr));
  TELL(clSetEventCallback(nullptr, CL_COMPLETE, count, nullptr));
  for (cl_event one : {gate, event}) OK(clReleaseEvent(one));
  gate = user_event(host), event = add(2, {gate});
  complete = 0;
  OK(clSetEventCallback(event, CL_COMPLETE, count, &complete));
  OK(clSetUserEventStatus(gate, -7));
  pause_ms(300);
  HOLDS(complete <= 1 && failed == complete);  // some drivers forget it
  for (cl_event one : {gate, event}) OK(clReleaseEvent(one));
}

CASE(a_callback_may_open_the_next_gate) {
  Host host;
  Adder add(host);
  static cl_event gate;
  gate = user_event(host);
  cl_event first = add(1), second = add(2, {gate});
  OK(clSetEventCallback(first, CL_COMPLETE, [](cl_event, cl_int, void*) { clSetUserEventStatus(gate, CL_COMPLETE); }, nullptr));
  OK(clWaitForEvents(1, &second));
  add.show_result();
  for (cl_event event : {gate, first, second}) OK(clReleaseEvent(event));
}

CASE(profiling_times_are_in_order) {
  Host host(CL_QUEUE_PROFILING_ENABLE);
  Adder add(host);
  Bytes data(1 << 20);
  cl_mem buffer = host.buffer(data.size());
  std::vector<cl_event> events{add(1), add(2)};
  events.resize(5);
  OK(clEnqueueWriteBuffer(host.queue, buffer, CL_FALSE, 0, data.size(), data.data(), 0, nullptr, &events[2]));
  OK(clEnqueueReadBuffer(host.queue, buffer, CL_TRUE, 0, data.size(), data.data(), 0, nullptr, &events[3]));
  OK(clEnqueueMarkerWithWaitList(host.queue, 0, nullptr, &events[4]));
  OK(clFinish(host.queue));
  cl_ulong before = 0;
  for (cl_event event : events) {
    cl_ulong times[4];
    for (cl_uint at = 0; at < 4; ++at)
      times[at] = as<cl_ulong>(queried("time", [&](auto... rest) { return clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_QUEUED + at, rest...); }));
    HOLDS(times[0] > 0 && times[0] <= times[1] && times[1] <= times[2] && times[2] <= times[3]);
    HOLDS(times[2] >= before);
    before = times[2];
    const auto whole = as<cl_ulong>(queried("complete", [&](auto... rest) { return clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_COMPLETE, rest...); }));
    HOLDS(whole == 0 || whole >= times[3]);
    MAY_REFUSE(CL_INVALID_VALUE, clGetEventProfilingInfo(event, 0x9999, 0, nullptr, nullptr));
    OK(clReleaseEvent(event));
  }
  cl_event gate = user_event(host), held = add(3, {gate});
  cl_ulong time = 0;
  TELL(clGetEventProfilingInfo(held, CL_PROFILING_COMMAND_END, sizeof time, &time, nullptr));
  TELL(clGetEventProfilingInfo(gate, CL_PROFILING_COMMAND_END, sizeof time, &time, nullptr));
  OK(clSetUserEventStatus(gate, CL_COMPLETE));
  OK(clFinish(host.queue));
  cl_command_queue plain = host.new_queue();
  cl_event without = add(4, {}, plain);
  OK(clFinish(plain));
  TELL(clGetEventProfilingInfo(without, CL_PROFILING_COMMAND_END, sizeof time, &time, nullptr));
  for (cl_event event : {gate, held, without}) OK(clReleaseEvent(event));
  OK(clReleaseCommandQueue(plain));
  OK(clReleaseMemObject(buffer));
}

CASE(wait_lists_that_make_no_sense_are_refused) {
  Host host, other;
  Adder add(host);
  cl_event event = add(1), foreign = user_event(other), none = nullptr;
  Bytes data(64);
  TELL(clEnqueueReadBuffer(host.queue, add.buffer, CL_TRUE, 0, 64, data.data(), 1, nullptr, nullptr));
  TELL(clEnqueueReadBuffer(host.queue, add.buffer, CL_TRUE, 0, 64, data.data(), 0, &event, nullptr));
  TELL(clEnqueueReadBuffer(host.queue, add.buffer, CL_TRUE, 0, 64, data.data(), 1, &none, nullptr));
  TELL(clEnqueueReadBuffer(host.queue, add.buffer, CL_TRUE, 0, 64, data.data(), 1, &foreign, nullptr));
  TELL(clWaitForEvents(0, nullptr));
  TELL(clWaitForEvents(1, nullptr));
  TELL(clWaitForEvents(0, &event));
  const cl_event both[] = {event, foreign};
  TELL(clWaitForEvents(2, both));
  TELL(clEnqueueMarkerWithWaitList(host.queue, 1, nullptr, nullptr));
  TELL(clEnqueueMarkerWithWaitList(nullptr, 0, nullptr, nullptr));
  OK(clSetUserEventStatus(foreign, CL_COMPLETE));
  for (cl_event one : both) OK(clReleaseEvent(one));
}

CASE(tens_of_thousands_of_events_do_not_pile_up) {
  Host host;
  Adder add(host);
  for (int at = 0; at < 20000; ++at) OK(clReleaseEvent(add(at & 1)));
  std::vector<cl_event> kept;
  for (int at = 0; at < 5000; ++at) kept.push_back(add(at & 1));
  OK(clWaitForEvents(5000, kept.data()));
  HOLDS(std::all_of(kept.begin(), kept.end(), [](cl_event event) { return status(event) == CL_COMPLETE; }));
  for (cl_event event : kept) OK(clReleaseEvent(event));
  add.show_result();
}

CASE(a_blocking_write_is_over_and_so_is_what_came_before_it) {
  Host host;
  Adder add(host);
  cl_kernel slow = host.kernel(
      "kernel void slow(global int* a) { for (int i = 0; i < 20000000; ++i) a[0] = a[0] * 3 + i; }", "slow");
  set_args(slow, add.buffer);
  OK(clFinish(host.queue));
  const auto write = [&](cl_int value) {
    cl_event event;
    OK(clEnqueueWriteBuffer(host.queue, add.buffer, CL_TRUE, 4, sizeof value, &value, 0, nullptr, &event));
    return event;
  };
  const std::size_t one = 1;
  cl_event running;
  std::vector<cl_event> writes;
  for (cl_int at = 0; at < 50; ++at) {
    writes.push_back(write(at));  // into a queue with nothing in it but such writes
    HOLDS(status(writes.back()) == CL_COMPLETE);
  }
  OK(clEnqueueNDRangeKernel(host.queue, slow, 1, nullptr, &one, nullptr, 0, nullptr, &running));
  for (cl_int at = 50; at < 53; ++at) {
    writes.push_back(write(at));  // behind a kernel
    OK(clWaitForEvents(1, &writes.back()));
    HOLDS(status(running) == CL_COMPLETE);
  }
  add.show_result();
  writes.push_back(running);
  for (cl_event event : writes) OK(clReleaseEvent(event));
  OK(clReleaseKernel(slow));
}
