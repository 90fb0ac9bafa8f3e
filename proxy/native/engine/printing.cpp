#include "printing.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace haltere {

// Appending: several threads of a driver write, and what was taken is cut off.
void Printing::capture() {
  const int fd = memfd_create("haltere-printed", MFD_CLOEXEC);
  if (fd < 0) return;
  std::fflush(stdout);
  if (fcntl(fd, F_SETFL, O_APPEND) == 0 && dup2(fd, STDOUT_FILENO) >= 0)
    fd_ = fd;
  else
    close(fd);
}

void Printing::begin() {
  const std::string stray = taken();
  if (!stray.empty()) std::fwrite(stray.data(), 1, stray.size(), stderr);
  busy_ = true;
}

std::string Printing::end() {
  busy_ = false;
  std::string found = taken();
  if (strays_ == 0 || found.empty()) return found;
  std::fwrite(found.data(), 1, found.size(), stderr);
  return {};
}

void Printing::abandon() {
  busy_ = false;
  ++strays_;
}

void Printing::recover() {
  end();
  --strays_;
}

std::string Printing::taken() const {
  std::fflush(stdout);  // a driver may print by the C library
  struct stat found {};
  if (fstat(fd_, &found) != 0 || found.st_size == 0) return {};
  std::string text(static_cast<std::size_t>(found.st_size), '\0');
  const ssize_t nbytes = pread(fd_, text.data(), text.size(), 0);
  text.resize(nbytes > 0 ? static_cast<std::size_t>(nbytes) : 0);
  if (ftruncate(fd_, 0) != 0) return {};  // it would come again
  return text;
}

bool may_print(std::string_view text) { return text.find("printf") != std::string_view::npos; }

void Prints::add(std::uint64_t number, std::string text) {
  if (text.empty()) return;
  if (nbytes_ + text.size() > kMaxBytes) {
    if (lost_) return;
    lost_ = true;
    text = "\n[haltere: more than 64 MiB printed by kernels and not waited for: the rest is lost]\n";
  }
  nbytes_ += text.size();
  newest_ = number;
  printed_.push_back({number, std::move(text)});
}

void Prints::drop(std::uint64_t upto) {
  while (!printed_.empty() && printed_.front().number <= upto) {
    nbytes_ -= printed_.front().text.size();
    printed_.pop_front();
    lost_ = false;
  }
}

std::string Prints::between(std::uint64_t after, std::uint64_t upto) const {
  std::string all;
  for (const Printed& each : printed_)
    if (each.number > after && each.number <= upto) all += each.text;
  return all;
}

std::string Prints::pack() const {
  std::string packed;
  for (const Printed& each : printed_) {
    const std::uint64_t head[2] = {each.number, each.text.size()};
    packed.append(reinterpret_cast<const char*>(head), sizeof head);
    packed += each.text;
  }
  return packed;
}

void Prints::unpack(std::string_view packed) {
  *this = {};
  std::uint64_t head[2];
  while (packed.size() >= sizeof head) {
    std::memcpy(head, packed.data(), sizeof head);
    packed.remove_prefix(sizeof head);
    if (head[1] > packed.size()) return;
    add(head[0], std::string(packed.substr(0, head[1])));
    packed.remove_prefix(head[1]);
  }
}

}  // namespace haltere
