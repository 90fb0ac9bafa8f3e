// The native engine's heap and pieces against plain containers, drawn at random; under a sanitizer.
#include <cassert>
#include <random>
#include <set>
#include <vector>

#include "scheduler/native/engine/heap.hpp"
#include "scheduler/native/engine/held.hpp"

using namespace haltere;

namespace {

struct Item {
  i64 at_us;
  u32 made;
  bool operator<(const Item& other) const { return at_us != other.at_us ? at_us > other.at_us : made > other.made; }
};

// `spread_bits`: how far ahead, at most. Some become void, some come before what is on top.
void orders(std::mt19937_64& draw, int spread_bits, int steps) {
  Heap<Item> heap;
  std::set<std::pair<i64, u32>> alive;
  std::vector<bool> gone;
  i64 now_us = 0;
  std::size_t most = 0;
  for (int step = 0; step < steps; ++step) {
    const bool fills = step < steps / 2;
    const auto turn = draw() % 8;
    if (turn < (fills ? 5U : 2U)) {
      const i64 at_us = now_us + static_cast<i64>(draw() % (u64{1} << draw() % static_cast<u64>(spread_bits)));
      const auto made = static_cast<u32>(gone.size());
      gone.push_back(false);
      alive.insert({at_us, made});
      heap.push({at_us, made}, [&](const Item& item) { return gone[item.made]; });
    } else if (turn == 7 && !alive.empty()) {  // the first one is void
      gone[alive.begin()->second] = true;
      alive.erase(alive.begin());
    } else if (!heap.empty()) {
      const Item item = heap.pop();
      if (gone[item.made]) continue;
      assert(!alive.empty() && *alive.begin() == std::pair(item.at_us, item.made));
      alive.erase(alive.begin());
      if (turn % 2 == 0) now_us = item.at_us;  // else time stands still, and others may come before it
    }
    most = std::max(most, alive.size());
  }
  while (!heap.empty()) {
    const Item item = heap.pop();
    if (gone[item.made]) continue;
    assert(!alive.empty() && *alive.begin() == std::pair(item.at_us, item.made));
    alive.erase(alive.begin());
  }
  assert(alive.empty() && (steps < 1000 || most > 100));
}

void holds(std::mt19937_64& draw) {
  Held held, other;
  std::vector<Piece> plain, others;
  for (int step = 0; step < 2000; ++step) {
    switch (draw() % 7) {
      case 0:
      case 1: {
        const Piece piece{static_cast<u32>(draw() % 50), draw() | 1};
        held.push_back(piece);
        plain.push_back(piece);
        break;
      }
      case 2: {
        const u32 least = static_cast<u32>(draw() % 50);
        held.erase_if([&](const Piece& piece) { return piece.node < least; });
        std::erase_if(plain, [&](const Piece& piece) { return piece.node < least; });
        break;
      }
      case 3:
        other = held;
        others = plain;
        break;
      case 4:
        held = std::move(other);
        plain = std::move(others);
        others.clear();
        break;
      case 5: {
        const Held copy = held;
        held = copy;
        other = Held(copy);
        others = plain;
        break;
      }
      default:
        if (draw() % 8 == 0) {
          held.clear();
          plain.clear();
        }
    }
    assert(held.size() == plain.size() && std::equal(held.begin(), held.end(), plain.begin()));
    assert(other.size() == others.size() && std::equal(other.begin(), other.end(), others.begin()));
  }
}

}  // namespace

int main() {
  std::mt19937_64 draw(1);
  for (const int spread_bits : {1, 4, 12, 40}) {
    orders(draw, spread_bits, 20'000);
    for (int run = 0; run < 50; ++run) orders(draw, spread_bits, 500);
  }
  holds(draw);
}
