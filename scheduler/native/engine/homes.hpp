// Slices kept for a job that is on its way back to them, as scheduler/policies/homes.py: what a gang has
// left when a node is lost.
#pragma once

#include "round.hpp"

namespace haltere {

class Homes {
 public:
  explicit Homes(i64 keep_us) : keep_us_(keep_us) {}

  void follow(Books& books);
  // Takes what is free of them out of what others can have.
  void keep(Round& round) const;
  // Others that stand before them have taken what was kept.
  void forget(const std::vector<u32>& jobs);

 private:
  struct Home {
    u32 job;
    Held slices;
    i64 until_us;
  };

  i64 keep_us_;
  std::vector<Home> homes_;  // in the order in which they were first given
};

}  // namespace haltere
