#include "engine/codec/uniform_payload.h"

#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/packed_run.h"
#include "engine/coding/bit_packing.h"

namespace laconic {
namespace {

bool has_offset(GridKind kind) { return kind == GridKind::affine_min || kind == GridKind::affine_free; }

std::span<std::uint8_t> raw(Tensor& tensor) { return tensor.as<std::uint8_t>(); }
std::span<const std::uint8_t> raw(const Tensor& tensor) { return tensor.as<std::uint8_t>(); }

}  // namespace

std::int64_t matrix_rows(const Shape& shape) { return shape.size() == 2 ? shape[0] : 1; }
std::int64_t matrix_columns(const Shape& shape) {
  return shape.size() == 2 ? shape[1] : element_count(shape);
}

Payload uniform_payload(const UniformMatrix& matrix, std::string codec, DType dtype, const Shape& shape) {
  const GridParameters& p = matrix.parameters;
  Payload payload;
  payload.codec = std::move(codec);
  payload.dtype = dtype;
  payload.shape = shape;
  payload.attributes.set("kind", std::string(name_of(p.form.kind)));
  payload.attributes.set("bits", std::int64_t{p.form.bits});
  payload.attributes.set("group", p.form.group);
  const auto row_bytes =
      static_cast<std::int64_t>(packed_bytes(static_cast<std::uint64_t>(p.columns), p.form.bits));
  Tensor codes(DType::u8, {p.rows, row_bytes});
  parallel_tiles(p.rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      pack_bits(
          {matrix.codes.data() + row * p.columns, static_cast<std::size_t>(p.columns)}, p.form.bits,
          raw(codes).subspan(static_cast<std::size_t>(row * row_bytes), static_cast<std::size_t>(row_bytes)));
    }
  });
  payload.add("codes", std::move(codes));
  payload.add("scale", Tensor::from_f32({p.rows, p.groups}, p.step, p.dtype));
  if (has_offset(p.form.kind)) payload.add("offset", Tensor::from_f32({p.rows, p.groups}, p.offset, p.dtype));
  if (p.form.kind == GridKind::affine_zero) {
    payload.add("zero", packed_run(p.centre, p.form.bits));
  }
  return payload;
}

UniformMatrix parse_uniform(const Payload& payload) {
  require_decodable(payload);
  GridForm form;
  const std::string& kind = payload.attributes.text("kind");
  bool known = false;
  for (const GridKind candidate : {GridKind::affine_min, GridKind::affine_zero, GridKind::affine_free,
                                   GridKind::symmetric, GridKind::symmetric_full}) {
    if (name_of(candidate) == kind) {
      form.kind = candidate;
      known = true;
    }
  }
  if (!known) fail(ErrorKind::corrupt, "unknown grid kind \"" + kind + "\"", payload.codec);
  form.bits =
      static_cast<int>(payload.attributes.integer("bits", form.kind == GridKind::symmetric ? 2 : 1, 8));
  form.group = payload.attributes.integer("group", 0, std::int64_t{1} << 48);
  const std::int64_t rows = matrix_rows(payload.shape), columns = matrix_columns(payload.shape);
  const std::int64_t groups = form.groups(columns);
  const auto row_bytes =
      static_cast<std::int64_t>(packed_bytes(static_cast<std::uint64_t>(columns), form.bits));
  // Field sizes are checked before anything is allocated for the codes.
  const Tensor& codes = payload.field("codes", DType::u8, rows * row_bytes);
  const Field* scale_field = payload.find("scale");
  const DType dtype =
      scale_field != nullptr && scale_field->data.dtype() == DType::f32 ? DType::f32 : DType::f16;
  const Tensor& scale = payload.field("scale", dtype, rows * groups);
  UniformMatrix matrix;
  GridParameters& p = matrix.parameters = GridParameters(form, rows, columns, dtype);
  p.step = scale.view().to_f32();
  if (has_offset(form.kind)) p.offset = payload.field("offset", dtype, rows * groups).view().to_f32();
  for (std::size_t i = 0; i < p.step.size(); ++i) {
    if (!std::isfinite(p.step[i]) || !std::isfinite(p.offset[i])) {
      fail(ErrorKind::corrupt, "grid parameter " + std::to_string(i) + " is not finite", payload.codec);
    }
  }
  if (form.kind == GridKind::affine_zero) {
    p.centre = unpacked_run(payload, "zero", static_cast<std::int64_t>(p.centre.size()), form.bits);
  }
  matrix.codes.resize(static_cast<std::size_t>(rows * columns));
  parallel_tiles(rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      unpack_bits(
          raw(codes).subspan(static_cast<std::size_t>(row * row_bytes), static_cast<std::size_t>(row_bytes)),
          form.bits, {matrix.codes.data() + row * columns, static_cast<std::size_t>(columns)});
    }
  });
  return matrix;
}

}  // namespace laconic
