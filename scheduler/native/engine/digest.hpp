// A digest of every step, in the form that scheduler/sim/digest.py describes: words of 64 bits, under
// XXH64 (Yann Collet's, by its public description).
#pragma once

#include <array>
#include <bit>
#include <vector>

#include "base.hpp"

namespace haltere {

class Digest {
 public:
  void add(i64 word) {
    stripe_[count_ % 4] = static_cast<u64>(word);
    if (++count_ % 4 == 0)
      for (std::size_t lane = 0; lane < 4; ++lane) lanes_[lane] = mixed(lanes_[lane], stripe_[lane]);
    if (keeps_) kept_.push_back(word);
  }

  u64 value() const {
    u64 hash = k5;
    if (count_ >= 4) {
      hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
             std::rotl(lanes_[3], 18);
      for (const u64 lane : lanes_) hash = (hash ^ mixed(0, lane)) * k1 + k4;
    }
    hash += count_ * 8;
    for (std::size_t at = 0; at < count_ % 4; ++at)
      hash = std::rotl(hash ^ mixed(0, stripe_[at]), 27) * k1 + k4;
    hash = (hash ^ hash >> 33) * k2;
    hash = (hash ^ hash >> 29) * k3;
    return hash ^ hash >> 32;
  }

  // To look for where two runs part.
  void keep(bool keeps) { keeps_ = keeps; }
  const std::vector<i64>& kept() const { return kept_; }

 private:
  static constexpr u64 k1 = 0x9E3779B185EBCA87, k2 = 0xC2B2AE3D27D4EB4F, k3 = 0x165667B19E3779F9,
                       k4 = 0x85EBCA77C2B2AE63, k5 = 0x27D4EB2F165667C5;

  static u64 mixed(u64 lane, u64 word) { return std::rotl(lane + word * k2, 31) * k1; }

  std::array<u64, 4> lanes_{k1 + k2, k2, 0, 0 - k1};
  std::array<u64, 4> stripe_{};
  u64 count_ = 0;  // words
  bool keeps_ = false;
  std::vector<i64> kept_;
};

}  // namespace haltere
