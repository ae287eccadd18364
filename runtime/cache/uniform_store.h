// Rows on uniform grids (engine/codec/uniform_grid.h), kept packed. Where the grids lie is what tells the
// published quantisers of caches apart:
//   axis      group                    known as
//   token     g channels of a token    per-token groups; 0: all channels of the head, or of all heads (joint)
//   channel   g tokens of a channel    per-channel keys of KIVI (g = 32) and KCVT (0: all tokens of the
//   block)
// Groups of channels run along one head, or along all heads of a token when `joint`; a short last group has a
// grid of its own.
//
// Attention multiplies with the packed codes (lane_product.h): keys are packed for dot(), with tokens as
// lanes, values for mix(), with channels as lanes. What lies in memory is what is serialised: for each part
// steps, offsets and centres, each [groups][channels or tokens], then codes (lane_codes.h); when joint, the
// grids of all parts come first.
#pragma once

#include "engine/codec/uniform_grid.h"
#include "runtime/cache/lane_product.h"
#include "runtime/cache/row_store.h"

namespace laconic {

struct UniformRowForm {
  enum class Axis : std::uint8_t { token, channel };
  Axis axis = Axis::token;
  KvSide side = KvSide::values;  // which product is fast; the other one expands rows
  bool joint = false;            // axis token only; all parts then have the same number of rows
  // Steps and offsets are f16, or f32 where f16 would lose more than 2^-10; true asks for f32.
  bool f32_parameters = false;
  int bits = 4;
  GridKind kind = GridKind::affine_min;
  std::int64_t group = 32;  // 0: everything
};

class UniformStore final : public RowStore {
 public:
  static std::unique_ptr<const UniformStore> encode(const HeadMatrices& rows, const UniformRowForm& form);
  // Error(corrupt) on anything write() does not write.
  static std::unique_ptr<const UniformStore> read_from(ByteReader& reader, const RowStoreShape& shape,
                                                       const UniformRowForm& form);

  std::int64_t parts() const override { return part_count_; }
  std::int64_t rows(std::int64_t part) const override { return at(part).rows; }
  std::int64_t width(std::int64_t part) const override { return at(part).width; }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override;
  void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
           float* scores, std::int64_t stride) const override;
  void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;

  // Code of row r, column j of a part, and the grid it stands on: for tests and for stages behind this one.
  int code(std::int64_t part, std::int64_t r, std::int64_t j) const;
  // The number that read() gives for it, without its row: for stages that correct single numbers.
  float value(std::int64_t part, std::int64_t r, std::int64_t j) const;

 private:
  struct Part {
    std::int32_t rows = 0, width = 0;
    std::int64_t first_column = 0;       // of the joint row
    std::uint64_t grids = 0, codes = 0;  // where they lie in data_
  };
  // Steps, offsets and centres of one set of grids [groups][columns].
  struct GridSet {
    std::int64_t groups = 0, columns = 0;
    std::uint64_t count() const { return static_cast<std::uint64_t>(groups * columns); }
  };

  UniformStore(const RowStoreShape& shape, const UniformRowForm& form, DType dtype);
  void allocate();
  Part at(std::int64_t part) const;
  std::uint64_t code_bytes(const Part& part) const;
  GridSet grid_set(const Part& part) const;
  std::uint64_t grid_bytes(const GridSet& set) const;
  bool by_lanes_of_rows() const { return form_.side == KvSide::keys; }
  LaneCodes layout(const Part& part) const;
  LaneMatrix matrix(const Part& part, const LaneCodes& layout) const;
  bool has_offset() const;
  bool has_centre() const;
  void put_grids(const GridParameters& fitted, const Part& part);
  void put_codes(const std::uint8_t* codes, std::int64_t row_stride, std::int64_t column_stride,
                 const Part& part);

  UniformRowForm form_;
  DType dtype_;                                // of steps and offsets
  std::int64_t part_count_ = 0, columns_ = 0;  // columns of all parts together
  // Parts are mostly of one shape, and blocks may be small: then the first one tells of all.
  Part first_;
  std::uint64_t part_stride_ = 0;  // from a part's codes to those of the next
  std::vector<Part> uneven_;
  std::uint64_t size_ = 0;
  std::unique_ptr<std::uint8_t[]> data_;
};

}  // namespace laconic
