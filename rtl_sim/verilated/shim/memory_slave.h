// AXI4 memory slave of docs/overlays.md: INCR bursts of full 8-byte beats, in order each way.
// A Moore machine: what it drives in a cycle is a function of ShellState alone, and `advance`
// computes the state of the next cycle from what the overlay drives in this one. That is what
// makes every cycle a possible cut.
#pragma once
#include <cstring>

#include "memory.h"
#include "state.h"

namespace haltere {

constexpr std::uint64_t BEAT_BYTES = 8;
constexpr std::uint64_t PAGE_BYTES = 4096;
constexpr std::uint32_t SIZE_8_BYTES = 3, BURST_INCR = 1;
constexpr std::uint32_t RESP_OKAY = 0, RESP_SLVERR = 2;

class MemorySlave {
public:
    MemorySlave(ShellState& state, Memory& memory) : s(state), m_memory(memory) {}

    template <typename Top>
    void drive(Top& top) const {
        top.m_axi_gmem_arready = s.arready;
        top.m_axi_gmem_rvalid = s.rvalid;
        top.m_axi_gmem_rdata = s.rdata;
        top.m_axi_gmem_rlast = s.rlast;
        top.m_axi_gmem_rresp = s.rresp;
        top.m_axi_gmem_awready = s.awready;
        top.m_axi_gmem_wready = s.wready;
        top.m_axi_gmem_bvalid = s.bvalid;
        top.m_axi_gmem_bresp = s.bresp;
    }

    template <typename Top>
    void advance(const Top& top) {
        if (s.rvalid && top.m_axi_gmem_rready) take_read_beat();
        if (s.bvalid && top.m_axi_gmem_bready) {
            pop(s.responses, s.response_count);
            s.bvalid = 0;
        }
        if (s.wready && top.m_axi_gmem_wvalid) {
            write_beat(top.m_axi_gmem_wdata, top.m_axi_gmem_wstrb, top.m_axi_gmem_wlast);
        }
        if (s.arready && top.m_axi_gmem_arvalid) {
            accept(s.reads, s.read_count, false, top.m_axi_gmem_araddr, top.m_axi_gmem_arlen,
                   top.m_axi_gmem_arsize, top.m_axi_gmem_arburst, s.read_latency);
        }
        if (s.awready && top.m_axi_gmem_awvalid) {
            accept(s.writes, s.write_count, true, top.m_axi_gmem_awaddr, top.m_axi_gmem_awlen,
                   top.m_axi_gmem_awsize, top.m_axi_gmem_awburst, 0);
        }
        ++s.cycle;
        choose_next();
    }

    void fault(FaultKind kind, bool is_write, std::uint64_t address) {
        if (s.fault_kind != FAULT_NONE) return;
        s.fault_kind = kind;
        s.fault_is_write = is_write;
        s.fault_address = address;
        s.fault_cycle = s.cycle;
    }

    // What is driven in the coming cycle; also called once after reset.
    void choose_next() {
        std::uint32_t dice = 0xffffffffu;  // no stall at 0 per 256
        if (s.stall_per_256) {
            s.random ^= s.random << 13;
            s.random ^= s.random >> 17;
            s.random ^= s.random << 5;
            dice = s.random;
        }
        const auto stalled = [&](unsigned shift) {
            return ((dice >> shift) & 255u) < s.stall_per_256;
        };
        s.arready = s.read_count < QUEUE_DEPTH && !stalled(16);
        s.awready = s.write_count < QUEUE_DEPTH && !stalled(24);
        s.wready = s.write_count > 0 && s.response_count < QUEUE_DEPTH && !stalled(8);
        if (!s.rvalid && s.read_count && s.reads[0].ready_cycle <= s.cycle && !stalled(0)) {
            present_read_beat();
        }
        if (!s.bvalid && s.response_count && s.responses[0].ready_cycle <= s.cycle) {
            s.bvalid = 1;
            s.bresp = static_cast<std::uint8_t>(s.responses[0].code);
        }
    }

private:
    template <typename Item>
    static void pop(Item* queue, std::uint32_t& count) {
        --count;
        std::memmove(queue, queue + 1, count * sizeof(Item));
        queue[count] = Item{};  // canonical: equal states have equal bytes
    }

    void accept(Burst* queue, std::uint32_t& count, bool is_write, std::uint64_t address,
                std::uint32_t len, std::uint32_t size, std::uint32_t burst,
                std::uint32_t latency) {
        const std::uint64_t bytes = (len + 1ull) * BEAT_BYTES;
        const bool legal = size == SIZE_8_BYTES && burst == BURST_INCR
                           && address % BEAT_BYTES == 0
                           && address % PAGE_BYTES + bytes <= PAGE_BYTES;
        const bool reachable = legal && m_memory.find(address, bytes);
        if (!legal) {
            fault(FAULT_PROTOCOL, is_write, address);
        } else if (!reachable) {
            fault(FAULT_WINDOW, is_write, address);
        }
        queue[count++] = Burst{address, s.cycle + 1 + latency, len + 1, !reachable};
    }

    void present_read_beat() {
        const Burst& burst = s.reads[0];
        const std::uint8_t* host = burst.bad ? nullptr : m_memory.find(burst.address, BEAT_BYTES);
        s.rdata = 0;
        if (host) std::memcpy(&s.rdata, host, BEAT_BYTES);
        s.rvalid = 1;
        s.rresp = host ? RESP_OKAY : RESP_SLVERR;
        s.rlast = burst.beats_left == 1;
    }

    void take_read_beat() {
        s.rvalid = s.rlast = s.rresp = 0;
        s.rdata = 0;
        s.reads[0].address += BEAT_BYTES;
        if (--s.reads[0].beats_left == 0) pop(s.reads, s.read_count);
    }

    void write_beat(std::uint64_t data, std::uint32_t strobes, bool last) {
        Burst& burst = s.writes[0];
        std::uint8_t* host = burst.bad ? nullptr : m_memory.find(burst.address, BEAT_BYTES);
        if (host && strobes == 0xff) {
            std::memcpy(host, &data, BEAT_BYTES);
        } else if (host) {
            for (unsigned lane = 0; lane < BEAT_BYTES; ++lane) {
                if (strobes >> lane & 1) host[lane] = static_cast<std::uint8_t>(data >> 8 * lane);
            }
        } else {
            burst.bad = 1;
        }
        if (last != (burst.beats_left == 1)) fault(FAULT_PROTOCOL, true, burst.address);
        burst.address += BEAT_BYTES;
        if (--burst.beats_left == 0) {
            s.responses[s.response_count++]
                = Response{s.cycle + 1 + s.write_latency, burst.bad ? RESP_SLVERR : RESP_OKAY, 0};
            pop(s.writes, s.write_count);
        }
    }

    ShellState& s;
    Memory& m_memory;
};

}  // namespace haltere
