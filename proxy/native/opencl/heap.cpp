#include "heap.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace haltere {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPagedBytes = 64 << 10;  // buffers from this size on begin at a page
constexpr std::size_t kPunchBytes = 1 << 20;   // and from this on their memory goes back to the system

std::size_t rounded(std::size_t nbytes) {
  const std::size_t unit = nbytes < kPagedBytes ? kHeapAlign : kPage;
  return (nbytes + unit - 1) / unit * unit;
}

}  // namespace

std::unique_ptr<Heap> Heap::make(std::size_t nbytes) {
  nbytes = nbytes / kPage * kPage;
  rlimit limit{};
  if (nbytes <= kHeapFirst || getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur < nbytes) return nullptr;  // it would be killed
  const int fd = memfd_create("haltere-heap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  struct stat found {};
  void* base = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(nbytes)) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 &&
      fstat(fd, &found) == 0)
    base = mmap(nullptr, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (base == MAP_FAILED) {
    close(fd);
    return nullptr;
  }
  return std::unique_ptr<Heap>(new Heap(fd, static_cast<std::uint8_t*>(base), nbytes, found.st_ino));
}

Heap::Heap(int fd, std::uint8_t* base, std::size_t nbytes, std::uint64_t inode)
    : fd_(fd), base_(base), nbytes_(nbytes), inode_(inode), free_{{kHeapFirst, nbytes - kHeapFirst}} {}

Heap::~Heap() {
  munmap(base_, nbytes_);
  close(fd_);
}

std::uint8_t* Heap::take(std::uint64_t handle, std::size_t nbytes, std::uint64_t retired) {
  const std::lock_guard lock(lock_);
  reclaim(retired);
  if (nbytes > nbytes_ || place(handle).handle) return nullptr;  // or its place is another's
  const std::size_t size = rounded(nbytes), unit = size % kPage ? kHeapAlign : kPage;
  for (auto found = free_.begin(); found != free_.end(); ++found) {
    const std::size_t begin = (found->first + unit - 1) / unit * unit, end = found->first + found->second;
    if (begin > end || end - begin < size) continue;
    const std::size_t before = begin - found->first;
    if (before)
      found->second = before;
    else
      free_.erase(found);
    if (begin + size < end) free_[begin + size] = end - begin - size;
    sizes_[handle] = size;
    Place& entry = place(handle);
    shared_word(entry.writes).store(0, std::memory_order_relaxed);
    shared_word(entry.offset).store(begin, std::memory_order_relaxed);
    shared_word(entry.handle).store(handle, std::memory_order_release);
    return base_ + begin;
  }
  return nullptr;
}

void Heap::give(std::uint64_t handle, std::uint64_t freed) {
  const std::lock_guard lock(lock_);
  given_.emplace_back(freed, handle);
}

void Heap::reclaim(std::uint64_t retired) {
  while (!given_.empty() && given_.front().first <= retired) {
    const std::uint64_t handle = given_.front().second;
    given_.pop_front();
    const auto size = sizes_.find(handle);
    const std::size_t at = shared_word(place(handle).offset).load(std::memory_order_relaxed);
    shared_word(place(handle).handle).store(0, std::memory_order_release);
    clear(at, size->second);
    auto made = free_.emplace(at, size->second).first;
    sizes_.erase(size);
    if (made != free_.begin()) {
      const auto before = std::prev(made);
      if (before->first + before->second == at) {
        before->second += made->second;
        free_.erase(made);
        made = before;
      }
    }
    const auto after = std::next(made);
    if (after != free_.end() && made->first + made->second == after->first) {
      made->second += after->second;
      free_.erase(after);
    }
  }
}

void Heap::clear(std::size_t at, std::size_t nbytes) {
  const int whole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (nbytes >= kPunchBytes && fallocate(fd_, whole, static_cast<off_t>(at), static_cast<off_t>(nbytes)) == 0) return;
  std::memset(base_ + at, 0, nbytes);
}

}  // namespace haltere
