// One way to code a column that is worth a trial, and its outcome.
#pragma once

#include <cstdint>

#include "engine/column/column_encoder.h"

namespace laconic {

struct ColumnEncoder::Attempt {
  enum class Family : std::uint8_t {
    numbers,
    dictionary,
    recent,
    predicted,
    fixed_bytes,
    transposed,
    text,
    split
  };

  Family family = Family::text;
  std::uint8_t form = 0;  // transform, prediction, layout or rule of splitting
  bool from_end = false;  // words of a split
  NumberPacking packing = NumberPacking::varints;
  std::uint32_t distance = 0;  // to the column referred to: 1 is the last one
  std::int64_t factor = 1;     // of a linear reference
};

struct ColumnEncoder::Trial {
  Attempt attempt;
  Coded coded;
};

}  // namespace laconic
