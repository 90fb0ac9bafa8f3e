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
  kHearsCancel,
  kHearsStarted,
  kHearsResized,
  kHearsCheckpointed,
  kHearsExited,
  kTriggers,
};

inline Trigger heard(Event::Kind kind) {
  switch (kind) {
    case Event::kJobStarted:
      return kHearsStarted;
    case Event::kJobResized:
      return kHearsResized;
    case Event::kJobCheckpointed:
      return kHearsCheckpointed;
    case Event::kJobExited:
      return kHearsExited;
    default:
      throw Failure("invalid_transition", text("no job can hear an event of kind %d", kind));
  }
}

}  // namespace haltere
