// The payload that every uniform quantiser writes, whichever solver chose its codes: one decoder and one
// LinearOp serve round-to-nearest, GPTQ and decoupled grids.
//
// Attributes: kind, bits, group, parameters. Fields: codes (u8, [rows, packed bytes of a row]), scale ([rows,
// groups], f16 or f32), offset (same, kinds affine_min and affine_free), zero (u8, packed, kind affine_zero).
#pragma once

#include <string>
#include <vector>

#include "engine/codec/payload.h"
#include "engine/codec/uniform_grid.h"

namespace laconic {

struct UniformMatrix {
  GridParameters parameters;
  std::vector<std::uint8_t> codes;  // [rows, columns], one byte each
};

// `codec` is the canonical text of the writer. A tensor of other rank than 2 is one row.
Payload uniform_payload(const UniformMatrix& matrix, std::string codec, DType dtype, const Shape& shape);
// Canonical text of the codec that decodes payloads of this form: "uniform(bits=2,kind=affine_free)".
std::string uniform_codec_text(const GridForm& form);
// Throws Error(corrupt) on anything uniform_payload does not write.
UniformMatrix parse_uniform(const Payload& payload);
// Rows and columns of a tensor as the grids see it.
std::int64_t matrix_rows(const Shape& shape);
std::int64_t matrix_columns(const Shape& shape);

}  // namespace laconic
