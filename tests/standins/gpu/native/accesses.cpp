// What every access of a checked kernel to memory is asked. g++ puts a call before each (it is told
// to look for races, and finds these functions in place of its own).
//
//   outside     memory that belongs to no array: the host's, or nobody's
//   unwritten   a read of what nobody wrote
//   race        another thread's access to the same place, of which one is a write and not both are
//               atomic, with no barrier between the two: the device may run them in either order
#include "launch.h"
#include "memory.h"
#include "now.h"
#include "shared.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <vector>

// Of each byte: who wrote it last, and two threads that have read it since.
struct Accesses { Stamp writer, reader, other_reader; };

extern "C" {
alignas(64) char emulator_dynamic_shared[MOST_SHARED + FENCE];
}

namespace {

// Memory that belongs together: what is known of its bytes.
struct Region { char* start; size_t size; unsigned char* states; Accesses* accesses; bool shared; };

Region device;
Region dynamic_shared, static_shared;
std::vector<unsigned char> dynamic_states, static_states;
std::vector<Accesses> dynamic_accesses, static_accesses;

enum Kind { READ, WRITE, ATOMIC };
const char* const VERBS[] = {"reads", "writes", "updates"};

std::string thread_name(const Stamp& stamp) {
  return "thread " + std::to_string(stamp.thread) + " of block " + std::to_string(stamp.block);
}

[[noreturn]] void fault(Kind kind, size_t size, const std::string& what) {
  end_launch(thread_name(now) + " " + VERBS[kind] + " " + std::to_string(size) + " bytes " + what);
}

bool contains(const Region& region, const char* place) {
  return place >= region.start && place < region.start + region.size;
}

const Region* region_of(const char* place) {
  for (const Region* region : {&device, &dynamic_shared, &static_shared})
    if (contains(*region, place)) return region;
  return nullptr;
}

// A thread's own: on its stack.
bool is_own(const char* place) {
  const char* here = (const char*)__builtin_frame_address(0);
  return place > here - STACK_BYTES && place < here + STACK_BYTES;
}

// A constant of a kernel, which stands in its library.
bool is_constant(const char* place) {
  Dl_info library;
  return dladdr(place, &library);
}

void check_states(const Region& region, size_t at, size_t size, Kind kind) {
  for (size_t i = at; i < at + size; i++) {
    if (i >= region.size || region.states[i] == NO_MEMORY)
      fault(kind, size, region.shared ? "outside of its shared memory" : "outside of all arrays");
    if (kind != WRITE && region.states[i] == UNWRITTEN)
      fault(kind, size, "that nobody has written");
  }
}

[[noreturn]] void race(const Stamp& earlier, const char* did, size_t size, Kind kind) {
  fault(kind, size, std::string("that ") + thread_name(earlier) + " " + did +
        ", with no barrier between");
}

void check_race(const Region& region, size_t at, size_t size, Kind kind) {
  Accesses& a = region.accesses[at];
  auto unordered = [&](const Stamp& s) { return s.launch && !is_before(s, now, region.shared); };
  Stamp me = now;
  me.atomic = kind == ATOMIC;
  if (unordered(a.writer) && !(a.writer.atomic && me.atomic))
    race(a.writer, kind == READ ? "writes" : "writes too", size, kind);
  if (kind == READ) {
    if (!unordered(a.reader) || a.reader.is_same_thread(me)) a.reader = me;
    else a.other_reader = me;
    return;
  }
  for (const Stamp& reader : {a.reader, a.other_reader})
    if (unordered(reader)) race(reader, "reads", size, kind);
  a.writer = me;
}

void access(const void* pointer, size_t size, Kind kind) {
  const char* place = (const char*)pointer;
  const Region* region = region_of(place);
  if (!region) {
    if (is_own(place) || (kind == READ && is_constant(place))) return;
    fault(kind, size, "outside of all arrays and of its shared memory");
  }
  maybe_pause();
  size_t at = place - region->start;
  check_states(*region, at, size, kind);
  size_t step = size < 4 ? size : 4;  // arrays of one kernel have one grain
  for (size_t i = 0; i < size; i += step) check_race(*region, at + i, size, kind);
  if (kind != READ) memset(region->states + at, WRITTEN, size);
}

// Memory of so many bytes where nothing is written yet, with a fence behind it. CuPy's own scans and
// reductions read padding that they never wrote, nor use: for them all counts as written.
Region fresh(char* start, size_t size, std::vector<unsigned char>& states,
             std::vector<Accesses>& accesses, const Launch& launch) {
  size_t whole = size + FENCE;
  states.resize(std::max(states.size(), whole));
  accesses.resize(std::max(accesses.size(), whole));
  memset(start, 0xFF, size);
  memset(states.data(), launch.is_cupys ? WRITTEN : UNWRITTEN, size);
  memset(states.data() + size, NO_MEMORY, FENCE);
  return {start, whole, states.data(), accesses.data(), true};
}

}

void begin_block_of_shared_memory(const Launch& launch) {
  if (!device.start) {
    DeviceMemory memory = emulator_memory();
    auto accesses = (Accesses*)emulator_reserve(memory.size * sizeof(Accesses));
    device = {memory.start, memory.size, memory.states, accesses, false};
  }
  memset(emulator_dynamic_shared + launch.shared_bytes, 0xFF, FENCE);
  dynamic_shared = fresh(emulator_dynamic_shared, launch.shared_bytes, dynamic_states,
                         dynamic_accesses, launch);
  static_shared = {};
  if (launch.static_bytes)
    static_shared = fresh(launch.static_shared, launch.static_bytes, static_states,
                          static_accesses, launch);
}

void check_end_of_shared_memory(Launch& launch) {
  const char* end = emulator_dynamic_shared + launch.shared_bytes;
  for (size_t i = 0; i < FENCE; i++)
    if ((unsigned char)end[i] != 0xFF)
      launch.fault = "wrote behind its " + std::to_string(launch.shared_bytes) +
                     " bytes of dynamic shared memory";
}

extern "C" {

void emulator_atomic(void* place, size_t size) { access(place, size, ATOMIC); }

#define ACCESSES(size)                                                                 \
  void __tsan_read##size(void* place) { access(place, size, READ); }                   \
  void __tsan_write##size(void* place) { access(place, size, WRITE); }                 \
  void __tsan_unaligned_read##size(void* place) { access(place, size, READ); }         \
  void __tsan_unaligned_write##size(void* place) { access(place, size, WRITE); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
void __tsan_read_range(void* place, size_t size) { access(place, size, READ); }
void __tsan_write_range(void* place, size_t size) { access(place, size, WRITE); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_init() {}

}
