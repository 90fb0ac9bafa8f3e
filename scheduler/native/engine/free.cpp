#include "free.hpp"

namespace haltere {

namespace {

u64 lowest(u64 mask, i64 count) {
  if (count >= std::popcount(mask)) return mask;
  u64 rest = mask;
  while (count-- > 0) rest &= rest - 1;
  return mask & ~rest;
}

u64 all_of(i32 slices) { return slices == 64 ? ~u64{0} : (u64{1} << slices) - 1; }

}  // namespace

void Free::add(u32 number, u64 held) {
  Node& node = nodes_[number];
  if (node.part >= parts_.size()) parts_.resize(node.part + 1);
  node.is_up = true;
  node.free = all_of(node.slice_count) & ~held;
  parts_[node.part].capacity += node.slice_count;
  enter(number);
}

void Free::remove(u32 number) {
  Node& node = nodes_[number];
  leave(number);
  parts_[node.part].capacity -= node.slice_count;
  node.is_up = false;
  node.free = 0;
}

void Free::take(const Piece& piece) {
  Node& node = nodes_[piece.node];
  if ((node.free & piece.mask) != piece.mask)
    throw Failure("invalid_plan", text("node %u: slices are taken that are not free", piece.node));
  leave(piece.node);
  node.free &= ~piece.mask;
  enter(piece.node);
}

void Free::give(const Piece& piece) {
  Node& node = nodes_[piece.node];
  if (!node.is_up) return;  // lost meanwhile
  leave(piece.node);
  node.free |= piece.mask;
  enter(piece.node);
}

bool Free::any() const {
  for (const Part& part : parts_)
    if (part.total > 0) return true;
  return false;
}

void Free::enter(u32 number) {
  const Node& node = nodes_[number];
  const auto size = static_cast<std::size_t>(std::popcount(node.free));
  if (size == 0) return;
  Part& part = parts_[node.part];
  if (part.buckets.size() <= size) part.buckets.resize(size + 1);
  part.buckets[size].insert(number);
  part.total += static_cast<i64>(size);
}

void Free::leave(u32 number) {
  const Node& node = nodes_[number];
  const auto size = static_cast<std::size_t>(std::popcount(node.free));
  if (size == 0) return;
  Part& part = parts_[node.part];
  part.buckets[size].erase(number);
  part.total -= static_cast<i64>(size);
}

void Free::pick(i32 from, i64 need, Held& into) const {
  const Part& part = parts_[static_cast<std::size_t>(from)];
  i64 left = need;
  const auto put = [&](u32 node, i64 count) { into.push_back({node, lowest(nodes_[node].free, count)}); };
  for (std::size_t size = part.buckets.size(); left > 0 && size-- > 1;) {
    const Bits& bucket = part.buckets[size];
    if (bucket.size() == 0) continue;
    const auto each = static_cast<i64>(size), there = static_cast<i64>(bucket.size());
    const i64 whole = std::min(left / each, there);
    u32 node = bucket.from(0);
    for (i64 turn = 0; turn < whole; ++turn, node = bucket.from(node + 1)) put(node, each);
    left -= whole * each;
    if (left == 0 || whole == there) continue;
    // the rest fits on one of these, or of those with less free
    std::size_t best = static_cast<std::size_t>(left);
    while (part.buckets[best].size() == 0) ++best;
    put(best == size ? node : part.buckets[best].from(0), left);
    return;
  }
}

}  // namespace haltere
