// A thread's place in its block and grid, barriers, and shared memory. The driver plays the threads
// (native/threads.cpp).
#pragma once
#include <cstddef>

struct dim3 { unsigned x, y, z; };
static const int warpSize = 32;

extern "C" {
// const for kernels, and so not watched
extern const dim3 emulator_threadIdx, emulator_blockIdx, emulator_blockDim, emulator_gridDim;
extern char emulator_dynamic_shared[];
void emulator_wait_for_block();
void emulator_wait_for_warp(unsigned lanes);
}
#define threadIdx emulator_threadIdx
#define blockIdx emulator_blockIdx
#define blockDim emulator_blockDim
#define gridDim emulator_gridDim

inline void __syncthreads() { emulator_wait_for_block(); }
inline void __syncwarp(unsigned lanes = 0xffffffff) { emulator_wait_for_warp(lanes); }
inline void __threadfence() {}
inline void __threadfence_block() {}

// Shared variables stand in a section of their own, whose bounds the linker gives. Variables
// "extern __shared__ T name[]" become pointers to emulator_dynamic_shared (python/compiler.py).
#define __shared__ static __attribute__((section("emulated_shared")))
extern "C" char __start_emulated_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_emulated_shared[] __attribute__((weak, visibility("hidden")));
extern "C" __attribute__((no_sanitize("thread")))
void emulated_shared_memory(char** start, size_t* size) {
  *start = __start_emulated_shared;
  *size = __stop_emulated_shared - __start_emulated_shared;
}
