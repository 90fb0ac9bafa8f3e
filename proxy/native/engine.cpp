// The server's native half, as C functions for ctypes: see proxy/engine.py, which calls them. Functions
// that can fail return false (or null) and leave the failure for haltere_failure_*.
#include <new>

#include "digest.hpp"
#include "engine/commands.hpp"
#include "engine/serve.hpp"

using namespace haltere;

namespace {

thread_local Refused g_failure;     // of this thread's last call
thread_local std::string g_result;  // bytes of this thread's last call that gives some

template <class Do>
auto guarded(Do&& act) -> decltype(act()) {
  try {
    return act();
  } catch (const Refused& error) {
    g_failure = error;
  } catch (const Violation& error) {
    g_failure = {"remote_protocol_error", error.message, 0};
  } catch (const NoRoom& error) {
    g_failure = {"out_of_memory", text("%llu bytes: no room on the device now", llu(error.nbytes)),
                 CL_MEM_OBJECT_ALLOCATION_FAILURE};
  } catch (const std::exception& error) {
    g_failure = {"device_fault", text("the engine failed: %s", error.what()), 0};
  }
  return {};
}

// One live object, as Python lists them. The same fields stand in proxy/engine.py.
struct Live {
  u64 handle;
  u64 kind;  // 1 buffer, 2 image, 3 program, 4 sampler
  u64 nbytes;
  u64 values[12];  // of an image or sampler: the fields of the record that made it; of a buffer: usage
};

template <class Record>
void fields_into(const Record& record, u64* values) {
  Record::fields(record, [&values](u64 value) { *values++ = value; });
}

}  // namespace

#define API extern "C" __attribute__((visibility("default")))

API u64 haltere_engine_version() { return kVersion; }
API u64 haltere_words_bytes() { return sizeof(Words); }
API const char* haltere_failure_code() { return g_failure.code.c_str(); }
API const char* haltere_failure_message() { return g_failure.message.c_str(); }
API int haltere_failure_native() { return g_failure.native; }
API const void* haltere_result() { return g_result.data(); }
API u64 haltere_result_bytes() { return g_result.size(); }

// ---- the device

// Whether buffers may lie in memory that programs share.
API bool haltere_engine_shares(Engine* engine) { return shares_memory(engine->device); }

API Engine* haltere_engine_open(void* device, u64 memory_bytes, u64 max_buffer_bytes) {
  return guarded([&] { return new Engine{Device::open(device, memory_bytes, max_buffer_bytes)}; });
}

API void haltere_engine_close(Engine* engine) { delete engine; }

// `there`: bytes of all sessions on the device; `there_or_out`: also those swapped out. Each at most.
API void haltere_engine_share(Engine* engine, u64 there, u64 there_or_out) {
  engine->device.memory_bytes = there;
  engine->device.promised_bytes = there_or_out;
}

API u64 haltere_engine_used(Engine* engine) { return engine->device.used_bytes; }

// `quantum_us`: see slicer.hpp; `watchdog_us`: 0: none.
API void haltere_engine_set(Engine* engine, u64 quantum_us, u64 watchdog_us) {
  engine->slicer = Slicer(static_cast<std::int64_t>(quantum_us) * 1000);
  engine->watchdog_ns = static_cast<std::int64_t>(watchdog_us) * 1000;
}

// From now on what kernels print is their sessions'. This process's standard output is nobody else's.
API bool haltere_engine_capture(Engine* engine) {
  engine->device.printing.capture();
  return engine->device.printing.on();
}

API u64 haltere_engine_switches(Engine* engine) { return engine->slicer.switches; }

API bool haltere_engine_values(Engine* engine) {
  return guarded([&] {
    g_result = engine->device.values();
    return true;
  });
}

API int haltere_serve(Engine* engine, Tenant* const* tenants, u64 count, const std::uint32_t* page_bell,
                      std::uint32_t page_seen, u64 limit_us) {
  return static_cast<int>(serve(*engine, tenants, count, page_bell, page_seen, static_cast<std::int64_t>(limit_us) * 1000));
}

// ---- sessions

API Tenant* haltere_tenant_open(Engine* engine, const char* name, std::uint8_t* base, u64 ring_bytes, u64 arena_bytes,
                                Words* words) {
  return guarded([&] {
    auto* tenant = new Tenant(engine->device, name, Segment(base, ring_bytes, arena_bytes), words);
    tenant->objects.limit_bytes = words->limit_bytes;
    return tenant;
  });
}

// False: the device is not done with it, and it is abandoned: its memory, and the session's mapping,
// must stay. Try again later.
API bool haltere_tenant_close(Tenant* tenant, u64 timeout_us) {
  if (!tenant->drain(static_cast<std::int64_t>(timeout_us) * 1000)) {
    if (!tenant->abandoned) tenant->abandon();
    return false;
  }
  if (tenant->abandoned) --tenant->objects.device.abandoned;
  delete tenant;
  return true;
}

API void haltere_tenant_begin(Tenant* tenant) { tenant->begin(); }

// `log`: the mapped half of a redo log's file, or null for none; `nbytes` of entries; `offset` of it in the file.
API void haltere_tenant_keep(Tenant* tenant, std::uint8_t* log, u64 nbytes, int fd, u64 offset) {
  tenant->keep(RedoLog(log, nbytes, fd, offset));
}

// `base`: the session's heap, mapped until the tenant is closed. Before it makes a buffer.
API void haltere_tenant_heap(Tenant* tenant, std::uint8_t* base, u64 nbytes) { tenant->objects.heap = SharedHeap(base, nbytes); }

API void haltere_tenant_rebind(Tenant* tenant, std::uint8_t* base) {
  tenant->rebind(Segment(base, tenant->segment.ring_bytes(), tenant->segment.arena_bytes()));
}

// Takes at most `limit` records, lands what is done, publishes, and says what ended the session if something did.
API int haltere_tenant_turn(Tenant* tenant, u64 limit) {
  const Turn turn = tenant->turn(limit, kMaxWindow);
  if (turn == Turn::kViolation) g_failure = {"remote_protocol_error", tenant->violation, 0};
  return static_cast<int>(turn);
}

// The name of the kernel that the oldest flight launched last; empty if it launched none.
API const char* haltere_tenant_kernel(Tenant* tenant) {
  return tenant->flights.empty() ? "" : tenant->flights.front().entry.c_str();
}

API bool haltere_tenant_error(Tenant* tenant) {
  if (tenant->error) g_failure = *tenant->error;
  return tenant->error.has_value();
}

API bool haltere_tenant_fault(Tenant* tenant) {
  if (tenant->fault_of) g_failure = *tenant->fault_of;
  return tenant->fault_of.has_value();
}

API void haltere_tenant_set_error(Tenant* tenant, const char* code, const char* message, int native) {
  tenant->error = Refused{code, message, native};
  tenant->words->has_error = 1;
}

API bool haltere_tenant_push(Tenant* tenant, const void* record, u64 nbytes, const void* payload, u64 payload_bytes) {
  return guarded([&] {
    tenant->push({record, nbytes}, {payload, payload_bytes});
    return true;
  });
}

API bool haltere_tenant_clock(Tenant* tenant, u64 command, Clock* clock) {
  *clock = tenant->clock_of(command);
  return true;
}

API bool haltere_tenant_clocks(Tenant* tenant) {
  return guarded([&] {
    g_result = tenant->clocks();
    return true;
  });
}

API void haltere_tenant_know(Tenant* tenant, const void* clocks, u64 nbytes) { tenant->know({clocks, nbytes}); }

// What kernels of launches after `after`, up to `upto`, printed.
API bool haltere_tenant_printed(Tenant* tenant, u64 after, u64 upto) {
  return guarded([&] {
    g_result = tenant->prints.between(after, upto);
    return true;
  });
}

API bool haltere_tenant_prints(Tenant* tenant) {
  return guarded([&] {
    g_result = tenant->prints.pack();
    return true;
  });
}

API void haltere_tenant_know_prints(Tenant* tenant, const void* prints, u64 nbytes) {
  tenant->prints.unpack(Bytes{prints, nbytes}.text());
}

// ---- what a session holds

// In any thread: see Objects::build.
API bool haltere_build(Tenant* tenant, const char* format, const void* payload, u64 nbytes, const char* options) {
  return guarded([&] {
    tenant->objects.build(format, {payload, nbytes}, options);
    return true;
  });
}

API bool haltere_adopt(Tenant* tenant, u64 program) {
  return guarded([&] {
    tenant->objects.adopt(program);
    return true;
  });
}

API bool haltere_kernels(Tenant* tenant, u64 program) {
  return guarded([&] {
    g_result = tenant->objects.describe(program);
    return true;
  });
}

API bool haltere_build_log(Tenant* tenant, u64 program) {
  return guarded([&] {
    g_result = tenant->objects.build_log(program);
    return true;
  });
}

API bool haltere_alloc(Tenant* tenant, u64 buffer, u64 nbytes, u64 usage_flags) {
  return guarded([&] {
    tenant->objects.alloc({buffer, nbytes, usage_flags});
    return true;
  });
}

// `values`: the fields of the CreateImage or CreateSampler record.
API bool haltere_create_image(Tenant* tenant, const u64* values) {
  return guarded([&] {
    CreateImage record;
    CreateImage::fields(record, [&values](u64& value) { value = *values++; });
    tenant->objects.create_image(record);
    return true;
  });
}

API bool haltere_create_sampler(Tenant* tenant, const u64* values) {
  return guarded([&] {
    CreateSampler record;
    CreateSampler::fields(record, [&values](u64& value) { value = *values++; });
    tenant->objects.create_sampler(record);
    return true;
  });
}

API bool haltere_transfer(Tenant* tenant, u64 handle, u64 offset, u64 nbytes, std::uint8_t* data, int write) {
  return guarded([&] {
    tenant->objects.transfer(handle, offset, nbytes, data, write != 0);
    return true;
  });
}

// 1 if its memory was given back, 0 if it must stay; -1 is a failure. Its bytes were read before.
API int haltere_evict(Tenant* tenant, u64 handle) {
  const int done = guarded([&] { return tenant->objects.evict(handle) ? 2 : 1; }) - 1;
  tenant->words->out_bytes = tenant->objects.out_bytes;
  return done;
}

// Makes what was evicted anew; its bytes are to be written then.
API bool haltere_restore(Tenant* tenant, u64 handle) {
  const bool done = guarded([&] {
    tenant->objects.restore(handle);
    return true;
  });
  tenant->words->out_bytes = tenant->objects.out_bytes;
  return done;
}

// Frees a live object of a kind of `Live`.
API bool haltere_forget(Tenant* tenant, u64 kind, u64 handle) {
  return guarded([&] {
    switch (kind) {
      case 3: tenant->objects.unload(handle); break;
      case 4: tenant->objects.drop_sampler(handle); break;
      default: tenant->objects.free(handle);
    }
    return true;
  });
}

// The count of changes when a buffer or image was last written to, for all that is known; 0: no such.
API u64 haltere_changed(Tenant* tenant, u64 handle) {
  const auto found = tenant->objects.memory.live.find(handle);
  return found == tenant->objects.memory.live.end() ? 0 : found->second.changed;
}

// Counts what the program wrote by itself, of a session that stands still.
API void haltere_count_writes(Tenant* tenant) {
  for (auto& [handle, memory] : tenant->objects.memory.live) {
    if (!memory.place) continue;
    const u64 writes = shared_word(memory.place->writes).load(std::memory_order_acquire);
    if (writes != memory.writes) memory.changed = ++tenant->words->changes;
    memory.writes = writes;
  }
}

// Whether a buffer's memory is the heap's.
API bool haltere_in_heap(Tenant* tenant, u64 handle) {
  const auto found = tenant->objects.memory.live.find(handle);
  return found != tenant->objects.memory.live.end() && found->second.place;
}

// Whether a buffer made now would be.
API bool haltere_finds(Tenant* tenant, u64 handle, u64 nbytes) { return tenant->objects.heap.find(handle, nbytes).has_value(); }

API void haltere_highest(Tenant* tenant, u64* highest, int set) {
  u64* known[3] = {&tenant->objects.memory.highest, &tenant->objects.programs.highest, &tenant->objects.samplers.highest};
  for (int i = 0; i < 3; ++i) (set ? *known[i] : highest[i]) = set ? highest[i] : *known[i];
}

// Live objects into `into`, at most `room`; how many there are.
API u64 haltere_live(Tenant* tenant, Live* into, u64 room) {
  const Objects& held = tenant->objects;
  u64 count = 0;
  const auto add = [&](u64 handle, u64 kind, u64 nbytes, auto&& then) {
    if (count < room) {
      into[count] = {handle, kind, nbytes, {}};
      then(into[count].values);
    }
    ++count;
  };
  for (const auto& [handle, found] : held.memory.live)
    add(handle, found.image ? 2 : 1, found.nbytes, [&, &made = found](u64* values) {
      if (made.image)
        fields_into(made.made, values);
      else
        values[0] = made.usage;
    });
  for (const auto& [handle, found] : held.programs.live) add(handle, 3, 0, [](u64*) {});
  for (const auto& [handle, found] : held.samplers.live)
    add(handle, 4, 0, [&made = found.made](u64* values) { fields_into(made, values); });
  return count;
}

// ---- for tests: as a program computes it; a record decoded and encoded again

API u64 haltere_digest(const std::uint8_t* data, u64 nbytes) { return digest_of(data, nbytes); }

API bool haltere_recode(const void* record, u64 nbytes) {
  return guarded([&] {
    if (!visit_record({record, nbytes}, [](u64 number, const auto& found) { encode(g_result, number, found); }))
      throw Violation{"malformed"};
    return true;
  });
}
