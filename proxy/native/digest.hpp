// What bytes a program has seen, as a number: enough to notice that a kernel that is done again computes
// something else, and several times as fast as copying. Against nobody's malice.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace haltere {

inline constexpr std::size_t kDigestBlock = 32 << 10;  // stays in a cache between copying and reading

class Digest {
 public:
  // Blocks of kDigestBlock bytes, the last one perhaps shorter.
  void add(const std::uint8_t* data, std::size_t nbytes) {
    std::uint64_t lanes[kLanes] = {1, 2, 3, 4, 5, 6, 7, 8};
    std::size_t at = 0;
    for (; at + sizeof lanes <= nbytes; at += sizeof lanes) mix(lanes, data + at);
    if (at < nbytes) {
      std::uint8_t last[sizeof lanes] = {};
      std::memcpy(last, data + at, nbytes - at);
      mix(lanes, last);
    }
    for (const std::uint64_t lane : lanes) value_ = folded((value_ ^ lane) * kPrime);
    value_ = folded((value_ ^ nbytes) * kPrime);
  }
  std::uint64_t value() const { return value_; }

 private:
  static constexpr std::size_t kLanes = 8;
  static constexpr std::uint64_t kPrime = 0x9E3779B185EBCA87;
  static std::uint64_t folded(std::uint64_t value) { return value ^ (value >> 29); }
  static void mix(std::uint64_t* lanes, const std::uint8_t* data) {
    for (std::size_t i = 0; i < kLanes; ++i) {
      std::uint64_t word;
      std::memcpy(&word, data + 8 * i, sizeof word);
      lanes[i] = (lanes[i] ^ word) * kPrime;
    }
  }
  std::uint64_t value_ = 0;
};

inline std::uint64_t digest_of(const std::uint8_t* data, std::size_t nbytes) {
  Digest digest;
  for (std::size_t at = 0; at < nbytes; at += kDigestBlock) digest.add(data + at, std::min(kDigestBlock, nbytes - at));
  return digest.value();
}

// Copies too.
inline std::uint64_t copied_digest(std::uint8_t* into, const std::uint8_t* data, std::size_t nbytes) {
  Digest digest;
  for (std::size_t at = 0; at < nbytes; at += kDigestBlock) {
    const std::size_t size = std::min(kDigestBlock, nbytes - at);
    std::memcpy(into + at, data + at, size);
    digest.add(into + at, size);
  }
  return digest.value();
}

}  // namespace haltere
