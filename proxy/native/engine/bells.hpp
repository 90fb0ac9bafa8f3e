// How a device tells that it is done, so that nobody has to look.
//
// Drivers of processors run a function of ours behind other commands, in the thread that did those. If
// the server's loop sleeps then, that thread goes through the loop's doors itself: what is done is
// published and the worker woken without waking the server first. It may also stay a while and do what
// comes next, for a round trip of a tiny command is little else than waking others. Other drivers call
// back when an event is complete, and the loop is woken.
#pragma once

#include <linux/futex.h>

#include <atomic>
#include <cstddef>
#include <mutex>

#include "device.hpp"

namespace haltere {

inline constexpr std::size_t kDoors = 128;  // FUTEX_WAITV_MAX

// A loop that sleeps. Between its construction and its end these may be called, in any thread, by one at
// a time; not before and not after.
class Sleeper {
 public:
  enum class Next {
    kWake,  // the loop is wanted
    kGo,    // it may sleep on
    kStay,  // so it may, if this thread sleeps at its doors until somebody is there, and says so: `rung`
  };
  // What `whose` tenant had handed to the device up to record `upto` is done.
  virtual Next arrived(std::uint64_t whose, std::uint64_t upto) = 0;
  virtual Next rung() = 0;
  // What it sleeps on, less than kDoors; how many.
  virtual std::size_t doors(futex_waitv* into) const = 0;

 protected:
  ~Sleeper() = default;

 private:
  friend class Sleeping;
  friend void arrive(std::uint64_t whose, std::uint64_t upto);
  Sleeper* next_ = nullptr;
  std::uint64_t sleep_ = 0;  // which of all sleeps
};

class Sleeping {
 public:
  explicit Sleeping(Sleeper& who);
  ~Sleeping();  // whoever stays at its doors goes
  Sleeping(const Sleeping&) = delete;
  Sleeping& operator=(const Sleeping&) = delete;
  std::unique_lock<std::mutex> lock() const;  // nobody calls meanwhile

 private:
  Sleeper& who_;
};

// What loops sleep on, besides the sessions' doorbells. Never freed: a driver may ring late.
std::atomic<std::uint32_t>& device_bell();

// Until a word is not as seen, or somebody wakes its sleepers, or `until_ns`, 0: for ever. Its error, 0: none.
int sleep_at(futex_waitv* doors, std::size_t count, std::int64_t until_ns);

// Behind all that is in `queue`. An OpenCL status.
cl_int tell_behind(const Device& device, cl_command_queue queue, std::uint64_t whose, std::uint64_t upto);
// When `event` is complete. An OpenCL status.
cl_int tell_when(const Device& device, cl_event event);

}  // namespace haltere
