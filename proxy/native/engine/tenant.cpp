#include "tenant.hpp"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "bells.hpp"
#include "commands.hpp"

namespace haltere {
namespace {

constexpr double kLongNs = 50'000;  // what takes longer is told of, though nobody waits for it yet
constexpr double kShortNs = 6'000;  // a command that takes the server as long as the device
constexpr u64 kSignalComes = 2;     // a worker that is about to wait has put its signal by then
constexpr std::size_t kTakeBytes = kMaxRecordBytes;  // at least one record of any size

template <class Record>
constexpr bool kIsCommand = is_command(Record::operation);

// What is enqueued and no more: the device's own thread may do it.
bool is_plain(std::uint16_t operation) {
  return operation == Launch::operation || operation == Signal::operation || operation == WriteInline::operation ||
         operation == Write::operation || operation == Read::operation || operation == Copy::operation;
}

std::atomic<u64> g_opened;

}  // namespace

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

Tenant::Tenant(Device& device, std::string called, Segment at, Words* shared)
    : words(shared), segment(at), name(std::move(called)), id(++g_opened), objects(device) {
  bytes_.resize(2 * kTakeBytes);
  begin();
}

void Tenant::begin() {
  seen_ = barren_ = words->tail;
  departed_ = words->issued;
  at_ = end_ = 0;
}

void Tenant::keep(RedoLog log) {
  redo_ = log;
  reading_.clear();
}

void Tenant::rebind(Segment at) {
  segment = at;
}

Tenant::~Tenant() {
  const auto* cl = objects.device.cl;
  for (const Flight& flight : flights) cl->clReleaseEvent(flight.event);
  if (loose_.event) cl->clReleaseEvent(loose_.event);
  for (const TimedEvent& timed : timed_) cl->clReleaseEvent(timed.event);
}

// ---- the ring

bool Tenant::has_records() const {
  if (words->halted || words->draining || words->held || words->waits) return false;
  return !backlog_.empty() || segment.get(Line::HEAD) != barren_;
}

// Copies out what the worker has put; true if there was anything.
bool Tenant::fill() {
  const u64 head = segment.get(Line::HEAD);
  if (head == seen_) return false;
  const u64 capacity = segment.ring_bytes();
  if (head < seen_ || head > plus(words->tail, capacity))
    throw Violation{text("ring head %llu with tail %llu and %llu bytes: not possible", llu(head),
                         llu(words->tail), llu(capacity))};
  std::memmove(bytes_.data(), bytes_.data() + at_, end_ - at_);
  end_ -= at_;
  at_ = 0;
  const std::size_t nbytes = std::min<u64>({head - seen_, bytes_.size() - end_, kTakeBytes});
  const std::size_t from = seen_ % capacity, first = std::min<std::size_t>(nbytes, capacity - from);
  std::memcpy(bytes_.data() + end_, segment.ring() + from, first);
  std::memcpy(bytes_.data() + end_ + first, segment.ring(), nbytes - first);
  end_ += nbytes;
  seen_ += nbytes;
  return true;
}

// True if `record_` is the next whole record.
bool Tenant::next() {
  from_backlog_ = !backlog_.empty();
  if (from_backlog_) {
    record_ = Bytes(std::string_view(backlog_.front().first));
    return true;
  }
  for (bool more = true; more; more = fill()) {
    if (end_ - at_ < kHeadBytes) continue;
    std::uint32_t length;
    std::memcpy(&length, bytes_.data() + at_, sizeof length);
    if (length < kHeadBytes || length > kMaxRecordBytes || length % 8)
      throw Violation{text("record of %u bytes: expected %zu to %zu, a multiple of 8", length, kHeadBytes,
                           kMaxRecordBytes)};
    if (end_ - at_ < length) continue;
    record_ = {bytes_.data() + at_, length};
    return true;
  }
  barren_ = seen_;
  return false;
}

// True if the record behind the next is there already, and a launch.
bool Tenant::launch_follows() const {
  const std::size_t at = at_ + record_.size;
  if (from_backlog_ || end_ - at < kHeadBytes) return false;
  std::uint32_t length;
  std::uint16_t operation;
  std::memcpy(&length, bytes_.data() + at, sizeof length);
  std::memcpy(&operation, bytes_.data() + at + 4, sizeof operation);
  return operation == Launch::operation && end_ - at >= length;
}

void Tenant::push(Bytes record, Bytes payload) {
  backlog_.emplace_back(record.text(), payload.text());
  words->backlog = backlog_.size();
}

// ---- taking

bool Tenant::take(u64 limit, u64 window, bool plain) {
  u64 taken = 0;
  stuck = false;
  if (words->waits) return false;
  while (taken < limit && !words->halted && !words->draining && !words->held && next()) {
    if (words->out_bytes && !words->fault) {
      await_room({0});
      break;
    }
    std::memcpy(&operation_, record_.data + 4, sizeof operation_);
    if (plain && !is_plain(operation_)) {
      stuck = true;
      break;
    }
    const bool needs_room = operation_ != Signal::operation && !words->fault;
    if (needs_room && words->issued - words->retired >= window) break;
    bulk_ = false;
    launch_follows_ = taken + 1 < limit && words->issued + 1 - words->retired < window && launch_follows();
    if (!do_record()) break;
    ++taken;
    if (bulk_ && handed_) depart();
  }
  if (handed_) depart();
  if (taken == 0) return false;
  awaited = operation_ == Signal::operation;
  unawaited = awaited ? 0 : unawaited + 1;
  if (awaited && objects.device.tells && !flights.empty()) tell();
  segment.set(Line::TAIL, words->tail);
  words->dirty = true;
  return true;
}

void Tenant::await_room(NoRoom room) {
  words->waits = 1;
  words->wanted_bytes = room.nbytes;
  words->driver_full = room.driver;
}

// False: it must wait, for memory or a launch that prints, and nothing was done.
bool Tenant::do_record() {
  const bool own = !from_backlog_;
  payload_ = own ? nullptr : &backlog_.front().second;
  objects.insists = words->insists != 0;
  bool known = false;
  try {
    known = visit_record(record_, [&](u64 number, const auto& record) {
      using Record = std::decay_t<decltype(record)>;
      if constexpr (kIsCommand<Record>) {
        if (own && number != words->issued + 1)
          throw Violation{text("record number %llu after %llu: numbers rise by one", llu(number),
                               llu(words->issued))};
        if (own) ++words->issued;
        if constexpr (Record::operation == Signal::operation) {
          if (own && redo_.on()) note(number, record);
          signalled(record.seq);
        } else {
          if (fault_of) throw *fault_of;
          Commands commands(*this);
          const bool handed = commands.run(record);
          if (own && redo_.on()) note(number, record);
          if (handed)
            handed_ = true;
          else
            settled();
        }
      } else {
        throw Violation{text("operation %u is a call, not a command", unsigned{Record::operation})};
      }
    });
  } catch (const Refused& error) {
    known = true;
    fail(error);
    settled();
  } catch (const Busy&) {
    if (own) --words->issued;
    return false;
  } catch (const NoRoom& room) {
    if (own) --words->issued;
    await_room(room);
    return false;
  }
  words->insists = 0;
  if (!known)
    throw Violation{text("record of %zu bytes: its operation is not in the table, or its fields are malformed",
                         record_.size)};
  if (operation_ != Timed::operation) timed_next_ = false;
  if (own) {
    at_ += record_.size;
    words->tail += record_.size;
  } else {
    backlog_.pop_front();
    words->backlog = backlog_.size();
  }
  return true;
}

void Tenant::signalled(u64 seq) {
  if (seq <= words->newest_seq)
    throw Violation{text("signal %llu after %llu: seqs rise", llu(seq), llu(words->newest_seq))};
  words->newest_seq = seq;
  if (handed_)
    loose_.completes = seq;
  else if (!flights.empty())
    flights.back().completes = seq;
  else
    words->completed = seq;
  settled();
}

// The record just taken needs nothing from the device, or failed.
void Tenant::settled() {
  if (handed_) return;
  if (!flights.empty())
    flights.back().upto = words->issued;
  else
    words->retired = words->issued;
}

// All that is loose completes with its last command, for the queue is in order.
void Tenant::depart() {
  handed_ = false;
  const auto* cl = objects.device.cl;
  int status = CL_SUCCESS;
  if (loose_.event == nullptr)
    status = cl->clEnqueueMarkerWithWaitList(objects.queue, 0, nullptr, &loose_.event);  // what was to follow failed
  loose_.upto = words->issued;
  loose_.departed_ns = now_ns();
  words->active_ns = static_cast<u64>(loose_.departed_ns);
  loose_.records = words->issued - departed_;
  departed_ = words->issued;
  words->kernels += loose_.kernels;
  flights.push_back(std::move(loose_));
  loose_ = Flight{};
  words->flights = flights.size();
  if (status == CL_SUCCESS) status = cl->clFlush(objects.queue);
  if (status != CL_SUCCESS) return broken({family(status), text("flush: OpenCL status %d", status), status});
  // Else the device had nothing to do while a loop that sleeps over a full window is woken.
  const Flight& flight = flights.back();
  if (objects.device.tells && static_cast<double>(flight.records) * record_ns > kLongNs) tell();
}

// ---- progress

bool Tenant::land() {
  bool any = false;
  while (!flights.empty()) {
    Flight& flight = flights.front();
    cl_int state = CL_COMPLETE;
    const cl_int asked = objects.device.cl->clGetEventInfo(flight.event, CL_EVENT_COMMAND_EXECUTION_STATUS,
                                                           sizeof state, &state, nullptr);
    if (asked != CL_SUCCESS) state = asked;
    if (state > CL_COMPLETE) break;
    any = true;
    if (state < 0) {
      broken({family(state), text("a command failed with OpenCL status %d", state), state});
      break;
    }
    count_time(flight);
    end_printing(flight);
    words->retired = flight.upto;
    words->completed = std::max(words->completed, flight.completes);
    words->kernels -= flight.kernels;
    objects.device.cl->clReleaseEvent(flight.event);
    flights.pop_front();
  }
  if (any) words->dirty = true;
  words->flights = flights.size();
  return any;
}

void Tenant::end_printing(const Flight& flight) {
  Printing& printing = objects.device.printing;
  if (flight.prints == 0) return;
  if (abandoned) return printing.recover();
  std::string text = printing.end();
  if (segment.get(Line::PRINTS))
    prints.add(flight.prints, std::move(text));
  else
    std::fwrite(text.data(), 1, text.size(), stderr);
}

void Tenant::abandon() {
  abandoned = true;
  ++objects.device.abandoned;
  for (const Flight& flight : flights)
    if (flight.prints) objects.device.printing.abandon();
}

bool Tenant::tell() {
  Device& device = objects.device;
  Flight& flight = device.tells ? flights.back() : flights.front();
  if (flight.told) return true;
  const cl_int status = device.tells ? tell_behind(device, objects.queue, id, flight.upto) : tell_when(device, flight.event);
  if (status != CL_SUCCESS) return false;
  if (device.tells) device.cl->clFlush(objects.queue);
  return flight.told = true;
}

bool Tenant::arrived(u64 upto) noexcept {
  try {
    land();
    if (!publish()) return false;
  } catch (...) {
    return false;  // the loop will find it too, and say so
  }
  const bool early = !flights.empty() && flights.front().upto <= upto;  // its event is not complete yet
  if (early)
    for (Flight& flight : flights) flight.told = false;
  const bool asked = segment.get(Line::REQUEST) != words->replied;
  const bool stands = words->halted || words->draining || words->held || words->fault;
  return !early && !asked && !stands;
}

bool Tenant::soon() const {
  if (record_ns <= kShortNs) return true;
  return unawaited <= kSignalComes && static_cast<double>(words->issued - words->retired) * record_ns <= kLongNs;
}

// The device was at this flight since the one before it, whosever that was, or since it came.
void Tenant::count_time(const Flight& flight) {
  std::int64_t& landed_ns = objects.device.landed_ns;
  const std::int64_t now = now_ns(), taken = now - std::max(landed_ns, flight.departed_ns);
  landed_ns = now;
  words->device_ns += static_cast<u64>(taken);
  pace += static_cast<double>(taken) / static_cast<double>(std::max<u64>(words->weight, 1));
  const double each = static_cast<double>(taken) / static_cast<double>(std::max<u64>(flight.records, 1));
  stride = each > 4 * record_ns && record_ns > 0 ? kFirstWindow : std::min(2 * stride, kMaxWindow);
  record_ns = record_ns == 0 ? each : 0.75 * record_ns + 0.25 * each;
}

// The device will complete nothing of this session any more.
void Tenant::broken(Refused why) {
  if (std::string_view(why.code) == "usage_error") why.code = "device_fault";
  fault_of = why;
  words->fault = 1;
  words->dirty = true;
  for (Flight& flight : flights) {
    words->retired = flight.upto;
    words->completed = std::max(words->completed, flight.completes);
    end_printing(flight);
    objects.device.cl->clReleaseEvent(flight.event);
    for (auto& held : flight.held) held.release();  // the device may still read it
  }
  flights.clear();
  words->flights = words->kernels = 0;
  fail(std::move(why));
}

// The first error is kept, for later ones follow from it.
void Tenant::fail(Refused why) {
  if (error) return;
  error = std::move(why);
  words->failed = words->issued;
  words->has_error = 1;
  words->dirty = true;
}

// What was done with a record, before the worker can see that it was: for whoever must do it again.
template <class Record>
void Tenant::note(u64 number, const Record& record) {
  const u64 nbytes = arena_bytes_of(record);
  const std::uint8_t* payload = nullptr;
  if constexpr (requires { record.arena; }) {
    if (nbytes) payload = arena(record.arena, nbytes);
    if constexpr (kReads<Record>)
      if (nbytes) reading_.push_back({number, record.arena, nbytes});
  }
  redo_.append(segment, RedoLog::kCommand, number, record_, payload, kReads<Record> ? 0 : nbytes);
}

void Tenant::note_reads() {
  while (!reading_.empty() && reading_.front().number <= words->retired) {
    const Reading& done = reading_.front();
    redo_.append(segment, RedoLog::kRead, done.number, {}, arena(done.arena, done.nbytes), done.nbytes);
    reading_.pop_front();
  }
}

bool Tenant::publish() {
  if (!words->dirty) return true;
  if (segment.get(Line::EPOCH) != words->epoch) return false;
  note_reads();
  if (error) {
    redo_.end(segment);  // that it was told cannot be redone
    if (segment.get(Line::ERRORS_SEEN) >= words->errors_told) {
      write_failed(segment.base() + kErrorAt, kErrorBytes, words->failed, *error, words->fault != 0);
      segment.set(Line::ERRORS, ++words->errors_told);
    }  // else it is dropped: the worker has not seen an earlier one
    error.reset();
    words->has_error = 0;
  }
  u64 issued = words->issued;  // whoever has seen that overwrites what writes read in the arena
  for (const Flight& flight : flights)
    if (flight.first_write) {
      issued = flight.first_write - 1;
      break;
    }
  words->used_bytes = objects.used_bytes;
  words->shared_bytes = objects.shared_bytes;
  if (prints.newest()) {
    prints.drop(segment.get(Line::PRINTED_SEEN));
    segment.set(Line::PRINTED, prints.newest());  // who sees that it is done sees this
  }
  segment.set(Line::ISSUED, issued);
  segment.set(Line::RETIRED, words->retired);
  segment.set(Line::COMPLETED, words->completed);
  words->dirty = false;
  wake();
  return true;
}

void Tenant::wake() {
  bump(segment.bell(Line::EVENT));
  const auto asleep = static_cast<Asleep>(segment.get(Line::CLIENT_ASLEEP));
  if (asleep == Asleep::FOR_ANYTHING ||
      (asleep == Asleep::FOR_SEQ && words->completed >= segment.get(Line::WANTED)))
    haltere::wake(bell_address(segment, Line::EVENT));
}

bool Tenant::wants_python() const {
  const u64 request = segment.get(Line::REQUEST);
  return request != words->replied && request != words->asked &&
         words->issued >= segment.get(Line::REQUEST_AFTER);
}

Turn Tenant::turn(u64 limit, u64 window, bool plain) noexcept {
  if (!violation.empty()) return Turn::kViolation;
  const u64 issued = words->issued, retired = words->retired;
  objects.limit_bytes = words->limit_bytes;  // its owner may have changed it
  try {
    bool progress = take(limit, window, plain);
    progress |= land();
    if (!publish()) return Turn::kStale;
    if (words->issued != issued || words->retired != retired) words->asked = words->replied;  // it may go now
    return progress ? Turn::kProgress : Turn::kIdle;
  } catch (const Violation& found) {
    violation = found.message;
  } catch (const std::exception& error) {
    violation = text("the engine failed: %s", error.what());
  }
  return Turn::kViolation;
}

bool Tenant::drain(std::int64_t timeout_ns) {
  const std::int64_t until = now_ns() + timeout_ns;
  if (fault_of && !last_) {  // what followed the command that failed may still use shared memory
    Flight flight;
    const auto* cl = objects.device.cl;
    last_ = cl->clEnqueueMarkerWithWaitList(objects.queue, 0, nullptr, &flight.event) == CL_SUCCESS;
    if (last_) flights.push_back(std::move(flight));
    cl->clFlush(objects.queue);
  }
  while (land(), !flights.empty()) {
    if (now_ns() >= until) return false;
    sched_yield();
  }
  return true;
}

// ---- memory that commands refer to

std::uint8_t* Tenant::arena(u64 offset, u64 nbytes) const {
  if (!within(offset, nbytes, segment.arena_bytes()))
    throw Violation{text("arena range %llu + %llu outside an arena of %zu bytes", llu(offset), llu(nbytes),
                         segment.arena_bytes())};
  return segment.arena() + offset;
}

// A copy that lives until the device is done with the flight.
const std::uint8_t* Tenant::hold(Bytes bytes) {
  auto copy = std::make_unique_for_overwrite<std::uint8_t[]>(bytes.size);
  std::memcpy(copy.get(), bytes.data, bytes.size);
  return loose_.held.emplace_back(std::move(copy)).get();
}

// ---- profiling

Clock Tenant::clock_of(u64 number) {
  Clock clock{};
  const auto found = std::find_if(timed_.begin(), timed_.end(),
                                  [&](const TimedEvent& timed) { return timed.number == number; });
  if (found == timed_.end()) {
    const auto before = clocked_.find(number);
    return before == clocked_.end() ? clock : before->second;
  }
  const auto ask = [&](cl_profiling_info what) {
    cl_ulong at = 0;
    const int status =
        objects.device.cl->clGetEventProfilingInfo(found->event, what, sizeof at, &at, nullptr);
    return status == CL_SUCCESS ? u64{at} : 0;
  };
  clock.queued_ns = ask(CL_PROFILING_COMMAND_QUEUED);
  clock.submitted_ns = ask(CL_PROFILING_COMMAND_SUBMIT);
  clock.started_ns = ask(CL_PROFILING_COMMAND_START);
  clock.ended_ns = ask(CL_PROFILING_COMMAND_END);
  return clock;
}

std::string Tenant::clocks() {
  std::string out;
  const auto add = [&out](u64 number, const Clock& clock) {
    const u64 words[] = {number, clock.queued_ns, clock.submitted_ns, clock.started_ns, clock.ended_ns};
    out.append(reinterpret_cast<const char*>(words), sizeof words);
  };
  const std::size_t room = kMaxTimed - std::min(kMaxTimed, timed_.size());
  auto first = clocked_.begin();
  std::advance(first, clocked_.size() - std::min(clocked_.size(), room));
  for (; first != clocked_.end(); ++first) add(first->first, first->second);
  for (const TimedEvent& timed : timed_) add(timed.number, clock_of(timed.number));
  return out;
}

void Tenant::know(Bytes clocks) {
  clocked_.clear();
  for (std::size_t at = 0; at + 40 <= clocks.size && clocked_.size() < kMaxTimed; at += 40) {
    u64 words[5];
    std::memcpy(words, clocks.data + at, sizeof words);
    clocked_[words[0]] = Clock{words[1], words[2], words[3], words[4]};
  }
}

}  // namespace haltere
