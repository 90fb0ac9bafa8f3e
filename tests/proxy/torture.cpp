// The engine's ring, codec and commands under a sanitizer, against a real OpenCL driver.
//
//   torture DRIVER.so garbage SEED ROUNDS    a worker that writes anything: records that are well formed
//                                            with wild numbers, damaged ones, wild header words, and
//                                            in every second session a heap with a wild table
//   torture DRIVER.so threads SEED RECORDS   an honest worker in a thread of its own, while the engine
//                                            takes: every byte must arrive, in order
//   torture DRIVER.so trips SEED TRIPS       two honest workers that sleep until each few commands are done, as
//                                            the device's own thread tells it, which does most of them
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "proxy/native/engine/serve.hpp"

using namespace haltere;

namespace {

constexpr std::size_t kRing = 16384, kArena = 65536, kHeap = kHeapFirst + (1 << 18);

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "torture: %s\n", what);
  std::exit(1);
}

void expect(bool holds, const char* what) {
  if (!holds) fail(what);
}

void* first_device(const char* driver) {
  void* library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(dlerror());
  using Find = void* (*)(const char*);
  using Platforms = cl_int (*)(cl_uint, cl_platform_id*, cl_uint*);
  const auto find = reinterpret_cast<Find>(dlsym(library, "clGetExtensionFunctionAddress"));
  expect(find != nullptr, "the driver has no clGetExtensionFunctionAddress");
  const auto platforms = reinterpret_cast<Platforms>(find("clIcdGetPlatformIDsKHR"));
  expect(platforms != nullptr, "the driver has no clIcdGetPlatformIDsKHR");
  cl_platform_id platform = nullptr;
  expect(platforms(1, &platform, nullptr) == CL_SUCCESS, "no platform");
  cl_device_id device = nullptr;
  const auto* cl = *reinterpret_cast<const cl_icd_dispatch* const*>(platform);
  expect(cl->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, nullptr) == CL_SUCCESS, "no device");
  return device;
}

// A session in memory of this process, and the worker's end of its ring.
struct Session {
  explicit Session(Engine& engine) {
    memory = static_cast<std::uint8_t*>(std::aligned_alloc(4096, kRingAt + kRing + kArena));
    std::memset(memory, 0, kRingAt + kRing + kArena);
    segment = Segment(memory, kRing, kArena);
    words.weight = 1;
    words.limit_bytes = UINT64_MAX;
    tenant = std::make_unique<Tenant>(engine.device, "torture", segment, &words);
  }
  ~Session() {
    expect(tenant->drain(60'000'000'000), "the device did not finish");
    tenant.reset();
    std::free(memory);
    std::free(heap);
  }
  void share() {
    heap = static_cast<std::uint8_t*>(std::aligned_alloc(4096, kHeap));
    std::memset(heap, 0, kHeap);
    tenant->objects.heap = SharedHeap(heap, kHeap);
  }
  void put(const std::uint8_t* data, std::size_t nbytes) {
    const std::size_t at = head % kRing, first = std::min(nbytes, kRing - at);
    std::memcpy(segment.ring() + at, data, first);
    std::memcpy(segment.ring(), data + first, nbytes - first);
    head += nbytes;
    segment.set(Line::HEAD, head);
  }

  std::uint8_t* memory;
  std::uint8_t* heap = nullptr;
  Segment segment;
  Words words{};
  std::unique_ptr<Tenant> tenant;
  u64 head = 0;
};

class Wild {
 public:
  explicit Wild(unsigned seed) : random_(seed) {}
  u64 below(u64 limit) { return random_() % limit; }
  // Small numbers and the ends of their ranges more often than others.
  u64 number() {
    static constexpr u64 kEnds[] = {0, 1, 2, 127, 128, 255, 256, 4095, 65536, u64{1} << 31, u64{1} << 32,
                                    u64{1} << 62, u64{1} << 63, UINT64_MAX - 7, UINT64_MAX};
    switch (below(4)) {
      case 0: return kEnds[below(std::size(kEnds))];
      case 1: return random_();
      default: return below(9);
    }
  }
  std::string bytes(u64 most) {
    std::string found(below(most + 1), '\0');
    for (char& byte : found) byte = static_cast<char>(random_());
    return found;
  }
  // Any record of the table, with wild fields.
  std::string record(u64 number) {
    std::string out;
    const auto operation = static_cast<std::uint16_t>(1 + below(23));
    std::string text = below(2) ? "k" : bytes(40), args;
    u64 count = below(4);
    for (u64 i = 0; i < count; ++i) {
      Arg arg;
      arg.kind = static_cast<Arg::Kind>(1 + below(4));
      arg.handle = this->number();
      arg.offset = this->number();
      arg.scalar = Bytes(std::string_view(text));
      arg.append_to(args);
    }
    const auto field = [&](auto& value) {
      using Field = std::decay_t<decltype(value)>;
      if constexpr (std::is_same_v<Field, u64>) value = this->number();
      if constexpr (std::is_same_v<Field, Bytes>) value = Bytes(std::string_view(text));
      if constexpr (std::is_same_v<Field, Args>) value = Args{count, Bytes(std::string_view(args))};
      if constexpr (std::is_same_v<Field, Sizes>) {
        value.count = below(4);
        for (u64 i = 0; i < value.count; ++i) value.value[i] = below(3) ? 1 + below(8) : this->number();
      }
    };
    // An empty record of each kind lends its fields.
    const auto build = [&]<class Record>(Record made) {
      if (Record::operation != operation) return;
      Record::fields(made, field);
      if (below(64)) soften(made);
      encode(out, number, made);
    };
    build(Alloc{}), build(Free{}), build(Unload{}), build(Write{}), build(WriteInline{}), build(Read{});
    build(Copy{}), build(Launch{}), build(Signal{}), build(Fill{}), build(CopyRect{}), build(WriteRect{});
    build(ReadRect{}), build(CreateImage{}), build(WriteImage{}), build(ReadImage{}), build(CopyImage{});
    build(CopyImageToBuffer{}), build(CopyBufferToImage{}), build(FillImage{}), build(CreateSampler{});
    build(DropSampler{}), build(Timed{});
    return out;
  }

 private:
  // What else ends the session: handles that do not rise, ranges outside the arena.
  template <class Record>
  void soften(Record& made) {
    if constexpr (requires { made.arena; }) made.arena %= kArena / 2;
    if constexpr (requires { made.arena; made.nbytes; }) made.nbytes %= kArena / 2;
    if constexpr (requires { made.arena; made.row; }) made.width %= 64, made.height %= 16, made.depth %= 8;
    if constexpr (Record::operation == Alloc::operation) made.buffer = ++handle_, made.nbytes = 1 + made.nbytes % 70000;
    if constexpr (Record::operation == CreateSampler::operation) made.sampler = ++handle_;
    if constexpr (Record::operation == Signal::operation) made.seq = ++seq_;
    if constexpr (Record::operation == CreateImage::operation) {
      made.image = ++handle_;
      made.order = 0x10B5, made.type = 0x10DA, made.kind = 0x10F0 + made.kind % 8, made.buffer = below(3);
      if (below(2)) made.width = 1 + below(9), made.height = 1 + below(9), made.depth = 1 + below(3), made.row = made.slice = 0;
    }
    if constexpr (requires { made.program; }) made.program = 1;
  }

  std::mt19937_64 random_;
  u64 handle_ = 0, seq_ = 0;
};

constexpr char kSource[] =
    "kernel void k(global uchar *a) { a[0] += 1; }"
    "kernel void image(read_only image2d_t i, sampler_t s, global uint *o, local int *l, int4 v) {"
    "  o[0] = read_imageui(i, s, (int2)(0, 0)).x; }";

int garbage(Engine& engine, unsigned seed, int rounds) {
  u64 ended = 0, taken = 0;
  for (int round = 0; round < rounds; ++round) {
    Wild wild(seed + static_cast<unsigned>(round));
    Session session(engine);
    session.words.limit_bytes = 64 << 20;
    if (round % 2) session.share();
    session.tenant->objects.build("opencl-c", Bytes(std::string_view(kSource)), "");
    session.tenant->objects.adopt(1);
    u64 number = 0;
    for (int i = 0; i < 200; ++i) {
      std::string record = wild.record(++number);
      // both ways: what is decoded encodes to the same bytes
      expect(visit_record(Bytes(std::string_view(record)), [&](u64 n, const auto& found) {
               std::string again;
               encode(again, n, found);
               expect(again == record, "a record changed");
             }), "a well formed record was refused");
      if (record.size() > kRing / 2) { --number; continue; }
      if (session.heap) {  // most buffers lie at the end of what there is, or beyond it
        const u64 handle = wild.below(64);
        const u64 near = kHeap - wild.below(2) * kHeapAlign * wild.below(300);
        place_of(session.heap, handle) = {handle, wild.below(8) ? near : wild.number(), wild.number(), wild.number()};
      }
      if (wild.below(50) == 0) record[wild.below(record.size())] ^= static_cast<char>(1 + wild.below(255));
      if (wild.below(200) == 0) session.segment.set(static_cast<Line>(wild.below(30)), wild.number());
      session.put(reinterpret_cast<const std::uint8_t*>(record.data()), record.size());
      const Turn turn = session.tenant->turn(64, kMaxWindow);
      if (turn < Turn::kIdle) { ++ended; break; }
      if (session.head - session.words.tail > kRing / 2 && !session.tenant->drain(60'000'000'000)) fail("stuck");
    }
    taken += session.words.issued;
  }
  std::printf("%llu records taken, %llu of %d sessions ended\n", llu(taken), llu(ended), rounds);
  expect(taken > 0, "nothing was taken");
  return 0;
}

int threads(Engine& engine, unsigned seed, u64 records) {
  Session session(engine);
  constexpr u64 kBytes = 4096;
  std::string alloc;
  encode(alloc, 1, Alloc{1, kBytes, 15});
  session.put(reinterpret_cast<const std::uint8_t*>(alloc.data()), alloc.size());
  std::string model(kBytes, '\0');
  std::thread worker([&] {
    Wild wild(seed);
    std::string record;
    for (u64 number = 2; number < 2 + records; ++number) {
      const std::string data = wild.bytes(200);
      const u64 offset = wild.below(kBytes - 200);
      model.replace(offset, data.size(), data);
      encode(record, number, WriteInline{1, offset, Bytes(std::string_view(data))});
      while (session.head + record.size() > session.segment.get(Line::TAIL) + kRing) std::this_thread::yield();
      session.put(reinterpret_cast<const std::uint8_t*>(record.data()), record.size());
      bump(session.segment.bell(Line::BELL));
      if (session.segment.get(Line::SERVER_ASLEEP)) wake(bell_address(session.segment, Line::BELL));
    }
    while (session.segment.get(Line::RETIRED) < records + 1) std::this_thread::yield();
  });
  Tenant* tenants[] = {session.tenant.get()};
  const std::uint32_t page = 0;
  while (session.segment.get(Line::RETIRED) < records + 1) {
    const Why why = serve(engine, tenants, 1, &page, 0, 5'000'000);
    expect(why != Why::kPython, session.tenant->violation.c_str());
  }
  worker.join();
  std::string found(kBytes, '\0');
  session.tenant->objects.transfer(1, 0, kBytes, reinterpret_cast<std::uint8_t*>(found.data()), false);
  expect(found == model, "bytes were lost");
  std::printf("%llu records\n", llu(records));
  return 0;
}

struct Traveller {
  Traveller(Engine& engine, unsigned given, u64 trips) : session(engine), seed(given), count(trips) {
    session.tenant->objects.build("opencl-c", Bytes(std::string_view(kSource)), "");
    session.tenant->objects.adopt(1);
  }

  void put(const auto& made) {
    encode(record, ++number, made);
    session.put(reinterpret_cast<const std::uint8_t*>(record.data()), record.size());
    bump(session.segment.bell(Line::BELL));
    if (session.segment.get(Line::SERVER_ASLEEP)) wake(bell_address(session.segment, Line::BELL));
  }

  void travel() {
    Wild wild(seed);
    do data = wild.bytes(64);
    while (data.empty());
    std::string args;
    Arg buffer;
    buffer.kind = Arg::kBuffer, buffer.handle = 1;
    buffer.append_to(args);
    Launch launch{};
    launch.program = 1, launch.entry = Bytes(std::string_view("k")), launch.args = {1, Bytes(std::string_view(args))};
    launch.global_size.count = 1, launch.global_size.value[0] = 1;
    put(Alloc{1, 4096, 15});
    for (u64 seq = 1; seq <= count; ++seq) {
      for (u64 few = wild.below(4); few; --few) put(WriteInline{1, 0, Bytes(std::string_view(data))});
      for (u64 few = wild.below(3); few; --few) put(launch);
      if (wild.below(16) == 0) {  // what the device's own thread leaves to the loop
        if (wild.below(2)) put(Timed{});
        put(Fill{1, 64, 64, Bytes(std::string_view("abcd"))});
      }
      put(WriteInline{1, 0, Bytes(std::string_view(data))});
      put(launch);
      if (wild.below(64) == 0) std::this_thread::sleep_for(std::chrono::microseconds(wild.below(3000)));
      put(Signal{seq});
      session.segment.set(Line::WANTED, seq);
      session.segment.set(Line::CLIENT_ASLEEP, static_cast<u64>(Asleep::FOR_SEQ));
      std::atomic_thread_fence(std::memory_order_seq_cst);
      while (true) {
        const std::uint32_t seen = session.segment.bell(Line::EVENT).load(std::memory_order_acquire);
        if (session.segment.get(Line::COMPLETED) >= seq) break;
        if (session.segment.get(Line::SERVER_ASLEEP) == static_cast<u64>(Rest::DOZING))
          wake(bell_address(session.segment, Line::BELL));
        const std::int64_t begun = now_ns();
        sleep_on(bell_address(session.segment, Line::EVENT), seen, 60'000'000'000);
        expect(now_ns() - begun < 30'000'000'000, "a worker was not woken");
      }
      session.segment.set(Line::CLIENT_ASLEEP, static_cast<u64>(Asleep::NO));
    }
    over = true;
  }

  Session session;
  unsigned seed;
  u64 count, number = 0;
  std::string data{};  // what it writes, at last followed by one launch
  std::string record;
  std::atomic<bool> over{false};
};

int trips(Engine& engine, unsigned seed, u64 count) {
  engine.slicer = Slicer(1'000'000);
  Traveller first(engine, seed, count), second(engine, seed + 1, count / 4);
  std::thread workers[] = {std::thread(&Traveller::travel, &first), std::thread(&Traveller::travel, &second)};
  Tenant* tenants[] = {first.session.tenant.get(), second.session.tenant.get()};
  const std::uint32_t page = 0;
  u64 turns = 0;
  for (Wild wild(seed); !first.over || !second.over;) {
    const auto limit_ns = static_cast<std::int64_t>(wild.below(20'000'000));
    expect(serve(engine, tenants, 2, &page, 0, limit_ns) != Why::kPython, "a session ended");
    if (++turns % 4 == 0) tenants[turns / 4 % 2]->drain(60'000'000'000);  // as before a snapshot: nobody stays in between
  }
  for (std::thread& worker : workers) worker.join();
  for (Traveller* done : {&first, &second}) {
    expect(done->session.words.completed == done->count && done->session.words.retired == done->number, "something is not done");
    std::uint8_t byte;
    done->session.tenant->objects.transfer(1, 0, 1, &byte, false);
    expect(byte == static_cast<std::uint8_t>(done->data[0] + 1), "something was done twice, or not");
  }
  std::printf("%llu records in %llu trips\n", llu(first.number + second.number), llu(first.count + second.count));
  return 0;
}

}  // namespace

int main(int count, char** given) {
  if (count != 5) fail("usage: torture DRIVER.so garbage|threads|trips SEED COUNT");
  Engine engine{Device::open(first_device(given[1]), u64{1} << 30, u64{1} << 28)};
  const auto seed = static_cast<unsigned>(std::atoi(given[3]));
  if (std::string_view(given[2]) == "threads") return threads(engine, seed, std::strtoull(given[4], nullptr, 10));
  if (std::string_view(given[2]) == "trips") return trips(engine, seed, std::strtoull(given[4], nullptr, 10));
  return garbage(engine, seed, std::atoi(given[4]));
}
