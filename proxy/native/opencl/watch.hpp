// Callbacks of events, run by one background thread for each context that has some.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "objects.hpp"

namespace haltere {

struct Watch : std::enable_shared_from_this<Watch> {
  // Runs the callback when `event`, which is issued or settled, has come to an end.
  void add(Ref<_cl_event> event, const _cl_event::Callback& callback);
  // Runs `task` soon.
  void add(std::function<void()> task);

 private:
  struct Entry {
    Ref<_cl_event> event;
    _cl_event::Callback callback;
  };
  void start_locked();
  void run();
  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<Entry> entries_;
  std::vector<std::function<void()>> tasks_;
  unsigned running_in_ = 0;  // generation of the process whose thread it is
};

}  // namespace haltere
