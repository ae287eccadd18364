#include "methods/text/logzip/id_sequence.h"

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/coding/symbol_mixing.h"
#include "engine/coding/zstd_bytes.h"
#include "methods/text/logzip/id_counts.h"

namespace laconic::logzip {
namespace {

struct NumberedIds {
  std::vector<std::uint32_t> ids;      // distinct
  std::vector<std::uint32_t> numbers;  // of the sequence, places among them
};

NumberedIds by_first_use(std::span<const std::uint32_t> ids) {
  NumberedIds numbered;
  std::unordered_map<std::uint32_t, std::uint32_t> known;
  numbered.numbers.reserve(ids.size());
  for (const std::uint32_t id : ids) {
    const auto [at, is_new] = known.try_emplace(id, static_cast<std::uint32_t>(known.size()));
    if (is_new) numbered.ids.push_back(id);
    numbered.numbers.push_back(at->second);
  }
  return numbered;
}

NumberedIds ascending(NumberedIds numbered) {
  std::vector<std::uint32_t> order(numbered.ids.size()), place(numbered.ids.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](std::uint32_t i) { return numbered.ids[i]; });
  for (std::uint32_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  for (std::uint32_t& number : numbered.numbers) number = place[number];
  std::ranges::sort(numbered.ids);
  return numbered;
}

// Symbols are 0, "one not seen yet", and the numbers of those seen.
SymbolTree first_use_tree(std::size_t distinct) {
  return SymbolTree::even(static_cast<int>(std::bit_width(distinct)));
}

Bytes mixed_by_first_use(std::span<const std::uint32_t> numbers, std::size_t distinct) {
  const SymbolTree tree = first_use_tree(distinct);
  SymbolMixingEncoder encoder(tree, numbers.size());
  std::uint32_t seen = 0;
  for (const std::uint32_t number : numbers) {
    encoder.put(number >= seen ? 0 : number + 1, number + 1);
    seen = std::max(seen, number + 1);
  }
  return encoder.take();
}

// By place among the distinct ids.
std::vector<bool> headers_of(std::span<const std::uint32_t> ids, const HasHeader& has_header) {
  std::vector<bool> with_header;
  for (const std::uint32_t id : ids) with_header.push_back(has_header && has_header(id));
  return with_header;
}

SymbolTree run_tree(std::span<const std::uint32_t> lines, const std::vector<bool>& with_header) {
  return SymbolTree::by_kinds(std::vector<std::uint64_t>(lines.begin(), lines.end()), with_header);
}

Bytes mixed_run(std::span<const std::uint32_t> numbers, std::span<const std::uint32_t> lines,
                const std::vector<bool>& with_header) {
  const SymbolTree tree = run_tree(lines, with_header);
  SymbolMixingEncoder encoder(tree, numbers.size());
  for (const std::uint32_t number : numbers) encoder.put(number, number + 1);
  return encoder.take();
}

std::size_t plain_width(std::size_t distinct) { return distinct <= 256 ? 1 : distinct <= 65536 ? 2 : 3; }

Bytes plain_symbols(std::span<const std::uint32_t> numbers, std::size_t distinct) {
  Bytes planes(plain_width(distinct) * numbers.size());
  for (std::size_t i = 0; i < planes.size(); ++i)
    planes[i] = static_cast<std::byte>(numbers[i % numbers.size()] >> 8 * (i / numbers.size()));
  return zstd_compress(planes, 3);
}

void write_short(const NumberedIds& numbered, IdCoding coding, ByteWriter& writer) {
  std::int64_t previous = 0;
  for (const std::uint32_t id : numbered.ids) {
    writer.signed_varint(id - previous);
    previous = id;
  }
  if (numbered.ids.size() < 2) return;
  writer.append(coding == IdCoding::plain ? plain_symbols(numbered.numbers, numbered.ids.size())
                                          : mixed_by_first_use(numbered.numbers, numbered.ids.size()));
}

void write_long(const NumberedIds& numbered, IdCoding coding, const HasHeader& has_header,
                ByteWriter& writer) {
  const std::size_t count = numbered.numbers.size(), distinct = numbered.ids.size(),
                    runs = coding == IdCoding::plain ? 1 : id_runs(count);
  const auto begin = [&](std::size_t run) { return run_begin(count, runs, run); };
  IdRunCounts counts{numbered.ids, {}};
  for (std::size_t run = 0; run < runs; ++run) {
    std::vector<std::uint32_t>& lines = counts.lines.emplace_back(distinct);
    for (std::size_t i = begin(run); i < begin(run + 1); ++i) ++lines[numbered.numbers[i]];
  }
  write_id_counts(counts, writer);
  if (coding == IdCoding::plain) return writer.append(plain_symbols(numbered.numbers, distinct));
  const std::span<const std::uint32_t> numbers = numbered.numbers;
  const std::vector<bool> with_header = headers_of(numbered.ids, has_header);
  ByteWriter coded;
  for (std::size_t run = 0; run < runs; ++run) {
    const Bytes one =
        mixed_run(numbers.subspan(begin(run), begin(run + 1) - begin(run)), counts.lines[run], with_header);
    if (run + 1 < runs) writer.varint(one.size());
    coded.append(one);
  }
  writer.append(coded.span());
}

}  // namespace

Bytes encode_ids(std::span<const std::uint32_t> ids, IdCoding coding, const HasHeader& has_header) {
  NumberedIds numbered = by_first_use(ids);
  ByteWriter writer;
  writer.varint(2 * numbered.ids.size() + (coding == IdCoding::plain ? 1 : 0));
  if (ids.size() < counted_ids || numbered.ids.size() < 2) {
    write_short(numbered, coding, writer);
  } else {
    write_long(ascending(std::move(numbered)), coding, has_header, writer);
  }
  return writer.take();
}

IdSequence::IdSequence(ByteSpan bytes, std::size_t count, std::uint32_t limit, std::string where,
                       const HasHeader& has_header)
    : count_(count), where_(std::move(where)) {
  ByteReader reader(bytes, where_);
  const std::uint64_t head = reader.varint(), distinct = head / 2;
  coding_ = head % 2 != 0 ? IdCoding::plain : IdCoding::mixed;
  if (distinct > std::min<std::uint64_t>(count, limit)) reader.corrupt("more template ids than there can be");
  if ((distinct == 0) != (count == 0)) reader.corrupt("no template ids for the lines of a block");
  if (count < counted_ids || distinct < 2) {
    read_short(reader, static_cast<std::size_t>(distinct), limit);
  } else {
    read_long(reader, static_cast<std::size_t>(distinct), limit, has_header);
  }
}

void IdSequence::read_short(ByteReader& reader, std::size_t distinct, std::uint32_t limit) {
  std::int64_t previous = 0;
  for (std::size_t i = 0; i < distinct; ++i) {
    const std::int64_t difference = reader.signed_varint();
    if (difference < -std::int64_t{limit} || difference > limit) reader.corrupt("a template id out of range");
    previous += difference;
    if (previous < 0 || previous >= limit) reader.corrupt("a template id out of range");
    distinct_.push_back({static_cast<std::uint32_t>(previous), 0});
  }
  std::vector<std::uint32_t> sorted;
  for (const IdCount& one : distinct_) sorted.push_back(one.id);
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) reader.corrupt("a template id is told twice");
  coded_ = {reader.take(reader.remaining())};
  decoded_ = {distinct < 2};
  if (distinct >= 2) return;
  if (!coded_[0].empty()) reader.corrupt("bytes behind the ids of lines that all have one");
  if (distinct == 1) distinct_[0].lines = static_cast<std::uint32_t>(count_);
  if (distinct == 1) ids_.assign(count_, distinct_[0].id);
  counted_ = true;
}

void IdSequence::read_long(ByteReader& reader, std::size_t distinct, std::uint32_t limit,
                           const HasHeader& has_header) {
  const std::size_t runs = coding_ == IdCoding::plain ? 1 : id_runs(count_);
  IdRunCounts told = read_id_counts(reader, distinct, count_, runs, limit, where_);
  for (const std::uint32_t id : told.ids) distinct_.push_back({id, 0});
  with_header_ = headers_of(told.ids, has_header);
  for (const auto& lines : told.lines)
    for (std::size_t i = 0; i < distinct; ++i) distinct_[i].lines += lines[i];
  lines_ = std::move(told.lines);
  counted_ = true;
  std::vector<std::size_t> lengths;
  for (std::size_t run = 0; run + 1 < runs; ++run)
    lengths.push_back(static_cast<std::size_t>(reader.length(reader.remaining())));
  for (const std::size_t length : lengths) coded_.push_back(reader.take(length));
  coded_.push_back(reader.take(reader.remaining()));
  decoded_.resize(runs);
}

std::size_t IdSequence::begin_of(std::size_t run) const { return run_begin(count_, decoded_.size(), run); }

const std::vector<IdCount>& IdSequence::counts() {
  if (!counted_) ids();
  return distinct_;
}

const std::vector<std::uint32_t>& IdSequence::ids() {
  for (std::size_t run = 0; run < decoded_.size(); ++run) decode(run);
  return ids_;
}

IdRun IdSequence::run_at(std::size_t line) {
  require(line < count_, "a line of the sequence");
  std::size_t run = line * decoded_.size() / count_;
  while (begin_of(run) > line) --run;
  while (begin_of(run + 1) <= line) ++run;
  decode(run);
  return {begin_of(run), std::span(ids_).subspan(begin_of(run), begin_of(run + 1) - begin_of(run))};
}

std::vector<IdCount> IdSequence::counts_before(const IdRun& run) const {
  std::vector<IdCount> before;
  if (run.first == 0) return before;
  for (const IdCount& one : distinct_) before.push_back({one.id, 0});
  for (std::size_t r = 0; begin_of(r) < run.first; ++r)
    for (std::size_t i = 0; i < before.size(); ++i) before[i].lines += lines_[r][i];
  return before;
}

void IdSequence::decode(std::size_t run) {
  if (decoded_[run]) return;
  ids_.resize(count_);
  if (coding_ == IdCoding::plain) {
    decode_plain();
  } else if (lines_.empty()) {
    decode_by_first_use();
  } else {
    decode_mixed(run);
  }
  count_ids(run);
  decoded_[run] = true;
}

void IdSequence::decode_by_first_use() {
  const SymbolTree tree = first_use_tree(distinct_.size());
  SymbolMixingDecoder decoder(tree, count_, coded_[0], where_);
  std::uint32_t seen = 0;
  for (std::uint32_t& id : ids_) {
    const std::uint32_t symbol = decoder.take();
    if (symbol > seen || (symbol == 0 && seen == distinct_.size()))
      fail(ErrorKind::corrupt, "a template id that was not introduced", where_);
    const std::uint32_t number = symbol == 0 ? ++seen : symbol;
    decoder.stands_for(number);
    id = number - 1;
  }
  decoder.expect_end();
}

void IdSequence::decode_mixed(std::size_t run) {
  const std::size_t begin = begin_of(run), end = begin_of(run + 1);
  const SymbolTree tree = run_tree(lines_[run], with_header_);
  SymbolMixingDecoder decoder(tree, end - begin, coded_[run], where_);
  for (std::size_t i = begin; i < end; ++i) {
    ids_[i] = decoder.take();
    decoder.stands_for(ids_[i] + 1);
  }
  decoder.expect_end();
}

void IdSequence::decode_plain() {
  Bytes planes(plain_width(distinct_.size()) * count_);
  zstd_expand(coded_[0], planes, where_);
  ids_.assign(count_, 0);
  for (std::size_t i = 0; i < planes.size(); ++i)
    ids_[i % count_] |= static_cast<std::uint32_t>(planes[i]) << 8 * (i / count_);
  for (const std::uint32_t number : ids_)
    if (number >= distinct_.size()) fail(ErrorKind::corrupt, "a template id that does not exist", where_);
}

// From numbers to ids; what was told of their counts is checked.
void IdSequence::count_ids(std::size_t run) {
  std::vector<std::uint32_t> lines(distinct_.size());
  for (std::size_t i = begin_of(run); i < begin_of(run + 1); ++i) {
    ++lines[ids_[i]];
    ids_[i] = distinct_[ids_[i]].id;
  }
  if (counted_ && lines != lines_[run])
    fail(ErrorKind::corrupt, "another number of lines of a template than was told", where_);
  for (std::size_t i = 0; !counted_ && i < lines.size(); ++i) distinct_[i].lines = lines[i];
  counted_ = true;
}

}  // namespace laconic::logzip
