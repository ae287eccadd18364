// What an exchange costs beside the bytes: encoding, transfer and decoding of one step, by method and bucket
// size, on a vector that looks like a gradient.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/progress.h"
#include "methods/gradients/training/exchange_by_name.h"

namespace laconic {

struct ExchangeSpeedOptions {
  std::vector<std::string> exchanges;  // what --exchange takes; empty: every method's default
  std::vector<std::size_t> bucket_bytes = {1'000'000, 25'000'000};
  std::size_t numbers = 4'000'000;  // of the vector
  int workers = 2;                  // threads of this process
  int rounds = 5;                   // medians are taken over
};

struct ExchangeSpeed {
  std::string exchange;
  std::size_t bucket_bytes = 0, buckets = 0;
  std::uint64_t sent_bytes = 0;  // of a step, of worker 0
  double ratio = 0;              // of a ring all-reduce in f32 to it
  // Seconds of a step of worker 0: codec work, everything else, all of it.
  double encode = 0, transfer = 0, decode = 0, total = 0;
  // Of memcpy of the vector by one thread in the same rounds.
  double copy = 0;
};

std::vector<ExchangeSpeed> measure_exchanges(const ExchangeSpeedOptions& options,
                                             const ProgressListener& progress = {});

}  // namespace laconic
