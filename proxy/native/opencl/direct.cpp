#include "direct.hpp"

#include <cstring>

namespace haltere {
namespace {

// All that may use the buffer's memory is done, its creation too.
bool is_idle(Session& session, const _cl_mem& root) {
  const Number retired = session.newest_retired();
  if (retired >= session.sent()) return true;
  if (root.aliased) return false;
  return root.used <= retired && (!root.given || session.launched() <= retired);
}

bool is_here(Session& session, const _cl_mem& root) {
  Place& place = session.heap()->place(root.handle);
  return shared_word(place.live).load(std::memory_order_acquire) == root.handle;
}

void count_write(Session& session, const _cl_mem& root) {
  shared_word(session.heap()->place(root.handle).writes).fetch_add(1, std::memory_order_seq_cst);
}

}  // namespace

Touch::Touch(Session& session) : session_(session) {
  session.segment().word(Line::COPYING).fetch_add(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  seen_ = session.segment().get(Line::HEAP);
}

Touch::~Touch() { session_.segment().word(Line::COPYING).fetch_sub(1, std::memory_order_release); }

bool Touch::undisturbed() const {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return session_.segment().get(Line::HEAP) == seen_;
}

void place_in_heap(_cl_mem& buffer) {
  Session& session = *buffer.context->session;
  if (session.heap() && !session.foreign() && session.segment().get(Line::HEAP))
    buffer.shared = session.heap()->take(buffer.handle, buffer.size, session.newest_retired());
}

bool may_be_direct(const Order& order, cl_mem buffer) {
  if (!buffer->root()->shared) return false;
  order.queue->context->session->check_alive();
  return !order.queue->profiling() || (!order.out && !must_hold(order));
}

void wait_to_touch(const Order& order) {
  Session& session = *order.queue->context->session;
  if (!heap_is_open(session.segment().get(Line::HEAP)) || must_hold(order)) return;
  session.wait(session.sent());
  const cl_int error = session.take_error();  // before what follows from it
  check(error == CL_SUCCESS, error);
}

Number put_bytes(Session& session, cl_mem buffer, bool may, std::size_t at, const void* data, std::size_t nbytes) {
  const _cl_mem& root = *buffer->root();
  if (may && root.shared) {
    const Touch touch(session);
    if (touch && is_here(session, root) && is_idle(session, root)) {
      count_write(session, root);
      std::memcpy(root.shared + at, data, nbytes);
      if (touch.undisturbed()) return session.sent();
    }
  }
  return session.write(root.handle, at, data, nbytes);
}

Number get_bytes(Session& session, cl_mem buffer, bool may, std::size_t at, void* into, std::size_t nbytes) {
  const _cl_mem& root = *buffer->root();
  if (may && root.shared) {
    const Touch touch(session);
    if (touch && is_here(session, root) && is_idle(session, root)) {
      std::memcpy(into, root.shared + at, nbytes);
      if (touch.undisturbed()) return session.sent();
    }
  }
  return session.read(root.handle, at, into, nbytes);
}

std::uint8_t* map_in_place(cl_mem buffer, std::size_t at, bool fresh) {
  const _cl_mem& root = *buffer->root();
  Session& session = *root.context->session;
  if (!root.shared || root.host_ptr || session.foreign()) return nullptr;
  const Touch touch(session);
  return touch && is_here(session, root) && (fresh || is_idle(session, root)) ? root.shared + at : nullptr;
}

Number unmap_in_place(Session& session, cl_mem buffer, std::size_t at, const void* data, std::size_t nbytes) {
  {
    const Touch touch(session);
    if (touch) {
      count_write(session, *buffer->root());
      if (touch.undisturbed()) return session.sent();
    }
  }
  return session.write(buffer->handle, at, data, nbytes);
}

}  // namespace haltere
