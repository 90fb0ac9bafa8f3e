// How a device tells that it is done, so that nobody has to look.
//
// Drivers of processors run a function of ours behind other commands, in the thread that did those. If
// the server's loop sleeps then, that thread goes through the loop's doors itself: what is done is
// published and the worker woken without waking the server first. Other drivers call back when an event
// is complete, and the loop is woken.
#pragma once

#include <atomic>

#include "device.hpp"

namespace haltere {

// A loop that sleeps. Between its construction and its end `arrived` may be called, in any thread, by
// one at a time; not before and not after.
class Sleeper {
 public:
  // What `whose` tenant had handed to the device up to record `upto` is done. False: wake the loop.
  virtual bool arrived(std::uint64_t whose, std::uint64_t upto) = 0;

 protected:
  ~Sleeper() = default;

 private:
  friend class Sleeping;
  friend void arrive(std::uint64_t whose, std::uint64_t upto);
  Sleeper* next_ = nullptr;
};

class Sleeping {
 public:
  explicit Sleeping(Sleeper& who);
  ~Sleeping();
  Sleeping(const Sleeping&) = delete;
  Sleeping& operator=(const Sleeping&) = delete;

 private:
  Sleeper& who_;
};

// What loops sleep on, besides the sessions' doorbells. Never freed: a driver may ring late.
std::atomic<std::uint32_t>& device_bell();

// Behind all that is in `queue`. An OpenCL status.
cl_int tell_behind(const Device& device, cl_command_queue queue, std::uint64_t whose, std::uint64_t upto);
// When `event` is complete. An OpenCL status.
cl_int tell_when(const Device& device, cl_event event);

}  // namespace haltere
