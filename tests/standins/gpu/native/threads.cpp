// The threads of a block, played one at a time: a thread runs until it ends, waits at a barrier, or
// pauses at an access to memory.
//
// A fibre is a stack that threads run on. One fibre runs thread after thread; only where a thread
// has to wait does it keep the fibre, and the next thread gets another. A kernel without barriers
// is thus a plain loop.
#include "launch.h"
#include "memory.h"
#include "now.h"
#include "order.h"
#include "shared.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

struct dim3 { unsigned x, y, z; };
extern "C" {  // what a kernel sees
dim3 emulator_threadIdx, emulator_blockIdx, emulator_blockDim, emulator_gridDim;
}
Stamp now;

namespace {

enum Wait { NOTHING, PAUSE, WARP, BLOCK };
struct Fibre { void* stack_pointer; char* stack; unsigned thread; Wait wait; unsigned lanes; };

const unsigned PAUSES = 32;    // one access in so many lets others go first
std::vector<Fibre*> idle;
Fibre* running;
void* scheduler;               // its stack pointer while a fibre runs
Launch* launch;
const Order* order;            // of the threads that have not started
unsigned started;
uint16_t warp_barriers[32];    // that each warp has passed
alignas(16) char shown[1024][16];  // by each thread to the others of its warp

unsigned threads_of_block() { return emulator_blockDim.x * emulator_blockDim.y * emulator_blockDim.z; }

void set_thread(unsigned t) {
  auto [x, y, z] = emulator_blockDim;
  emulator_threadIdx = {t % x, t / x % y, t / (x * y)};
  now.thread = t;
  now.warp_barriers = warp_barriers[t / 32];
}

// Keeps the registers that a call must keep on this stack, and goes on where the other one was left.
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
  .local emulator_switch
  .type emulator_switch, @function
emulator_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");

void leave(Wait wait, unsigned lanes = 0) {
  running->wait = wait;
  running->lanes = lanes;
  emulator_switch(&running->stack_pointer, scheduler);
}

void run_threads() {
  for (;;) {
    while (started < order->count) {
      running->thread = (*order)[started++];
      set_thread(running->thread);
      launch->call(launch->arguments);
    }
    leave(NOTHING);
  }
}

// Has the fibre begin anew, with an empty stack.
void begin(Fibre* fibre) {
  void** top = (void**)(fibre->stack + STACK_BYTES - 64);
  *--top = nullptr;             // where run_threads would return to: it never does
  *--top = (void*)run_threads;  // where the first switch goes
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fibre->stack_pointer = top;
}

Fibre* any_idle() {
  if (!idle.empty()) {
    Fibre* fibre = idle.back();
    idle.pop_back();
    return fibre;
  }
  Fibre* fibre = new Fibre{};
  fibre->stack = (char*)aligned_alloc(64, STACK_BYTES);
  begin(fibre);
  return fibre;
}

// True if the fibre waits for something now; if not, it is idle.
bool resume(Fibre* fibre) {
  running = fibre;
  set_thread(fibre->thread);
  emulator_switch(&scheduler, fibre->stack_pointer);
  running = nullptr;
  if (fibre->wait == NOTHING) idle.push_back(fibre);
  return fibre->wait != NOTHING;
}

// Takes those that may go on out of the waiting: those that paused, those whose warp has come
// together, else all, if all wait for the whole block.
std::vector<Fibre*> take_released(std::vector<Fibre*>& waiting) {
  uint32_t elsewhere[32] = {};  // for each warp, its lanes that do not wait for the warp
  bool all_wait_for_block = true;
  for (Fibre* f : waiting) {
    if (f->wait != BLOCK) all_wait_for_block = false;
    if (f->wait != WARP) elsewhere[f->thread / 32] |= 1u << f->thread % 32;
  }
  if (all_wait_for_block) {
    now.block_barriers++;
    return std::exchange(waiting, {});
  }
  auto stays = [&](Fibre* f) {
    return f->wait == BLOCK || (f->wait == WARP && f->lanes & elsewhere[f->thread / 32]);
  };
  auto first = std::stable_partition(waiting.begin(), waiting.end(), stays);
  std::vector<Fibre*> free(first, waiting.end());
  waiting.erase(first, waiting.end());
  uint32_t warps = 0;
  for (Fibre* f : free)
    if (f->wait == WARP) warps |= 1u << f->thread / 32;
  for (int warp = 0; warp < 32; warp++) warp_barriers[warp] += warps >> warp & 1;
  return free;
}

void run_block() {
  unsigned count = threads_of_block();
  memset(warp_barriers, 0, sizeof warp_barriers);
  now.block_barriers = 0;
  Order first(count, launch->seed);
  order = &first;
  started = 0;
  std::vector<Fibre*> waiting;
  auto go_on = [&](Fibre* fibre) { if (resume(fibre)) waiting.push_back(fibre); };
  while (started < count && launch->fault.empty()) go_on(any_idle());
  while (!waiting.empty() && launch->fault.empty()) {
    std::vector<Fibre*> free = take_released(waiting);
    if (free.empty()) {
      launch->fault = "never ends: the threads of a warp wait at different barriers";
      break;
    }
    Order now(free.size(), launch->seed);
    for (size_t i = 0; i < free.size(); i++) {
      if (launch->fault.empty()) go_on(free[now[i]]);
      else waiting.push_back(free[now[i]]);
    }
  }
  for (Fibre* fibre : waiting) {  // after a fault
    begin(fibre);
    idle.push_back(fibre);
  }
}

}

void run(Launch& which) {
  static uint32_t launches = 0;
  launch = &which;
  auto [gx, gy, gz] = which.grid;
  emulator_gridDim = {gx, gy, gz};
  emulator_blockDim = {which.block[0], which.block[1], which.block[2]};
  now = {++launches};
  Order blocks((uint64_t)gx * gy * gz, which.seed);
  for (uint64_t i = 0; i < blocks.count && which.fault.empty(); i++) {
    uint64_t block = blocks[i];
    emulator_blockIdx = {unsigned(block % gx), unsigned(block / gx % gy), unsigned(block / gx / gy)};
    now.block = block;
    begin_block_of_shared_memory(which);
    run_block();
    if (which.fault.empty()) check_end_of_shared_memory(which);
  }
}

void end_launch(const std::string& fault) {
  launch->fault = fault;
  leave(BLOCK);
  abort();  // nobody goes on with it
}

void maybe_pause() {
  if (launch->seed && draw(launch->seed) % PAUSES == 0) leave(PAUSE);
}

extern "C" {

void emulator_wait_for_block() { leave(BLOCK); }
void emulator_wait_for_warp(unsigned lanes) { leave(WARP, lanes); }

// Shows a value to the warp, and waits until all `lanes` have.
void emulator_show(unsigned lanes, const void* value, size_t size) {
  memcpy(shown[now.thread], value, size);
  leave(WARP, lanes);
}

void emulator_see(int lane, void* value, size_t size) {
  memcpy(value, shown[now.thread / 32 * 32 + lane], size);
}

}
