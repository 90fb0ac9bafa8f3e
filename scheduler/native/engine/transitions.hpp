// What a job can be told.
#pragma once

#include "events.hpp"
#include "jobs.hpp"

namespace haltere {

enum Trigger : u8 {
  kHearsAdmit,
  kHearsPlace,
  kHearsEvict,
  kHearsResize,
  kHearsSave,
  kHearsCancel,
  kHearsLost,
  kHearsStarted,
  kHearsStartFailed,
  kHearsResized,
  kHearsResizeFailed,
  kHearsCheckpointed,
  kHearsCheckpointFailed,
  kHearsSaved,
  kHearsSaveFailed,
  kHearsExited,
  kTriggers,
};

inline Trigger heard(Event::Kind kind) {
  switch (kind) {
    case Event::kJobStarted:
      return kHearsStarted;
    case Event::kStartFailed:
      return kHearsStartFailed;
    case Event::kJobResized:
      return kHearsResized;
    case Event::kResizeFailed:
      return kHearsResizeFailed;
    case Event::kJobCheckpointed:
      return kHearsCheckpointed;
    case Event::kCheckpointFailed:
      return kHearsCheckpointFailed;
    case Event::kJobSaved:
      return kHearsSaved;
    case Event::kSaveFailed:
      return kHearsSaveFailed;
    case Event::kJobExited:
      return kHearsExited;
    default:
      throw Failure("invalid_transition", text("no job can hear an event of kind %d", kind));
  }
}

}  // namespace haltere
