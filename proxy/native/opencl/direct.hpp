// Buffers whose memory the program shares with the device (see heap.hpp): the program copies straight
// into it and out of it, and maps it in place, when nothing under way can touch it and the server has
// not forbidden it. While what the program does is logged it writes by records, and says what it saw by
// one that nobody waits for. Everything else goes by records and the arena, as for any other buffer.
#pragma once

#include "order.hpp"

namespace haltere {

// While one is held, and is true, the server takes no snapshot: it waits, for some time. If it could
// not wait so long, `undisturbed` is false, and what was written must go by a record too.
class Touch {
 public:
  explicit Touch(Session& session);
  ~Touch();
  Touch(const Touch&) = delete;
  Touch& operator=(const Touch&) = delete;
  explicit operator bool() const { return heap_is_open(seen_); }
  bool undisturbed() const;

 private:
  Session& session_;
  std::uint64_t seen_;
};

// Room in the heap for a buffer whose handle is minted; before its Alloc is put.
void place_in_heap(_cl_mem& buffer);

// Whether a transfer may be direct: one whose times are asked for needs a record. Throws Failure if the
// session is over: memory that is still there says nothing of it.
bool may_be_direct(const Order& order, cl_mem buffer);
// Until all that was enqueued before is done, so that a direct transfer can follow. No lock is held.
// Throws Failure, for what went wrong with that too.
void wait_to_touch(const Order& order);

// Bytes of a buffer or sub-buffer (`at`: in its root), directly or, or if not `may`, by records, whose
// last number (of what must be done before it is) is returned. The caller holds order().
Number put_bytes(Session& session, cl_mem buffer, bool may, std::size_t at, const void* data, std::size_t nbytes);
Number get_bytes(Session& session, cl_mem buffer, bool may, std::size_t at, void* into, std::size_t nbytes);

// Where the program may have the buffer's bytes from now on until it unmaps them; null: nowhere.
// `fresh`: it will not read what is there; `writes`: it may write there.
std::uint8_t* map_in_place(cl_mem buffer, std::size_t at, bool fresh, bool writes);
// It sees what lies there now. The caller holds order().
Number mapped_in_place(Session& session, cl_mem buffer, std::size_t at, std::size_t nbytes);
// What was mapped in place was written to. The caller holds order().
Number unmap_in_place(Session& session, cl_mem buffer, std::size_t at, const void* data, std::size_t nbytes);

}  // namespace haltere
