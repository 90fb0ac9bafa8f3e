// The shell around a Verilated overlay: clock and reset, an AXI4-Lite master, an AXI4 memory slave
// and the state port of docs/overlays.md, behind a C ABI. The same source serves every overlay:
// the model class is always Vmodel. It must not know any particular overlay, nor the file format
// of a snapshot (rtl_sim/snapshot.py). Built with -DHALTERE_STATE_PORT for instrumented RTL.
//
// One cycle: drive the transactors' registered outputs, settle with the clock low, let the
// transactors look, raise the clock. Between two cycles nothing is under way but ShellState and
// the overlay's own registers: that is where a freeze cuts.
#include <cstring>
#include <memory>

#include "Vmodel.h"
#include "hooks.h"
#include "memory_slave.h"
#include "verilated.h"

void Vmodel___024root___eval(Vmodel___024root* self);  // generated beside Vmodel

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace haltere {

constexpr std::uint32_t ABI_VERSION = 2;
constexpr unsigned RESET_CYCLES = 8;        // enough for any synchronous reset pipeline we ship
constexpr std::uint64_t NO_ANSWER = ~0ull;  // returned by register accesses that time out

struct Model final : Host {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Vmodel> top;
    ShellState state{};
    Memory memory;
    MemorySlave slave{state, memory};
    bool dead = false;  // a fatal error left the model in the middle of an evaluation

    explicit Model(std::uint32_t seed) {
        current = this;
        context->randReset(seed ? 2 : 0);  // 0: power-on as a bitstream without INIT: zeros
        context->randSeed(static_cast<int>(seed ? seed : 1));
        top.reset(new Vmodel{context.get(), "top"});
        top->eval();  // the first one runs initial blocks
        reset();
    }

    ~Model() {
        current = this;
        top.reset();
        current = nullptr;
    }

    void stop() override { slave.fault(FAULT_MODEL, false, 0); }

    // The model's own evaluation, without the wrapper around it: that locks mutexes for SystemVerilog
    // class objects and flushes other threads' messages, a sixth of the time of a small overlay, and
    // a model of synthesizable RTL on one thread has neither.
    void eval() { Vmodel___024root___eval(top->rootp); }

    void reset() {
        const ShellState timing = state;
        state = ShellState{};
        state.version = SHELL_VERSION;
        state.size_bytes = sizeof(ShellState);
        state.read_latency = timing.read_latency;
        state.write_latency = timing.write_latency;
        state.stall_per_256 = timing.stall_per_256;
        state.random = 0x9e3779b9u;
        idle_control();
        thaw();
        top->ap_rst_n = 0;
        for (unsigned i = 0; i < RESET_CYCLES; ++i) {
            slave.drive(*top);
            edge();
        }
        top->ap_rst_n = 1;
        state.cycle = 0;
        state.fault_kind = FAULT_NONE;
        slave.choose_next();
    }

    void edge() {
        top->ap_clk = 0;
        eval();
        top->ap_clk = 1;
        eval();
    }

    void step() {
        slave.drive(*top);
        top->ap_clk = 0;
        eval();
        slave.advance(*top);
        top->ap_clk = 1;
        eval();
    }

    bool interrupt() const { return top->__SYM__interrupt; }

    bool stopped() const { return state.fault_kind != FAULT_NONE; }

    std::uint64_t run(std::uint64_t max_cycles, bool stop_on_irq) {
        std::uint64_t done = 0;
        while (done < max_cycles && !stopped() && !(stop_on_irq && interrupt())) {
            step();
            ++done;
        }
        return done;
    }

    // ---- AXI4-Lite; each access ends before it returns, so no snapshot ever holds one

    void idle_control() {
        top->s_axi_control_awvalid = top->s_axi_control_wvalid = top->s_axi_control_bready = 0;
        top->s_axi_control_arvalid = top->s_axi_control_rready = 0;
        top->s_axi_control_awaddr = top->s_axi_control_araddr = 0;
        top->s_axi_control_wdata = top->s_axi_control_wstrb = 0;
    }

    bool write32(std::uint32_t address, std::uint32_t value, std::uint64_t max_cycles) {
        top->s_axi_control_awaddr = address;
        top->s_axi_control_wdata = value;
        top->s_axi_control_wstrb = 15;
        top->s_axi_control_awvalid = top->s_axi_control_wvalid = 1;
        top->s_axi_control_bready = 1;
        bool answered = false;
        for (std::uint64_t i = 0; i < max_cycles && !answered && !stopped(); ++i) {
            slave.drive(*top);
            top->ap_clk = 0;
            eval();
            const bool aw = top->s_axi_control_awvalid && top->s_axi_control_awready;
            const bool w = top->s_axi_control_wvalid && top->s_axi_control_wready;
            answered = top->s_axi_control_bvalid;
            slave.advance(*top);
            top->ap_clk = 1;
            eval();
            if (aw) top->s_axi_control_awvalid = 0;
            if (w) top->s_axi_control_wvalid = 0;
        }
        idle_control();
        return answered;
    }

    std::uint64_t read32(std::uint32_t address, std::uint64_t max_cycles) {
        top->s_axi_control_araddr = address;
        top->s_axi_control_arvalid = top->s_axi_control_rready = 1;
        std::uint64_t value = NO_ANSWER;
        for (std::uint64_t i = 0; i < max_cycles && value == NO_ANSWER && !stopped(); ++i) {
            slave.drive(*top);
            top->ap_clk = 0;
            eval();
            const bool ar = top->s_axi_control_arvalid && top->s_axi_control_arready;
            if (top->s_axi_control_rvalid) value = top->s_axi_control_rdata;
            slave.advance(*top);
            top->ap_clk = 1;
            eval();
            if (ar) top->s_axi_control_arvalid = 0;
        }
        idle_control();
        return value;
    }

    // ---- state port

#ifdef HALTERE_STATE_PORT
    // Frozen cycles: one row, word or register each, as on a board.
    std::uint64_t frozen_cycles = 0;

    void idle_state_port() {
        top->sp_scan = top->sp_mre = top->sp_mwe = 0;
        top->sp_msel = 0;
        top->sp_maddr = 0;
    }

    void thaw() {
        idle_state_port();
        top->sp_run = 1;
    }

    void frozen_edge() {
        top->ap_clk = 1;
        eval();
        ++frozen_cycles;
        top->ap_clk = 0;  // the state port's inputs change while the clock is low
        eval();
    }

    void freeze() {
        slave.drive(*top);
        top->ap_clk = 0;
        eval();
        context->assertOn(false);  // scanned rows pass through registers: no state of the design
        idle_state_port();
        top->sp_run = 0;
        eval();
        frozen_edge();  // the idle one
    }

    void release() {
        thaw();
        slave.drive(*top);
        eval();  // settle, so that the interrupt shows at once
        context->assertOn(true);
    }

    template <typename Port>
    static void put(Port& port, const std::uint8_t* bytes, std::size_t count) {
        port = 0;
        std::memcpy(&port, bytes, std::min(count, sizeof port));
    }
    template <std::size_t N>
    static void put(VlWide<N>& port, const std::uint8_t* bytes, std::size_t count) {
        std::memset(port.m_storage, 0, sizeof port.m_storage);
        std::memcpy(port.m_storage, bytes, std::min(count, sizeof port.m_storage));
    }
    template <typename Port>
    static void get(const Port& port, std::uint8_t* bytes, std::size_t count) {
        std::memset(bytes, 0, count);
        std::memcpy(bytes, &port, std::min(count, sizeof port));
    }
    template <std::size_t N>
    static void get(const VlWide<N>& port, std::uint8_t* bytes, std::size_t count) {
        std::memset(bytes, 0, count);
        std::memcpy(bytes, port.m_storage, std::min(count, sizeof port.m_storage));
    }

    // What follows needs a frozen design.

    // Turns the chain once: `out` (may be null) gets the rows, `in` (null: what comes out) goes in.
    void rotate(std::uint8_t* out, const std::uint8_t* in, std::uint32_t rows,
                std::uint32_t row_bytes) {
        top->sp_scan = 1;
        for (std::uint32_t row = 0; row < rows; ++row) {
            if (out) get(top->sp_so, out + std::size_t{row} * row_bytes, row_bytes);
            if (in) {
                put(top->sp_si, in + std::size_t{row} * row_bytes, row_bytes);
            } else {
                top->sp_si = top->sp_so;
            }
            frozen_edge();
        }
        top->sp_scan = 0;
        eval();
    }

    void read_memory(std::uint32_t index, std::uint32_t word_bytes, std::uint32_t count,
                     std::uint8_t* out) {
        top->sp_msel = index;
        top->sp_mre = 1;
        for (std::uint32_t address = 0; address < count; ++address) {
            top->sp_maddr = address;
            frozen_edge();
            get(top->sp_mrd, out + std::size_t{address} * word_bytes, word_bytes);
        }
        idle_state_port();
        eval();
    }

    void write_memory(std::uint32_t index, std::uint32_t word_bytes, std::uint32_t count,
                      const std::uint8_t* in) {
        top->sp_msel = index;
        top->sp_mwe = 1;
        for (std::uint32_t address = 0; address < count; ++address) {
            top->sp_maddr = address;
            put(top->sp_mwd, in + std::size_t{address} * word_bytes, word_bytes);
            frozen_edge();
        }
        idle_state_port();
        eval();
    }

    void read_register(std::uint32_t select, std::uint32_t bytes, std::uint8_t* out) {
        top->sp_msel = select;
        frozen_edge();
        get(top->sp_mrd, out, bytes);
        idle_state_port();
        eval();
    }

    // Through word 0 of its memory, which the caller puts back.
    void load_register(std::uint32_t select, std::uint32_t memory, std::uint32_t bytes,
                       const std::uint8_t* in) {
        write_memory(memory, bytes, 1, in);
        top->sp_msel = select;
        top->sp_mre = 1;
        frozen_edge();
        idle_state_port();
        eval();
    }
#else
    void thaw() {}
#endif
};

// Runs `body` with the runtime's hooks pointing at `model`; a fatal error kills the model only.
template <typename Result, typename Body>
Result guarded(void* handle, Result failed, Body body) {
    Model& model = *static_cast<Model*>(handle);
    if (model.dead) return failed;
    current = &model;
    Verilated::threadContextp(model.context.get());
    try {
        return body(model);
    } catch (const std::exception&) {
        model.dead = true;
        model.slave.fault(FAULT_MODEL, false, 0);
        return failed;
    }
}

}  // namespace haltere

using haltere::Model;

// ---- the C ABI; every function is called by one thread at a time for one model

EXPORT std::uint32_t haltere_abi_version() { return haltere::ABI_VERSION; }

EXPORT std::uint32_t haltere_has_state_port() {
#ifdef HALTERE_STATE_PORT
    return 1;
#else
    return 0;
#endif
}

EXPORT void* haltere_create(std::uint32_t seed) {
    try {
        return new Model(seed);
    } catch (const std::exception&) {
        return nullptr;
    }
}

EXPORT void haltere_destroy(void* handle) { delete static_cast<Model*>(handle); }

EXPORT std::uint64_t haltere_run(void* handle, std::uint64_t max_cycles, std::uint32_t stop_on_irq) {
    return haltere::guarded<std::uint64_t>(
        handle, 0, [=](Model& model) { return model.run(max_cycles, stop_on_irq != 0); });
}

EXPORT std::uint32_t haltere_interrupt(void* handle) {
    return haltere::guarded<std::uint32_t>(handle, 0,
                                           [](Model& model) { return model.interrupt(); });
}

EXPORT std::uint64_t haltere_read32(void* handle, std::uint32_t address, std::uint64_t max_cycles) {
    return haltere::guarded<std::uint64_t>(handle, haltere::NO_ANSWER, [=](Model& model) {
        return model.read32(address, max_cycles);
    });
}

EXPORT std::uint32_t haltere_write32(void* handle, std::uint32_t address, std::uint32_t value,
                                     std::uint64_t max_cycles) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        return model.write32(address, value, max_cycles);
    });
}

EXPORT void haltere_set_windows(void* handle, const haltere::Window* windows, std::uint64_t count) {
    static_cast<Model*>(handle)->memory.set(windows, count);
}

EXPORT void haltere_set_timing(void* handle, std::uint32_t read_latency,
                               std::uint32_t write_latency, std::uint32_t stall_per_256) {
    haltere::ShellState& state = static_cast<Model*>(handle)->state;
    state.read_latency = read_latency;
    state.write_latency = write_latency;
    state.stall_per_256 = stall_per_256;
}

EXPORT std::uint64_t haltere_shell_bytes() { return sizeof(haltere::ShellState); }

EXPORT void haltere_save_shell(void* handle, std::uint8_t* out) {
    std::memcpy(out, &static_cast<Model*>(handle)->state, sizeof(haltere::ShellState));
}

// 0: refused (another version, or values that no shell writes), nothing changed.
EXPORT std::uint32_t haltere_check_shell(const std::uint8_t* in) {
    haltere::ShellState state;
    std::memcpy(&state, in, sizeof state);
    return haltere::plausible(state);
}

EXPORT std::uint32_t haltere_load_shell(void* handle, const std::uint8_t* in) {
    if (!haltere_check_shell(in)) return 0;
    Model& model = *static_cast<Model*>(handle);
    std::memcpy(&model.state, in, sizeof model.state);
    return haltere::guarded<std::uint32_t>(handle, 0, [](Model& model) {
        model.slave.drive(*model.top);
        model.eval();
        return 1u;
    });
}

EXPORT const char* haltere_log(void* handle) { return static_cast<Model*>(handle)->log.c_str(); }

#ifdef HALTERE_STATE_PORT
EXPORT std::uint32_t haltere_freeze(void* handle) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.freeze();
        return 1u;
    });
}

EXPORT std::uint32_t haltere_release(void* handle) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.release();
        return 1u;
    });
}

EXPORT std::uint64_t haltere_frozen_cycles(void* handle) {
    return static_cast<Model*>(handle)->frozen_cycles;
}

EXPORT std::uint32_t haltere_rotate(void* handle, std::uint8_t* out, const std::uint8_t* in,
                                    std::uint32_t rows, std::uint32_t row_bytes) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.rotate(out, in, rows, row_bytes);
        return 1u;
    });
}

EXPORT std::uint32_t haltere_read_memory(void* handle, std::uint32_t index,
                                         std::uint32_t word_bytes, std::uint32_t count,
                                         std::uint8_t* out) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.read_memory(index, word_bytes, count, out);
        return 1u;
    });
}

EXPORT std::uint32_t haltere_write_memory(void* handle, std::uint32_t index,
                                          std::uint32_t word_bytes, std::uint32_t count,
                                          const std::uint8_t* in) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.write_memory(index, word_bytes, count, in);
        return 1u;
    });
}

EXPORT std::uint32_t haltere_read_register(void* handle, std::uint32_t select, std::uint32_t bytes,
                                           std::uint8_t* out) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.read_register(select, bytes, out);
        return 1u;
    });
}

EXPORT std::uint32_t haltere_load_register(void* handle, std::uint32_t select, std::uint32_t memory,
                                           std::uint32_t bytes, const std::uint8_t* in) {
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Model& model) {
        model.load_register(select, memory, bytes, in);
        return 1u;
    });
}
#endif
