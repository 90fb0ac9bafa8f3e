// Drives the shell's C ABI under the address and undefined-behaviour sanitizers: a run, a cut in
// its midst, restores, faults, and shell segments of random bytes. Exit status 0: all as expected.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

struct Window {
    std::uint64_t base, size;
    std::uint8_t* host;
};

extern "C" {
void* haltere_create(std::uint32_t);
void haltere_destroy(void*);
std::uint64_t haltere_run(void*, std::uint64_t, std::uint32_t);
std::uint32_t haltere_interrupt(void*);
std::uint64_t haltere_read32(void*, std::uint32_t, std::uint64_t);
std::uint32_t haltere_write32(void*, std::uint32_t, std::uint32_t, std::uint64_t);
void haltere_set_windows(void*, const Window*, std::uint64_t);
void haltere_set_timing(void*, std::uint32_t, std::uint32_t, std::uint32_t);
std::uint64_t haltere_shell_bytes();
void haltere_save_shell(void*, std::uint8_t*);
std::uint32_t haltere_load_shell(void*, const std::uint8_t*);
const char* haltere_log(void*);
std::uint32_t haltere_freeze(void*);
std::uint32_t haltere_release(void*);
std::uint32_t haltere_rotate(void*, std::uint8_t*, const std::uint8_t*, std::uint32_t,
                             std::uint32_t);
std::uint32_t haltere_read_memory(void*, std::uint32_t, std::uint32_t, std::uint32_t,
                                  std::uint8_t*);
std::uint32_t haltere_write_memory(void*, std::uint32_t, std::uint32_t, std::uint32_t,
                                   const std::uint8_t*);
}

constexpr std::uint64_t BASE = 1ull << 32;
constexpr std::uint32_t WORDS = 40, ROWS = 11, ROW_BYTES = 4, DEPTH = 16, WORD_BYTES = 9;

#define CHECK(condition)                                                  \
    if (!(condition)) {                                                   \
        std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);      \
        std::exit(1);                                                     \
    }

struct Bench {
    void* model;
    std::vector<std::uint64_t> source, target;  // of exactly the window's size: spills are caught

    explicit Bench(std::uint32_t seed) : model(haltere_create(seed)), source(WORDS), target(WORDS) {
        for (std::uint32_t i = 0; i < WORDS; ++i) source[i] = i * 77;
        const Window windows[] = {
            {BASE + 0x10000, WORDS * 8, reinterpret_cast<std::uint8_t*>(target.data())},
            {BASE, WORDS * 8, reinterpret_cast<std::uint8_t*>(source.data())}};
        haltere_set_windows(model, windows, 2);
        haltere_set_timing(model, 3, 2, 50);
    }
    ~Bench() { haltere_destroy(model); }

    void launch(std::uint32_t words, std::uint32_t key) {
        const std::uint32_t writes[][2] = {{4, 1},        {8, 1},        {0x10, 0},
                                           {0x14, 1},     {0x1c, 65536}, {0x20, 1},
                                           {0x28, words}, {0x30, key},   {0, 1}};
        for (const auto& write : writes) haltere_write32(model, write[0], write[1], 1000);
    }
};

static void cut_and_restore() {
    Bench whole(0);
    whole.launch(WORDS, 5);
    std::vector<std::uint8_t> rows(ROWS * ROW_BYTES), words(DEPTH * WORD_BYTES);
    std::vector<std::uint8_t> shell(haltere_shell_bytes());
    for (int cut = 0; !haltere_interrupt(whole.model); cut += 17) {
        CHECK(cut < 10000);
        CHECK(haltere_freeze(whole.model));
        CHECK(haltere_rotate(whole.model, rows.data(), nullptr, ROWS, ROW_BYTES));
        CHECK(haltere_read_memory(whole.model, 0, WORD_BYTES, DEPTH, words.data()));
        CHECK(haltere_release(whole.model));
        haltere_save_shell(whole.model, shell.data());
        Bench other(123);
        other.target = whole.target;
        const Window windows[] = {
            {BASE + 0x10000, WORDS * 8, reinterpret_cast<std::uint8_t*>(other.target.data())},
            {BASE, WORDS * 8, reinterpret_cast<std::uint8_t*>(other.source.data())}};
        haltere_set_windows(other.model, windows, 2);
        CHECK(haltere_freeze(other.model));
        CHECK(haltere_write_memory(other.model, 0, WORD_BYTES, DEPTH, words.data()));
        CHECK(haltere_rotate(other.model, nullptr, rows.data(), ROWS, ROW_BYTES));
        CHECK(haltere_release(other.model));
        CHECK(haltere_load_shell(other.model, shell.data()));
        haltere_run(other.model, 100000, 1);
        CHECK(haltere_interrupt(other.model));
        for (std::uint32_t i = 0; i < WORDS; ++i) CHECK(other.target[i] == other.source[i] + 5);
        haltere_run(whole.model, 17, 1);
    }
    CHECK(haltere_read32(whole.model, 0, 1000) & 2);
}

static void faults() {
    Bench outside(0);
    outside.launch(WORDS + 16, 5);  // leaves both windows
    haltere_run(outside.model, 100000, 1);
    CHECK(!haltere_interrupt(outside.model));
    Bench failing(0);
    failing.launch(WORDS, 0xbad);  // the design's assertion
    haltere_run(failing.model, 1000, 1);
    CHECK(std::strstr(haltere_log(failing.model), "ssertion"));
}

static void random_shells() {
    std::vector<std::uint8_t> good(haltere_shell_bytes());
    Bench source(0);
    source.launch(WORDS, 5);
    haltere_run(source.model, 60, 1);
    haltere_save_shell(source.model, good.data());
    std::srand(1);
    for (int round = 0; round < 400; ++round) {
        std::vector<std::uint8_t> shell = good;
        for (int i = 0; i < 1 + round % 20; ++i) {
            shell[static_cast<std::size_t>(std::rand()) % shell.size()]
                = static_cast<std::uint8_t>(std::rand());
        }
        Bench bench(0);
        bench.launch(WORDS, 5);
        if (haltere_load_shell(bench.model, shell.data())) haltere_run(bench.model, 2000, 1);
    }
}

int main() {
    cut_and_restore();
    faults();
    random_shells();
    std::puts("clean");
    return 0;
}
