// The order of commands. All queues of a context feed one ring in an order that satisfies every
// wait list; what waits for a user event that is not set, directly or not, is held here until it is.
#pragma once

#include <algorithm>
#include <functional>

#include "objects.hpp"

namespace haltere {

// One call of clEnqueue...
struct Order {
  cl_command_queue queue;
  cl_command_type type;
  cl_uint wait_count = 0;
  const cl_event* waits = nullptr;
  cl_event* out = nullptr;
  bool blocking = false;
  bool barrier = false;     // it waits for all before it, and all behind it for it
  bool has_record = true;  // false: it is but a place in the order
};

struct Held {
  Ref<_cl_command_queue> queue;
  Ref<_cl_event> event;
  std::vector<Ref<_cl_event>> waits;
  std::vector<Ref<_cl_mem>> uses;
  bool barrier = false;
  bool has_record = true;
  std::function<Number(Session&)> issue;
};

void check_order(const Order& order);  // queue and wait list; throws Failure
bool must_hold(const Order& order);
Ref<_cl_event> new_event(cl_command_queue queue, cl_command_type type);
void hold_or_issue(const Order& order, const Ref<_cl_event>& event, std::vector<Ref<_cl_mem>> uses,
                   std::function<Number(Session&)> issue);
void wait_for(const _cl_event& event);        // until it is issued and done, or settled
void wait_for_records(Session& session, Number first, Number last);  // and throw what went wrong
void issued(_cl_event& event, Number first, Number last, bool timed);
// It fails if one of these does, though the device may have done it.
void note_waits(_cl_event& event, cl_uint count, const cl_event* waits);
void settle(_cl_event& event, cl_int status);  // of a user event, or one that will never be issued
void finish(cl_command_queue queue);

// Puts the records now: issue(session) returns the number of the last.
template <class Issue>
std::pair<Number, Number> issue_now(cl_command_queue queue, bool timed, Issue&& issue) {
  Session& session = *queue->context->session;
  const std::lock_guard lock(session.order());
  struct Timing {
    Session& session;
    ~Timing() { session.time_commands(false); }
  } timing{session};
  session.time_commands(timed);
  const Number first = session.sent() + (timed ? 2 : 1);  // a Timed is put before each
  const Number last = issue(session);
  if (timed) queue->timed = last;
  Number before = queue->last.load(std::memory_order_relaxed);
  while (before < last && !queue->last.compare_exchange_weak(before, last)) {
  }
  return {std::min(first, last), last};
}

// Enqueues a command. `issue` captures plain values: it may run later, then `uses` are kept alive.
template <class Issue>
void enqueue(const Order& order, std::initializer_list<cl_mem> uses, Issue&& issue) {
  check_order(order);
  Ref<_cl_event> event;
  if (order.out) event = new_event(order.queue, order.type);
  if (must_hold(order)) {
    if (!event) event = new_event(order.queue, order.type);
    std::vector<Ref<_cl_mem>> kept;
    for (cl_mem memory : uses) kept.emplace_back(memory);
    hold_or_issue(order, event, std::move(kept), std::forward<Issue>(issue));
    if (order.blocking) wait_for(*event);
  } else {
    const bool timed = event && order.has_record && order.queue->profiling();
    const auto [first, last] = issue_now(order.queue, timed, issue);
    for (cl_mem memory : uses) memory->root()->used = last;
    if (event) note_waits(*event, order.wait_count, order.waits), issued(*event, first, last, timed);
    if (order.blocking) wait_for_records(*order.queue->context->session, first, last);
  }
  if (order.out) *order.out = event.detach();
}

}  // namespace haltere
