// Everything that the shell's transactors remember between two clock cycles, as plain data of fixed
// width: it goes into the `shell` segment of a snapshot, so that freezing drains nothing and a
// restored run goes on with the same beats in the same cycles. Change the layout: raise VERSION.
#pragma once
#include <cstdint>
#include <type_traits>

namespace haltere {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "snapshots are little-endian");

constexpr std::uint32_t SHELL_VERSION = 1;
constexpr std::uint32_t QUEUE_DEPTH = 8;  // bursts in flight each way; more than any overlay issues

struct Burst {
    std::uint64_t address;      // of the next beat
    std::uint64_t ready_cycle;  // reads: not before this cycle
    std::uint32_t beats_left;
    std::uint32_t bad;  // outside every window: answered SLVERR, touches nothing
};

struct Response {
    std::uint64_t ready_cycle;
    std::uint32_t code;
    std::uint32_t reserved;
};

enum FaultKind : std::uint32_t {
    FAULT_NONE = 0,
    FAULT_WINDOW = 1,    // access outside the context's memory
    FAULT_PROTOCOL = 2,  // the overlay breaks a rule of docs/overlays.md
    FAULT_MODEL = 3,     // assertion, $stop, $finish or a fatal error of the model
};

struct ShellState {
    std::uint32_t version;
    std::uint32_t size_bytes;
    std::uint64_t cycle;  // functional cycles since reset
    // timing of the memory, set by the host; part of the state so that a run goes on alike
    std::uint32_t read_latency;
    std::uint32_t write_latency;
    std::uint32_t stall_per_256;  // chance of a wait state, each channel, each cycle
    std::uint32_t random;         // xorshift32; deterministic
    // what is driven to the overlay
    std::uint64_t rdata;
    std::uint8_t arready, rvalid, rlast, rresp;
    std::uint8_t awready, wready, bvalid, bresp;
    // queues, oldest first
    std::uint32_t read_count, write_count, response_count, reserved;
    Burst reads[QUEUE_DEPTH];
    Burst writes[QUEUE_DEPTH];
    Response responses[QUEUE_DEPTH];
    // the first fault; it stays until reset
    std::uint32_t fault_kind;
    std::uint32_t fault_is_write;
    std::uint64_t fault_address;
    std::uint64_t fault_cycle;
};

static_assert(std::is_trivially_copyable_v<ShellState>);
static_assert(sizeof(Burst) == 24 && sizeof(Response) == 16);
static_assert(sizeof(ShellState) == 16 + 16 + 8 + 8 + 16 + 8 * (24 + 24 + 16) + 24);

inline bool plausible(const Burst* bursts, std::uint32_t count) {
    if (count > QUEUE_DEPTH) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (bursts[i].beats_left < 1 || bursts[i].beats_left > 256) return false;
    }
    return true;
}

// Whether the shell can go on from `s` without leaving its arrays; correct checksums do not show
// who wrote a snapshot.
inline bool plausible(const ShellState& s) {
    return s.version == SHELL_VERSION && s.size_bytes == sizeof s
           && plausible(s.reads, s.read_count) && plausible(s.writes, s.write_count)
           && s.response_count <= QUEUE_DEPTH && (s.random || !s.stall_per_256)
           && (!s.rvalid || s.read_count) && (!s.bvalid || s.response_count)
           && (!s.arready || s.read_count < QUEUE_DEPTH)
           && (!s.awready || s.write_count < QUEUE_DEPTH)
           && (!s.wready || (s.write_count && s.response_count < QUEUE_DEPTH));
}

}  // namespace haltere
