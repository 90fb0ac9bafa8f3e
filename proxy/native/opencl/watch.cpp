#include "watch.hpp"

#include <chrono>
#include <thread>

#include "order.hpp"
#include "rendezvous.hpp"

namespace haltere {
namespace {

constexpr std::int64_t kLookNs = 20'000'000;  // how late a callback of another event may be
constexpr std::chrono::milliseconds kLinger{200};  // a thread without work ends

}  // namespace

void Watch::add(Ref<_cl_event> event, const _cl_event::Callback& callback) {
  const std::lock_guard lock(lock_);
  entries_.push_back({std::move(event), callback});
  start_locked();
}

void Watch::add(std::function<void()> task) {
  const std::lock_guard lock(lock_);
  tasks_.push_back(std::move(task));
  start_locked();
}

void Watch::start_locked() {
  changed_.notify_one();
  if (running_in_ == process_generation()) return;
  running_in_ = process_generation();
  std::thread([self = shared_from_this()] { self->run(); }).detach();
}

void Watch::run() {
  std::unique_lock lock(lock_);
  while (true) {
    if (!tasks_.empty()) {
      std::vector<std::function<void()>> tasks;
      tasks.swap(tasks_);
      lock.unlock();
      for (const auto& task : tasks) task();
      tasks.clear();
      lock.lock();
      continue;
    }
    if (entries_.empty()) {
      changed_.wait_for(lock, kLinger);
      if (!entries_.empty() || !tasks_.empty()) continue;
      running_in_ = 0;
      return;
    }
    std::vector<Entry> entries;
    entries.swap(entries_);
    lock.unlock();
    std::vector<Entry> open;
    const Entry* next = nullptr;
    for (Entry& entry : entries) {
      cl_int status;
      try {
        status = entry.event->status();
      } catch (const Failure& failure) {
        status = failure.code;
      }
      if (status <= CL_COMPLETE)
        entry.callback.notify(entry.event.get(), status < 0 ? status : entry.callback.status, entry.callback.data);
      else
        open.push_back(std::move(entry));
    }
    entries.clear();
    for (const Entry& entry : open)
      if (!next || entry.event->last < next->event->last) next = &entry;
    if (next) {
      try {
        next->event->context->session->wait(next->event->last, kLookNs);
      } catch (const Failure& failure) {
        settle(*next->event, failure.code);
      }
    }
    lock.lock();
    entries_.insert(entries_.begin(), std::make_move_iterator(open.begin()), std::make_move_iterator(open.end()));
  }
}

}  // namespace haltere
