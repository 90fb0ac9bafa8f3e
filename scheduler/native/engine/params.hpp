// What the elastic policy goes by: policies/round.py's ElasticParams and guarantee.py's promises, in
// microseconds and millionths.
#pragma once

#include "base.hpp"

namespace haltere {

struct Params {  // scheduler/native/cluster.py has the same fields
  i64 first_level_us, first_run_us, min_run_us, settle_us, grow_after_us, turn_us, floor_us, young_us, bear_us,
      hard_us,      look_us;
  i64 level_ratio, halts_a_level;
  i64 reserve_ppm;  // of all slices: kept back, to the nearest whole one
  i64 saves, save_cost_us, mtbf_us, home_us;  // saves: 0 or 1
  double grow_share, spare_share;
  i64 burst_us[2], refill_ppm[2], share_ppm[2];  // of premium and standard
};

}  // namespace haltere
