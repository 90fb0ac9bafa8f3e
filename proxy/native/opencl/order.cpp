#include "order.hpp"

#include <set>

#include "watch.hpp"

namespace haltere {
namespace {

void watch_callbacks_locked(_cl_event& event) {
  for (const _cl_event::Callback& callback : event.callbacks) event.context->watch->add(Ref<_cl_event>(&event), callback);
  event.callbacks.clear();
}

bool any_failed(const std::vector<Ref<_cl_event>>& waits) {
  return std::any_of(waits.begin(), waits.end(), [](const auto& event) { return event->has_failed(); });
}

// Issues what need not be held any more, in order. The caller holds `graph`; what was issued is
// handed out, to be dropped without the lock.
std::list<Held> release_locked(cl_context context) {
  std::list<Held> done;
  bool progress = true;
  while (progress) {
    progress = false;
    std::set<cl_command_queue> busy, barred;  // queues with an earlier command, with an earlier barrier
    for (auto next = context->held.begin(); next != context->held.end();) {
      Held& held = *next;
      cl_command_queue queue = held.queue.get();
      const bool waits = std::any_of(held.waits.begin(), held.waits.end(), [](const auto& event) { return !event->resolved(); });
      if (waits || barred.count(queue) || (busy.count(queue) && (queue->in_order() || held.barrier))) {
        busy.insert(queue);
        if (held.barrier) barred.insert(queue);
        ++next;
        continue;
      }
      try {
        if (any_failed(held.waits)) throw Failure(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
        const bool timed = held.has_record && queue->profiling();
        const auto [first, last] = issue_now(queue, timed, held.issue);
        for (const Ref<_cl_mem>& memory : held.uses) memory->root()->used = last;
        for (const auto& wait : held.waits) {
          const cl_event one = wait.get();
          note_waits(*held.event, 1, &one);
        }
        issued(*held.event, first, last, timed);
      } catch (...) {
        held.event->settled = code_of_exception();
      }
      watch_callbacks_locked(*held.event);
      queue->held.fetch_sub(1);
      done.splice(done.end(), context->held, next++);
      progress = true;
    }
  }
  context->changed.notify_all();
  return done;
}

}  // namespace

void check_order(const Order& order) {
  check(valid(order.queue), CL_INVALID_COMMAND_QUEUE);
  order.queue->context->check_own();
  check((order.wait_count == 0) == (order.waits == nullptr), CL_INVALID_EVENT_WAIT_LIST);
  for (cl_uint i = 0; i < order.wait_count; ++i) {
    check(valid(order.waits[i]), CL_INVALID_EVENT_WAIT_LIST);
    check(order.waits[i]->context.get() == order.queue->context.get(), CL_INVALID_CONTEXT);
    if (order.waits[i]->has_failed()) throw Failure(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
  }
}

bool must_hold(const Order& order) {
  if (order.queue->held.load(std::memory_order_acquire)) return true;
  for (cl_uint i = 0; i < order.wait_count; ++i)
    if (!order.waits[i]->resolved()) return true;
  return false;
}

Ref<_cl_event> new_event(cl_command_queue queue, cl_command_type type) {
  auto event = Ref<_cl_event>::adopt(new _cl_event);
  event->context = queue->context;
  event->queue = Ref(queue);
  event->type = type;
  return event;
}

void note_waits(_cl_event& event, cl_uint count, const cl_event* waits) {
  constexpr std::size_t kMost = 64;  // further ones are not looked at: a chain of any length must end
  const auto note = [&event](Number first, Number last) {
    if (last && event.after.size() < kMost && !event.context->session->retired(last)) event.after.emplace_back(first, last);
  };
  for (cl_uint i = 0; i < count; ++i) {
    if (waits[i]->settled.load() == CL_COMPLETE) continue;
    note(waits[i]->first, waits[i]->last);
    for (const auto& [first, last] : waits[i]->after) note(first, last);
  }
}

void issued(_cl_event& event, Number first, Number last, bool timed) {
  event.timed = timed;
  if (!timed && event.queue) event.behind = event.queue->timed.load();
  if (last == 0) {
    event.settled = CL_COMPLETE;
    return;
  }
  event.first.store(first, std::memory_order_relaxed);
  event.last.store(last, std::memory_order_release);
}

void hold_or_issue(const Order& order, const Ref<_cl_event>& event, std::vector<Ref<_cl_mem>> uses,
                   std::function<Number(Session&)> issue) {
  cl_context context = order.queue->context.get();
  std::list<Held> done;
  const std::lock_guard lock(context->graph);
  Held held{Ref(order.queue), event, {}, std::move(uses), order.barrier, order.has_record, std::move(issue)};
  for (cl_uint i = 0; i < order.wait_count; ++i) held.waits.emplace_back(order.waits[i]);
  order.queue->held.fetch_add(1);
  context->held.push_back(std::move(held));
  done = release_locked(context);
}

void settle(_cl_event& event, cl_int status) {
  std::list<Held> done;
  {
    const std::lock_guard lock(event.context->graph);
    event.settled.store(status, std::memory_order_release);
    watch_callbacks_locked(event);
    done = release_locked(event.context.get());
  }
}

void wait_for_records(Session& session, Number first, Number last) {
  if (last == 0) return;
  session.wait(last);
  const cl_int failed = session.failure(first, last);
  const cl_int earlier = session.take_error();
  check(failed == CL_SUCCESS, failed);
  check(earlier == CL_SUCCESS, earlier);
}

void wait_for(const _cl_event& event) {
  {
    std::unique_lock lock(event.context->graph);
    event.context->changed.wait(lock, [&] { return event.resolved(); });
  }
  const cl_int settled = event.settled.load();
  check(settled >= 0, settled);
  if (settled == _cl_event::kOpen) wait_for_records(*event.context->session, event.first, event.last);
}

void finish(cl_command_queue queue) {
  cl_context context = queue->context.get();
  context->check_own();
  if (queue->held.load(std::memory_order_acquire)) {
    std::unique_lock lock(context->graph);
    context->changed.wait(lock, [&] { return queue->held.load() == 0; });
  }
  const Number last = queue->last.load(std::memory_order_acquire);
  if (last) context->session->wait(last);
  const cl_int error = context->session->take_error();
  check(error == CL_SUCCESS, error);
}

}  // namespace haltere

bool _cl_event::has_failed() {
  const cl_int known = settled.load(std::memory_order_acquire);
  return known < 0 || (known == kOpen && last.load(std::memory_order_acquire) && context->session->failed() && status() < 0);
}

cl_int _cl_event::status() {
  context->check_own();
  const cl_int known = settled.load(std::memory_order_acquire);
  if (known != kOpen) return known;
  const haltere::Number end = last.load(std::memory_order_acquire);
  if (end == 0) return user ? CL_SUBMITTED : CL_QUEUED;
  haltere::Session& session = *context->session;
  if (complete_for_host) session.wait(end);
  const haltere::Number retired = session.look();
  if (const cl_int failed = session.failure(first, end)) {
    settled.store(failed);
    return failed;
  }
  for (const auto& [from, to] : after)
    if (session.failure(from, to)) {
      settled.store(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
      return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    }
  if (retired >= end) {
    settled.store(CL_COMPLETE);
    return CL_COMPLETE;
  }
  if (!session.issued(end)) return CL_QUEUED;
  return retired + 1 >= first ? CL_RUNNING : CL_SUBMITTED;
}
