// Who is running now, and how its accesses to memory are ordered with those of other threads.
#pragma once
#include <cstdint>

// When an access took place: in which launch, by which thread, after how many barriers.
struct Stamp {
  uint32_t launch, block;
  uint16_t thread, block_barriers, warp_barriers;
  uint16_t atomic;

  bool is_same_thread(const Stamp& other) const {
    return launch == other.launch && block == other.block && thread == other.thread;
  }
};

extern Stamp now;

// Whether an earlier access is before this one in every order that the device may choose. Between
// blocks nothing is; the shared memory of one block is nobody else's.
inline bool is_before(const Stamp& earlier, const Stamp& later, bool in_shared_memory) {
  if (earlier.launch != later.launch) return true;
  if (earlier.block != later.block) return in_shared_memory;
  if (earlier.thread == later.thread) return true;
  if (earlier.block_barriers != later.block_barriers) return true;
  return earlier.thread / 32 == later.thread / 32 && earlier.warp_barriers != later.warp_barriers;
}
