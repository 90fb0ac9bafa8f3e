// One session in the engine: records out of shared memory, commands to the device, progress back.
// The C++ twin of proxy/session.py (ServerHalf) and of the hot half of proxy/hal_tenant.py.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "objects.hpp"
#include "redo.hpp"

namespace haltere {

// What Python sees of a session, and may set: plain memory, used by one thread at a time. The same
// fields in the same order stand in proxy/engine.py.
struct Words {
  u64 issued;      // records taken
  u64 retired;     // records of which the device is done
  u64 completed;   // newest hal seq done
  u64 newest_seq;  // newest hal seq signalled
  u64 tail;        // ring bytes released
  u64 epoch;
  u64 replied;      // newest call answered
  u64 asked;        // newest call that Python has looked at: not to be told of again
  u64 errors_told;
  u64 failed;       // the command that the kept error is of
  u64 has_error;
  u64 fault;        // the device completes nothing of this session any more
  u64 halted;       // by its worker: nothing is taken
  u64 draining;     // for a snapshot: nothing is taken
  u64 flights;      // on their way
  u64 kernels;      // of them with a launch
  u64 backlog;      // records of a loaded state that wait
  u64 weight;       // share of the device when others want it too
  u64 limit_bytes;  // of the device's memory
  u64 used_bytes;
  u64 device_ns;  // that the device worked for it
  u64 dirty;      // something is to be published
  u64 overdue;    // the command that the device has been at for too long, 0: none
  u64 changes;    // commands that may have written to a buffer or image
  u64 held;       // to be swapped out: nothing is taken
  u64 out_bytes;  // swapped out; nothing is taken until it is back
  u64 waits;      // for memory: 1, and 2 once Python knows
  u64 wanted_bytes;  // more than it has, for its next command
  u64 insists;    // its next command fails if there is no room
  u64 driver_full;  // by all that is counted there was room, and the driver had none
  u64 active_ns;  // when it last gave the device something, by the monotonic clock
  u64 shared_bytes;  // of those used: in memory that its worker shares, which is not the device's
};

// Commands handed to the device together, up to one event of the queue.
struct Flight {
  cl_event event = nullptr;
  u64 upto = 0;         // record number: all up to it are done when `event` is
  u64 completes = 0;    // the worker's newest seq among them, 0 if none
  u64 first_write = 0;  // the first record among them that reads the arena: its bytes must stay
  u64 kernels = 0;
  u64 prints = 0;  // the launch in it that may print, 0: none
  u64 records = 0;
  std::string entry{};  // of its last launch
  std::int64_t departed_ns = 0;
  bool told = false;  // the device will tell when it is done
  std::vector<std::unique_ptr<std::uint8_t[]>> held{};
};

struct TimedEvent {
  u64 number;
  cl_event event;
};

enum class Turn : int { kIdle = 0, kProgress = 1, kStale = -1, kViolation = -2 };

inline constexpr u64 kMaxWindow = 256;  // records with the device at once: keeps it busy, drains soon
inline constexpr u64 kFirstWindow = 4;
inline constexpr std::size_t kMaxTimed = 4096;  // commands whose times are kept

class Tenant {
 public:
  Tenant(Device& device, std::string name, Segment segment, Words* words);
  ~Tenant();
  // Goes on from where the words say, in a session that nothing was taken from here.
  void begin();
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  // Takes at most `limit` commands, so that at most `window` are with the device, lands what is done, publishes. Of a violation `violation` says more,
  // and the session does nothing any more. `plain`: none that may wait for the device.
  Turn turn(u64 limit, u64 window, bool plain = false) noexcept;
  bool take(u64 limit, u64 window, bool plain);
  bool land();
  bool publish();  // false: another server has the session
  // The device is to tell when it is done with what is on its way. False: it will not.
  bool tell();
  // It told so of records up to `upto`, in its thread, while the loop sleeps. False: the loop is wanted.
  bool arrived(u64 upto) noexcept;
  void wake();
  // How long the device has been at what is on its way, if it does first what came first; 0: nothing is.
  std::int64_t age_ns(std::int64_t now) const {
    return flights.empty() ? 0 : now - std::max(objects.device.landed_ns, flights.front().departed_ns);
  }
  double pace_at(std::int64_t now) const {
    return pace + static_cast<double>(age_ns(now)) / static_cast<double>(std::max<u64>(words->weight, 1));
  }
  // The device is done with what it has before anybody misses a loop that sleeps. Of commands that take long enough to
  // enqueue others meanwhile, only those that their worker waits for.
  bool soon() const;
  // Something for the device, or for Python, is in shared memory.
  bool has_records() const;
  bool wants_python() const;
  bool closed() const { return segment.get(Line::CLOSED) != 0; }

  // A command that a loaded state had queued: done before those in the ring.
  void push(Bytes record, Bytes payload);
  void fail(Refused error);
  Clock clock_of(u64 number);
  // All that are known, as five words each, the number first; and those of where the session was before.
  std::string clocks();
  void know(Bytes clocks);
  // Keeps what it takes and reads there from now on.
  void keep(RedoLog log);
  // Goes on with another file, in which everything was done that was done in this one.
  void rebind(Segment at);
  // Waits until nothing is on its way; false: time was over.
  bool drain(std::int64_t timeout_ns);
  // It is over, and the device is not done with it.
  void abandon();

  Words* words;
  Segment segment;
  const std::string name;
  const u64 id;  // no other of this process, ever, has it
  Objects objects;
  std::deque<Flight> flights{};
  bool awaited = false;        // the newest record is a signal: its worker is about to wait
  u64 unawaited = 0;           // times that something was taken since
  bool stuck = false;          // at a record that is not plain
  bool wants = false;          // the device, as the slicer last saw it
  double pace = 0;             // ns of the device over the weight: see slicer.hpp
  double record_ns = 0;        // of the device, lately
  u64 stride = kFirstWindow;   // records that may be with the device before more is known of them
  bool abandoned = false;      // it is over, but the device is not done with it
  Prints prints{};             // what its program has not fetched yet
  std::optional<Refused> error{};       // the first that the worker has not been told of
  std::optional<Refused> fault_of{};
  std::string violation{};

 private:
  friend class Commands;
  bool fill();
  bool next();
  bool launch_follows() const;
  bool do_record();
  void await_room(NoRoom room);
  template <class Record>
  void note(u64 number, const Record& record);
  void note_reads();
  void signalled(u64 seq);
  void settled();
  void depart();
  void end_printing(const Flight& flight);
  void count_time(const Flight& flight);
  void broken(Refused why);
  std::uint8_t* arena(u64 offset, u64 nbytes) const;
  const std::uint8_t* hold(Bytes bytes);

  std::vector<std::uint8_t> bytes_{};  // copied out of the ring
  std::size_t at_ = 0, end_ = 0;
  u64 seen_ = 0;    // ring bytes copied out
  u64 barren_ = 0;  // the head up to which there is no whole record
  Bytes record_{};               // the next one: in bytes_, or of the backlog
  std::uint16_t operation_ = 0;  // its
  bool from_backlog_ = false;
  const std::string* payload_ = nullptr;  // what a write of the backlog writes
  std::deque<std::pair<std::string, std::string>> backlog_{};
  Flight loose_{};      // handed to the device, no flight yet
  u64 departed_ = 0;     // records that flights cover
  bool handed_ = false;  // there is something loose
  bool bulk_ = false;    // the last command was a large transfer: it departs by itself
  bool last_ = false;    // nothing comes behind the flights of a queue that failed
  bool timed_next_ = false;
  bool launch_follows_ = false;  // in this turn, the record being done
  std::deque<TimedEvent> timed_{};
  std::map<u64, Clock> clocked_{};  // by number, of where the session was before
  struct Reading {
    u64 number, arena, nbytes;
  };
  RedoLog redo_{};
  std::deque<Reading> reading_{};  // what the log has not got yet
};

std::int64_t now_ns();

}  // namespace haltere
