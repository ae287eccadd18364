#include "engine/column/column_decoder.h"

#include <algorithm>
#include <limits>

#include "engine/coding/integer_codes.h"
#include "engine/column/column_codes.h"
#include "engine/column/dictionary_codec.h"
#include "engine/column/fixed_bytes_codec.h"
#include "engine/column/joined_numbers.h"
#include "engine/column/number_codec.h"
#include "engine/column/text_codec.h"
#include "engine/column/value_pattern.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;
constexpr std::uint64_t farthest_reference = 1 << 20;
constexpr std::uint64_t end_bytes = sizeof(std::uint32_t);    // of a value's end
constexpr std::uint64_t number_bytes = sizeof(std::int64_t);  // of a number before it is text
constexpr std::uint64_t column_bytes = 128;                   // of a column without its values, about

}  // namespace

std::uint64_t decoding_budget(std::size_t columns, std::uint64_t value_bytes) {
  // Words, patterns and exceptions are made beside the values they become, at several levels of splitting:
  // the encoder's take up to 12 bytes for one byte of a value, where all words are short.
  constexpr std::uint64_t copies = 20;
  constexpr std::uint64_t some_bytes = 1 << 14;
  constexpr std::uint64_t bytes_of_words = 64;
  constexpr std::uint64_t most_columns = 1 << 16;
  // Ends have 32 bits.
  constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
  const std::uint64_t words = bytes_of_words * std::min<std::uint64_t>(columns, most_columns);
  return std::min(most, copies * (std::min(value_bytes, most) + words + some_bytes));
}

std::size_t ColumnDecoder::take(std::span<const Sibling> siblings,
                                std::vector<std::shared_ptr<const ColumnText>>& out, int depth) {
  const Sibling& first = siblings.front();
  if (first.rows > 0 && first.group != nullptr && in_[Kind::descriptor].remaining() > 0 &&
      in_[Kind::descriptor].peek() == column_code::joined) {
    in_[Kind::descriptor].byte();
    return take_joined(siblings, out);
  }
  auto values = first.wanted ? std::make_shared<ColumnText>() : nullptr;
  if (first.rows > 0) take_one({first.rows, first.group, first.owner, depth}, values.get());
  if (first.rows > 0) join_group(first.group, {values, first.owner});
  out.push_back(std::move(values));
  return 1;
}

void ColumnDecoder::take_one(const Place& place, ColumnText* out) {
  if (place.rows == 0) return;
  if (place.depth > deepest_column) in_[Kind::descriptor].corrupt("columns are nested too deeply");
  // Also when they are not wanted: the time to read past them is bounded as well.
  in_.claim(column_bytes + end_bytes * place.rows);
  if (out != nullptr) out->ends.reserve(place.rows);
  take_by_code(in_[Kind::descriptor].byte(), place, out);
}

void ColumnDecoder::take_by_code(std::uint8_t code, const Place& place, ColumnText* out) {
  using namespace column_code;
  if (code <= constant_with_length) {
    take_constant(in_, code == constant_with_length, place.rows, out);
  } else if (code < transposed) {
    take_values(in_, Kind::text, static_cast<TextLayout>(code - text), place.rows, out);
  } else if (code == transposed) {
    take_transposed(in_, place.rows, out);
  } else if (code < dictionary) {
    take_fixed_bytes(in_, code, place.rows, out);
  } else if (code < equal) {
    take_dictionary(in_, code, place.rows, out);
  } else if (code == equal) {
    take_equal(place, out);
  } else if (code <= mapped) {
    take_predicted(static_cast<Prediction>(code - equal_but_for), place, out);
  } else if (code <= split_at_borders || (code >= split_from_end && code < end_of_splits)) {
    take_split(code >= split_from_end, place, out);
  } else if (code >= plain_numbers && code < end_of_numbers) {
    take_number_column(code, place, out);
  } else {
    in_[Kind::descriptor].corrupt("unknown codec");
  }
}

const DecodedColumn& ColumnDecoder::referred(const Place& place) {
  const std::uint64_t distance = in_[Kind::descriptor].number(farthest_reference);
  if (place.group == nullptr || distance == 0 || distance > place.group->size()) {
    in_[Kind::descriptor].corrupt("a column refers to one that is not there");
  }
  const DecodedColumn& column = place.group->back(distance);
  references_.push_back(column.owner);
  return column;
}

void ColumnDecoder::join_group(DecodedGroup* group, DecodedColumn column) {
  if (group != nullptr && !group->add(std::move(column)))
    in_[Kind::descriptor].corrupt("columns in streams of their own are more than was said");
}

ColumnView ColumnDecoder::values_of(const DecodedColumn& column, const Place& place) {
  if (column.values == nullptr || column.values->size() != place.rows) {
    in_[Kind::descriptor].corrupt("a column refers to one of another height");
  }
  return column.values->view();
}

void ColumnDecoder::take_number_column(std::uint8_t code, const Place& place, ColumnText* out) {
  const bool plain = code < column_code::formatted_numbers;
  const auto form =
      static_cast<std::uint8_t>(code - (plain ? column_code::plain_numbers : column_code::formatted_numbers));
  const std::optional<NumberFormat> format =
      plain ? NumberFormat{} : NumberFormat::from_byte(in_[Kind::descriptor].byte());
  if (!format) in_[Kind::descriptor].corrupt("unknown format of numbers");
  LinearReference reference;
  std::optional<NumberColumn> other;
  if (form_is_linear(form)) {
    const DecodedColumn& column = referred(place);
    reference.factor = undo_zig_zag(in_[Kind::descriptor].varint());
    if (out != nullptr) {
      other = read_numbers(values_of(column, place));
      if (!other) in_[Kind::descriptor].corrupt("a column of numbers refers to one of texts");
      reference.values = other->values;
    }
  }
  if (out == nullptr) {
    skip_numbers(in_, form, place.rows);
    return;
  }
  in_.claim(number_bytes * place.rows);
  for (const std::int64_t value : take_numbers(in_, form, place.rows, reference)) {
    const std::size_t before = out->bytes.size();
    append_number(out->bytes, value, *format);
    out->end_value();
    in_.claim(out->bytes.size() - before);
  }
}

void ColumnDecoder::take_equal(const Place& place, ColumnText* out) {
  const DecodedColumn& column = referred(place);
  if (out == nullptr) return;
  values_of(column, place);
  in_.claim(column.values->bytes.size());
  *out = *column.values;
}

void ColumnDecoder::take_predicted(Prediction prediction, const Place& place, ColumnText* out) {
  const DecodedColumn column = referred(place);
  const PredictedRuns runs = take_runs(in_, prediction, place.rows);
  ColumnText exceptions;
  take_one({runs.exceptions(), nullptr, place.owner, place.depth + 1},
           out == nullptr ? nullptr : &exceptions);
  if (out != nullptr)
    fill_predicted(in_, values_of(column, place), prediction, runs, exceptions.view(), *out);
}

// Patterns are decoded also when the values are not wanted: they tell how many rows the words have.
void ColumnDecoder::take_split(bool from_end, const Place& place, ColumnText* out) {
  ColumnText patterns;
  take_one({place.rows, nullptr, place.owner, place.depth + 1}, &patterns);
  const auto words = take_words(from_end, place, patterns.view(), out != nullptr);
  if (out == nullptr) return;
  std::uint64_t size = patterns.bytes.size();
  std::vector<ColumnView> views;
  for (const auto& word : words) {
    views.push_back(word->view());
    size += word->bytes.size();
  }
  in_.claim(size);
  join_words(patterns.view(), views, from_end, *out);
}

std::vector<std::shared_ptr<const ColumnText>> ColumnDecoder::take_words(bool from_end, const Place& place,
                                                                         ColumnView patterns, bool wanted) {
  // rows[j]: how many values have more than j words.
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < patterns.size(); ++row) {
    const std::size_t words = words_of_pattern(patterns[row]);
    if (words > most_words) in_[Kind::descriptor].corrupt("a value of too many words");
    if (words > rows.size()) rows.resize(words);
    ++rows[words - 1];
  }
  for (std::size_t j = rows.size(); j-- > 1;) rows[j - 1] += rows[j];
  if (from_end) std::ranges::fill(rows, place.rows);
  std::vector<Sibling> siblings;
  for (const std::size_t count : rows) {
    siblings.push_back({count, count == place.rows ? place.group : nullptr, wanted, place.owner});
  }
  if (from_end) std::ranges::reverse(siblings);
  std::vector<std::shared_ptr<const ColumnText>> words;
  while (words.size() < siblings.size()) {
    take(std::span(siblings).subspan(words.size()), words, place.depth + 1);
  }
  if (from_end) std::ranges::reverse(words);
  return words;
}

std::size_t ColumnDecoder::take_joined(std::span<const Sibling> siblings,
                                       std::vector<std::shared_ptr<const ColumnText>>& out) {
  JoinedNumbers joined = take_joined_format(in_);
  const std::size_t columns = joined.formats.size();
  const Sibling& first = siblings.front();
  bool wanted = false;
  for (std::size_t j = 0; j < columns; ++j) {
    if (j >= siblings.size() || siblings[j].rows != first.rows || siblings[j].group != first.group) {
      in_[Kind::descriptor].corrupt("numbers are joined that have no rows in common");
    }
    wanted = wanted || siblings[j].wanted;
  }
  const std::uint8_t form = in_[Kind::descriptor].byte();
  if (form_is_linear(form)) in_[Kind::descriptor].corrupt("joined numbers refer to others");
  in_.claim(columns * (column_bytes + end_bytes * first.rows));
  std::vector<std::shared_ptr<ColumnText>> values(columns);
  std::vector<ColumnText*> outs(columns, nullptr);
  if (wanted) {
    for (std::size_t j = 0; j < columns; ++j) {
      if (!siblings[j].wanted) continue;
      values[j] = std::make_shared<ColumnText>();
      values[j]->ends.reserve(first.rows);
      outs[j] = values[j].get();
    }
    in_.claim(number_bytes * first.rows);
    joined.values = take_numbers(in_, form, first.rows);
    part_numbers(in_, std::move(joined), outs);
  } else {
    skip_numbers(in_, form, first.rows);
  }
  for (std::size_t j = 0; j < columns; ++j) {
    join_group(first.group, {values[j], siblings[j].owner});
    out.push_back(std::move(values[j]));
  }
  return columns;
}

}  // namespace laconic
