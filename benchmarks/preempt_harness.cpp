// Freezes a kernel in a Verilated `shell` (rtl_sim/shell) at random cycles, through its registers.
// For benchmarks/preempt_latency.py.
//
//   harness MEMORY_FILE BASE SAMPLES SEED LATENCY STALL RESULT_OFFSET RESULT_BYTES OFFSET=VALUE...
//
// First the kernel runs to its end (its result is the reference); then, SAMPLES times, it is frozen
// at a random cycle, saved, put to noise by a reset, loaded, verified and run to its end. Prints the
// kernel's cycles, then a line for each sample: instant, cycles to frozen, cycles of the save, of
// the load. A result other than the reference, or any error of the shell, ends the program with 1.
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include "Vmodel.h"
#include "memory_slave.h"
#include "verilated.h"

extern "C" int haltere_printf(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int written = std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    return written;
}
void vl_finish(const char*, int, const char*) VL_MT_UNSAFE { std::exit(2); }
void vl_stop(const char* file, int line, const char*) VL_MT_UNSAFE {
    std::fprintf(stderr, "assertion at %s:%d\n", file, line);
    std::exit(2);
}
void vl_fatal(const char*, int, const char*, const char*) VL_MT_UNSAFE { std::exit(2); }

constexpr std::uint64_t IMAGE = 1ull << 40;         // device address of the state image
constexpr std::uint64_t MAX_CYCLES = 50'000'000;    // of a kernel or a command: more is a hang
constexpr unsigned COMMAND = 0x08, STATUS = 0x0C, ADDRESS_HIGH = 0x14, IMAGE_BYTES = 0x18,
                   ELAPSED = 0x30, KERNEL = 0x00;
enum Command { FREEZE = 1, SAVE, LOAD, CHECK, VERIFY, RUN, RESET };

static VerilatedContext context;
static Vmodel top{&context};

// The snapshot's memory port under the names that MemorySlave knows.
struct SnapshotPort {
    CData &m_axi_gmem_awvalid = top.m_axi_snap_awvalid, &m_axi_gmem_awready = top.m_axi_snap_awready,
          &m_axi_gmem_awlen = top.m_axi_snap_awlen, &m_axi_gmem_awsize = top.m_axi_snap_awsize,
          &m_axi_gmem_awburst = top.m_axi_snap_awburst, &m_axi_gmem_wvalid = top.m_axi_snap_wvalid,
          &m_axi_gmem_wready = top.m_axi_snap_wready, &m_axi_gmem_wstrb = top.m_axi_snap_wstrb,
          &m_axi_gmem_wlast = top.m_axi_snap_wlast, &m_axi_gmem_bvalid = top.m_axi_snap_bvalid,
          &m_axi_gmem_bready = top.m_axi_snap_bready, &m_axi_gmem_bresp = top.m_axi_snap_bresp,
          &m_axi_gmem_arvalid = top.m_axi_snap_arvalid, &m_axi_gmem_arready = top.m_axi_snap_arready,
          &m_axi_gmem_arlen = top.m_axi_snap_arlen, &m_axi_gmem_arsize = top.m_axi_snap_arsize,
          &m_axi_gmem_arburst = top.m_axi_snap_arburst, &m_axi_gmem_rvalid = top.m_axi_snap_rvalid,
          &m_axi_gmem_rready = top.m_axi_snap_rready, &m_axi_gmem_rresp = top.m_axi_snap_rresp,
          &m_axi_gmem_rlast = top.m_axi_snap_rlast;
    QData &m_axi_gmem_awaddr = top.m_axi_snap_awaddr, &m_axi_gmem_araddr = top.m_axi_snap_araddr,
          &m_axi_gmem_wdata = top.m_axi_snap_wdata, &m_axi_gmem_rdata = top.m_axi_snap_rdata;
};

static SnapshotPort port;
static haltere::Memory memory;
static haltere::ShellState kernel_bus{}, snapshot_bus{};
static haltere::MemorySlave kernel_slave{kernel_bus, memory}, snapshot_slave{snapshot_bus, memory};

[[noreturn]] static void fail(const char* what, std::uint64_t value) {
    std::fprintf(stderr, "%s (%#llx)\n", what, static_cast<unsigned long long>(value));
    std::exit(1);
}

static void step() {
    kernel_slave.drive(top);
    snapshot_slave.drive(port);
    top.ap_clk = 0;
    top.eval();
    kernel_slave.advance(top);
    snapshot_slave.advance(port);
    top.ap_clk = 1;
    top.eval();
    if (kernel_bus.fault_kind) fail("fault on the kernel's bus", kernel_bus.fault_address);
    if (snapshot_bus.fault_kind) fail("fault on the snapshot's bus", snapshot_bus.fault_address);
}

// One access on an AXI4-Lite port, whose signals are given; the bus answers every one.
#define LITE(bus)                                                                            \
    static void write_##bus(unsigned offset, std::uint32_t value) {                          \
        top.s_axi_##bus##_awaddr = offset;                                                   \
        top.s_axi_##bus##_wdata = value;                                                     \
        top.s_axi_##bus##_wstrb = 15;                                                        \
        top.s_axi_##bus##_awvalid = top.s_axi_##bus##_wvalid = top.s_axi_##bus##_bready = 1; \
        for (bool open = true; open;) {                                                      \
            top.ap_clk = 0;                                                                  \
            top.eval();                                                                      \
            const bool taken = top.s_axi_##bus##_awvalid && top.s_axi_##bus##_awready;       \
            open = !top.s_axi_##bus##_bvalid;                                                \
            if (!open && top.s_axi_##bus##_bresp) fail("write refused", offset);             \
            step();                                                                          \
            if (taken) top.s_axi_##bus##_awvalid = top.s_axi_##bus##_wvalid = 0;             \
        }                                                                                    \
        top.s_axi_##bus##_bready = 0;                                                        \
    }                                                                                        \
    static std::uint32_t read_##bus(unsigned offset) {                                       \
        top.s_axi_##bus##_araddr = offset;                                                   \
        top.s_axi_##bus##_arvalid = top.s_axi_##bus##_rready = 1;                            \
        std::uint32_t value = 0;                                                             \
        for (bool open = true; open;) {                                                      \
            top.ap_clk = 0;                                                                  \
            top.eval();                                                                      \
            const bool taken = top.s_axi_##bus##_arvalid && top.s_axi_##bus##_arready;       \
            open = !top.s_axi_##bus##_rvalid;                                                \
            value = top.s_axi_##bus##_rdata;                                                 \
            step();                                                                          \
            if (taken) top.s_axi_##bus##_arvalid = 0;                                        \
        }                                                                                    \
        top.s_axi_##bus##_rready = 0;                                                        \
        return value;                                                                        \
    }
LITE(shell)
LITE(control)

// Runs a command to its end; returns its cycles.
static std::uint32_t command(Command code) {
    write_shell(COMMAND, code);
    for (std::uint64_t polls = 0; polls < MAX_CYCLES; ++polls) {
        const std::uint32_t status = read_shell(STATUS);
        if (status & 2) continue;
        if (status >> 8 & 255) fail("the shell's error", status);
        return read_shell(ELAPSED);
    }
    fail("a command does not end", code);
}

static void launch(const std::vector<std::pair<unsigned, std::uint32_t>>& registers) {
    for (const auto& [offset, value] : registers) write_control(offset, value);
    write_control(KERNEL, 1);
}

static std::uint64_t finish() {
    std::uint64_t cycles = 0;
    for (; !top.__SYM__interrupt; ++cycles) {
        if (cycles == MAX_CYCLES) fail("the kernel does not end", cycles);
        step();
    }
    write_control(0x0C, 1);
    read_control(KERNEL);
    return cycles;
}

int main(int count, char** arguments) {
    if (count < 10) fail("too few arguments", count);
    std::ifstream file(arguments[1], std::ios::binary);
    const std::vector<char> initial{std::istreambuf_iterator<char>(file), {}};
    std::vector<std::uint8_t> bytes(initial.begin(), initial.end());
    const std::uint64_t base = std::strtoull(arguments[2], nullptr, 0);
    const unsigned samples = std::strtoul(arguments[3], nullptr, 0);
    std::mt19937_64 random(std::strtoull(arguments[4], nullptr, 0));
    for (haltere::ShellState* bus : {&kernel_bus, &snapshot_bus}) {
        bus->read_latency = bus->write_latency = std::strtoul(arguments[5], nullptr, 0);
        bus->stall_per_256 = bus == &kernel_bus ? std::strtoul(arguments[6], nullptr, 0) : 0;
        bus->random = 0x9e3779b9u;
    }
    const std::size_t result = std::strtoull(arguments[7], nullptr, 0);
    const std::size_t result_bytes = std::strtoull(arguments[8], nullptr, 0);
    std::vector<std::pair<unsigned, std::uint32_t>> registers;
    for (int i = 9; i < count; ++i) {
        char* rest = nullptr;
        const unsigned offset = std::strtoul(arguments[i], &rest, 0);
        registers.emplace_back(offset, std::strtoul(rest + 1, nullptr, 0));
    }

    top.ap_rst_n = 0;
    std::vector<std::uint8_t> image(8);  // its real size is the shell's to say
    for (int i = 0; i < 8; ++i) step();
    kernel_bus.cycle = 0;
    kernel_slave.choose_next();
    snapshot_slave.choose_next();
    top.ap_rst_n = 1;
    image.resize((read_shell(IMAGE_BYTES) + 7) / 8 * 8);
    const haltere::Window windows[] = {{base, bytes.size(), bytes.data()},
                                       {IMAGE, image.size(), image.data()}};
    memory.set(windows, 2);
    write_shell(ADDRESS_HIGH, IMAGE >> 32);
    while (!(read_shell(STATUS) & 8)) {}

    launch(registers);
    const std::uint64_t whole = finish();
    const std::vector<std::uint8_t> reference = bytes;
    std::printf("%llu\n", static_cast<unsigned long long>(whole));
    for (unsigned sample = 0; sample < samples; ++sample) {
        bytes.assign(initial.begin(), initial.end());  // in place: the window stays
        const std::uint64_t instant = random() % whole;
        launch(registers);
        for (std::uint64_t i = 0; i < instant && !top.__SYM__interrupt; ++i) step();
        const std::uint32_t frozen = command(FREEZE), saved = command(SAVE);
        command(RESET);
        const std::uint32_t loaded = command(LOAD);
        command(VERIFY);
        command(RUN);
        finish();
        if (std::memcmp(&bytes[result], &reference[result], result_bytes)) {
            fail("another result, frozen at", instant);
        }
        std::printf("%llu %u %u %u\n", static_cast<unsigned long long>(instant), frozen, saved,
                    loaded);
    }
    return 0;
}
