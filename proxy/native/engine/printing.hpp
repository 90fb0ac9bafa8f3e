// What kernels print. A driver writes it to the standard output of its process, the server, and does
// not say whose it is. So that is a file in memory here, and of launches that may print one is with the
// device at a time, of all sessions together: once it is done, what is in the file is what it printed.
// Each session keeps what is its own until its program has fetched it, and writes it to its own output.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "failure.hpp"

namespace haltere {

// Of one device.
class Printing {
 public:
  Printing() = default;
  // This process's standard output is the file from now on; of a process that serves one device.
  void capture();
  bool on() const { return fd_ >= 0; }
  bool busy() const { return busy_; }
  void begin();       // a launch that may print goes to the device:
  std::string end();  // now it is done, and printed this
  // The session of that launch is over, and the device is not done with it; or is, later. Until then
  // nobody knows whose anything is: it goes to the server's log.
  void abandon();
  void recover();

 private:
  std::string taken() const;
  int fd_ = -1;
  bool busy_ = false;
  unsigned strays_ = 0;
};

// Whether a program whose text this is calls printf, if it includes no files.
bool may_print(std::string_view text);

// Of one session: what its program has not fetched yet, by the number of the launch.
class Prints {
 public:
  static constexpr std::size_t kMaxBytes = 64 << 20;  // beyond that a note stands for the rest

  void add(std::uint64_t number, std::string text);
  void drop(std::uint64_t upto);  // its program has these
  std::uint64_t newest() const { return newest_; }
  std::string between(std::uint64_t after, std::uint64_t upto) const;
  // As bytes, and back.
  std::string pack() const;
  void unpack(std::string_view packed);

 private:
  struct Printed {
    std::uint64_t number;
    std::string text;
  };
  std::deque<Printed> printed_{};
  std::size_t nbytes_ = 0;
  std::uint64_t newest_ = 0;
  bool lost_ = false;
};

}  // namespace haltere
