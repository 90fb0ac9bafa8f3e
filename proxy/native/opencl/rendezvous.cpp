#include "rendezvous.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "failure.hpp"

namespace haltere {
namespace {

constexpr std::size_t kRingBytes = 256 << 10;  // as proxy/segment.py
constexpr std::size_t kArenaBytes = 6 << 20;

std::atomic<unsigned> generation{1};

class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0) : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> found;
  if (DIR* dir = opendir(folder.c_str())) {
    while (const dirent* entry = readdir(dir))
      if (entry->d_name[0] != '.') found.emplace_back(entry->d_name);
    closedir(dir);
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Start time of a running process; 0 for one that is dead or absent.
std::uint64_t start_ticks(std::uint64_t pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t end = stat.rfind(')');  // the name before may hold anything
  if (end == std::string::npos || end + 2 >= stat.size()) return 0;
  const char* at = stat.c_str() + end + 2;
  if (*at == 'Z' || *at == 'X') return 0;
  for (int field = 0; field < 19 && at; ++field) {
    at = std::strchr(at, ' ');
    if (at) ++at;
  }
  return at ? std::strtoull(at, nullptr, 10) : 0;
}

bool worker_lives(const std::string& session_file) {
  const File file(session_file, O_RDONLY | O_NOFOLLOW);
  if (!file) return false;
  const auto word = [&file](Line line) {
    std::uint64_t value = 0;
    const off_t at = static_cast<off_t>(static_cast<std::size_t>(line) * kLineBytes);
    return pread(file.fd(), &value, sizeof value, at) == sizeof value ? value : 0;
  };
  const std::uint64_t pid = word(Line::CLIENT_PID);
  return pid && start_ticks(pid) == word(Line::CLIENT_START);
}

bool in_use(const std::string& root, const std::string& name) {
  if (worker_lives(root + "/parked/" + name)) return true;
  for (const std::string& server : entries(root + "/servers")) {
    const std::string home = server_home(root, server);
    if (worker_lives(home + "/sessions/" + name)) return true;
    for (const std::string& file : entries(home + "/incoming"))
      if (file.rfind(name + "~", 0) == 0 && worker_lives(home + "/incoming/" + file)) return true;
  }
  return false;
}

void ring_page(const std::string& home) {
  const File file(home + "/bell", O_RDWR);
  if (!file) return;
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (page == MAP_FAILED) return;
  bump(std::atomic_ref<std::uint32_t>(*static_cast<std::uint32_t*>(page)));
  wake(page);
  munmap(page, 4096);
}

}  // namespace

std::string proxy_root() {
  const char* given = std::getenv("HALTERE_PROXY_ROOT");
  return given && *given ? given : "/dev/shm/haltere-" + std::to_string(getuid());
}

std::string server_home(const std::string& root, const std::string& server) { return root + "/servers/" + server; }

bool holder_lives(const std::string& lock_path) {
  const File file(lock_path, O_RDONLY);
  return file && flock(file.fd(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

bool is_kept(const std::string& home) { return holder_lives(home + "/lock") || holder_lives(home + "/keeper"); }

std::vector<std::string> living_servers(const std::string& root) {
  std::vector<std::string> found = entries(root + "/servers");
  std::erase_if(found, [&root](const std::string& name) { return !is_kept(server_home(root, name)); });
  return found;
}

std::string read_file(const std::string& path) {
  std::string content;
  const File file(path, O_RDONLY);
  char piece[4096];
  ssize_t got = 0;
  while (file && (got = read(file.fd(), piece, sizeof piece)) > 0) content.append(piece, static_cast<std::size_t>(got));
  return content;
}

std::string whereabouts(const std::string& root, const std::string& server) {
  const char* session = std::getenv("HALTERE_SESSION");
  const std::string now = session && *session ? read_file(root + "/whereabouts/" + session) : "";
  return now.empty() ? server : now;
}

std::string random_word() {
  std::uint64_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) throw Failure(CL_OUT_OF_RESOURCES, "no random numbers");
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

unsigned process_generation() {
  static const int once = pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });
  (void)once;
  return generation.load(std::memory_order_relaxed);
}

std::string free_name(const std::string& root, const std::string& name) {
  std::string found = name;
  for (int index = 2; in_use(root, found); ++index) found = name + "." + std::to_string(index);
  return found;
}

PutDown put_down(const std::string& root, const std::string& server, const std::string& name, bool durable, const Heap* heap) {
  const std::string incoming = server_home(root, server) + "/incoming/";
  const std::string word = random_word();
  // By the process's number a server that begins tells it from what a dead worker left.
  const std::string temporary = incoming + "." + name + "." + word + "." + std::to_string(getpid());
  const std::size_t size = kRingAt + kRingBytes + kArenaBytes;
  const File file(temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!file) throw Failure(CL_DEVICE_NOT_AVAILABLE, "no server has ever run at " + server_home(root, server));
  if (posix_fallocate(file.fd(), 0, static_cast<off_t>(size)) != 0) {
    unlink(temporary.c_str());
    throw Failure(CL_OUT_OF_HOST_MEMORY, "no room for a session of " + std::to_string(size) + " bytes in " + incoming +
                                             ": free some, or put HALTERE_PROXY_ROOT on a larger file system");
  }
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (base == MAP_FAILED) {
    unlink(temporary.c_str());
    throw Failure(CL_OUT_OF_HOST_MEMORY, "a session could not be mapped");
  }
  Segment segment(static_cast<std::uint8_t*>(base), kRingBytes, kArenaBytes);
  const auto pid = static_cast<std::uint64_t>(getpid());
  segment.set(Line::RING_BYTES, kRingBytes);
  segment.set(Line::ARENA_BYTES, kArenaBytes);
  segment.set(Line::NONCE, std::strtoull(random_word().c_str(), nullptr, 16));
  segment.set(Line::DURABLE, durable);
  segment.set(Line::PRINTS, 1);
  segment.set(Line::CLIENT_PID, pid);
  segment.set(Line::CLIENT_START, start_ticks(pid));
  if (heap) {
    segment.set(Line::HEAP_FD, static_cast<std::uint64_t>(heap->fd()) + 1);
    segment.set(Line::HEAP_BYTES, heap->nbytes());
    segment.set(Line::HEAP_INODE, heap->inode());
    segment.set(Line::HEAP, 1);  // hands off, until a server says that it is there too
  }
  segment.set(Line::VERSION, kVersion);
  segment.set(Line::MAGIC, kMagic);
  if (rename(temporary.c_str(), (incoming + name + "~" + word.substr(0, 12)).c_str()) != 0) {
    unlink(temporary.c_str());
    munmap(base, size);
    throw Failure(CL_DEVICE_NOT_AVAILABLE, "a session could not be put down at " + incoming);
  }
  ring_page(server_home(root, server));
  return {segment, size};
}

}  // namespace haltere
