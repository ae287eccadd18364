#include "engine/column/column_encoder.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/error.h"
#include "engine/coding/integer_codes.h"
#include "engine/column/column_attempt.h"
#include "engine/column/column_codes.h"
#include "engine/column/dictionary_codec.h"
#include "engine/column/fixed_bytes_codec.h"
#include "engine/column/prediction_codec.h"
#include "engine/column/text_codec.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;

constexpr std::size_t most_words_at_borders = 12;
constexpr std::size_t farthest_equal = 127;  // how far back a column may look for one that equals it
constexpr std::size_t near_facts = 64;       // columns farther back are looked at for equal values only

// Words of letters and digits at random, as hexadecimal ones, have many borders and are no words.
bool few_patterns(ColumnFacts& patterns) {
  return patterns.has_dictionary() && patterns.numbered().table.size() <= 16 + patterns.rows() / 16;
}

ColumnFacts& column_back(const AlignedColumns& group, std::size_t distance) {
  return *group[group.size() - distance];
}

// The last columns of the group, all that one may refer to.
AlignedColumns end_of_group(const AlignedColumns& group) {
  return {group.end() - static_cast<std::ptrdiff_t>(std::min(group.size(), farthest_equal)), group.end()};
}

// After `added` columns joined the group: what is too far back to be of use is let go.
void let_go_of_far_columns(AlignedColumns& group, std::size_t added) {
  for (std::size_t i = 1; i <= added && near_facts + i <= group.size(); ++i) {
    group[group.size() - near_facts - i]->forget();
  }
  for (std::size_t i = 1; i <= added && farthest_equal + i <= group.size(); ++i) {
    group[group.size() - farthest_equal - i].reset();
  }
}

}  // namespace

std::vector<ColumnEncoder::Unit> ColumnEncoder::encode(std::span<const Sibling> siblings, int depth) {
  std::vector<Coded> coded;
  for (const Sibling& sibling : siblings) {
    coded.push_back(encode_one(*sibling.column, sibling.group, depth));
    // What is on trial inside a column does not count as seen.
    if (depth == 0) costs_.learn(coded.back().parts);
    if (sibling.group == nullptr || sibling.column->rows() == 0) continue;
    AlignedColumns added = std::exchange(coded.back().words, {});
    added.push_back(sibling.column);
    coded.back().entries = added.size();
    sibling.group->insert(sibling.group->end(), added.begin(), added.end());
    if (depth == 0) let_go_of_far_columns(*sibling.group, added.size());
  }
  if (options_.deltas) join_siblings(siblings, coded, depth == 0);
  std::vector<Unit> units;
  for (std::size_t j = 0; j < coded.size(); j += coded[j].columns) {
    units.push_back({std::move(coded[j].parts), coded[j].columns, coded[j].entries});
  }
  return units;
}

ColumnEncoder::Coded ColumnEncoder::encode_one(ColumnFacts& column, const AlignedColumns* group, int depth) {
  Coded coded;
  if (column.rows() == 0) return coded;
  if (column.constant()) {
    const std::string_view value = column.view()[0];
    const bool with_length = value.find('\n') != std::string_view::npos;
    coded.parts.put_byte(Kind::descriptor,
                         with_length ? column_code::constant_with_length : column_code::constant);
    put_constant(coded.parts, value, with_length);
    coded.cost = costs_.cost(coded.parts);
    return coded;
  }
  if (std::optional<Coded> equal = encode_equal(column, group)) return std::move(*equal);
  if (column.rows() <= options_.sample_rows) {
    return std::move(ranked(column, group, depth).front().coded);
  }
  ColumnFacts& sample = column.head(options_.sample_rows);
  for (const Trial& trial : ranked(sample, group, depth)) {
    std::optional<Coded> whole = encode_by(trial.attempt, column, group, depth);
    if (!whole) continue;
    whole->cost = trial.coded.cost * column.rows() / sample.rows();
    return std::move(*whole);
  }
  // A sample may fit layouts that the whole column does not.
  coded = *encode_text({Attempt::Family::text, static_cast<std::uint8_t>(layout_of(column.view()))}, column);
  coded.cost = costs_.cost(coded.parts);
  return coded;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_equal(ColumnFacts& column,
                                                                const AlignedColumns* group) const {
  if (group == nullptr || !options_.cross_columns) return std::nullopt;
  for (std::size_t distance = 1; distance <= std::min(group->size(), farthest_equal); ++distance) {
    if (!column.equals(column_back(*group, distance))) continue;
    Coded coded;
    coded.parts.put_byte(Kind::descriptor, column_code::equal);
    coded.parts.put_varint(Kind::descriptor, distance);
    coded.cost = costs_.cost(coded.parts);
    return coded;
  }
  return std::nullopt;
}

std::vector<ColumnEncoder::Trial> ColumnEncoder::ranked(ColumnFacts& column, const AlignedColumns* group,
                                                        int depth) {
  std::vector<Trial> trials;
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  std::size_t best = 0;
  for (const Attempt& attempt : attempts_on(column, group, depth)) {
    std::optional<Coded> coded = encode_by(attempt, column, group, depth);
    if (!coded) continue;
    coded->cost = costs_.cost(coded->parts);
    // The parts of all trials together would be many times the column: only the best one keeps them.
    if (coded->cost < least) {
      if (!trials.empty()) trials[best].coded.let_go();
      least = coded->cost;
      best = trials.size();
    } else {
      coded->let_go();
    }
    trials.push_back({attempt, std::move(*coded)});
  }
  std::stable_sort(trials.begin(), trials.end(),
                   [](const Trial& a, const Trial& b) { return a.coded.cost < b.coded.cost; });
  require(!trials.empty(), "text fits every column");
  return trials;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_by(const Attempt& attempt, ColumnFacts& column,
                                                             const AlignedColumns* group, int depth) {
  switch (attempt.family) {
    case Attempt::Family::numbers:
      return encode_numbers(attempt, column, group);
    case Attempt::Family::dictionary:
      return encode_dictionary(column, false);
    case Attempt::Family::recent:
      return encode_dictionary(column, true);
    case Attempt::Family::predicted:
      return encode_predicted(attempt, column, group, depth);
    case Attempt::Family::split:
      return encode_split(attempt, column, group, depth);
    default:
      return encode_text(attempt, column);
  }
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_numbers(const Attempt& attempt, ColumnFacts& column,
                                                                  const AlignedColumns* group) const {
  const std::optional<NumberColumn>& numbers = column.numbers();
  if (!numbers) return std::nullopt;
  const auto transform = static_cast<NumberTransform>(attempt.form);
  LinearReference reference;
  if (transform == NumberTransform::linear) {
    const std::optional<NumberColumn>& other =
        column_back(*group, attempt.distance).head(column.rows()).numbers();
    if (!other) return std::nullopt;
    reference = {other->values, attempt.factor};
  }
  Coded coded;
  const std::optional<std::uint8_t> form =
      put_numbers(coded.parts, numbers->values, transform, attempt.packing, reference);
  if (!form) return std::nullopt;
  const bool plain = numbers->format.plain();
  coded.parts.put_byte(Kind::descriptor,
                       static_cast<std::uint8_t>(
                           *form + (plain ? column_code::plain_numbers : column_code::formatted_numbers)));
  if (!plain) coded.parts.put_byte(Kind::descriptor, numbers->format.to_byte());
  if (transform == NumberTransform::linear) {
    coded.parts.put_varint(Kind::descriptor, attempt.distance);
    coded.parts.put_varint(Kind::descriptor, zig_zag(attempt.factor));
  }
  return coded;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_dictionary(ColumnFacts& column, bool recent) const {
  if (!column.has_dictionary()) return std::nullopt;
  Coded coded;
  if (recent) {
    put_recent(coded.parts, column.numbered());
  } else {
    put_dictionary(coded.parts, column.numbered());
  }
  return coded;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_text(const Attempt& attempt,
                                                               ColumnFacts& column) const {
  Coded coded;
  if (attempt.family == Attempt::Family::fixed_bytes) {
    if (!put_fixed_bytes(coded.parts, column.view())) return std::nullopt;
    return coded;
  }
  if (attempt.family == Attempt::Family::transposed) {
    if (!common_length(column.view())) return std::nullopt;
    coded.parts.put_byte(Kind::descriptor, column_code::transposed);
    put_transposed(coded.parts, column.view());
    return coded;
  }
  const auto layout = static_cast<TextLayout>(attempt.form);
  if (layout == TextLayout::fixed && !common_length(column.view())) return std::nullopt;
  if (layout == TextLayout::terminated && column.view().text().find('\n') != std::string_view::npos) {
    return std::nullopt;
  }
  coded.parts.put_byte(Kind::descriptor, static_cast<std::uint8_t>(column_code::text + attempt.form));
  put_values(coded.parts, Kind::text, layout, column.view());
  return coded;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_predicted(const Attempt& attempt,
                                                                    ColumnFacts& column,
                                                                    const AlignedColumns* group, int depth) {
  const auto prediction = static_cast<Prediction>(attempt.form);
  Coded coded;
  coded.parts.put_byte(Kind::descriptor,
                       static_cast<std::uint8_t>(column_code::equal_but_for + attempt.form));
  coded.parts.put_varint(Kind::descriptor, attempt.distance);
  ColumnFacts exceptions(
      put_predicted(coded.parts, column, column_back(*group, attempt.distance), prediction));
  coded.parts.append(encode_one(exceptions, nullptr, depth + 1).parts);
  return coded;
}

std::optional<ColumnEncoder::Coded> ColumnEncoder::encode_split(const Attempt& attempt, ColumnFacts& column,
                                                                const AlignedColumns* group, int depth) {
  const auto rule = static_cast<SplitRule>(attempt.form);
  const bool borders = rule == SplitRule::borders;
  std::optional<SplitColumn> split =
      split_values(column.view(), rule, borders ? most_words_at_borders : most_words);
  if (!split || split->words.size() < 2) return std::nullopt;
  if (attempt.from_end && !align_words(*split)) return std::nullopt;
  ColumnFacts patterns(std::move(split->patterns));
  if (borders && !few_patterns(patterns)) return std::nullopt;
  std::vector<std::shared_ptr<ColumnFacts>> facts;
  for (ColumnText& word : split->words) facts.push_back(std::make_shared<ColumnFacts>(std::move(word)));
  if (attempt.from_end) {
    if (!later_word_tells(facts, column.rows())) return std::nullopt;
    std::ranges::reverse(facts);
  }
  Coded coded;
  coded.parts.put_byte(Kind::descriptor,
                       static_cast<std::uint8_t>((attempt.from_end ? column_code::split_from_end
                                                                   : column_code::split_at_delimiters) +
                                                 attempt.form));
  coded.parts.append(encode_one(patterns, nullptr, deepest_split).parts);
  // Words go into a copy of the group's end: they are there only if this split is what gets chosen.
  AlignedColumns inner;
  if (group != nullptr) inner = end_of_group(*group);
  const std::size_t before = inner.size();
  std::vector<Sibling> words;
  for (std::shared_ptr<ColumnFacts>& word : facts) {
    const bool aligned = group != nullptr && word->rows() == column.rows();
    words.push_back({std::move(word), aligned ? &inner : nullptr});
  }
  for (const Unit& unit : encode(words, depth + 1)) coded.parts.append(unit.parts);
  coded.words.assign(inner.begin() + static_cast<std::ptrdiff_t>(before), inner.end());
  return coded;
}

std::vector<ColumnEncoder::Attempt> ColumnEncoder::attempts_on(ColumnFacts& column,
                                                               const AlignedColumns* group, int depth) const {
  std::vector<Attempt> attempts;
  using Family = Attempt::Family;
  add_number_attempts(column, group, attempts);
  if (options_.dictionaries && column.has_dictionary()) {
    attempts.push_back({Family::dictionary});
    attempts.push_back({Family::recent});
  }
  if (group != nullptr && options_.cross_columns) add_prediction_attempts(column, *group, attempts);
  attempts.push_back({Family::fixed_bytes});
  attempts.push_back({Family::transposed});
  for (std::uint8_t layout = 0; layout < text_layouts; ++layout) {
    // Lengths beside the values are for what cannot be terminated.
    if (layout == 2 && column.view().text().find('\n') == std::string_view::npos) continue;
    attempts.push_back({Family::text, layout});
  }
  if (options_.sub_columns && depth < deepest_split) {
    // Words between delimiters are tried at their borders in their turn.
    const SplitRule rule = column.has_delimiters() ? SplitRule::delimiters : SplitRule::borders;
    attempts.push_back({Family::split, static_cast<std::uint8_t>(rule)});
    if (depth == 0 && group != nullptr && options_.cross_columns)
      attempts.push_back(
          {.family = Family::split, .form = static_cast<std::uint8_t>(rule), .from_end = true});
  }
  return attempts;
}

}  // namespace laconic
