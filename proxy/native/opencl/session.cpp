#include "session.hpp"

#include <poll.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "rendezvous.hpp"

namespace haltere {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kTick = kSecond / 10;  // longest sleep between two looks at the server's life
constexpr std::int64_t kParkLimit = 24 * 3600 * kSecond;
constexpr std::int64_t kBackpressure = 600 * kSecond;
constexpr std::int64_t kRestart = 60 * kSecond;
constexpr std::int64_t kAttach = 60 * kSecond;
constexpr std::int64_t kClose = 5 * kSecond;
constexpr std::size_t kFailuresKept = 4096;
constexpr std::size_t kUrgentBytes = 64 << 10;  // writes from this size on begin at once

std::int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// How long to wait for another server when one died that can be replaced: HALTERE_RESTART_S.
std::int64_t restart_ns() {
  const char* given = std::getenv("HALTERE_RESTART_S");
  char* end = nullptr;
  const double seconds = given ? std::strtod(given, &end) : 0;
  return given && end != given && seconds >= 0 && seconds < 1e9 ? static_cast<std::int64_t>(seconds * 1e9) : kRestart;
}

// Until a server serves there; false if none does, nor will in time.
bool await_server(const std::string& home) {
  const std::int64_t give_up = now_ns() + restart_ns();
  bool told = false;
  while (!holder_lives(home + "/lock")) {
    if (!is_kept(home) || now_ns() > give_up) return false;
    if (!told) tell("the server of " + home + " died; waiting for another");
    told = true;
    const timespec pause{0, kTick / 5};
    nanosleep(&pause, nullptr);
  }
  return true;
}

// The record at `at`, as far as its own length says; empty if that cannot be.
Bytes record_at(const std::uint8_t* at, std::size_t room) {
  std::uint32_t length;
  std::memcpy(&length, at, sizeof length);
  return length > room ? Bytes() : Bytes(at, length);
}

template <class Record>
std::optional<std::pair<Number, Record>> read_as(Bytes bytes) {
  std::optional<std::pair<Number, Record>> found;
  visit_record(bytes, [&found](Number number, const auto& record) {
    if constexpr (std::is_same_v<std::decay_t<decltype(record)>, Record>) found.emplace(number, record);
  });
  return found;
}

// As a driver in this process would: behind the C library's back.
void write_out(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t nbytes = ::write(STDOUT_FILENO, text.data() + at, text.size() - at);
    if (nbytes > 0) {
      at += static_cast<std::size_t>(nbytes);
    } else if (nbytes < 0 && errno == EAGAIN) {
      pollfd out{STDOUT_FILENO, POLLOUT, 0};
      poll(&out, 1, -1);
    } else if (nbytes == 0 || errno != EINTR) {
      return;
    }
  }
}

}  // namespace

void Spread::gather(std::uint8_t* packed) const {
  for (std::size_t z = 0; z < depth; ++z)
    for (std::size_t y = 0; y < height; ++y, packed += width) std::memcpy(packed, host + z * slice + y * row, width);
}

void Spread::scatter(const std::uint8_t* packed) const {
  for (std::size_t z = 0; z < depth; ++z)
    for (std::size_t y = 0; y < height; ++y, packed += width) std::memcpy(host + z * slice + y * row, packed, width);
}

struct Session::Waiter {
  Session& session;
  Number wanted;  // 0: anything
  Waiter(Session& owner, Number number) : session(owner), wanted(number) {
    const std::lock_guard lock(session.state_);
    session.waiters_.push_back(this);
    session.announce_locked();
  }
  ~Waiter() {
    const std::lock_guard lock(session.state_);
    std::erase(session.waiters_, this);
    session.announce_locked();
  }
};

Session::Session(const std::string& root, const std::string& server, const std::string& name, bool durable, std::size_t heap_bytes)
    : root_(root), server_(server), name_(name), heap_(Heap::make(heap_bytes)), generation_(process_generation()) {
  if (!await_server(server_home(root, server)))
    throw Failure(CL_DEVICE_NOT_AVAILABLE, "no server of " + server + " runs under " + root);
  const PutDown made = put_down(root, server, name, durable, heap_.get());
  segment_ = made.segment;
  mapped_bytes_ = made.mapped_bytes;
  call_bytes_ = std::min<std::size_t>(kChunkBytes, segment_.arena_bytes() / 2);
  call_at_ = segment_.arena_bytes() - call_bytes_;  // the arena's end belongs to calls
  chunk_bytes_ = std::min<std::size_t>(kChunkBytes, call_at_);
  arena_ = Arena(call_at_);
  room_end_ = segment_.ring_bytes();
  try {
    if (!block([this] { return segment_.get(Line::STATE) == static_cast<std::uint64_t>(State::RUNNING); }, kAttach))
      throw Failure(CL_DEVICE_NOT_AVAILABLE, server + " did not take up session " + name + " in time");
  } catch (...) {
    leave();
    munmap(segment_.base(), mapped_bytes_);
    throw;
  }
  if (!segment_.get(Line::HEAP)) heap_.reset();  // the device has memory of its own
  told_ = false;
}

Session::~Session() { close(); }

bool Session::foreign() const { return generation_ != process_generation(); }

// ---- commands

Number Session::put_encoded(std::string& record) {
  if (timing_) {
    std::string timed;
    encode(timed, 0, Timed{});
    timing_ = false;
    put_encoded(timed);
    timing_ = true;
  }
  const Number number = sent_.load(std::memory_order_relaxed) + 1;
  std::memcpy(record.data() + 8, &number, sizeof number);
  if (record.size() > kMaxRecordBytes) throw Failure(CL_OUT_OF_RESOURCES, "a command is too large for a record");
  if (foreign()) throw Failure(CL_DEVICE_NOT_AVAILABLE, "this context belongs to the parent process");
  if (segment_.get(Line::STATE) == static_cast<std::uint64_t>(State::ENDED)) check_alive();
  if (!put_now(record) && !block([&] { return put_now(record); }, kBackpressure))
    throw Failure(CL_OUT_OF_RESOURCES, "the ring stayed full: the device does not keep up");
  sent_.store(number, std::memory_order_release);
  ring_for_record();
  return number;
}

bool Session::put_now(const std::string& record) {
  const std::uint64_t end = head_ + record.size();
  const std::size_t capacity = segment_.ring_bytes();
  if (end > room_end_) {
    room_end_ = segment_.get(Line::TAIL) + capacity;
    if (end > room_end_) return false;
  }
  const std::size_t at = head_ % capacity;
  const std::size_t first = std::min(record.size(), capacity - at);
  std::memcpy(segment_.ring() + at, record.data(), first);
  std::memcpy(segment_.ring(), record.data() + first, record.size() - first);
  head_ = end;
  segment_.set(Line::HEAD, end);
  return true;
}

void Session::ring_server() {
  bump(segment_.bell(Line::BELL));
  if (static_cast<Rest>(segment_.get(Line::SERVER_ASLEEP)) != Rest::AWAKE) wake(bell_address(segment_, Line::BELL));
}

// It need not be woken again before it took the record that it was woken for: it is on its way.
void Session::ring_for_record() {
  const bool first = !stirred_.exchange(true, std::memory_order_relaxed);
  bump(segment_.bell(Line::BELL));
  const auto rest = static_cast<Rest>(segment_.get(Line::SERVER_ASLEEP));
  if (rest == Rest::AWAKE || (rest == Rest::DOZING && !first)) return;
  if (segment_.get(Line::TAIL) < woken_for_) return;
  woken_for_ = head_;
  wake(bell_address(segment_, Line::BELL));
}

// Who begins to wait: a server that sleeps has seen all or is being woken, one that dozes has not.
void Session::rouse_server() {
  if (static_cast<Rest>(segment_.get(Line::SERVER_ASLEEP)) == Rest::DOZING) ring_server();
}

Number Session::write(std::uint64_t buffer, std::uint64_t offset, const void* data, std::size_t nbytes) {
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  if (nbytes <= kInlineBytes) return put(WriteInline{buffer, offset, Bytes(bytes, nbytes)});
  Number last = 0;
  for (std::size_t at = 0; at < nbytes; at += chunk_bytes_) {
    const std::size_t size = std::min(chunk_bytes_, nbytes - at);
    last = put_from(Write{buffer, offset + at, size, 0}, Spread{const_cast<std::uint8_t*>(bytes) + at, size});
  }
  return last;
}

Number Session::read(std::uint64_t buffer, std::uint64_t offset, void* into, std::size_t nbytes) {
  auto* bytes = static_cast<std::uint8_t*>(into);
  Number last = 0;
  for (std::size_t at = 0; at < nbytes; at += chunk_bytes_) {
    const std::size_t size = std::min(chunk_bytes_, nbytes - at);
    last = put_into(Read{buffer, offset + at, size, 0}, Spread{bytes + at, size});
  }
  return last;
}

Region Session::stage(std::size_t nbytes) {
  std::optional<Region> found;
  const auto ready = [&] {
    const std::lock_guard lock(state_);
    collect_locked();
    found = arena_.take(nbytes);
    return found.has_value();
  };
  if (!block(ready, kBackpressure))
    throw Failure(CL_OUT_OF_RESOURCES, "the arena stayed full: the device does not keep up");
  return *found;
}

Number Session::wrote(Number number, const Region& region) {
  const std::lock_guard lock(state_);
  writes_.push_back({number, region, {}});
  if (region.nbytes >= kUrgentBytes) ring_server();
  return number;
}

Number Session::reading(Number number, const Region& region, const Spread& target) {
  const std::lock_guard lock(state_);
  reads_.push_back({number, region, target});
  return number;
}

// ---- progress

Number Session::look() {
  const std::lock_guard lock(state_);
  const Number retired = segment_.get(Line::RETIRED);
  collect_locked();
  note_errors_locked();
  return retired;
}

void Session::collect_locked() {
  if (!writes_.empty()) {
    const Number issued = segment_.get(Line::ISSUED);
    while (!writes_.empty() && writes_.front().number <= issued) {
      arena_.give(writes_.front().region);
      writes_.pop_front();
    }
  }
  if (!reads_.empty()) {
    const Number retired = segment_.get(Line::RETIRED);
    while (!reads_.empty() && reads_.front().number <= retired) {
      const Transfer& done = reads_.front();
      done.target.scatter(segment_.arena() + done.region.offset);
      arena_.give(done.region);
      reads_.pop_front();
    }
  }
}

void Session::note_errors_locked() {
  const std::uint64_t count = segment_.get(Line::ERRORS);
  if (count == segment_.get(Line::ERRORS_SEEN)) return;
  const auto found = read_as<Failed>(record_at(segment_.base() + kErrorAt, kErrorBytes));
  const cl_int code =
      found ? code_of(found->second.code.text(), found->second.native.text()) : cl_int{CL_OUT_OF_RESOURCES};
  if (found) {
    failures_[found->first] = code;
    if (failures_.size() > kFailuresKept) failures_.erase(failures_.begin());
    if (found->second.sticky) {
      fault_ = code;
      tell("session " + name_ + ": " + std::string(found->second.message.text()));
    }
  }
  if (untold_ == CL_SUCCESS) untold_ = code;
  segment_.set(Line::ERRORS_SEEN, count);
}

cl_int Session::failure(Number first, Number last) {
  const std::lock_guard lock(state_);
  const auto found = failures_.lower_bound(first);
  return found != failures_.end() && found->first <= last ? found->second : cl_int{CL_SUCCESS};
}

cl_int Session::take_error() {
  const std::lock_guard lock(state_);
  note_errors_locked();
  const cl_int code = untold_ != CL_SUCCESS ? untold_ : fault_;
  untold_ = CL_SUCCESS;
  return code;
}

// A signal behind `number`, so that its completion wakes and nothing before it does; nullopt if
// another thread is putting records and may be at it for long.
std::optional<Number> Session::signal_after(Number number) {
  {
    const std::lock_guard lock(state_);
    const Number completed = segment_.get(Line::COMPLETED);
    while (!signals_.empty() && signals_.front() <= completed) signals_.pop_front();
    const auto found = std::lower_bound(signals_.begin(), signals_.end(), number);
    if (found != signals_.end()) return *found;
  }
  const std::unique_lock order(order_, std::try_to_lock);
  if (!order.owns_lock()) return std::nullopt;
  const Number signal = sent() + 1;
  put(Signal{signal});
  const std::lock_guard lock(state_);
  signals_.push_back(signal);
  return signal;
}

bool Session::wait(Number number, std::int64_t timeout_ns) {
  if (foreign()) throw Failure(CL_DEVICE_NOT_AVAILABLE, "this context belongs to the parent process");
  bool done = retired(number);
  if (!done) {
    const Number wanted = signal_after(number).value_or(0);
    const auto ready = [&] {
      const bool is_retired = retired(number);
      deliver_prints();
      return is_retired;
    };
    done = block(ready, timeout_ns, wanted);
  }
  stirred_.store(false, std::memory_order_relaxed);
  look();
  deliver_prints();
  return done;
}

void Session::deliver_prints() {
  if (segment_.get(Line::PRINTED) <= printed_.load(std::memory_order_acquire)) return;
  Dialogue dialogue(*this);  // also so that output is written once, and in order
  const Number after = printed_.load(), upto = segment_.get(Line::PRINTED);
  if (upto <= after) return;
  const std::string text = dialogue.download(done_bytes(dialogue.ask(Printed{after, upto})));
  printed_.store(upto, std::memory_order_release);
  segment_.set(Line::PRINTED_SEEN, upto);
  write_out(text);
}

// ---- waiting

void Session::announce_locked() {
  Number wanted = UINT64_MAX;
  for (const Waiter* waiter : waiters_) wanted = std::min(wanted, waiter->wanted);
  if (!waiters_.empty() && wanted) segment_.set(Line::WANTED, wanted);
  const Asleep asleep = waiters_.empty() ? Asleep::NO : wanted ? Asleep::FOR_SEQ : Asleep::FOR_ANYTHING;
  segment_.set(Line::CLIENT_ASLEEP, static_cast<std::uint64_t>(asleep));
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

// Until ready(); false when the time is over. Throws Failure for what ended the session.
template <class Ready>
bool Session::block(Ready&& ready, std::int64_t timeout_ns, Number wanted) {
  std::optional<Waiter> waiter;
  const std::int64_t begun = now_ns();
  std::int64_t before = begun;
  std::int64_t left = timeout_ns;
  while (true) {
    const std::uint32_t seen = segment_.bell(Line::EVENT).load(std::memory_order_acquire);
    if (ready()) return true;
    check_alive();
    if (left <= 0) return false;
    if (!waiter) {
      waiter.emplace(*this, wanted);
      rouse_server();
    }
    sleep_on(bell_address(segment_, Line::EVENT), seen, std::min(left, kTick));
    const std::int64_t now = now_ns();
    if (segment_.get(Line::STATE) != static_cast<std::uint64_t>(State::SUSPENDED) && !gone_at_ns_)
      left -= now - before;
    else if (now - begun > kParkLimit)
      lost("it was suspended for more than a day");
    before = now;
  }
}

void Session::check_alive() {
  const auto state = static_cast<State>(segment_.get(Line::STATE));
  if (state == State::ENDED) {
    const auto found = read_as<Failed>(record_at(segment_.base() + kEndAt, kEndBytes));
    lost("ended: " + (found ? std::string(found->second.message.text()) : "no reason given"));
  }
  const std::int64_t now = now_ns();
  bool recoverable = segment_.get(Line::RECOVERABLE) && !segment_.get(Line::CLOSED);
  if (state == State::SUSPENDED && !recoverable) return;
  if (now - looked_at_ns_.load(std::memory_order_relaxed) < kTick) return;
  looked_at_ns_.store(now, std::memory_order_relaxed);
  const std::string server = home();
  recoverable |= state == State::NEW && is_kept(server_home(root_, server));  // the next one takes it up
  if (holder_lives(server_home(root_, server) + "/lock")) {
    if (gone_at_ns_.exchange(0)) tell("session " + name_ + ": another server of " + server + " goes on");
    return;
  }
  const auto again = static_cast<State>(segment_.get(Line::STATE));
  if ((again == State::SUSPENDED && !recoverable) || again == State::ENDED || home() != server) return;
  std::int64_t none = 0;
  if (recoverable && gone_at_ns_.compare_exchange_strong(none, now))
    tell("session " + name_ + ": the server of " + server + " died; waiting for another");
  if (recoverable && now - gone_at_ns_ < restart_ns()) return;
  looked_at_ns_.store(0, std::memory_order_relaxed);
  lost("the server of " + server + " died; what it held is lost");
}

void Session::lost(const std::string& why) {
  if (!told_.exchange(true) && !segment_.get(Line::CLOSED)) tell("session " + name_ + ": " + why);
  throw Failure(CL_DEVICE_NOT_AVAILABLE, why);
}

std::string Session::home() const {
  const auto found = read_as<Home>(record_at(segment_.base() + kHomeAt, kHomeBytes));
  return found && found->second.server.size ? std::string(found->second.server.text()) : server_;
}

std::string Session::server() {
  block([this] { return segment_.get(Line::STATE) != static_cast<std::uint64_t>(State::SUSPENDED); }, kAsLongAsItLives);
  return home();
}

// ---- calls

std::string Session::Dialogue::ask_encoded(Number after) {
  Session& session = session_;
  Segment& segment = session.segment_;
  if (session.foreign()) throw Failure(CL_DEVICE_NOT_AVAILABLE, "this context belongs to the parent process");
  if (record_.size() > kRequestBytes) throw Failure(CL_OUT_OF_RESOURCES, "a call is too large");
  const Number number = ++session.call_number_;
  std::memcpy(record_.data() + 8, &number, sizeof number);
  std::memcpy(segment.base() + kRequestAt, record_.data(), record_.size());
  segment.set(Line::REQUEST_AFTER, after);
  segment.set(Line::REQUEST, number);
  session.ring_server();
  session.block([&] { return segment.get(Line::REPLY) == number; }, kAsLongAsItLives);
  const Bytes reply = record_at(segment.base() + kReplyAt, kReplyBytes);
  if (const auto failed = read_as<Failed>(reply))
    throw Failure(code_of(failed->second.code.text(), failed->second.native.text()),
                  std::string(failed->second.message.text()));
  return std::string(reply.text());
}

void Session::Dialogue::upload(Bytes payload) {
  Session& session = session_;
  std::size_t at = 0;
  do {
    const std::size_t size = std::min(session.call_bytes_, payload.size - at);
    if (size) std::memcpy(session.segment_.arena() + session.call_at_, payload.data + at, size);
    ask(Append{session.call_at_, size, at == 0});
    at += size;
  } while (at < payload.size);
}

std::string Session::Dialogue::download(std::uint64_t nbytes) {
  Session& session = session_;
  std::string data;
  while (data.size() < nbytes) {
    const std::size_t size = std::min<std::size_t>(session.call_bytes_, nbytes - data.size());
    ask(Fetch{data.size(), size, session.call_at_});
    data.append(reinterpret_cast<const char*>(session.segment_.arena() + session.call_at_), size);
  }
  return data;
}

std::uint64_t Session::done_bytes(const std::string& reply) {
  const auto done = read_as<Done>(Bytes(reply));
  if (!done) throw Failure(CL_OUT_OF_RESOURCES, "the server's reply is not readable");
  return done->second.nbytes;
}

Clock Session::clock_of(const std::string& reply) {
  const auto clock = read_as<Clock>(Bytes(reply));
  if (!clock) throw Failure(CL_PROFILING_INFO_NOT_AVAILABLE, "the server's reply is not a clock");
  return clock->second;
}

// ---- end

void Session::leave() {
  if (foreign()) return;
  segment_.set(Line::CLOSED, 1);
  ring_server();
  if (segment_.get(Line::STATE) == static_cast<std::uint64_t>(State::SUSPENDED))
    unlink((root_ + "/parked/" + name_).c_str());
}

void Session::close() {
  if (!foreign()) {
    try {
      deliver_prints();
    } catch (const Failure&) {
    }
    leave();
    try {  // it ends by ENDED, which throws
      if (segment_.get(Line::STATE) == static_cast<std::uint64_t>(State::RUNNING)) block([] { return false; }, kClose);
    } catch (const Failure&) {
    }
  }
  munmap(segment_.base(), mapped_bytes_);
}

}  // namespace haltere
