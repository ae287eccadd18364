// Single numbers of a run of cached rows that are kept as they are, beside a store of all others: the largest
// and the smallest of each vector, or of all numbers of a side. Where they are taken out, the mean of their
// vector is left, so that they do not widen the grids of the others.
//
//   vectors   a vector is            known from
//   channel   one channel of a head over the tokens            keys of GEAR (Kang et al. 2024)
//   token     all channels of all heads of one token; of one   values of GEAR
//             head where heads have different tokens
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/tensor/dtype.h"
#include "runtime/cache/row_store.h"

namespace laconic {

enum class OutlierVectors { channel, token };

struct OutlierForm {
  OutlierVectors vectors = OutlierVectors::channel;
  bool across = false;  // chosen among all numbers of the side at once; vectors then give the means only
};

struct Outlier {
  std::int32_t row = 0, column = 0;
  float value = 0;
};

class OutlierRows {
 public:
  // Takes the per_side(n) largest numbers and as many of the smallest out of every vector of n numbers of
  // `rows`, and puts the vector's mean in their places.
  static OutlierRows take(HeadMatrices& rows, const OutlierForm& form,
                          const std::function<std::int64_t(std::int64_t n)>& per_side);

  // The outliers of rows [begin, end) of a part, in a fixed order.
  void list(std::int64_t part, std::int64_t begin, std::int64_t end, std::vector<Outlier>& out) const;
  std::uint64_t count() const;

  // Positions are packed in ceil(log2 n) bits each, numbers are f16 (f32 where one is beyond f16).
  KvBytes bytes() const;
  void write(ByteWriter& writer) const;
  // Error(corrupt) on anything write() does not write.
  static OutlierRows read_from(ByteReader& reader, const RowStoreShape& shape, const OutlierForm& form);

 private:
  // Vectors of one length with the same number of entries each; positions of a vector ascend.
  struct Lists {
    std::int64_t vectors = 0, length = 0, entries = 0;
    int bits = 0;                      // of a position
    std::vector<std::byte> positions;  // packed, and 8 bytes that let a word be read anywhere
    std::vector<std::byte> values;

    std::int64_t count() const { return vectors * entries; }
    std::size_t position_bytes() const { return positions.size() - 8; }
    std::int64_t position(std::int64_t index) const;
    // First entry of a vector whose position is not below `least`.
    std::int64_t lower_bound(std::int64_t vector, std::int64_t least) const;
  };
  struct Part {
    std::int64_t rows = 0, width = 0;
    std::int64_t first = 0;  // of its columns in a token, or of its numbers in the side
  };

  static OutlierRows shaped(const RowStoreShape& shape, const OutlierForm& form);
  float value(const Lists& lists, std::int64_t index) const;
  const Lists& lists_of(std::int64_t part) const {
    return lists_[lists_.size() == 1 ? 0 : static_cast<std::size_t>(part)];
  }

  OutlierForm form_;
  DType dtype_ = DType::f16;
  std::vector<Part> parts_;
  std::vector<Lists> lists_;  // one per part, or one for all of them
};

}  // namespace laconic
