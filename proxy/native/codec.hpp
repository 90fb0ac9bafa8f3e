// The bytes of records, as proxy/wire.py defines them: u32 length, u16 operation, u16 zero,
// u64 number; every int as u64; then every other field as u64 count and contents, padded to 8.
// Decoded fields are views into the bytes. Decoding trusts nothing and reads nothing outside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace haltere {

inline constexpr std::size_t kHeadBytes = 16;
inline constexpr std::uint64_t kMaxArgs = 1024;
inline constexpr std::uint64_t kMaxDimensions = 3;

struct Bytes {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;

  Bytes() = default;
  Bytes(const void* at, std::size_t nbytes) : data(static_cast<const std::uint8_t*>(at)), size(nbytes) {}
  Bytes(std::string_view text) : Bytes(text.data(), text.size()) {}  // NOLINT: a view as well
  std::string_view text() const { return {reinterpret_cast<const char*>(data), size}; }
};

struct Sizes {
  std::uint64_t count = 0;
  std::uint64_t value[kMaxDimensions] = {};
};

inline std::uint64_t load_u64(const std::uint8_t* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline std::size_t padded(std::size_t nbytes) { return (nbytes + 7) & ~std::size_t{7}; }

struct Arg {
  enum Kind : std::uint32_t { kBuffer = 1, kScalar = 2, kLocal = 3, kObject = 4 };
  Kind kind = kScalar;
  std::uint64_t handle = 0;  // of a buffer (0: NULL), an image, a sampler; or bytes of local memory
  std::uint64_t offset = 0;  // into the buffer
  Bytes scalar;

  // The bytes of this argument, behind those that are there.
  void append_to(std::string& out) const {
    const auto word = [&out](std::uint64_t value) {
      out.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    if (kind == kScalar) {
      word(kScalar | std::uint64_t{scalar.size} << 32);
      out.append(reinterpret_cast<const char*>(scalar.data), scalar.size);
      out.append(padded(scalar.size) - scalar.size, '\0');
      return;
    }
    word(kind);
    word(handle);
    if (kind == kBuffer) word(offset);
  }

  // Reads one argument at `at` and moves it on. False: malformed.
  bool read(const std::uint8_t*& at, const std::uint8_t* end) {
    if (end - at < 16 && !(end - at >= 8 && load_u64(at) == kScalar)) return false;
    const std::uint64_t tag = load_u64(at);
    at += 8;
    if (static_cast<std::uint32_t>(tag) == kScalar) {
      const std::size_t nbytes = tag >> 32;
      if (static_cast<std::size_t>(end - at) < padded(nbytes)) return false;
      for (std::size_t i = nbytes; i < padded(nbytes); ++i)
        if (at[i] != 0) return false;
      kind = kScalar;
      scalar = {at, nbytes};
      at += padded(nbytes);
      return true;
    }
    if (tag != kBuffer && tag != kLocal && tag != kObject) return false;
    kind = static_cast<Kind>(tag);
    handle = load_u64(at);
    at += 8;
    if (kind != kBuffer) return true;
    if (end - at < 8) return false;
    offset = load_u64(at);
    at += 8;
    return true;
  }
};

// Encoded arguments: well formed once decoded, so that iterating needs no checks.
struct Args {
  std::uint64_t count = 0;
  Bytes encoded;

  template <class Each>
  void each(Each&& then) const {
    const std::uint8_t* at = encoded.data;
    const std::uint8_t* end = at + encoded.size;
    for (std::uint64_t i = 0; i < count; ++i) {
      Arg arg;
      if (!arg.read(at, end)) return;
      then(i, arg);
    }
  }
};

// ---- encoding

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void operator()(std::uint64_t value) { out_.append(reinterpret_cast<const char*>(&value), 8); }
  void operator()(const Bytes& bytes) {
    (*this)(std::uint64_t{bytes.size});
    if (bytes.size) out_.append(reinterpret_cast<const char*>(bytes.data), bytes.size);
    out_.append(padded(bytes.size) - bytes.size, '\0');
  }
  void operator()(const Sizes& sizes) {
    (*this)(sizes.count);
    out_.append(reinterpret_cast<const char*>(sizes.value), 8 * sizes.count);
  }
  void operator()(const Args& args) {
    (*this)(args.count);
    if (args.encoded.size)
      out_.append(reinterpret_cast<const char*>(args.encoded.data), args.encoded.size);
  }

 private:
  std::string& out_;
};

// The record's bytes into `out`, which is emptied first: kept by callers to save allocations.
template <class Record>
void encode(std::string& out, std::uint64_t number, const Record& record) {
  out.clear();
  out.append(kHeadBytes, '\0');
  Record::fields(record, Writer(out));
  const std::uint32_t length = static_cast<std::uint32_t>(out.size());
  const std::uint16_t operation = Record::operation;
  std::memcpy(out.data(), &length, 4);
  std::memcpy(out.data() + 4, &operation, 2);
  std::memcpy(out.data() + 8, &number, 8);
}

// ---- decoding

struct RecordHead {
  std::uint32_t length;
  std::uint16_t operation;
  std::uint64_t number;
};

// nullopt: too short, not zero where it must be, or of another length than `bytes`.
inline std::optional<RecordHead> read_head(Bytes bytes) {
  if (bytes.size < kHeadBytes || bytes.size % 8) return std::nullopt;
  RecordHead head{};
  std::uint16_t zero;
  std::memcpy(&head.length, bytes.data, 4);
  std::memcpy(&head.operation, bytes.data + 4, 2);
  std::memcpy(&zero, bytes.data + 6, 2);
  std::memcpy(&head.number, bytes.data + 8, 8);
  if (zero || head.length != bytes.size) return std::nullopt;
  return head;
}

class Reader {
 public:
  explicit Reader(Bytes bytes) : at_(bytes.data + kHeadBytes), end_(bytes.data + bytes.size) {}
  bool good() const { return ok_; }
  bool ended() const { return ok_ && at_ == end_; }

  void operator()(std::uint64_t& value) { value = word(); }
  void operator()(Bytes& bytes) {
    const std::uint64_t nbytes = word();
    const std::size_t left = static_cast<std::size_t>(end_ - at_);
    if (!ok_ || nbytes > left || padded(nbytes) > left) return fail();
    for (std::size_t i = nbytes; i < padded(nbytes); ++i)
      if (at_[i] != 0) return fail();
    bytes = {at_, static_cast<std::size_t>(nbytes)};
    at_ += padded(nbytes);
  }
  void operator()(Sizes& sizes) {
    sizes.count = word();
    if (!ok_ || sizes.count > kMaxDimensions) return fail();
    for (std::uint64_t i = 0; i < sizes.count; ++i) sizes.value[i] = word();
  }
  void operator()(Args& args) {
    args.count = word();
    if (!ok_ || args.count > kMaxArgs) return fail();
    const std::uint8_t* begin = at_;
    for (std::uint64_t i = 0; i < args.count; ++i) {
      Arg arg;
      if (!arg.read(at_, end_)) return fail();
    }
    args.encoded = {begin, static_cast<std::size_t>(at_ - begin)};
  }

 private:
  std::uint64_t word() {
    if (!ok_ || end_ - at_ < 8) {
      ok_ = false;
      return 0;
    }
    const std::uint64_t value = load_u64(at_);
    at_ += 8;
    return value;
  }
  void fail() { ok_ = false; }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool ok_ = true;
};

template <class Record, class Then>
bool decode_then(const RecordHead& head, Bytes bytes, Then&& then) {
  Record record;
  Reader reader(bytes);
  Record::fields(record, reader);
  if (!reader.ended()) return false;
  then(head.number, static_cast<const Record&>(record));
  return true;
}

}  // namespace haltere
