// What a program holds: the structs behind OpenCL's handles. They are counted references; each
// begins with the loader's dispatch table and a word that tells its kind, so that a wrong or dead
// handle is refused rather than followed.
#pragma once

#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_icd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "failure.hpp"
#include "session.hpp"

namespace haltere {

extern cl_icd_dispatch dispatch_table;

template <std::uint64_t kind>
struct Object {
  static constexpr std::uint64_t kMagicWord = 0x48414c5445520000 | kind;  // "HALTER"
  const cl_icd_dispatch* dispatch = &dispatch_table;
  std::uint64_t magic = kMagicWord;
  std::atomic<cl_uint> references{1};

  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object() { magic = 0; }
};

template <class T>
bool valid(const T* object) {
  return object && object->magic == T::kMagicWord;
}

template <class T>
void retain(T* object) {
  object->references.fetch_add(1, std::memory_order_relaxed);
}

template <class T>
void release(T* object) {
  if (object->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object;
}

// A counted reference of our own.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_) retain(object_);
  }
  static Ref adopt(T* object) {
    Ref made;
    made.object_ = object;
    return made;
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) release(object_);
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_; }
  T* detach() { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

struct Held;   // a command that waits in the client; see order.hpp
struct Watch;  // callbacks of events; see watch.hpp

// What a program's build left on the server. Dropping it unloads it.
struct Argument {
  cl_uint address = 0, access = 0;
  cl_ulong qualifiers = 0;
  std::string type_name, name;
};
struct Entry {
  std::string name, attributes;
  std::vector<Argument> arguments;
  std::uint64_t work_group = 0, multiple = 0, local_bytes = 0, private_bytes = 0;
  std::size_t compiled_size[3] = {};
};
struct Built {
  Ref<_cl_context> context;
  std::uint64_t handle = 0;
  std::vector<Entry> entries;
  Built(cl_context owner, std::uint64_t number);
  ~Built();
};

struct ArgValue {
  bool set = false;
  cl_mem memory = nullptr;          // not retained, as OpenCL says
  cl_sampler sampler = nullptr;
  std::string encoded;              // as the wire wants it
  std::size_t at = 0;               // in the kernel's prefix
};

// Bytes of the device's memory that a buffer was promised, of what its context may have.
struct Promise {
  std::atomic<std::uint64_t>* all = nullptr;
  std::uint64_t nbytes = 0;
  Promise() = default;
  Promise(const Promise&) = delete;
  Promise& operator=(const Promise&) = delete;
  ~Promise() {
    if (all) all->fetch_sub(nbytes);
  }
};

struct MapRecord {
  void* pointer;
  bool in_place;                          // it is the buffer's own memory: see direct.hpp
  cl_map_flags flags;
  std::size_t offset, nbytes;             // of buffers
  std::size_t origin[3], region[3];       // of images
  std::size_t row, slice;
};

}  // namespace haltere

struct _cl_platform_id : haltere::Object<1> {
  std::vector<std::unique_ptr<_cl_device_id>> devices;
};

struct _cl_device_id : haltere::Object<2> {
  std::size_t index = 0;
  std::string server;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> values;  // (scope, query): see records.DeviceValue

  const std::string* raw(cl_device_info query) const {
    const auto found = values.find({1, query});
    return found == values.end() ? nullptr : &found->second;
  }
  template <class T>
  T number(cl_device_info query, T otherwise) const {
    const std::string* found = raw(query);
    T value = otherwise;
    if (found && found->size() >= sizeof value) std::memcpy(&value, found->data(), sizeof value);
    return value;
  }
};

struct _cl_context : haltere::Object<3> {
  std::vector<cl_device_id> devices;
  std::vector<cl_context_properties> properties;
  std::unique_ptr<haltere::Session> session;
  std::atomic<std::uint64_t> minted{0};  // virtual handles
  std::atomic<std::uint64_t> promised{0};  // bytes of buffers that live

  std::mutex graph;  // events that are not issued, and what waits for them
  std::condition_variable changed;
  std::list<haltere::Held> held;
  std::shared_ptr<haltere::Watch> watch;
  std::vector<std::pair<void(CL_CALLBACK*)(cl_context, void*), void*>> destructors;

  _cl_context();
  ~_cl_context();
  std::uint64_t mint() { return minted.fetch_add(1) + 1; }
  // Before any lock: in a child its parent's may be held by a thread that it has not got.
  void check_own() const { haltere::check(!session->foreign(), CL_DEVICE_NOT_AVAILABLE); }
  // Puts a record that nobody waits for; a lost session loses it too. Its number; none: as if it were
  // never done.
  template <class Record>
  haltere::Number drop(const Record& record) noexcept {
    if (session->foreign()) return UINT64_MAX;
    try {
      const std::lock_guard lock(session->order());
      return session->put(record);
    } catch (...) {
      return UINT64_MAX;
    }
  }
};

struct _cl_command_queue : haltere::Object<4> {
  haltere::Ref<_cl_context> context;
  cl_device_id device = nullptr;
  cl_command_queue_properties properties = 0;
  std::vector<cl_queue_properties> given;  // as created, with its zero; empty: by the old call
  cl_uint size = 0;
  std::atomic<haltere::Number> last{0};
  std::atomic<haltere::Number> timed{0};  // the newest whose times are known
  std::atomic<unsigned> held{0};

  bool in_order() const { return !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE); }
  bool profiling() const { return properties & CL_QUEUE_PROFILING_ENABLE; }
};

struct _cl_mem : haltere::Object<5> {
  haltere::Ref<_cl_context> context;
  haltere::Ref<_cl_mem> parent;  // of a sub-buffer or an image over a buffer
  cl_mem_object_type type = CL_MEM_OBJECT_BUFFER;
  cl_mem_flags flags = 0;
  std::size_t size = 0;
  std::size_t origin = 0;  // in the parent
  haltere::Promise promise;  // of a buffer
  void* host_ptr = nullptr;  // with CL_MEM_USE_HOST_PTR
  std::uint8_t* shared = nullptr;         // its bytes in the heap, if they are there; see direct.hpp
  std::atomic<haltere::Number> used{0};   // the newest record that names it, but for launches,
  std::atomic<bool> given{false};         // which may be given it, and
  std::atomic<bool> aliased{false};       // what names an image over it
  std::uint64_t handle = 0;
  std::vector<cl_mem_properties> properties;
  cl_image_format format{};
  cl_image_desc desc{};
  std::size_t pixel_bytes = 0;

  std::mutex maps_lock;
  std::vector<haltere::MapRecord> maps;
  void* shadow = nullptr;  // host memory behind maps, as large as the buffer
  std::vector<std::pair<void(CL_CALLBACK*)(cl_mem, void*), void*>> destructors;

  ~_cl_mem();
  bool is_image() const { return type != CL_MEM_OBJECT_BUFFER; }
  bool is_sub_buffer() const { return parent && !is_image(); }
  cl_mem root() { return is_sub_buffer() ? parent.get() : this; }
};

struct _cl_sampler : haltere::Object<6> {
  haltere::Ref<_cl_context> context;
  cl_bool normalized = CL_TRUE;
  cl_addressing_mode addressing = CL_ADDRESS_CLAMP;
  cl_filter_mode filter = CL_FILTER_NEAREST;
  std::vector<cl_sampler_properties> properties;
  std::uint64_t handle = 0;
  ~_cl_sampler();
};

struct _cl_program : haltere::Object<7> {
  haltere::Ref<_cl_context> context;
  std::string format;   // of records.Load
  std::string payload;  // source, or bytes
  std::optional<std::string> stored_options;  // of a binary of ours
  bool from_source = false;

  std::mutex lock;  // of all below
  cl_build_status status = CL_BUILD_NONE;
  cl_program_binary_type binary_type = CL_PROGRAM_BINARY_TYPE_NONE;
  std::string options, log;
  std::shared_ptr<haltere::Built> built;
  std::string units;  // compiled, or of a library: see units.hpp
  std::atomic<unsigned> kernels{0};  // attached
};

struct _cl_kernel : haltere::Object<8> {
  haltere::Ref<_cl_program> program;
  std::shared_ptr<haltere::Built> built;
  const haltere::Entry* entry = nullptr;
  std::vector<haltere::ArgValue> args;
  std::size_t missing = 0;  // arguments not set
  std::string prefix;       // of the launch record: all that does not change between launches; empty: to be made
  ~_cl_kernel();
};

struct _cl_event : haltere::Object<9> {
  static constexpr cl_int kOpen = 1;
  haltere::Ref<_cl_context> context;
  haltere::Ref<_cl_command_queue> queue;
  cl_command_type type = 0;
  bool user = false, timed = false;
  bool complete_for_host = false;  // a blocking call made it: who asks must find it complete
  std::atomic<haltere::Number> first{0}, last{0};  // its records; 0: not issued
  haltere::Number behind = 0;                      // of a place in the order: the timed command before it
  std::atomic<cl_int> settled{kOpen};              // else its final status, 0 or negative
  struct Callback {
    cl_int status;
    void(CL_CALLBACK* notify)(cl_event, cl_int, void*);
    void* data;
  };
  std::vector<Callback> callbacks;  // until it is issued or settled
  std::vector<std::pair<haltere::Number, haltere::Number>> after;  // records that it waits for, not known to be done
  std::optional<haltere::Clock> clock;  // asked for once: another server would not know its parts

  // Nothing has to be held in the client for it any more.
  bool resolved() const { return settled.load(std::memory_order_acquire) != kOpen || last.load(std::memory_order_acquire); }
  cl_int status();
  bool has_failed();  // as far as is known
};
