// A bare harness: the same Verilated model in a tight C++ loop, with the least memory that lets a
// kernel run (one flat array, fixed latency, nothing checked). What a verification engineer would
// write, and the peer of benchmarks/sim_rate.py. Independent of rtl_sim/verilated/shim.
//
//   harness MEMORY_FILE BASE LAUNCHES OFFSET=VALUE...     prints: cycles CPU-seconds
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "Vmodel.h"
#include "verilated.h"

extern "C" int haltere_printf(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int written = std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    return written;
}
void vl_finish(const char*, int, const char*) VL_MT_UNSAFE { std::exit(2); }
void vl_stop(const char*, int, const char*) VL_MT_UNSAFE { std::exit(2); }
void vl_fatal(const char*, int, const char*, const char*) VL_MT_UNSAFE { std::exit(2); }

struct Burst {
    std::uint64_t offset, ready;
    unsigned beats;
};

static VerilatedContext context;
static Vmodel top{&context};
static std::vector<std::uint8_t> memory;
static std::uint64_t base, cycle;
static std::deque<Burst> reads, writes;
static std::deque<std::uint64_t> responses;
constexpr std::uint64_t READ_LATENCY = 16, WRITE_LATENCY = 8;

static void step() {
    top.ap_clk = 0;
    top.eval();
    const bool took_read = top.m_axi_gmem_rvalid && top.m_axi_gmem_rready;
    const bool took_response = top.m_axi_gmem_bvalid && top.m_axi_gmem_bready;
    const bool took_write = top.m_axi_gmem_wvalid && top.m_axi_gmem_wready;
    if (took_read) {
        reads.front().offset += 8;
        if (--reads.front().beats == 0) reads.pop_front();
    }
    if (took_response) responses.pop_front();
    if (took_write) {
        std::memcpy(&memory[writes.front().offset], &top.m_axi_gmem_wdata, 8);
        writes.front().offset += 8;
        if (--writes.front().beats == 0) {
            writes.pop_front();
            responses.push_back(cycle + 1 + WRITE_LATENCY);
        }
    }
    if (top.m_axi_gmem_arvalid) {
        reads.push_back({top.m_axi_gmem_araddr - base, cycle + 1 + READ_LATENCY,
                         top.m_axi_gmem_arlen + 1u});
    }
    if (top.m_axi_gmem_awvalid) {
        writes.push_back({top.m_axi_gmem_awaddr - base, 0, top.m_axi_gmem_awlen + 1u});
    }
    ++cycle;
    const bool read = !reads.empty() && reads.front().ready <= cycle;
    std::uint64_t data = 0;
    if (read) std::memcpy(&data, &memory[reads.front().offset], 8);
    const bool last = read && reads.front().beats == 1;
    const bool response = !responses.empty() && responses.front() <= cycle;
    const bool write = !writes.empty();
    top.ap_clk = 1;
    top.eval();
    top.m_axi_gmem_rvalid = read;
    top.m_axi_gmem_rdata = data;
    top.m_axi_gmem_rlast = last;
    top.m_axi_gmem_bvalid = response;
    top.m_axi_gmem_wready = write;
}

static void put(unsigned offset, unsigned value) {
    top.s_axi_control_awaddr = offset;
    top.s_axi_control_wdata = value;
    top.s_axi_control_wstrb = 15;
    top.s_axi_control_awvalid = top.s_axi_control_wvalid = top.s_axi_control_bready = 1;
    for (bool done = false; !done;) {
        top.ap_clk = 0;
        top.eval();
        const bool aw = top.s_axi_control_awready, w = top.s_axi_control_wready;
        done = top.s_axi_control_bvalid;
        step();
        if (aw) top.s_axi_control_awvalid = 0;
        if (w) top.s_axi_control_wvalid = 0;
    }
    top.s_axi_control_bready = 0;
}

static double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int main(int argc, char** argv) {
    std::ifstream file(argv[1], std::ios::binary);
    memory.assign(std::istreambuf_iterator<char>(file), {});
    base = std::strtoull(argv[2], nullptr, 0);
    const int launches = std::atoi(argv[3]);
#ifdef HALTERE_STATE_PORT
    top.sp_run = 1;
#endif
    top.m_axi_gmem_arready = top.m_axi_gmem_awready = 1;
    top.ap_rst_n = 0;
    for (int i = 0; i < 8; ++i) step();
    top.ap_rst_n = 1;
    cycle = 0;
    const double begin = cpu_seconds();
    for (int launch = 0; launch < launches; ++launch) {
        for (int i = 4; i < argc; ++i) {
            char* value = nullptr;
            const unsigned long offset = std::strtoul(argv[i], &value, 0);
            put(static_cast<unsigned>(offset),
                static_cast<unsigned>(std::strtoul(value + 1, nullptr, 0)));
        }
        put(0x04, 1);
        put(0x08, 1);
        put(0x00, 1);
        while (!top.__SYM__interrupt) step();
        put(0x0c, 1);
    }
    const double taken = cpu_seconds() - begin;
    std::printf("%llu %.9f\n", static_cast<unsigned long long>(cycle), taken);
    std::ofstream(argv[1], std::ios::binary)
        .write(reinterpret_cast<const char*>(memory.data()),
               static_cast<std::streamsize>(memory.size()));
    return 0;
}
