// Which core a thread runs on.
#pragma once

namespace laconic {

// Keeps the calling thread on one core, numbered from 0 modulo their number. False where that is not granted.
bool pin_thread(int core);

}  // namespace laconic
