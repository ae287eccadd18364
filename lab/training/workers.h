// Threads that each run a whole LibTorch computation: forward and backward of one share of a batch. LibTorch
// and BLAS stay single-threaded inside, because at the widths of small models their own threads cost more
// than they bring.
#pragma once

#include <cstdint>
#include <functional>

namespace laconic::lab {

// Makes LibTorch and OpenBLAS single-threaded and keeps freed memory in the process (fresh pages for every
// activation would take a fifth of the time). Call before any LibTorch work; later calls change nothing.
void prepare_libtorch();

// Runs body(0) ... body(count - 1) at the same time, each on a thread of its own, and rethrows the first
// exception.
void run_together(int count, const std::function<void(int)>& body);

// One worker per share: `requested`, or one per core when it is 0.
int worker_count(int requested);

}  // namespace laconic::lab
