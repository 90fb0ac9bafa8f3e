// Any Verilated top behind a C ABI of rows: `play` sets all inputs, evaluates, records all outputs,
// row after row. Clocks are inputs like any other. Ports, their words and their order come from
// ports.inc, which player_build.py writes from the generated header. It must not know what any
// port means, the state port included.
//
// A port of n bits takes ceil(n / 32) words of a row, least significant first; bits above n are
// ignored in inputs and 0 in outputs.
#include <cstdint>
#include <cstring>
#include <memory>

#include "../shim/hooks.h"
#include "Vmodel.h"
#include "ports.inc"
#include "verilated.h"
#ifdef HALTERE_TRACE
#include "verilated_vcd_c.h"
#endif

void Vmodel___024root___eval(Vmodel___024root* self);  // generated beside Vmodel

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace haltere {

constexpr std::uint32_t ABI_VERSION = 1;
constexpr int TRACE_LEVELS = 99;         // all of the hierarchy
using Word = std::uint32_t;

constexpr Word mask(unsigned bits) { return bits >= 32 ? ~Word{0} : (Word{1} << bits) - 1; }

template <typename Signal>
inline void put(Signal& signal, const Word* words, unsigned bits) {
    signal = static_cast<Signal>(words[0] & mask(bits));
}
inline void put(QData& signal, const Word* words, unsigned bits) {
    signal = words[0] | static_cast<QData>(words[1] & mask(bits - 32)) << 32;
}
template <std::size_t Count>
inline void put(VlWide<Count>& signal, const Word* words, unsigned bits) {
    for (std::size_t i = 0; i < Count; ++i) signal[i] = words[i];
    signal[Count - 1] &= mask(bits - 32 * (Count - 1));
}

template <typename Signal>
inline void take(const Signal& signal, Word* words) {
    words[0] = signal;
}
inline void take(const QData& signal, Word* words) {
    words[0] = static_cast<Word>(signal);
    words[1] = static_cast<Word>(signal >> 32);
}
template <std::size_t Count>
inline void take(const VlWide<Count>& signal, Word* words) {
    for (std::size_t i = 0; i < Count; ++i) words[i] = signal[i];
}

struct Player final : Host {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Vmodel> top;
    bool stopped = false;  // it stays where it was
#ifdef HALTERE_TRACE
    std::unique_ptr<VerilatedVcdC> trace;
    std::uint64_t traced_rows = 0;  // time in the waveform: 0 is when it was started
#endif

    explicit Player(std::uint32_t seed) {
        current = this;
        Verilated::threadContextp(context.get());
        context->randReset(seed ? 2 : 0);  // 0: what nothing initializes is zero; else noise
        context->randSeed(static_cast<int>(seed ? seed : 1));
#ifdef HALTERE_TRACE
        context->traceEverOn(true);
#endif
        top.reset(new Vmodel{context.get(), "top"});
        const Word zeros[HALTERE_IN_WORDS + 1] = {};
        apply(zeros);
        top->eval();  // the first one runs initial blocks
    }

    ~Player() {
        current = this;
        Verilated::threadContextp(context.get());
#ifdef HALTERE_TRACE
        if (trace) trace->close();
        trace.reset();
#endif
        top.reset();
        current = nullptr;
    }

    void stop() override { stopped = true; }

    void apply(const Word* row) {
#define HALTERE_IN(port, first, bits) put(top->port, row + first, bits);
        HALTERE_INPUTS
#undef HALTERE_IN
        (void)row;
    }

    void show(Word* row) const {
#define HALTERE_OUT(port, first) take(top->port, row + first);
        HALTERE_OUTPUTS
#undef HALTERE_OUT
        (void)row;
    }

    void eval() {
#ifdef HALTERE_TRACE
        top->eval();
        if (trace) trace->dump(++traced_rows);
#else
        // Without the wrapper around the model's own evaluation: it locks mutexes for SystemVerilog
        // class objects and flushes other threads' messages, which takes longer than a small model.
        Vmodel___024root___eval(top->rootp);
#endif
    }
};

template <typename Result, typename Body>
Result guarded(void* handle, Result failed, Body body) {
    Player& player = *static_cast<Player*>(handle);
    current = &player;
    Verilated::threadContextp(player.context.get());
    try {
        return body(player);
    } catch (const std::exception&) {
        player.stopped = true;
        return failed;
    }
}

}  // namespace haltere

using haltere::Player;
using haltere::Word;

// ---- the C ABI; every function is called by one thread at a time for one player

EXPORT std::uint32_t haltere_player_abi() { return haltere::ABI_VERSION; }

// One line a port: direction, first word in the row, bits, name.
EXPORT const char* haltere_player_ports() { return HALTERE_PORTS; }

EXPORT void* haltere_player_create(std::uint32_t seed) {
    try {
        return new Player(seed);
    } catch (const std::exception&) {
        return nullptr;
    }
}

EXPORT void haltere_player_destroy(void* handle) { delete static_cast<Player*>(handle); }

// Plays `count` rows of `in_words` into `out`, of `out_words` a row; returns how many were played:
// all, unless the model stopped at the last of them, or the word counts are not the model's (0).
// With `feed_words`, words feed_in.. of each row are what words feed_out.. showed before that row.
EXPORT std::uint64_t haltere_player_play(void* handle, const Word* in, std::uint32_t in_words,
                                         Word* out, std::uint32_t out_words, std::uint64_t count,
                                         std::uint32_t feed_out, std::uint32_t feed_in,
                                         std::uint32_t feed_words) {
    if (in_words != HALTERE_IN_WORDS || out_words != HALTERE_OUT_WORDS) return 0;
    if (feed_words > HALTERE_IN_WORDS || feed_in > HALTERE_IN_WORDS - feed_words) return 0;
    if (feed_words > HALTERE_OUT_WORDS || feed_out > HALTERE_OUT_WORDS - feed_words) return 0;
    std::uint64_t done = 0;
    return haltere::guarded<std::uint64_t>(handle, 0, [&](Player& player) {
        Word shown[HALTERE_OUT_WORDS + 1];
        Word fed[HALTERE_IN_WORDS + 1];
        if (feed_words) player.show(shown);
        const Word* before = shown;
        while (done < count && !player.stopped) {
            const Word* row = in + done * HALTERE_IN_WORDS;
            if (feed_words) {
                std::memcpy(fed, row, HALTERE_IN_WORDS * sizeof(Word));
                std::memcpy(fed + feed_in, before + feed_out, feed_words * sizeof(Word));
                row = fed;
            }
            player.apply(row);
            player.eval();
            Word* to = out + done * HALTERE_OUT_WORDS;
            player.show(to);
            before = to;
            ++done;
        }
        return done;
    });
}

EXPORT std::uint32_t haltere_player_stopped(void* handle) {
    return static_cast<Player*>(handle)->stopped;
}

EXPORT const char* haltere_player_log(void* handle) {
    return static_cast<Player*>(handle)->log.c_str();
}

// 0: built without tracing, or already tracing. The file is complete when the player is destroyed.
EXPORT std::uint32_t haltere_player_trace(void* handle, const char* path) {
#ifdef HALTERE_TRACE
    return haltere::guarded<std::uint32_t>(handle, 0, [=](Player& player) {
        if (player.trace) return 0u;
        player.trace.reset(new VerilatedVcdC);
        player.top->trace(player.trace.get(), haltere::TRACE_LEVELS);
        player.trace->open(path);
        if (!player.trace->isOpen()) return 0u;
        player.trace->dump(0);
        return 1u;
    });
#else
    (void)handle;
    (void)path;
    return 0;
#endif
}
