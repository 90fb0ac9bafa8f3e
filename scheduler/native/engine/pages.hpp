// Large arrays on huge pages: what is looked up at random in many MiB costs a walk through the page
// tables besides each miss otherwise.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace haltere {

template <class Value>
struct Pages {
  using value_type = Value;

  Pages() = default;
  template <class Other>
  Pages(const Pages<Other>&) {}

  Value* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(Value);
    if (bytes < kPage) return static_cast<Value*>(::operator new(bytes, kAlign));
    const std::size_t whole = (bytes + kPage - 1) / kPage * kPage;
    void* found = std::aligned_alloc(kPage, whole);
    if (found == nullptr) throw std::bad_alloc();
    ::madvise(found, whole, MADV_HUGEPAGE);  // where there are none, small ones do
    return static_cast<Value*>(found);
  }

  void deallocate(Value* at, std::size_t count) {
    if (count * sizeof(Value) < kPage)
      ::operator delete(at, kAlign);
    else
      std::free(at);
  }

  bool operator==(const Pages&) const { return true; }

 private:
  static constexpr std::size_t kPage = std::size_t{2} << 20;
  static constexpr std::align_val_t kAlign{alignof(Value) > 16 ? alignof(Value) : 16};
};

template <class Value>
using Large = std::vector<Value, Pages<Value>>;

// What `at` points to will be wanted soon.
template <std::size_t kBytes = 64>
void soon(const void* at) {
  for (std::size_t line = 0; line < kBytes; line += 64) __builtin_prefetch(static_cast<const char*>(at) + line);
}

}  // namespace haltere
