// The program's end of a session: puts records, makes calls, waits. See proxy/channel.py, which
// this follows; unlike it, it may be used by many threads at once.
//
// Three locks, taken in this order: `calls` (one call at a time), `order` (who puts records; may
// be held while ring or arena are full), `state` (bookkeeping, held for moments). Waiting for the
// device holds none. While the session is suspended the clock stands still.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "../segment.hpp"
#include "arena.hpp"
#include "failure.hpp"
#include "heap.hpp"

namespace haltere {

using Number = std::uint64_t;

inline constexpr std::int64_t kAsLongAsItLives = INT64_MAX / 2;  // every wait looks after the server

// Where bytes that lie packed in the arena go in host memory, or come from.
struct Spread {
  std::uint8_t* host = nullptr;
  std::size_t width = 0;  // bytes
  std::size_t height = 1, depth = 1;
  std::size_t row = 0, slice = 0;  // pitches in bytes

  void gather(std::uint8_t* packed) const;         // host to arena
  void scatter(const std::uint8_t* packed) const;  // arena to host
};

class Session {
 public:
  // Puts a session down at `server` and waits until it is taken up. `heap_bytes`: of the heap that it
  // offers, 0: none. Throws Failure.
  Session(const std::string& root, const std::string& server, const std::string& name, bool durable, std::size_t heap_bytes);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::string& name() const { return name_; }
  std::string server();  // who has it now
  bool foreign() const;  // it is the parent's: this process was forked since

  // ---- commands; the caller holds order()

  std::mutex& order() { return order_; }
  Number sent() const { return sent_.load(std::memory_order_acquire); }
  std::size_t chunk_bytes() const { return chunk_bytes_; }

  // A write whose bytes are copied is done, as far as the program can tell, if nothing else was under
  // way before it. `calm`: nothing is but such writes, and nothing ever failed.
  bool calm() const {
    return std::max(calm_.load(), segment_.get(Line::RETIRED)) >= sent() && segment_.get(Line::ERRORS) == 0;
  }
  void stay_calm() { calm_ = sent(); }  // what was put since calm() is such a write
  bool calm_up_to(Number number) const { return number <= calm_.load(); }

  template <class Record>
  Number put(const Record& record) {
    encode(scratch_, 0, record);
    return put_encoded(scratch_);
  }
  // `record` is encoded already; its number is filled in.
  Number put_encoded(std::string& record);
  // While it is on, the device's clock is read around every command.
  void time_commands(bool on) { timing_ = on; }
  Number write(std::uint64_t buffer, std::uint64_t offset, const void* data, std::size_t nbytes);
  Number read(std::uint64_t buffer, std::uint64_t offset, void* into, std::size_t nbytes);
  // Records whose last field is `arena`, at most chunk_bytes of packed data each.
  template <class Record>
  Number put_from(Record record, const Spread& source) {
    const Region region = stage(source.width * source.height * source.depth);
    source.gather(segment_.arena() + region.offset);
    record.arena = region.offset;
    return wrote(put(record), region);
  }
  template <class Record>
  Number put_into(Record record, const Spread& target) {
    const Region region = stage(target.width * target.height * target.depth);
    record.arena = region.offset;
    return reading(put(record), region, target);
  }

  // ---- the memory that it shares with the device, if it does: see direct.hpp

  void check_alive();  // throws Failure if it is over, or its server is dead
  Heap* heap() const { return heap_.get(); }
  // What is done is logged: the device must be told of whatever is written, and of what was seen.
  bool is_logged() const { return segment_.get(Line::RECOVERABLE) != 0; }
  const Segment& segment() const { return segment_; }
  Number launched() const { return launched_.load(std::memory_order_acquire); }  // the newest launch
  Number put_launch(std::string& record) {
    const Number number = put_encoded(record);
    launched_.store(number, std::memory_order_release);
    return number;
  }

  // ---- progress; no lock is held by the caller

  // Hands over finished reads and notes errors. All up to the number returned is complete.
  Number look();
  bool issued(Number number) const { return segment_.get(Line::ISSUED) >= number; }
  bool retired(Number number) const { return newest_retired() >= number; }
  Number newest_retired() const { return segment_.get(Line::RETIRED); }
  // Until retired, and its reads handed over; false when the time is over. Throws Failure.
  bool wait(Number number, std::int64_t timeout_ns = kAsLongAsItLives);
  bool failed() const { return segment_.get(Line::ERRORS) != 0; }  // anything, ever
  cl_int failure(Number first, Number last);  // of commands first..last, CL_SUCCESS if none is known
  // What kernels printed goes to this process's output: of all that is known to be done.
  void deliver_prints();
  cl_int take_error();                        // the first that nobody was told of, CL_SUCCESS

  // ---- calls

  // One at a time: whoever holds this has the session's inbox and outbox.
  class Dialogue {
   public:
    explicit Dialogue(Session& session) : session_(session), lock_(session.calls_) {}
    void upload(Bytes payload);
    std::string download(std::uint64_t nbytes);
    // The reply's bytes. Throws Failure for a Failed one, with the server's message.
    template <class Call>
    std::string ask(const Call& call, Number after = 0) {
      encode(record_, 0, call);
      return ask_encoded(after);
    }

   private:
    std::string ask_encoded(Number after);
    Session& session_;
    std::unique_lock<std::mutex> lock_;
    std::string record_;
  };

  static std::uint64_t done_bytes(const std::string& reply);  // what a Done says is in the outbox
  static Clock clock_of(const std::string& reply);

  void leave();  // at the process's end: tell the server and wait for nothing

 private:
  struct Transfer {
    Number number;
    Region region;
    Spread target;
  };
  struct Waiter;

  Region stage(std::size_t nbytes);
  Number wrote(Number number, const Region& region);
  Number reading(Number number, const Region& region, const Spread& target);
  bool put_now(const std::string& record);
  void ring_server();  // it must not doze on
  void ring_for_record();
  void rouse_server();
  void collect_locked();
  void note_errors_locked();
  std::optional<Number> signal_after(Number number);
  template <class Ready>
  bool block(Ready&& ready, std::int64_t timeout_ns, Number wanted = 0);
  [[noreturn]] void lost(const std::string& why);
  void announce_locked();
  std::string home() const;
  void close();

  std::string root_, server_, name_;
  std::unique_ptr<Heap> heap_;
  Segment segment_;
  std::size_t mapped_bytes_ = 0;
  unsigned generation_;  // of the process that opened it
  std::size_t call_at_ = 0, call_bytes_ = 0, chunk_bytes_ = 0;

  std::mutex calls_;
  std::atomic<Number> printed_{0};  // the newest launch whose output was written
  std::uint64_t call_number_ = 0;

  std::mutex order_;
  std::string scratch_;
  bool timing_ = false;
  std::uint64_t head_ = 0, room_end_ = 0;
  std::uint64_t woken_for_ = 0;  // the end of the record that the server was last woken for
  std::atomic<Number> sent_{0}, launched_{0};
  std::atomic<bool> stirred_{false};  // records came since the last wait: the server may doze over more
  std::atomic<Number> calm_{0};

  std::mutex state_;
  Arena arena_{1};
  std::deque<Transfer> writes_, reads_;
  std::deque<Number> signals_;
  std::map<Number, cl_int> failures_;  // of late; bounded
  cl_int untold_ = CL_SUCCESS;
  cl_int fault_ = CL_SUCCESS;  // one that stays
  std::vector<Waiter*> waiters_;
  std::atomic<std::int64_t> looked_at_ns_{0};
  std::atomic<std::int64_t> gone_at_ns_{0};  // since when no server has it, 0: one does
  std::atomic<bool> told_{true};  // of its end; nobody has it before it is taken up
};

}  // namespace haltere
