// The elastic policy, as scheduler/policies/elastic.py: who waits, in order, and what is left over.
#pragma once

#include "homes.hpp"
#include "saves.hpp"

namespace haltere {

class Elastic {
 public:
  Elastic(const Params& params, Machine& machine) : books(params, machine), homes_(params.home_us), round_(books) {}

  std::vector<Decision>& plan();
  i64 wake_us() const { return round_.wake_us; }  // -1: nobody is to be woken

  Books books;

 private:
  void hand_over(i32 rank);
  void serve_guaranteed(i32 rank);
  void restore(i32 rank);
  bool admit(Job& job);
  void serve_basic();
  bool serve(Job& job);
  bool serve_from(Job& job, i32 first, i32 last, bool goes_home);
  void await(Job& job, const Round::Kept& home);
  bool make_room(Job& job, i32 part);
  bool is_ready(const Job& job);
  bool suits(const Job& job, i32 part) const;

  Homes homes_;
  Saves saves_;
  Round round_;
  i64 looked_us_ = 0;
  i64 handed_over_[2] = {};  // slices asked for by those who have them or will in a moment
};

}  // namespace haltere
