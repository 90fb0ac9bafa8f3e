// Clocks benchmarks/npu_tile.sv: CYCLES, then prints the CPU-seconds that they took.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>

#include "Vmodel.h"
#include "hooks.h"
#include "verilated.h"

int main(int argc, char** argv) {
    const long cycles = argc > 1 ? std::atol(argv[1]) : 100000;
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<Vmodel>(context.get(), "top");
    unsigned sum = 0;
    top->seed_i = 12345;
    const auto clock_edge = [&] {
        top->ap_clk = 0;
        top->eval();
        top->ap_clk = 1;
        top->eval();
    };
    top->ap_rst_n = 0;
    for (int i = 0; i < 8; ++i) clock_edge();
    top->ap_rst_n = 1;
    const std::clock_t begin = std::clock();
    for (long i = 0; i < cycles; ++i) {
        clock_edge();
        sum ^= static_cast<unsigned>(top->sum_o);
    }
    std::printf("%.6f %u\n", double(std::clock() - begin) / CLOCKS_PER_SEC, sum);
    return 0;
}
