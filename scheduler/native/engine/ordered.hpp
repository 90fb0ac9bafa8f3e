// A sorted set in chunks: as small as an array, cheap to change however large it is.
//
// Chunks hold up to 2 * kHalf values; finding one is a binary search over the chunks' last values, and
// a change moves at most a chunk.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace haltere {

template <class Value>
class Ordered {
 public:
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  const Value& first() const { return chunks_.front().front(); }
  const Value& last() const { return chunks_.back().back(); }

  void insert(const Value& value) {
    ++size_;
    if (chunks_.empty()) {
      chunks_.emplace_back(1, value);
      lasts_.push_back(value);
      return;
    }
    std::size_t at = chunk_of(value);
    if (at == chunks_.size()) --at;
    auto& chunk = chunks_[at];
    chunk.insert(std::lower_bound(chunk.begin(), chunk.end(), value), value);
    lasts_[at] = chunk.back();
    if (chunk.size() > 2 * kHalf) split(at);
  }

  // It must be there.
  void erase(const Value& value) {
    const std::size_t at = chunk_of(value);
    auto& chunk = chunks_[at];
    chunk.erase(std::lower_bound(chunk.begin(), chunk.end(), value));
    --size_;
    if (chunk.empty()) {
      chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(at));
      lasts_.erase(lasts_.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      lasts_[at] = chunk.back();
    }
  }

  // The first after `value`, or the last before it; null if there is none. Until the next change.
  const Value* after(const Value& value) const {
    const auto found = std::upper_bound(lasts_.begin(), lasts_.end(), value);
    if (found == lasts_.end()) return nullptr;
    const auto& chunk = chunks_[static_cast<std::size_t>(found - lasts_.begin())];
    return &*std::upper_bound(chunk.begin(), chunk.end(), value);
  }

  const Value* before(const Value& value) const {
    std::size_t at = chunk_of(value);
    if (at < chunks_.size()) {
      const auto& chunk = chunks_[at];
      const auto found = std::lower_bound(chunk.begin(), chunk.end(), value);
      if (found != chunk.begin()) return &*(found - 1);
    }
    return at == 0 ? nullptr : &lasts_[at - 1];
  }

  template <class Do>
  void each(Do&& act) const {
    for (const auto& chunk : chunks_)
      for (const Value& value : chunk) act(value);
  }

 private:
  static constexpr std::size_t kHalf = 64;

  // The chunk whose last value is the first that is not less; one past the end if none is.
  std::size_t chunk_of(const Value& value) const {
    return static_cast<std::size_t>(std::lower_bound(lasts_.begin(), lasts_.end(), value) - lasts_.begin());
  }

  void split(std::size_t at) {
    auto& chunk = chunks_[at];
    const auto middle = chunk.begin() + kHalf;
    std::vector<Value> upper(middle, chunk.end());
    chunk.erase(middle, chunk.end());
    lasts_[at] = chunk.back();
    lasts_.insert(lasts_.begin() + static_cast<std::ptrdiff_t>(at) + 1, upper.back());
    chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(at) + 1, std::move(upper));
  }

  std::vector<std::vector<Value>> chunks_;
  std::vector<Value> lasts_;
  std::size_t size_ = 0;
};

}  // namespace haltere
