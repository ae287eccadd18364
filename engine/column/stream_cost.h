// What parts of streams will cost after a byte coder that sees all of a stream, estimated cheaply and one
// column at a time. Literals cost their adaptive order-0 code length, started from what the same stream held
// before; repeats of four bytes and more cost like a match. Costs are whole numbers, so the choice is the
// same on every machine.
#pragma once

#include <array>
#include <cstdint>

#include "engine/column/column_streams.h"

namespace laconic {

class StreamCosts {
 public:
  StreamCosts();
  // In 1/256 bits.
  std::uint64_t cost(const ColumnParts& parts) const;
  // Parts that were chosen: what comes next in their streams will look like them.
  void learn(const ColumnParts& parts);

 private:
  struct Histogram {
    std::array<std::uint32_t, 256> counts{};
    std::uint64_t total = 0;
    std::array<std::uint16_t, 256> weights{};  // of a literal before any was seen here
    std::uint32_t weight_total = 0;

    void refresh();
  };
  std::uint64_t stream_cost(const Histogram& histogram, ByteSpan bytes) const;

  std::array<Histogram, column_stream_kinds> histograms_;
};

}  // namespace laconic
