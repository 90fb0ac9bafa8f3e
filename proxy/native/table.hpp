// Written by proxy/native/generate.py from proxy/records.py, segment.py and wire.py: do not edit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "codec.hpp"

namespace haltere {

inline constexpr std::uint64_t kMagic = 0x314552544c414821ull;
inline constexpr std::uint64_t kVersion = 0x400000002ull;
inline constexpr std::size_t kLineBytes = 64;
inline constexpr std::size_t kErrorAt = 4096;
inline constexpr std::size_t kErrorBytes = 2048;
inline constexpr std::size_t kEndAt = 6144;
inline constexpr std::size_t kEndBytes = 1536;
inline constexpr std::size_t kHomeAt = 7680;
inline constexpr std::size_t kHomeBytes = 512;
inline constexpr std::size_t kRequestAt = 8192;
inline constexpr std::size_t kRequestBytes = 8192;
inline constexpr std::size_t kReplyAt = 16384;
inline constexpr std::size_t kReplyBytes = 65536;
inline constexpr std::size_t kRingAt = 81920;
inline constexpr std::size_t kMaxRecordBytes = 65536;
inline constexpr std::size_t kInlineBytes = 2048;

enum class Line : std::uint64_t { MAGIC = 0, VERSION = 1, RING_BYTES = 2, ARENA_BYTES = 3, NONCE = 4, CLIENT_PID = 5, CLIENT_START = 6, DURABLE = 7, HEAD = 8, REQUEST = 9, REQUEST_AFTER = 10, ERRORS_SEEN = 11, CLOSED = 12, BELL = 13, CLIENT_ASLEEP = 14, WANTED = 15, SERVER_PID = 16, SERVER_START = 17, EPOCH = 18, STATE = 19, TAIL = 20, ISSUED = 21, RETIRED = 22, COMPLETED = 23, ERRORS = 24, REPLY = 25, EVENT = 26, SERVER_ASLEEP = 27, CUT = 28, RECOVERABLE = 29, HEAP_FD = 31, HEAP_BYTES = 32, HEAP_INODE = 33, COPYING = 34, HEAP = 35, PRINTED = 36, PRINTED_SEEN = 37, PRINTS = 38 };

enum class State : std::uint64_t { NEW = 0, RUNNING = 1, SUSPENDED = 2, ENDED = 3 };

enum class Asleep : std::uint64_t { NO = 0, FOR_ANYTHING = 1, FOR_SEQ = 2 };

enum class Rest : std::uint64_t { AWAKE = 0, ASLEEP = 1, DOZING = 2 };

struct Alloc {
  static constexpr std::uint16_t operation = 1;
  std::uint64_t buffer{};
  std::uint64_t nbytes{};
  std::uint64_t usage{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.nbytes); visit(self.usage);
  }
};

struct Free {
  static constexpr std::uint16_t operation = 2;
  std::uint64_t buffer{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer);
  }
};

struct Unload {
  static constexpr std::uint16_t operation = 3;
  std::uint64_t program{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.program);
  }
};

struct Write {
  static constexpr std::uint16_t operation = 4;
  std::uint64_t buffer{};
  std::uint64_t offset{};
  std::uint64_t nbytes{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.offset); visit(self.nbytes); visit(self.arena);
  }
};

struct WriteInline {
  static constexpr std::uint16_t operation = 5;
  std::uint64_t buffer{};
  std::uint64_t offset{};
  Bytes data{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.offset); visit(self.data);
  }
};

struct Read {
  static constexpr std::uint16_t operation = 6;
  std::uint64_t buffer{};
  std::uint64_t offset{};
  std::uint64_t nbytes{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.offset); visit(self.nbytes); visit(self.arena);
  }
};

struct Copy {
  static constexpr std::uint16_t operation = 7;
  std::uint64_t source{};
  std::uint64_t source_offset{};
  std::uint64_t target{};
  std::uint64_t target_offset{};
  std::uint64_t nbytes{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.source); visit(self.source_offset); visit(self.target); visit(self.target_offset); visit(self.nbytes);
  }
};

struct Launch {
  static constexpr std::uint16_t operation = 8;
  std::uint64_t program{};
  Bytes entry{};
  Args args{};
  Sizes global_size{};
  Sizes local_size{};
  Sizes global_offset{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.program); visit(self.entry); visit(self.args); visit(self.global_size); visit(self.local_size); visit(self.global_offset);
  }
};

struct Signal {
  static constexpr std::uint16_t operation = 9;
  std::uint64_t seq{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.seq);
  }
};

struct Fill {
  static constexpr std::uint16_t operation = 10;
  std::uint64_t buffer{};
  std::uint64_t offset{};
  std::uint64_t nbytes{};
  Bytes pattern{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.offset); visit(self.nbytes); visit(self.pattern);
  }
};

struct CopyRect {
  static constexpr std::uint16_t operation = 11;
  std::uint64_t source{};
  std::uint64_t target{};
  std::uint64_t source_x{};
  std::uint64_t source_y{};
  std::uint64_t source_z{};
  std::uint64_t target_x{};
  std::uint64_t target_y{};
  std::uint64_t target_z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t source_row{};
  std::uint64_t source_slice{};
  std::uint64_t target_row{};
  std::uint64_t target_slice{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.source); visit(self.target); visit(self.source_x); visit(self.source_y); visit(self.source_z); visit(self.target_x); visit(self.target_y); visit(self.target_z); visit(self.width); visit(self.height); visit(self.depth); visit(self.source_row); visit(self.source_slice); visit(self.target_row); visit(self.target_slice);
  }
};

struct WriteRect {
  static constexpr std::uint16_t operation = 12;
  std::uint64_t buffer{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t row{};
  std::uint64_t slice{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth); visit(self.row); visit(self.slice); visit(self.arena);
  }
};

struct ReadRect {
  static constexpr std::uint16_t operation = 13;
  std::uint64_t buffer{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t row{};
  std::uint64_t slice{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth); visit(self.row); visit(self.slice); visit(self.arena);
  }
};

struct CreateImage {
  static constexpr std::uint16_t operation = 14;
  std::uint64_t image{};
  std::uint64_t order{};
  std::uint64_t type{};
  std::uint64_t kind{};
  std::uint64_t flags{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t array_size{};
  std::uint64_t row{};
  std::uint64_t slice{};
  std::uint64_t buffer{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.image); visit(self.order); visit(self.type); visit(self.kind); visit(self.flags); visit(self.width); visit(self.height); visit(self.depth); visit(self.array_size); visit(self.row); visit(self.slice); visit(self.buffer);
  }
};

struct WriteImage {
  static constexpr std::uint16_t operation = 15;
  std::uint64_t image{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t nbytes{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.image); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth); visit(self.nbytes); visit(self.arena);
  }
};

struct ReadImage {
  static constexpr std::uint16_t operation = 16;
  std::uint64_t image{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t nbytes{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.image); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth); visit(self.nbytes); visit(self.arena);
  }
};

struct CopyImage {
  static constexpr std::uint16_t operation = 17;
  std::uint64_t source{};
  std::uint64_t target{};
  std::uint64_t source_x{};
  std::uint64_t source_y{};
  std::uint64_t source_z{};
  std::uint64_t target_x{};
  std::uint64_t target_y{};
  std::uint64_t target_z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.source); visit(self.target); visit(self.source_x); visit(self.source_y); visit(self.source_z); visit(self.target_x); visit(self.target_y); visit(self.target_z); visit(self.width); visit(self.height); visit(self.depth);
  }
};

struct CopyImageToBuffer {
  static constexpr std::uint16_t operation = 18;
  std::uint64_t image{};
  std::uint64_t buffer{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  std::uint64_t offset{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.image); visit(self.buffer); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth); visit(self.offset);
  }
};

struct CopyBufferToImage {
  static constexpr std::uint16_t operation = 19;
  std::uint64_t buffer{};
  std::uint64_t image{};
  std::uint64_t offset{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.image); visit(self.offset); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth);
  }
};

struct FillImage {
  static constexpr std::uint16_t operation = 20;
  std::uint64_t image{};
  std::uint64_t x{};
  std::uint64_t y{};
  std::uint64_t z{};
  std::uint64_t width{};
  std::uint64_t height{};
  std::uint64_t depth{};
  Bytes color{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.image); visit(self.x); visit(self.y); visit(self.z); visit(self.width); visit(self.height); visit(self.depth); visit(self.color);
  }
};

struct CreateSampler {
  static constexpr std::uint16_t operation = 21;
  std::uint64_t sampler{};
  std::uint64_t normalized{};
  std::uint64_t addressing{};
  std::uint64_t filter{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.sampler); visit(self.normalized); visit(self.addressing); visit(self.filter);
  }
};

struct DropSampler {
  static constexpr std::uint16_t operation = 22;
  std::uint64_t sampler{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.sampler);
  }
};

struct Timed {
  static constexpr std::uint16_t operation = 23;
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    
  }
};

struct Saw {
  static constexpr std::uint16_t operation = 24;
  std::uint64_t buffer{};
  std::uint64_t offset{};
  std::uint64_t nbytes{};
  std::uint64_t digest{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.offset); visit(self.nbytes); visit(self.digest);
  }
};

struct Append {
  static constexpr std::uint16_t operation = 32;
  std::uint64_t arena{};
  std::uint64_t nbytes{};
  std::uint64_t first{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.arena); visit(self.nbytes); visit(self.first);
  }
};

struct Fetch {
  static constexpr std::uint16_t operation = 33;
  std::uint64_t offset{};
  std::uint64_t nbytes{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.offset); visit(self.nbytes); visit(self.arena);
  }
};

struct Load {
  static constexpr std::uint16_t operation = 34;
  std::uint64_t program{};
  Bytes format{};
  Bytes options{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.program); visit(self.format); visit(self.options);
  }
};

struct Configure {
  static constexpr std::uint16_t operation = 35;
  Bytes digest{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.digest);
  }
};

struct Halt {
  static constexpr std::uint16_t operation = 36;
  std::uint64_t timeout_us{};
  std::uint64_t upto{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.timeout_us); visit(self.upto);
  }
};

struct GoOn {
  static constexpr std::uint16_t operation = 37;
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    
  }
};

struct Peek {
  static constexpr std::uint16_t operation = 38;
  std::uint64_t buffer{};
  std::uint64_t offset{};
  std::uint64_t nbytes{};
  std::uint64_t arena{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.buffer); visit(self.offset); visit(self.nbytes); visit(self.arena);
  }
};

struct SaveState {
  static constexpr std::uint16_t operation = 39;
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    
  }
};

struct LoadState {
  static constexpr std::uint16_t operation = 40;
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    
  }
};

struct Describe {
  static constexpr std::uint16_t operation = 41;
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    
  }
};

struct Kernels {
  static constexpr std::uint16_t operation = 42;
  std::uint64_t program{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.program);
  }
};

struct Times {
  static constexpr std::uint16_t operation = 43;
  std::uint64_t command{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.command);
  }
};

struct BuildLog {
  static constexpr std::uint16_t operation = 44;
  std::uint64_t program{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.program);
  }
};

struct Printed {
  static constexpr std::uint16_t operation = 45;
  std::uint64_t after{};
  std::uint64_t upto{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.after); visit(self.upto);
  }
};

struct Done {
  static constexpr std::uint16_t operation = 64;
  std::uint64_t nbytes{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.nbytes);
  }
};

struct Failed {
  static constexpr std::uint16_t operation = 65;
  std::uint64_t sticky{};
  Bytes code{};
  Bytes message{};
  Bytes native{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.sticky); visit(self.code); visit(self.message); visit(self.native);
  }
};

struct Clock {
  static constexpr std::uint16_t operation = 66;
  std::uint64_t queued_ns{};
  std::uint64_t submitted_ns{};
  std::uint64_t started_ns{};
  std::uint64_t ended_ns{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.queued_ns); visit(self.submitted_ns); visit(self.started_ns); visit(self.ended_ns);
  }
};

struct Home {
  static constexpr std::uint16_t operation = 96;
  Bytes server{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.server);
  }
};

struct KernelInfo {
  static constexpr std::uint16_t operation = 97;
  Bytes name{};
  Bytes attributes{};
  std::uint64_t arg_count{};
  std::uint64_t work_group{};
  std::uint64_t multiple{};
  std::uint64_t local_bytes{};
  std::uint64_t private_bytes{};
  Sizes compiled_size{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.arg_count); visit(self.work_group); visit(self.multiple); visit(self.local_bytes); visit(self.private_bytes); visit(self.name); visit(self.attributes); visit(self.compiled_size);
  }
};

struct ArgInfo {
  static constexpr std::uint16_t operation = 98;
  std::uint64_t address{};
  std::uint64_t access{};
  std::uint64_t qualifiers{};
  Bytes type_name{};
  Bytes name{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.address); visit(self.access); visit(self.qualifiers); visit(self.type_name); visit(self.name);
  }
};

struct DeviceValue {
  static constexpr std::uint16_t operation = 99;
  std::uint64_t scope{};
  std::uint64_t query{};
  Bytes data{};
  template <class Self, class Visit>
  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {
    visit(self.scope); visit(self.query); visit(self.data);
  }
};

constexpr bool is_command(std::uint16_t operation) {
  return operation < 32;
}

// Decodes one whole record and calls then(number, record). False: malformed.
template <class Then>
bool visit_record(Bytes bytes, Then&& then) {
  const std::optional<RecordHead> head = read_head(bytes);
  if (!head) return false;
  switch (head->operation) {
    case Alloc::operation: return decode_then<Alloc>(*head, bytes, then);
    case Free::operation: return decode_then<Free>(*head, bytes, then);
    case Unload::operation: return decode_then<Unload>(*head, bytes, then);
    case Write::operation: return decode_then<Write>(*head, bytes, then);
    case WriteInline::operation: return decode_then<WriteInline>(*head, bytes, then);
    case Read::operation: return decode_then<Read>(*head, bytes, then);
    case Copy::operation: return decode_then<Copy>(*head, bytes, then);
    case Launch::operation: return decode_then<Launch>(*head, bytes, then);
    case Signal::operation: return decode_then<Signal>(*head, bytes, then);
    case Fill::operation: return decode_then<Fill>(*head, bytes, then);
    case CopyRect::operation: return decode_then<CopyRect>(*head, bytes, then);
    case WriteRect::operation: return decode_then<WriteRect>(*head, bytes, then);
    case ReadRect::operation: return decode_then<ReadRect>(*head, bytes, then);
    case CreateImage::operation: return decode_then<CreateImage>(*head, bytes, then);
    case WriteImage::operation: return decode_then<WriteImage>(*head, bytes, then);
    case ReadImage::operation: return decode_then<ReadImage>(*head, bytes, then);
    case CopyImage::operation: return decode_then<CopyImage>(*head, bytes, then);
    case CopyImageToBuffer::operation: return decode_then<CopyImageToBuffer>(*head, bytes, then);
    case CopyBufferToImage::operation: return decode_then<CopyBufferToImage>(*head, bytes, then);
    case FillImage::operation: return decode_then<FillImage>(*head, bytes, then);
    case CreateSampler::operation: return decode_then<CreateSampler>(*head, bytes, then);
    case DropSampler::operation: return decode_then<DropSampler>(*head, bytes, then);
    case Timed::operation: return decode_then<Timed>(*head, bytes, then);
    case Saw::operation: return decode_then<Saw>(*head, bytes, then);
    case Append::operation: return decode_then<Append>(*head, bytes, then);
    case Fetch::operation: return decode_then<Fetch>(*head, bytes, then);
    case Load::operation: return decode_then<Load>(*head, bytes, then);
    case Configure::operation: return decode_then<Configure>(*head, bytes, then);
    case Halt::operation: return decode_then<Halt>(*head, bytes, then);
    case GoOn::operation: return decode_then<GoOn>(*head, bytes, then);
    case Peek::operation: return decode_then<Peek>(*head, bytes, then);
    case SaveState::operation: return decode_then<SaveState>(*head, bytes, then);
    case LoadState::operation: return decode_then<LoadState>(*head, bytes, then);
    case Describe::operation: return decode_then<Describe>(*head, bytes, then);
    case Kernels::operation: return decode_then<Kernels>(*head, bytes, then);
    case Times::operation: return decode_then<Times>(*head, bytes, then);
    case BuildLog::operation: return decode_then<BuildLog>(*head, bytes, then);
    case Printed::operation: return decode_then<Printed>(*head, bytes, then);
    case Done::operation: return decode_then<Done>(*head, bytes, then);
    case Failed::operation: return decode_then<Failed>(*head, bytes, then);
    case Clock::operation: return decode_then<Clock>(*head, bytes, then);
    case Home::operation: return decode_then<Home>(*head, bytes, then);
    case KernelInfo::operation: return decode_then<KernelInfo>(*head, bytes, then);
    case ArgInfo::operation: return decode_then<ArgInfo>(*head, bytes, then);
    case DeviceValue::operation: return decode_then<DeviceValue>(*head, bytes, then);
  }
  return false;
}
}  // namespace haltere
