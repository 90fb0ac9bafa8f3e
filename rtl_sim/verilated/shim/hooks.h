// What the Verilator runtime calls back: a model's messages go to the log of whoever runs on this
// thread, and what ends a simulation stops it. Included by the one source of a library that has a
// class of its own behind its C ABI (shim.cpp, play.cpp); print.h declares haltere_printf everywhere.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "verilated.h"

namespace haltere {

constexpr std::size_t LOG_BYTES = 4096;  // the first messages explain; the rest repeat

struct Host {
    std::string log;

    virtual void stop() = 0;  // $finish, $stop, a failed assertion or a fatal error

  protected:
    ~Host() = default;
};

thread_local Host* current = nullptr;  // whose code runs on this thread

}  // namespace haltere

extern "C" int haltere_printf(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int written = std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (haltere::current && haltere::current->log.size() < haltere::LOG_BYTES) {
        haltere::current->log += text;
    }
    return written;
}

static void stop_current(const char* what, const char* file, int line) {
    haltere_printf("%s at %s:%d\n", what, file ? file : "", line);
    if (haltere::current) haltere::current->stop();
}

void vl_finish(const char* file, int line, const char*) VL_MT_UNSAFE {
    stop_current("$finish", file, line);
}

void vl_stop(const char* file, int line, const char*) VL_MT_UNSAFE {
    stop_current("$stop or failed assertion", file, line);
}

void vl_fatal(const char* file, int line, const char*, const char* message) VL_MT_UNSAFE {
    stop_current(message, file, line);
    throw std::runtime_error(message);  // the runtime expects no return
}
