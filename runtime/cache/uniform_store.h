// Rows on uniform grids (engine/codec/uniform_grid.h), kept packed. Where the grids lie is what tells the
// published quantisers of caches apart:
//   axis      group                    known as
//   token     g channels of a token    per-token groups; 0: all channels of the head, or of all heads (joint)
//   channel   g tokens of a channel    per-channel keys of KIVI (g = 32) and KCVT (0: all tokens of the
//   block)
// Groups of channels run along one head, or along all heads of a token when `joint`; a short last group has a
// grid of its own.
#pragma once

#include "engine/codec/uniform_grid.h"
#include "runtime/cache/row_store.h"

namespace laconic {

struct UniformRowForm {
  enum class Axis { token, channel };
  Axis axis = Axis::token;
  int bits = 4;
  std::int64_t group = 32;  // 0: everything
  bool joint = false;       // axis token only; all parts then have the same number of rows
  GridKind kind = GridKind::affine_min;
  // Steps and offsets are f16, or f32 where f16 would lose more than 2^-10; true asks for f32.
  bool f32_parameters = false;
};

class UniformStore final : public RowStore {
 public:
  static std::unique_ptr<const UniformStore> encode(const HeadMatrices& rows, const UniformRowForm& form);
  // Error(corrupt) on anything write() does not write.
  static std::unique_ptr<const UniformStore> read_from(ByteReader& reader, const RowStoreShape& shape,
                                                       const UniformRowForm& form);

  std::int64_t parts() const override { return static_cast<std::int64_t>(parts_.size()); }
  std::int64_t rows(std::int64_t part) const override { return at(part).rows; }
  std::int64_t width(std::int64_t part) const override { return at(part).width; }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;

  // Code of row r, column j of a part, and the grid it stands on: for tests and for stages behind this one.
  int code(std::int64_t part, std::int64_t r, std::int64_t j) const;
  // The number that read() gives for it, without its row: for stages that correct single numbers.
  float value(std::int64_t part, std::int64_t r, std::int64_t j) const;

 private:
  struct Part {
    std::int64_t rows = 0, width = 0;
    std::int64_t first_column = 0;    // of the joint row
    std::vector<std::uint8_t> codes;  // [rows][packed bytes of a row]
  };
  // Steps and offsets as they are stored, of one matrix of grids: [rows][column groups] for axis token (one
  // matrix when joint, else one per part), [row groups][columns] for axis channel (one per part).
  struct Grids {
    std::vector<float> step, offset;
    std::vector<std::uint8_t> centre;
    std::int64_t columns = 0;  // grids per row of the matrix
  };

  const Part& at(std::int64_t part) const { return parts_.at(static_cast<std::size_t>(part)); }
  const Grids& grids_of(std::int64_t part) const {
    return grids_[form_.joint ? 0 : static_cast<std::size_t>(part)];
  }
  std::size_t grid_at(std::int64_t part, std::int64_t r, std::int64_t j) const;
  bool has_offset() const;
  bool has_centre() const;

  UniformRowForm form_;
  DType dtype_ = DType::f16;  // of steps and offsets
  std::vector<Part> parts_;
  std::vector<Grids> grids_;
};

}  // namespace laconic
