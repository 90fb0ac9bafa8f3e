// The player's C ABI under the sanitizers: exact buffers, hostile word counts, feeding, a model
// that finishes, a waveform.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
void* haltere_player_create(std::uint32_t);
void haltere_player_destroy(void*);
const char* haltere_player_ports();
const char* haltere_player_log(void*);
std::uint32_t haltere_player_stopped(void*);
std::uint32_t haltere_player_trace(void*, const char*);
std::uint64_t haltere_player_play(void*, const std::uint32_t*, std::uint32_t, std::uint32_t*,
                                  std::uint32_t, std::uint64_t, std::uint32_t, std::uint32_t,
                                  std::uint32_t, std::uint32_t*);
}

#define CHECK(condition)                                      \
    if (!(condition)) {                                       \
        std::printf("line %d: %s\n", __LINE__, #condition);   \
        return 1;                                             \
    }

int main() {
    unsigned in_words = 0, out_words = 0;
    const char* text = haltere_player_ports();
    while (*text) {
        char direction[4];
        unsigned first, width, used;
        if (std::sscanf(text, "%3s %u %u %*[^\n]\n%n", direction, &first, &width, &used) != 3) return 2;
        (direction[0] == 'i' ? in_words : out_words) = first + (width + 31) / 32;
        while (*text && *text != '\n') ++text;
        if (*text) ++text;
    }
    for (std::uint32_t seed : {0u, 7u}) {
        void* player = haltere_player_create(seed);
        CHECK(player);
        const unsigned rows = 300;
        std::vector<std::uint32_t> in(rows * in_words), out(rows * out_words);
        for (auto& word : in) word = static_cast<std::uint32_t>(std::rand()) * 2654435761u;
        std::vector<std::uint32_t> last(out_words);
        auto play = [&](const std::uint32_t* given, unsigned given_words, std::uint32_t* shown,
                        unsigned shown_words, std::uint64_t count, std::uint32_t feed_out,
                        std::uint32_t feed_in, std::uint32_t feed_words) {
            return haltere_player_play(player, given, given_words, shown, shown_words, count,
                                       feed_out, feed_in, feed_words, last.data());
        };
        CHECK(haltere_player_trace(player, "/dev/null"));
        CHECK(!haltere_player_trace(player, "/dev/null"));
        CHECK(play(in.data(), in_words, out.data(), out_words, rows, 0, 0, 0) == rows);
        CHECK(play(in.data(), in_words, out.data(), out_words, rows, out_words - 1,
                                  in_words - 1, 1) == rows);
        CHECK(!play(in.data(), in_words + 1, out.data(), out_words, rows, 0, 0, 0));
        CHECK(!play(in.data(), in_words, out.data(), out_words - 1, rows, 0, 0, 0));
        CHECK(!play(in.data(), in_words, out.data(), out_words, rows, 0, in_words, 1));
        CHECK(!play(in.data(), in_words, out.data(), out_words, rows, ~0u, 0, 1));
        CHECK(!play(in.data(), in_words, out.data(), out_words, rows, 0, 0, ~0u));
        CHECK(!play(nullptr, in_words, nullptr, out_words, 0, 0, 0, 0));
        std::uint64_t played = 0;
        for (int i = 0; i < 10000 && !haltere_player_stopped(player); ++i) {
            for (auto& word : in) word = ~word;  // clk toggles, rst_n half of the time
            played += play(in.data(), in_words, out.data(), out_words, rows, 0, 0, 0);
        }
        CHECK(haltere_player_log(player));
        haltere_player_destroy(player);
    }
    std::puts("clean");
    return 0;
}
