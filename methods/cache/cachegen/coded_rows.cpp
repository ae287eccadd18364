#include "methods/cache/cachegen/coded_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/coding/adaptive_columns.h"
#include "engine/coding/column_tables.h"
#include "engine/coding/normalise.h"
#include "engine/coding/range_coder.h"
#include "methods/cache/cachegen/profile.h"

namespace laconic {
namespace {

enum class Coder : std::uint8_t { tables, profile, adaptive, dense };

// Deltas pay when they vary less than this share of the values (card: insight a).
constexpr double delta_pays_below = 0.8;
// Numbers stay far below 2^24, where f32 counts in whole steps.
constexpr double most_number = 1 << 22;

// Rows over all parts as one matrix.
struct JointRows {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;
};

// Which parts make up each record: all of them when they have the same rows.
std::vector<std::vector<std::size_t>> records_of(const RowStoreShape& shape) {
  std::vector<std::vector<std::size_t>> records;
  bool joint = true;
  for (const auto& [rows, width] : shape.parts) joint = joint && rows == shape.parts.front().first;
  for (std::size_t part = 0; part < shape.parts.size(); ++part) {
    if (!joint || part == 0) records.emplace_back();
    records.back().push_back(part);
  }
  return records;
}

std::int64_t columns_of(const RowStoreShape& shape, const std::vector<std::size_t>& record) {
  std::int64_t columns = 0;
  for (const std::size_t part : record) columns += shape.parts[part].second;
  return columns;
}

std::int64_t columns_of_stream(std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t block = 64, enough = 65536;
  std::int64_t width = block;
  while (width < columns && width * rows < enough) width += block;
  return std::min(width, columns);
}

// Where the numbers of the parts' rows lie: decoding hands over columns, attention wants rows.
class RowTaker {
 public:
  RowTaker(HeadMatrices& parts, const std::vector<std::size_t>& record) : parts_(parts) {
    for (const std::size_t part : record) {
      for (std::int64_t j = 0; j < parts[part].width; ++j) places_.emplace_back(part, j);
    }
  }
  // Values of the columns [first, first + count), column after column.
  void put(std::int64_t first, std::int64_t count, const std::vector<float>& values) {
    const std::int64_t rows = static_cast<std::int64_t>(values.size()) / count;
    // Tiles, so that lines of both sides stay near.
    constexpr std::int64_t tile = 16;
    for (std::int64_t top = 0; top < rows; top += tile) {
      const std::int64_t bottom = std::min(rows, top + tile);
      for (std::int64_t c = 0; c < count; ++c) {
        const auto& [part, j] = places_[static_cast<std::size_t>(first + c)];
        const std::int64_t width = parts_[part].width;
        float* to = parts_[part].values.data() + j;
        const float* from = values.data() + c * rows;
        for (std::int64_t r = top; r < bottom; ++r) to[r * width] = from[r];
      }
    }
  }

 private:
  HeadMatrices& parts_;
  std::vector<std::pair<std::size_t, std::int64_t>> places_;  // part and column of each joint column
};

void expand_symbols(const RowSymbols& symbols, const KeyTurns& turns, RowTaker taker) {
  const std::int64_t width = columns_of_stream(symbols.rows, symbols.columns);
  parallel_tiles(symbols.columns, width, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(static_cast<std::size_t>((end - begin) * symbols.rows));
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(symbols.coded_rows()));
    for (std::int64_t c = begin; c < end; ++c) {
      for (std::size_t r = 0; r < numbers.size(); ++r)
        numbers[r] =
            symbols.numbers[r * static_cast<std::size_t>(symbols.columns) + static_cast<std::size_t>(c)];
      symbols.expand(c, numbers, turns, values.data() + (c - begin) * symbols.rows);
    }
    taker.put(begin, end - begin, values);
  });
}

void write_streams(const RowSymbols& symbols, std::span<const IntegerColumn> columns, ByteWriter& writer) {
  const std::int64_t width = columns_of_stream(symbols.rows, symbols.columns);
  std::vector<Bytes> streams(static_cast<std::size_t>((symbols.columns + width - 1) / width));
  parallel_tiles(symbols.columns, width, [&](std::int64_t begin, std::int64_t end) {
    streams[static_cast<std::size_t>(begin / width)] = rans_encode_columns(
        symbols.numbers.data() + begin, symbols.coded_rows(), symbols.columns,
        columns.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
  });
  for (const Bytes& stream : streams) {
    writer.varint(stream.size());
    writer.append(stream);
  }
}

void read_streams(ByteReader& reader, const RowSymbols& symbols, std::span<const IntegerColumn> columns,
                  const KeyTurns& turns, RowTaker taker, const std::string& where) {
  const std::int64_t width = columns_of_stream(symbols.rows, symbols.columns);
  std::vector<ByteSpan> streams;
  for (std::int64_t begin = 0; begin < symbols.columns; begin += width)
    streams.push_back(reader.take(reader.length(reader.remaining())));
  parallel_tiles(symbols.columns, width, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(static_cast<std::size_t>((end - begin) * symbols.rows));
    rans_decode_columns(
        streams[static_cast<std::size_t>(begin / width)], symbols.coded_rows(),
        columns.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
        [&](std::int64_t c, std::span<const std::int32_t> numbers) {
          symbols.expand(begin + c, numbers, turns, values.data() + c * symbols.rows);
        },
        where);
    taker.put(begin, end - begin, values);
  });
}

// Dense tables of the released code for the 2 C + 1 symbols of bins.
void write_dense(const RowSymbols& symbols, ByteWriter& tables, ByteWriter& stream) {
  const int kinds = 2 * (symbols.bins / 2 - 1) + 1;
  RangeEncoder encoder;
  const auto columns = static_cast<std::size_t>(symbols.columns);
  for (std::size_t c = 0; c < columns; ++c) {
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(kinds));
    for (std::size_t at = c; at < symbols.numbers.size(); at += columns)
      ++counts[static_cast<std::size_t>(symbols.numbers[at])];
    const std::vector<std::uint32_t> frequencies =
        normalise(counts, frequency_total, NormalisePolicy::spread);
    std::vector<std::uint32_t> cumulative = {0};
    for (const std::uint32_t f : frequencies) cumulative.push_back(cumulative.back() + f);
    for (std::size_t i = 0; i < cumulative.size(); ++i)
      tables.u16(static_cast<std::uint16_t>(std::min<std::uint32_t>(cumulative[i], 65535)));
    for (std::size_t at = c; at < symbols.numbers.size(); at += columns) {
      const auto symbol = static_cast<std::size_t>(symbols.numbers[at]);
      encoder.put(cumulative[symbol], frequencies[symbol], frequency_total);
    }
  }
  stream.append(encoder.take());
}

void read_dense(ByteReader& reader, const RowSymbols& symbols, const KeyTurns& turns, RowTaker taker,
                const std::string& where) {
  const int kinds = 2 * (symbols.bins / 2 - 1) + 1;
  const auto entries = static_cast<std::size_t>(kinds) + 1;
  if (static_cast<std::uint64_t>(symbols.columns) > reader.remaining() / (2 * entries))
    reader.corrupt("tables are cut off");
  std::vector<std::vector<std::uint32_t>> tables;
  for (std::int64_t c = 0; c < symbols.columns; ++c) {
    std::vector<std::uint32_t> cumulative;
    for (std::size_t i = 0; i < entries; ++i) cumulative.push_back(reader.u16());
    if (cumulative.front() != 0 || cumulative.back() != 65535) reader.corrupt("a table that does not sum up");
    for (std::size_t i = 1; i < entries; ++i) {
      if (cumulative[i] <= cumulative[i - 1]) reader.corrupt("a table that does not ascend");
    }
    cumulative.back() = frequency_total;
    tables.push_back(std::move(cumulative));
  }
  const ByteSpan stream = reader.take(reader.length(reader.remaining()));
  RangeDecoder decoder(stream, where);
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(symbols.coded_rows()));
  std::vector<float> values(static_cast<std::size_t>(symbols.rows));
  for (std::int64_t c = 0; c < symbols.columns; ++c) {
    const std::vector<std::uint32_t>& cumulative = tables[static_cast<std::size_t>(c)];
    for (std::int32_t& number : numbers) {
      const std::uint32_t slot = decoder.peek(frequency_total);
      const auto above = std::upper_bound(cumulative.begin(), cumulative.end(), slot);
      decoder.take(*(above - 1), *above - *(above - 1), frequency_total);
      number = static_cast<std::int32_t>(above - cumulative.begin()) - 1;
    }
    symbols.expand(c, numbers, turns, values.data());
    taker.put(c, 1, values);
  }
  decoder.expect_end();
}

class CodedStore final : public RowStore {
 public:
  CodedStore(Bytes coded, KvBytes bytes, const HeadMatrices& rows)
      : coded_(std::move(coded)), bytes_(bytes), rows_(DType::f16, rows) {}
  std::int64_t parts() const override { return rows_.parts(); }
  std::int64_t rows(std::int64_t part) const override { return rows_.rows(part); }
  std::int64_t width(std::int64_t part) const override { return rows_.width(part); }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override {
    rows_.read(part, begin, end, out);
  }
  void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
           float* scores, std::int64_t stride) const override {
    rows_.dot(part, begin, end, queries, count, scores, stride);
  }
  void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override {
    rows_.mix(part, begin, end, weights, stride, count, sums);
  }
  KvBytes bytes() const override { return bytes_; }
  void write(ByteWriter& writer) const override { writer.append(coded_); }

 private:
  Bytes coded_;
  KvBytes bytes_;
  ExactStore rows_;
};

class CodedRowCodec final : public RowCodec {
 public:
  CodedRowCodec(std::string canonical, CodedRowForm form, std::shared_ptr<const RopeTable> rope,
                std::shared_ptr<const CodingProfile> profile)
      : canonical_(std::move(canonical)), form_(form), rope_(std::move(rope)), profile_(std::move(profile)) {
    require(form_.tables != CodedRowForm::Tables::profile || profile_ != nullptr,
            "tables from a profile need one");
    require(form_.tables != CodedRowForm::Tables::dense || form_.mode == CodedRowForm::Mode::direct,
            "dense tables are of bins");
  }
  std::string canonical() const override { return canonical_; }

  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext& context) const override {
    const RowStoreShape shape = shape_of(rows);
    HeadMatrices decoded;
    for (const auto& [count, width] : shape.parts) decoded.emplace_back(count, width);
    ByteWriter writer;
    KvBytes bytes;
    for (const std::vector<std::size_t>& record : records_of(shape)) {
      const std::int64_t count = shape.parts[record.front()].first, columns = columns_of(shape, record);
      if (count == 0 || columns == 0) continue;
      std::vector<float> x(static_cast<std::size_t>(count * columns));
      std::int64_t at = 0;
      for (const std::size_t part : record) {
        for (std::int64_t r = 0; r < count; ++r)
          std::copy(rows[part].row(r), rows[part].row(r) + rows[part].width, x.data() + r * columns + at);
        at += rows[part].width;
      }
      const KeyTurns turns = turns_of(context, shape, record);
      const RowSymbols symbols = symbols_of(x.data(), count, columns, context, turns);
      write_record(symbols, context, writer, bytes);
      expand_symbols(symbols, turns, RowTaker(decoded, record));
    }
    require(bytes.total() == writer.size(), "every byte of a record is of one kind");
    return std::make_unique<CodedStore>(writer.take(), bytes, decoded);
  }

  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext& context) const override {
    HeadMatrices decoded;
    ByteWriter coded;
    KvBytes bytes;
    // No coder here gives a number less than 1 / 65536 of a byte.
    std::uint64_t room = std::uint64_t{reader.remaining()} << 16;
    for (const auto& [count, width] : shape.parts) {
      const std::uint64_t numbers = static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(width);
      if (numbers > room) reader.corrupt("more rows than so few bytes can hold");
      room -= numbers;
    }
    for (const auto& [count, width] : shape.parts) decoded.emplace_back(count, width);
    for (const std::vector<std::size_t>& record : records_of(shape)) {
      const std::int64_t count = shape.parts[record.front()].first, columns = columns_of(shape, record);
      if (count == 0 || columns == 0) continue;
      read_record(reader, count, columns, turns_of(context, shape, record), context,
                  RowTaker(decoded, record), coded, bytes);
    }
    return std::make_unique<CodedStore>(coded.take(), bytes, decoded);
  }

 private:
  KeyTurns turns_of(const RowContext& context, const RowStoreShape& shape,
                    const std::vector<std::size_t>& record) const {
    const auto& [rows, width] = shape.parts[record.front()];
    if (!context.turned_run || rope_ == nullptr || width % 2 != 0) return {};
    return KeyTurns(*rope_, width, context.first_position, rows);
  }

  RowSymbols symbols_of(const float* x, std::int64_t rows, std::int64_t columns, const RowContext& context,
                        const KeyTurns& turns) const {
    if (form_.tables != CodedRowForm::Tables::profile)
      return row_symbols(x, rows, columns, form_, context, turns);
    // The profile's tables are of numbers made with its references.
    if (columns != profile_->columns() || context.layers != profile_->layers()) {
      fail(ErrorKind::usage,
           fmt::format("the profile is of {} layers with {} numbers in a row, the rows are of {} with {}",
                       profile_->layers(), profile_->columns(), context.layers, columns),
           "cachegen", "use tables=chunk in pipelines that change the rows");
    }
    return row_symbols(x, rows, columns,
                       with_reference(form_, profile_->side(context.layer, context.side).form), context,
                       turns);
  }

  void write_record(const RowSymbols& symbols, const RowContext& context, ByteWriter& writer,
                    KvBytes& bytes) const {
    using Tables = CodedRowForm::Tables;
    const Coder coder = form_.tables == Tables::profile    ? Coder::profile
                        : form_.tables == Tables::adaptive ? Coder::adaptive
                        : form_.tables == Tables::dense    ? Coder::dense
                                                           : Coder::tables;
    writer.u8(static_cast<std::uint8_t>(static_cast<unsigned>(symbols.form) |
                                        (symbols.parameters == DType::f32 ? 8u : 0u) |
                                        static_cast<unsigned>(coder) << 4));
    bytes.header += 1;
    std::size_t before = writer.size();
    const auto now_is = [&](std::uint64_t& kind) {
      kind += writer.size() - before;
      before = writer.size();
    };
    symbols.write_parameters(writer);
    now_is(bytes.scales);
    switch (coder) {
      case Coder::tables: {
        if (symbols.coded_rows() == 0) return;
        const auto choice =
            form_.tables == Tables::shared ? ColumnTables::Choice::shared : ColumnTables::Choice::smallest;
        const ColumnTables tables = ColumnTables::fit(symbols.numbers.data(), symbols.coded_rows(),
                                                      symbols.columns, symbols.columns, choice);
        tables.write(writer);
        now_is(bytes.tables);
        write_streams(symbols, tables.columns(), writer);
        now_is(bytes.payload);
        return;
      }
      case Coder::profile: {
        writer.u64(profile_->identity());
        now_is(bytes.header);
        write_streams(symbols, profile_->side(context.layer, context.side).tables.columns(), writer);
        now_is(bytes.payload);
        return;
      }
      case Coder::adaptive: {
        const Bytes stream = adaptive_encode_columns(symbols.numbers.data(), symbols.coded_rows(),
                                                     symbols.columns, symbols.columns);
        writer.varint(stream.size());
        writer.append(stream);
        now_is(bytes.payload);
        return;
      }
      case Coder::dense: {
        ByteWriter stream;
        write_dense(symbols, writer, stream);
        now_is(bytes.tables);
        writer.varint(stream.size());
        writer.append(stream.span());
        now_is(bytes.payload);
        return;
      }
    }
  }

  void read_record(ByteReader& reader, std::int64_t rows, std::int64_t columns, const KeyTurns& turns,
                   const RowContext& context, RowTaker taker, ByteWriter& coded, KvBytes& bytes) const {
    const std::string where =
        fmt::format("{} of layer {}, tokens from {}", context.side == KvSide::keys ? "keys" : "values",
                    context.layer, context.first_position);
    const std::size_t begin = reader.position();
    ByteReader whole = reader;  // the bytes of the record, once its end is known
    std::size_t before = begin;
    const auto now_is = [&](std::uint64_t& kind) {
      kind += reader.position() - before;
      before = reader.position();
    };
    const std::uint8_t head = reader.u8();
    now_is(bytes.header);
    if ((head & 7) > static_cast<std::uint8_t>(RowSymbols::Form::channel_bins) || head >> 6 != 0)
      reader.corrupt("rows in an unknown form");
    const auto form = static_cast<RowSymbols::Form>(head & 7);
    const auto coder = static_cast<Coder>(head >> 4 & 3);
    if (form == RowSymbols::Form::turned_mean &&
        (turns.rows != rows || turns.head_dim < 2 || columns % turns.head_dim != 0))
      reader.corrupt("turned keys where there are none");
    const RowSymbols symbols =
        RowSymbols::read_parameters(reader, form, (head & 8) != 0 ? DType::f32 : DType::f16, rows, columns);
    now_is(bytes.scales);
    switch (coder) {
      case Coder::tables: {
        if (symbols.coded_rows() == 0) {
          expand_symbols(symbols, turns, taker);
          break;
        }
        const ColumnTables tables = ColumnTables::read(reader, columns);
        now_is(bytes.tables);
        read_streams(reader, symbols, tables.columns(), turns, taker, where);
        now_is(bytes.payload);
        break;
      }
      case Coder::profile: {
        const std::uint64_t identity = reader.u64();
        now_is(bytes.header);
        if (profile_ == nullptr) reader.corrupt("tables of a profile where there is none");
        if (identity != profile_->identity()) reader.corrupt("tables of another profile");
        if (columns != profile_->columns()) reader.corrupt("rows of another width than the profile's");
        read_streams(reader, symbols, profile_->side(context.layer, context.side).tables.columns(), turns,
                     taker, where);
        now_is(bytes.payload);
        break;
      }
      case Coder::adaptive: {
        RowSymbols filled = symbols;
        filled.numbers.resize(static_cast<std::size_t>(symbols.coded_rows() * columns));
        adaptive_decode_columns(reader.take(reader.length(reader.remaining())), symbols.coded_rows(), columns,
                                filled.numbers.data(), where);
        now_is(bytes.payload);
        expand_symbols(filled, turns, taker);
        break;
      }
      case Coder::dense: {
        if (form != RowSymbols::Form::token_bins && form != RowSymbols::Form::channel_bins)
          reader.corrupt("dense tables of something else than bins");
        const std::size_t tables =
            static_cast<std::size_t>(columns) * 2 * static_cast<std::size_t>(2 * (symbols.bins / 2 - 1) + 2);
        read_dense(reader, symbols, turns, taker, where);
        bytes.tables += tables;
        before += tables;
        now_is(bytes.payload);
        break;
      }
    }
    coded.append(whole.take(reader.position() - begin));
  }

  std::string canonical_;
  CodedRowForm form_;
  std::shared_ptr<const RopeTable> rope_;
  std::shared_ptr<const CodingProfile> profile_;
};

float delta_step(double spread, double largest, float width) {
  // Rows that do not differ from each other still need a step; f32 counts whole steps only so far.
  if (spread == 0) spread = largest / 64;
  return static_cast<float>(std::max(spread * static_cast<double>(width), largest / most_number));
}

}  // namespace

CodedRowForm with_reference(CodedRowForm form, RowSymbols::Form reference) {
  if (form.mode != CodedRowForm::Mode::delta) return form;
  form.delta_keys = form.delta_values =
      reference == RowSymbols::Form::anchors ? CodedRowForm::Reference::yes : CodedRowForm::Reference::no;
  form.turned_mean = reference == RowSymbols::Form::turned_mean;
  return form;
}

RowSymbols row_symbols(const float* x, std::int64_t rows, std::int64_t columns, const CodedRowForm& form,
                       const RowContext& context, const KeyTurns& turns) {
  using Form = CodedRowForm;
  const DType dtype = form.f32_parameters ? DType::f32 : DType::f16;
  const bool keys = context.side == KvSide::keys;
  if (form.mode == Form::Mode::direct) {
    const int bins = form.unscaled_bins
                         ? level_bins_unscaled(form.level, context.side, context.layer)
                         : level_bins(form.bins, form.level, context.side, context.layer, context.layers);
    return bin_symbols(x, rows, columns, bins, keys && form.channel_scale, dtype);
  }
  const RowSpread spread = spread_of(x, rows, columns, form.group, turns);
  const float width =
      level_step(form.level) * (form.layer_steps ? third_step(context.layer, context.layers) : 1.0f);
  const Form::Reference wish = keys ? form.delta_keys : form.delta_values;
  const bool turn = form.turned_mean && wish != Form::Reference::yes && spread.turned_mean >= 0 &&
                    spread.turned_mean < spread.plain;
  const double without = turn ? spread.turned_mean : spread.plain;
  const bool anchors = wish == Form::Reference::yes ||
                       (wish == Form::Reference::automatic &&
                        spread.anchors < delta_pays_below * spread.plain && spread.anchors < without);
  if (anchors) {
    // Largest delta: at most twice the largest number.
    const float step = delta_step(spread.delta_deviation, 2 * spread.largest, width);
    return anchor_symbols(x, rows, columns, form.group, {&step, 1}, dtype);
  }
  const float step = delta_step(std::sqrt(without), spread.largest * 2, width);
  if (turn) return turned_symbols(x, rows, columns, turns, {&step, 1}, dtype);
  return plain_symbols(x, rows, columns, {&step, 1}, dtype);
}

std::shared_ptr<const RowCodec> coded_row_codec(std::string canonical, CodedRowForm form,
                                                std::shared_ptr<const RopeTable> rope,
                                                std::shared_ptr<const CodingProfile> profile) {
  return std::make_shared<CodedRowCodec>(std::move(canonical), form, std::move(rope), std::move(profile));
}

}  // namespace laconic
