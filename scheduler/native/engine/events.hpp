// What happened and what is to be done: scheduler/core/events.py and commands.py, as plain values.
#pragma once

#include "base.hpp"

namespace haltere {

struct Event {
  enum Kind : u8 {  // the numbers are those of the digest's form
    kDeviceAdded = 1,
    kDeviceLost = 2,
    kJobSubmitted = 3,
    kCancelRequested = 4,
    kTimePassed = 5,
    kJobStarted = 6,
    kStartFailed = 7,
    kJobResized = 8,
    kResizeFailed = 9,
    kJobCheckpointed = 10,
    kCheckpointFailed = 11,
    kJobExited = 12,
    kLeaseReleased = 13,
  };
  Kind kind;
  i64 at_us;
  u32 job = 0;  // of a device's event: the node
  u32 epoch = 0;
  u32 slot = 0;  // of LeaseReleased: where the machine keeps what is to be let go
};

struct Command {
  enum Kind : u8 { kStart = 33, kResize = 34, kCheckpoint = 35, kRelease = 36, kWakeAt = 37 };
  Kind kind;
  u32 job = 0;
  u32 epoch = 0;
  bool is_final = false;  // of Release
  u32 slot = 0;           // of Release: see Event
  i64 at_us = 0;          // of WakeAt
};

}  // namespace haltere
