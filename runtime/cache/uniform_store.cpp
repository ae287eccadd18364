#include "runtime/cache/uniform_store.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/coding/bit_packing.h"

namespace laconic {
namespace {

std::int64_t groups_in(std::int64_t count, std::int64_t group) {
  if (count == 0) return 0;
  return group == 0 ? 1 : (count + group - 1) / group;
}

// All parts side by side: [rows, sum of widths].
HeadMatrix side_by_side(const HeadMatrices& parts) {
  std::int64_t width = 0;
  for (const HeadMatrix& part : parts) {
    require(part.rows == parts.front().rows, "a grid across heads needs the same tokens in every head");
    width += part.width;
  }
  HeadMatrix whole(parts.front().rows, width);
  std::int64_t column = 0;
  for (const HeadMatrix& part : parts) {
    for (std::int64_t r = 0; r < part.rows; ++r)
      std::copy(part.row(r), part.row(r) + part.width, whole.row(r) + column);
    column += part.width;
  }
  return whole;
}

HeadMatrix turned(const HeadMatrix& from) {
  HeadMatrix to(from.width, from.rows);
  for (std::int64_t r = 0; r < from.rows; ++r) {
    for (std::int64_t j = 0; j < from.width; ++j) to.row(j)[r] = from.row(r)[j];
  }
  return to;
}

std::vector<std::uint8_t> packed_rows(const std::uint8_t* codes, std::int64_t rows, std::int64_t stride,
                                      std::int64_t width, int bits) {
  const std::size_t row_bytes = packed_bytes(static_cast<std::uint64_t>(width), bits);
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(rows) * row_bytes);
  for (std::int64_t r = 0; r < rows; ++r) {
    pack_bits({codes + r * stride, static_cast<std::size_t>(width)}, bits,
              {packed.data() + static_cast<std::size_t>(r) * row_bytes, row_bytes});
  }
  return packed;
}

}  // namespace

bool UniformStore::has_offset() const {
  return form_.kind == GridKind::affine_min || form_.kind == GridKind::affine_free;
}

bool UniformStore::has_centre() const { return form_.kind == GridKind::affine_zero; }

std::unique_ptr<const UniformStore> UniformStore::encode(const HeadMatrices& rows,
                                                         const UniformRowForm& form) {
  auto store = std::make_unique<UniformStore>();
  store->form_ = form;
  require(!form.joint || form.axis == UniformRowForm::Axis::token, "grids across heads are those of a token");
  const bool by_channel = form.axis == UniformRowForm::Axis::channel;
  HeadMatrices matrices;  // with grids along rows
  if (form.joint) {
    matrices.push_back(side_by_side(rows));
  } else {
    for (const HeadMatrix& part : rows) matrices.push_back(by_channel ? turned(part) : part);
  }
  std::vector<GridParameters> fitted;
  const auto fit_all = [&](bool f32) {
    fitted.clear();
    for (const HeadMatrix& matrix : matrices) {
      if (matrix.values.empty()) {
        fitted.emplace_back(GridForm{form.kind, form.bits, form.group}, matrix.rows, matrix.width,
                            f32 ? DType::f32 : DType::f16);
        continue;
      }
      fitted.push_back(fit_grid(matrix.values.data(), matrix.rows, matrix.width,
                                {form.kind, form.bits, form.group}, ClipSearch::none, f32));
      if (!f32 && fitted.back().dtype != DType::f16) return false;
    }
    return true;
  };
  if (form.f32_parameters || !fit_all(false)) {
    store->dtype_ = DType::f32;
    fit_all(true);
  }
  std::int64_t column = 0;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const HeadMatrix& matrix = matrices[i];
    const std::vector<std::uint8_t> codes =
        matrix.values.empty() ? std::vector<std::uint8_t>{} : quantize(matrix.values.data(), fitted[i]);
    Grids grids;
    const std::int64_t groups = groups_in(matrix.width, form.group);
    if (by_channel) {
      // [channels][row groups] becomes [row groups][channels], so that a run of tokens has its grids together
      grids.columns = matrix.rows;
      for (std::int64_t g = 0; g < groups; ++g) {
        for (std::int64_t j = 0; j < matrix.rows; ++j) {
          const std::size_t from = fitted[i].at(j, g);
          grids.step.push_back(fitted[i].step[from]);
          grids.offset.push_back(fitted[i].offset[from]);
          grids.centre.push_back(fitted[i].centre[from]);
        }
      }
      std::vector<std::uint8_t> by_row(codes.size());
      for (std::int64_t j = 0; j < matrix.rows; ++j) {
        for (std::int64_t r = 0; r < matrix.width; ++r)
          by_row[static_cast<std::size_t>(r * matrix.rows + j)] =
              codes[static_cast<std::size_t>(j * matrix.width + r)];
      }
      store->parts_.push_back(
          {matrix.width, matrix.rows, 0,
           packed_rows(by_row.data(), matrix.width, matrix.rows, matrix.rows, form.bits)});
    } else {
      grids.columns = groups;
      grids.step = std::move(fitted[i].step);
      grids.offset = std::move(fitted[i].offset);
      grids.centre = std::move(fitted[i].centre);
      for (const HeadMatrix& part : form.joint ? rows : HeadMatrices{HeadMatrix(matrix.rows, matrix.width)}) {
        store->parts_.push_back({part.rows, part.width, form.joint ? column : 0,
                                 packed_rows(codes.data() + (form.joint ? column : 0), part.rows,
                                             matrix.width, part.width, form.bits)});
        column += part.width;
      }
    }
    store->grids_.push_back(std::move(grids));
  }
  return store;
}

std::size_t UniformStore::grid_at(std::int64_t part, std::int64_t r, std::int64_t j) const {
  const std::int64_t columns = grids_of(part).columns;
  if (form_.axis == UniformRowForm::Axis::channel)
    return static_cast<std::size_t>((form_.group == 0 ? 0 : r / form_.group) * columns + j);
  const std::int64_t column = at(part).first_column + j;
  return static_cast<std::size_t>(r * columns + (form_.group == 0 ? 0 : column / form_.group));
}

void UniformStore::read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  const Part& source = at(part);
  const Grids& grids = grids_of(part);
  const std::size_t row_bytes = packed_bytes(static_cast<std::uint64_t>(source.width), form_.bits);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(source.width));
  for (std::int64_t r = begin; r < end; ++r) {
    unpack_bits({source.codes.data() + static_cast<std::size_t>(r) * row_bytes, row_bytes}, form_.bits,
                codes);
    for (std::int64_t j = 0; j < source.width; ++j) {
      const std::size_t grid = grid_at(part, r, j);
      out[(r - begin) * source.width + j] =
          grids.step[grid] * static_cast<float>(codes[static_cast<std::size_t>(j)] - grids.centre[grid]) +
          grids.offset[grid];
    }
  }
}

float UniformStore::value(std::int64_t part, std::int64_t r, std::int64_t j) const {
  const Part& source = at(part);
  const Grids& grids = grids_of(part);
  const std::size_t bit = static_cast<std::size_t>(j * form_.bits), grid = grid_at(part, r, j);
  const std::uint8_t* row =
      source.codes.data() +
      static_cast<std::size_t>(r) * packed_bytes(static_cast<std::uint64_t>(source.width), form_.bits);
  unsigned two = row[bit / 8];
  if (bit % 8 + static_cast<std::size_t>(form_.bits) > 8) two |= static_cast<unsigned>(row[bit / 8 + 1]) << 8;
  const int code = static_cast<int>(two >> (bit % 8) & ((1u << form_.bits) - 1));
  return grids.step[grid] * static_cast<float>(code - grids.centre[grid]) + grids.offset[grid];
}

int UniformStore::code(std::int64_t part, std::int64_t r, std::int64_t j) const {
  const Part& source = at(part);
  const std::size_t row_bytes = packed_bytes(static_cast<std::uint64_t>(source.width), form_.bits);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(source.width));
  unpack_bits({source.codes.data() + static_cast<std::size_t>(r) * row_bytes, row_bytes}, form_.bits, codes);
  return codes[static_cast<std::size_t>(j)];
}

KvBytes UniformStore::bytes() const {
  KvBytes sum;
  sum.header = 1;
  for (const Part& part : parts_) sum.payload += part.codes.size();
  for (const Grids& grids : grids_) {
    sum.scales += grids.step.size() * size_of(dtype_) * (has_offset() ? 2 : 1);
    if (has_centre()) sum.scales += grids.centre.size();
  }
  return sum;
}

void UniformStore::write(ByteWriter& writer) const {
  writer.u8(dtype_ == DType::f32 ? 1 : 0);
  const auto put = [&](const std::vector<float>& numbers) {
    Bytes stored(numbers.size() * size_of(dtype_));
    convert_from_f32(numbers, dtype_, stored.data());
    writer.append(stored);
  };
  for (const Grids& grids : grids_) {
    put(grids.step);
    if (has_offset()) put(grids.offset);
    if (has_centre()) writer.append(std::as_bytes(std::span(grids.centre)));
  }
  for (const Part& part : parts_) writer.append(std::as_bytes(std::span(part.codes)));
}

std::unique_ptr<const UniformStore> UniformStore::read_from(ByteReader& reader, const RowStoreShape& shape,
                                                            const UniformRowForm& form) {
  auto store = std::make_unique<UniformStore>();
  store->form_ = form;
  const std::uint8_t wide = reader.u8();
  if (wide > 1) reader.corrupt("grid parameters of an unknown type");
  store->dtype_ = wide == 1 ? DType::f32 : DType::f16;
  std::int64_t column = 0;
  for (const auto& [rows, width] : shape.parts) {
    if (form.joint && rows != shape.parts.front().first)
      reader.corrupt("grids across heads that have different tokens");
    store->parts_.push_back({rows, width, form.joint ? column : 0, {}});
    column += width;
  }
  const auto take = [&](std::size_t count) {
    if (count > reader.remaining()) reader.corrupt("grids that are cut off");
    std::vector<float> numbers(count);
    convert_to_f32(store->dtype_, reader.take(count * size_of(store->dtype_)).data(), numbers);
    for (const float number : numbers) {
      if (!std::isfinite(number)) reader.corrupt("a grid that is not finite");
    }
    return numbers;
  };
  const auto take_grids = [&](std::int64_t rows, std::int64_t width) {
    Grids grids;
    const bool by_channel = form.axis == UniformRowForm::Axis::channel;
    const std::int64_t lines = by_channel ? groups_in(rows, form.group) : rows;
    grids.columns = by_channel ? width : groups_in(width, form.group);
    const auto count = static_cast<std::size_t>(lines * grids.columns);
    grids.step = take(count);
    grids.offset = store->has_offset() ? take(count) : std::vector<float>(count);
    grids.centre.assign(count,
                        static_cast<std::uint8_t>(GridForm{form.kind, form.bits, form.group}.centre()));
    if (store->has_centre()) {
      const ByteSpan bytes = reader.take(count);
      std::transform(bytes.begin(), bytes.end(), grids.centre.begin(),
                     [](std::byte b) { return static_cast<std::uint8_t>(b); });
    }
    store->grids_.push_back(std::move(grids));
  };
  if (form.joint) {
    take_grids(shape.parts.empty() ? 0 : shape.parts.front().first, column);
  } else {
    for (const Part& part : store->parts_) take_grids(part.rows, part.width);
  }
  for (Part& part : store->parts_) {
    const ByteSpan bytes = reader.take(static_cast<std::size_t>(part.rows) *
                                       packed_bytes(static_cast<std::uint64_t>(part.width), form.bits));
    part.codes.resize(bytes.size());
    std::transform(bytes.begin(), bytes.end(), part.codes.begin(),
                   [](std::byte b) { return static_cast<std::uint8_t>(b); });
  }
  return store;
}

}  // namespace laconic
