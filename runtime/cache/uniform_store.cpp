#include "runtime/cache/uniform_store.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::int64_t most_rows = std::numeric_limits<std::int32_t>::max();

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
  HeadMatrix whole(parts.empty() ? 0 : parts.front().rows, width);
  std::int64_t column = 0;
  for (const HeadMatrix& part : parts) {
    for (std::int64_t r = 0; r < part.rows; ++r)
      std::copy(part.row(r), part.row(r) + part.width, whole.row(r) + column);
    column += part.width;
  }
  return whole;
}

HeadMatrix turned_matrix(const HeadMatrix& from) {
  HeadMatrix to(from.width, from.rows);
  for (std::int64_t r = 0; r < from.rows; ++r) {
    for (std::int64_t j = 0; j < from.width; ++j) to.row(j)[r] = from.row(r)[j];
  }
  return to;
}

}  // namespace

bool UniformStore::has_offset() const {
  return form_.kind == GridKind::affine_min || form_.kind == GridKind::affine_free;
}

bool UniformStore::has_centre() const { return form_.kind == GridKind::affine_zero; }

UniformStore::UniformStore(const RowStoreShape& shape, const UniformRowForm& form, DType dtype)
    : form_(form), dtype_(dtype) {
  require(!form.joint || form.axis == UniformRowForm::Axis::token, "grids across heads are those of a token");
  require(form.group >= 0, "a group has no negative size");
  part_count_ = static_cast<std::int64_t>(shape.parts.size());
  if (part_count_ == 0) return;
  bool even = true;
  for (const auto& [rows, width] : shape.parts) {
    require(rows >= 0 && rows <= most_rows && width >= 0 && width <= most_rows, "rows that can be counted");
    columns_ += width;
    even = even && shape.parts.front() == std::pair(rows, width);
  }
  std::int64_t column = 0;
  const auto next_part = [&](const std::pair<std::int64_t, std::int64_t>& part_shape, bool is_first) {
    Part part{static_cast<std::int32_t>(part_shape.first), static_cast<std::int32_t>(part_shape.second),
              form_.joint ? column : 0, form_.joint ? 0 : size_, 0};
    column += part.width;
    if (!form_.joint || is_first) size_ += grid_bytes(grid_set(part));
    part.codes = size_;
    size_ += code_bytes(part);
    return part;
  };
  first_ = next_part(shape.parts.front(), true);
  if (even) {
    part_stride_ = form_.joint ? code_bytes(first_) : size_;
    size_ = at(part_count_ - 1).codes + code_bytes(first_);
    return;
  }
  uneven_.push_back(first_);
  for (std::size_t i = 1; i < shape.parts.size(); ++i) uneven_.push_back(next_part(shape.parts[i], false));
}

UniformStore::Part UniformStore::at(std::int64_t part) const {
  require(part >= 0 && part < part_count_, "a part that the store has");
  if (!uneven_.empty()) return uneven_[static_cast<std::size_t>(part)];
  Part found = first_;
  const std::uint64_t before = static_cast<std::uint64_t>(part) * part_stride_;
  found.codes += before;
  if (form_.joint) {
    found.first_column = part * found.width;
  } else {
    found.grids += before;
  }
  return found;
}

std::uint64_t UniformStore::code_bytes(const Part& part) const {
  return static_cast<std::uint64_t>(by_lanes_of_rows() ? part.rows : part.width) *
         static_cast<std::uint64_t>(layout(part).lane_bytes());
}

void UniformStore::allocate() { data_ = std::make_unique<std::uint8_t[]>(size_); }

UniformStore::GridSet UniformStore::grid_set(const Part& part) const {
  if (form_.axis == UniformRowForm::Axis::channel) return {groups_in(part.rows, form_.group), part.width};
  return {groups_in(form_.joint ? columns_ : part.width, form_.group), part.rows};
}

std::uint64_t UniformStore::grid_bytes(const GridSet& set) const {
  return set.count() * (size_of(dtype_) * (has_offset() ? 2 : 1) + (has_centre() ? 1 : 0));
}

LaneCodes UniformStore::layout(const Part& part) const {
  return LaneCodes(form_.bits, by_lanes_of_rows() ? part.width : part.rows);
}

LaneMatrix UniformStore::matrix(const Part& part, const LaneCodes& layout) const {
  const GridSet set = grid_set(part);
  const std::uint64_t numbers = set.count() * size_of(dtype_);
  const bool by_channel = form_.axis == UniformRowForm::Axis::channel;
  LaneMatrix matrix;
  matrix.layout = &layout;
  matrix.codes = data_.get() + part.codes;
  matrix.lanes = by_lanes_of_rows() ? part.rows : part.width;
  matrix.grids.along_depth = by_channel != by_lanes_of_rows();
  matrix.grids.half = dtype_ == DType::f16;
  matrix.grids.group = form_.group;
  matrix.grids.origin = part.first_column;
  matrix.grids.columns = set.columns;
  matrix.grids.step = data_.get() + part.grids;
  if (has_offset()) matrix.grids.offset = matrix.grids.step + numbers;
  if (has_centre()) matrix.grids.centre = matrix.grids.step + numbers;
  matrix.grids.fixed_centre = GridForm{form_.kind, form_.bits, form_.group}.centre();
  return matrix;
}

// A row of `fitted` is a column of the grids.
void UniformStore::put_grids(const GridParameters& fitted, const Part& part) {
  const GridSet set = grid_set(part);
  require(fitted.groups == set.groups && fitted.rows == set.columns, "grids fit the rows");
  std::vector<float> line(static_cast<std::size_t>(set.columns));
  std::uint8_t* to = data_.get() + part.grids;
  const auto put = [&](const std::vector<float>& numbers) {
    for (std::int64_t g = 0; g < set.groups; ++g) {
      for (std::int64_t c = 0; c < set.columns; ++c)
        line[static_cast<std::size_t>(c)] = numbers[fitted.at(c, g)];
      convert_from_f32(line, dtype_, reinterpret_cast<std::byte*>(to));
      to += line.size() * size_of(dtype_);
    }
  };
  put(fitted.step);
  if (has_offset()) put(fitted.offset);
  if (!has_centre()) return;
  for (std::int64_t g = 0; g < set.groups; ++g) {
    for (std::int64_t c = 0; c < set.columns; ++c) *to++ = fitted.centre[fitted.at(c, g)];
  }
}

void UniformStore::put_codes(const std::uint8_t* codes, std::int64_t row_stride, std::int64_t column_stride,
                             const Part& part) {
  const LaneCodes lanes = layout(part);
  const LaneMatrix packed = matrix(part, lanes);
  const std::int64_t lane_stride = by_lanes_of_rows() ? row_stride : column_stride;
  const std::int64_t depth_stride = by_lanes_of_rows() ? column_stride : row_stride;
  for (std::int64_t lane = 0; lane < packed.lanes;) {
    const LaneMatrix::Tile tile = packed.tile_of(lane);
    lanes.pack(codes + lane * lane_stride, lane_stride, depth_stride, tile.lanes,
               data_.get() + part.codes + lane * lanes.lane_bytes());
    lane += tile.lanes;
  }
}

std::unique_ptr<const UniformStore> UniformStore::encode(const HeadMatrices& rows,
                                                         const UniformRowForm& form) {
  const bool by_channel = form.axis == UniformRowForm::Axis::channel;
  HeadMatrices matrices;  // with grids along rows
  if (form.joint) {
    matrices.push_back(side_by_side(rows));
  } else {
    for (const HeadMatrix& part : rows) matrices.push_back(by_channel ? turned_matrix(part) : part);
  }
  const GridForm grid_form{form.kind, form.bits, form.group};
  std::vector<GridParameters> fitted;
  const auto fit_all = [&](bool f32) {
    fitted.clear();
    for (const HeadMatrix& matrix : matrices) {
      if (matrix.values.empty()) {
        fitted.emplace_back(grid_form, matrix.rows, matrix.width, f32 ? DType::f32 : DType::f16);
        continue;
      }
      fitted.push_back(
          fit_grid(matrix.values.data(), matrix.rows, matrix.width, grid_form, ClipSearch::none, f32));
      if (!f32 && fitted.back().dtype != DType::f16) return false;
    }
    return true;
  };
  DType dtype = DType::f16;
  if (form.f32_parameters || !fit_all(false)) {
    dtype = DType::f32;
    fit_all(true);
  }
  std::unique_ptr<UniformStore> store(new UniformStore(shape_of(rows), form, dtype));
  store->allocate();
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const HeadMatrix& matrix = matrices[i];
    if (matrix.values.empty()) continue;
    const std::vector<std::uint8_t> codes = quantize(matrix.values.data(), fitted[i]);
    const Part part = store->at(static_cast<std::int64_t>(i));
    store->put_grids(fitted[i], part);
    if (by_channel) {
      store->put_codes(codes.data(), 1, matrix.width, part);
    } else if (!form.joint) {
      store->put_codes(codes.data(), matrix.width, 1, part);
    } else {
      for (std::int64_t p = 0; p < store->parts(); ++p)
        store->put_codes(codes.data() + store->at(p).first_column, matrix.width, 1, store->at(p));
    }
  }
  return store;
}

void UniformStore::read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  const Part source = at(part);
  const LaneCodes lanes = layout(source);
  if (by_lanes_of_rows()) {
    lane_values(matrix(source, lanes), {begin, end, 0, source.width}, out, source.width, 1);
  } else {
    lane_values(matrix(source, lanes), {0, source.width, begin, end}, out, 1, source.width);
  }
}

void UniformStore::dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                       std::int64_t count, float* scores, std::int64_t stride) const {
  if (!by_lanes_of_rows()) return RowStore::dot(part, begin, end, queries, count, scores, stride);
  const Part source = at(part);
  const LaneCodes lanes = layout(source);
  lane_product(matrix(source, lanes), {begin, end, 0, source.width}, queries, source.width, count, scores,
               stride, false);
}

void UniformStore::mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                       std::int64_t stride, std::int64_t count, float* sums) const {
  if (by_lanes_of_rows()) return RowStore::mix(part, begin, end, weights, stride, count, sums);
  const Part source = at(part);
  const LaneCodes lanes = layout(source);
  lane_product(matrix(source, lanes), {0, source.width, begin, end}, weights, stride, count, sums,
               source.width, true);
}

int UniformStore::code(std::int64_t part, std::int64_t r, std::int64_t j) const {
  const Part source = at(part);
  const LaneCodes lanes = layout(source);
  const LaneMatrix packed = matrix(source, lanes);
  const std::int64_t lane = by_lanes_of_rows() ? r : j;
  const LaneMatrix::Tile tile = packed.tile_of(lane);
  return lanes.code(packed.tile(tile.first), tile.lanes, lane - tile.first, by_lanes_of_rows() ? j : r);
}

float UniformStore::value(std::int64_t part, std::int64_t r, std::int64_t j) const {
  const Part source = at(part);
  const LaneCodes lanes = layout(source);
  const LaneRange range = by_lanes_of_rows() ? LaneRange{r, r + 1, j, j + 1} : LaneRange{j, j + 1, r, r + 1};
  float number = 0;
  lane_values_scalar(matrix(source, lanes), range, &number, 1, 1);
  return number;
}

KvBytes UniformStore::bytes() const {
  KvBytes sum;
  sum.header = 1;
  for (std::int64_t i = 0; i < part_count_; ++i) {
    if (!form_.joint || i == 0) sum.scales += grid_bytes(grid_set(at(i)));
  }
  sum.payload = size_ - sum.scales;
  return sum;
}

void UniformStore::write(ByteWriter& writer) const {
  writer.u8(dtype_ == DType::f32 ? 1 : 0);
  writer.append(std::as_bytes(std::span(data_.get(), size_)));
}

std::unique_ptr<const UniformStore> UniformStore::read_from(ByteReader& reader, const RowStoreShape& shape,
                                                            const UniformRowForm& form) {
  const std::uint8_t wide = reader.u8();
  if (wide > 1) reader.corrupt("grid parameters of an unknown type");
  for (const auto& [rows, width] : shape.parts) {
    if (form.joint && rows != shape.parts.front().first)
      reader.corrupt("grids across heads that have different tokens");
    if (rows < 0 || rows > most_rows || width < 0 || width > most_rows)
      reader.corrupt("a number of rows that no cache has");
  }
  std::unique_ptr<UniformStore> store(new UniformStore(shape, form, wide == 1 ? DType::f32 : DType::f16));
  const ByteSpan bytes = reader.take(store->size_);
  store->allocate();
  if (!bytes.empty()) std::memcpy(store->data_.get(), bytes.data(), bytes.size());
  std::vector<float> numbers;
  for (std::int64_t i = 0; i < store->parts(); ++i) {
    const Part part = store->at(i);
    const LaneCodes lanes = store->layout(part);
    const LaneMatrix packed = store->matrix(part, lanes);
    if (!form.joint || i == 0) {
      numbers.resize(store->grid_set(part).count() * (store->has_offset() ? 2 : 1));
      convert_to_f32(store->dtype_, reinterpret_cast<const std::byte*>(packed.grids.step), numbers);
      for (const float number : numbers) {
        if (!std::isfinite(number)) reader.corrupt("a grid that is not finite");
      }
    }
    for (std::int64_t lane = 0; lane < packed.lanes;) {
      const LaneMatrix::Tile tile = packed.tile_of(lane);
      if (!lanes.tails_are_clean(packed.tile(lane), tile.lanes)) reader.corrupt("codes beyond the last row");
      lane += tile.lanes;
    }
  }
  return store;
}

}  // namespace laconic
