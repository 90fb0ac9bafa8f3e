// How a program and a server meet: the files of proxy/paths.py, liveness.py and rendezvous.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../segment.hpp"
#include "heap.hpp"

namespace haltere {

std::string proxy_root();                                    // HALTERE_PROXY_ROOT, or the user's
std::string server_home(const std::string& root, const std::string& server);
// A server serves there, or another will: its keeper lives.
bool is_kept(const std::string& home);
bool holder_lives(const std::string& lock_path);             // somebody holds the lock
std::vector<std::string> living_servers(const std::string& root);  // their names, sorted
std::string read_file(const std::string& path);              // empty if there is none

// Where the job of HALTERE_SESSION is now, if it was moved; else `server`. See proxy/whereabouts.py.
std::string whereabouts(const std::string& root, const std::string& server);

// `name`, or the first of name.2, name.3, ... that no living process has a session of.
std::string free_name(const std::string& root, const std::string& name);

// A new session file where the server looks, mapped. Throws Failure.
struct PutDown {
  Segment segment;
  std::size_t mapped_bytes;
};
PutDown put_down(const std::string& root, const std::string& server, const std::string& name, bool durable, const Heap* heap);

std::string random_word();  // hexadecimal
unsigned process_generation();  // differs in a forked child

}  // namespace haltere
