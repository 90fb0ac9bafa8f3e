// A set of small numbers as bits under bits: each level says which words of the one below are not 0.
#pragma once

#include <bit>
#include <cstddef>
#include <vector>

#include "base.hpp"

namespace haltere {

class Bits {
 public:
  std::size_t size() const { return count_; }

  void insert(u32 number) {
    ++count_;
    std::size_t at = number;
    for (std::size_t level = 0;; ++level) {
      if (level == levels_.size()) levels_.emplace_back();
      auto& words = levels_[level];
      const std::size_t word = at / 64;
      const bool grew = word >= words.size();
      if (grew) words.resize(word + 1);
      const bool was_empty = words[word] == 0;
      words[word] |= u64{1} << (at % 64);
      if (level + 1 == levels_.size() && words.size() == 1) return;  // this is the top
      if (level + 1 == levels_.size()) return rebuild(level + 1);
      if (!was_empty && !grew) return;
      at = word;
    }
  }

  // It must be there.
  void erase(u32 number) {
    --count_;
    std::size_t at = number;
    for (auto& words : levels_) {
      words[at / 64] &= ~(u64{1} << (at % 64));
      if (words[at / 64] != 0) return;
      at /= 64;
    }
  }

  static constexpr u32 kNone = ~u32{0};

  // The least that is not below `from`, or kNone.
  u32 from(u32 from) const {
    std::size_t at = from;
    for (std::size_t level = 0; level < levels_.size(); ++level) {
      const auto& words = levels_[level];
      if (at / 64 >= words.size()) return kNone;
      const u64 rest = words[at / 64] >> (at % 64);
      if (rest != 0) return descend(level, at + static_cast<std::size_t>(std::countr_zero(rest)));
      at = at / 64 + 1;
    }
    return kNone;
  }

 private:
  u32 descend(std::size_t level, std::size_t at) const {
    while (level > 0) {
      --level;
      at = at * 64 + static_cast<std::size_t>(std::countr_zero(levels_[level][at]));
    }
    return static_cast<u32>(at);
  }

  // Levels from `level` up, over those below.
  void rebuild(std::size_t level) {
    levels_.resize(level);
    while (levels_.back().size() > 1) {
      const auto& below = levels_.back();
      std::vector<u64> words((below.size() + 63) / 64);
      for (std::size_t i = 0; i < below.size(); ++i)
        if (below[i] != 0) words[i / 64] |= u64{1} << (i % 64);
      levels_.push_back(std::move(words));
    }
  }

  std::vector<std::vector<u64>> levels_;
  std::size_t count_ = 0;
};

}  // namespace haltere
