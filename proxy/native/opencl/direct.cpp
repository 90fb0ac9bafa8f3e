#include "direct.hpp"

#include <cstring>

#include "../digest.hpp"

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

// Behind what the program has read by itself; it waits for nothing.
Number tell_seen(Session& session, const _cl_mem& root, std::size_t at, std::size_t nbytes, std::uint64_t digest) {
  const Number before = session.sent();
  const bool calm = session.calm();
  session.put(Saw{root.handle, at, nbytes, digest});
  if (calm) session.stay_calm();
  return before;
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
    if (touch && !session.is_logged() && is_here(session, root) && is_idle(session, root)) {
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
    const bool logged = session.is_logged();
    bool seen = false;
    std::uint64_t digest = 0;
    {
      const Touch touch(session);
      if (touch && is_here(session, root) && is_idle(session, root)) {
        auto* bytes = static_cast<std::uint8_t*>(into);
        if (logged)
          digest = copied_digest(bytes, root.shared + at, nbytes);
        else
          std::memcpy(bytes, root.shared + at, nbytes);
        seen = touch.undisturbed();
      }
    }
    if (seen) return logged ? tell_seen(session, root, at, nbytes, digest) : session.sent();
  }
  return session.read(root.handle, at, into, nbytes);
}

std::uint8_t* map_in_place(cl_mem buffer, std::size_t at, bool fresh, bool writes) {
  const _cl_mem& root = *buffer->root();
  Session& session = *root.context->session;
  if (!root.shared || root.host_ptr || session.foreign()) return nullptr;
  const Touch touch(session);
  if (writes && session.is_logged()) return nullptr;  // what it writes there would be in no record until it unmaps
  return touch && is_here(session, root) && (fresh || is_idle(session, root)) ? root.shared + at : nullptr;
}

Number mapped_in_place(Session& session, cl_mem buffer, std::size_t at, std::size_t nbytes) {
  const _cl_mem& root = *buffer->root();
  if (!session.is_logged()) return session.sent();
  return tell_seen(session, root, at, nbytes, digest_of(root.shared + at, nbytes));
}

Number unmap_in_place(Session& session, cl_mem buffer, std::size_t at, const void* data, std::size_t nbytes) {
  {
    const Touch touch(session);
    if (touch && !session.is_logged()) {
      count_write(session, *buffer->root());
      if (touch.undisturbed()) return session.sent();
    }
  }
  return session.write(buffer->handle, at, data, nbytes);
}

}  // namespace haltere
