// The shared memory of the block that runs: its contents are undefined at the start of each, here
// 0xFF, which is NaN or -1.
#pragma once
#include "launch.h"

const size_t MOST_SHARED = 48 << 10;  // bytes, of a kernel that has not asked for more

void begin_block_of_shared_memory(const Launch& launch);

// Notes a fault where the block wrote behind its dynamic shared memory.
void check_end_of_shared_memory(Launch& launch);
