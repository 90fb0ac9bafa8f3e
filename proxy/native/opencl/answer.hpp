// How OpenCL's clGet...Info entry points answer.
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "failure.hpp"

namespace haltere {

class Answer {
 public:
  Answer(std::size_t room, void* into, std::size_t* size_ret) : room_(room), into_(into), size_ret_(size_ret) {}

  void bytes(const void* data, std::size_t nbytes) const {
    if (into_) {
      check(room_ >= nbytes, CL_INVALID_VALUE);
      if (nbytes) std::memcpy(into_, data, nbytes);
    }
    if (size_ret_) *size_ret_ = nbytes;
  }
  template <class T>
  void value(const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes(&value, sizeof value);
  }
  void text(std::string_view text) const {
    std::string ended(text);
    bytes(ended.c_str(), ended.size() + 1);
  }
  template <class T>
  void list(const std::vector<T>& values) const {
    bytes(values.data(), values.size() * sizeof(T));
  }

 private:
  std::size_t room_;
  void* into_;
  std::size_t* size_ret_;
};

}  // namespace haltere
