// One launch of a kernel, as it runs: blocks one after another, each with its threads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

// A kernel that compiler.py has made: one call is one thread.
typedef void (*ThreadFunction)(void** arguments);

struct Launch {
  ThreadFunction call;
  bool is_cupys;             // a kernel of CuPy's own
  void** arguments;
  unsigned grid[3], block[3];
  unsigned shared_bytes;     // of dynamic shared memory
  char* static_shared;       // the kernel's own shared variables,
  size_t static_bytes;
  uint64_t seed;             // draws the order of blocks and threads; 0 runs them in order
  std::string fault;         // what the kernel did wrong; empty if nothing
};

// Runs it, to its end or its first fault.
void run(Launch& launch);

// Notes a fault of the thread that runs now, which is left where it is, and so is its kernel.
[[noreturn]] void end_launch(const std::string& fault);

// Lets other threads of the block go first, where orders are drawn: now and then.
void maybe_pause();
