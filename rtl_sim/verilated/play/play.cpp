// Any Verilated top behind a C ABI of rows: `play` sets all inputs, evaluates, records all outputs,
// row after row. Clocks are inputs like any other. Ports, their words and their order come from
// ports.inc, which player_build.py writes from the generated header. It must not know what any
// port means, the state port included.
//
// A port of n bits takes ceil(n / 32) words of a row, least significant first; bits above n are
// ignored in inputs and 0 in outputs. A row may end before the ports that come last: such inputs
// stay as they are and such outputs are not recorded, which costs nothing.
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

constexpr std::uint32_t ABI_VERSION = 3;
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

// A part of a port of many words: an element of an array.
template <unsigned Bits, typename Signal>
inline void put_part(Signal& signal, const Word* words, unsigned low) {
    Word piece[(Bits + 31) / 32 + 1] = {};  // one more: what is as wide as QData takes two
    for (unsigned bit = 0; bit < Bits; ++bit) {
        const unsigned from = low + bit;
        piece[bit / 32] |= (words[from / 32] >> from % 32 & 1) << bit % 32;
    }
    put(signal, piece, Bits);
}
template <unsigned Bits, typename Signal>
inline void take_part(const Signal& signal, Word* words, unsigned low) {
    Word piece[(Bits + 31) / 32 + 1] = {};
    take(signal, piece);
    for (unsigned bit = 0; bit < Bits; ++bit) {
        const unsigned to = low + bit;
        words[to / 32] |= (piece[bit / 32] >> bit % 32 & 1) << to % 32;
    }
}

struct Player final : Host {
    std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    std::unique_ptr<Vmodel> top;
    bool stopped = false;  // it stays where it was
    bool goes_on = false;  // whatever asks to stop
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
        apply<true>(zeros);
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

    void stop() override { stopped = !goes_on; }

    template <bool Whole>
    void apply(const Word* row) {
#define HALTERE_IN(port, first, bits) put(top->port, row + first, bits);
#define HALTERE_CLEAR_IN(first, words)
#define HALTERE_PART_IN(port, first, low, bits) put_part<bits>(top->port, row + first, low);
        HALTERE_INPUTS
        if (Whole) {
            HALTERE_LAST_INPUTS
        }
#undef HALTERE_IN
#undef HALTERE_CLEAR_IN
#undef HALTERE_PART_IN
        (void)row;
    }

    template <bool Whole>
    void show(Word* row) const {
#define HALTERE_OUT(port, first) take(top->port, row + first);
#define HALTERE_CLEAR_OUT(first, words) std::memset(row + first, 0, words * sizeof(Word));
#define HALTERE_PART_OUT(port, first, low, bits) take_part<bits>(top->port, row + first, low);
        HALTERE_OUTPUTS
        if (Whole) {
            HALTERE_LAST_OUTPUTS
        }
#undef HALTERE_OUT
#undef HALTERE_CLEAR_OUT
#undef HALTERE_PART_OUT
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

// The words of a row, with the ports that come last or without them.
template <bool Whole>
struct Width {
    static constexpr std::uint32_t in = Whole ? HALTERE_IN_WORDS : HALTERE_SHORT_IN_WORDS;
    static constexpr std::uint32_t out = Whole ? HALTERE_OUT_WORDS : HALTERE_SHORT_OUT_WORDS;
};

// With `feed_words`, words feed_in.. of each row are what words feed_out.. showed before that row.
struct Feed {
    std::uint32_t out, in, words;
};

template <bool Whole>
void play(Player& player, const Word* in, Word* out, std::uint64_t count, Feed feed,
          std::uint64_t& done) {
    using Row = Width<Whole>;
    Word shown[Row::out + 1];
    Word fed[Row::in + 1];
    if (feed.words) player.show<Whole>(shown);
    const Word* before = shown;
    while (done < count && !player.stopped) {
        const Word* row = in + done * Row::in;
        if (feed.words) {
            std::memcpy(fed, row, Row::in * sizeof(Word));
            std::memcpy(fed + feed.in, before + feed.out, feed.words * sizeof(Word));
            row = fed;
        }
        player.apply<Whole>(row);
        player.eval();
        Word* to = out + done * Row::out;
        player.show<Whole>(to);
        before = to;
        ++done;
    }
}

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

// One line a port: direction, first word in the row, bits, whether it comes last, name.
EXPORT const char* haltere_player_ports() { return HALTERE_PORTS; }

EXPORT void* haltere_player_create(std::uint32_t seed) {
    try {
        return new Player(seed);
    } catch (const std::exception&) {
        return nullptr;
    }
}

EXPORT void haltere_player_destroy(void* handle) { delete static_cast<Player*>(handle); }

// Plays `count` rows, whole or short, into `out`; `outputs`: what all show in the end. Returns
// how many were played: all, unless the model stopped at the last of them, or the word counts are
// not the model's (0).
EXPORT std::uint64_t haltere_player_play(void* handle, const Word* in, std::uint32_t in_words,
                                         Word* out, std::uint32_t out_words, std::uint64_t count,
                                         std::uint32_t feed_out, std::uint32_t feed_in,
                                         std::uint32_t feed_words, Word* outputs) {
    using Whole = haltere::Width<true>;
    using Short = haltere::Width<false>;
    const bool whole = in_words == Whole::in && out_words == Whole::out;
    if (!whole && (in_words != Short::in || out_words != Short::out)) return 0;
    if (feed_words > in_words || feed_in > in_words - feed_words) return 0;
    if (feed_words > out_words || feed_out > out_words - feed_words) return 0;
    const haltere::Feed feed{feed_out, feed_in, feed_words};
    std::uint64_t done = 0;
    return haltere::guarded<std::uint64_t>(handle, 0, [&](Player& player) {
        if (whole) {
            haltere::play<true>(player, in, out, count, feed, done);
        } else {
            haltere::play<false>(player, in, out, count, feed, done);
        }
        player.show<true>(outputs);
        return done;
    });
}

EXPORT std::uint32_t haltere_player_stopped(void* handle) {
    return static_cast<Player*>(handle)->stopped;
}

// What asks to stop is from now on not obeyed, nor if it did already.
EXPORT void haltere_player_go_on(void* handle) {
    auto* player = static_cast<Player*>(handle);
    player->goes_on = true;
    player->stopped = false;
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
