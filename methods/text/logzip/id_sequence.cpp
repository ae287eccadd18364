#include "methods/text/logzip/id_sequence.h"

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/coding/symbol_mixing.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic::logzip {
namespace {

// Symbols are 0, "one not seen yet", and the numbers of those seen. Where counts are told, they say how often
// each occurs.
SymbolTree symbol_tree(std::span<const IdCount> distinct, bool told) {
  if (!told) return SymbolTree::even(static_cast<int>(std::bit_width(distinct.size())));
  std::vector<std::uint64_t> counts{distinct.size()};
  for (const IdCount& one : distinct) counts.push_back(one.lines - 1);
  return SymbolTree::by_counts(counts);
}

Bytes mixed_symbols(std::span<const std::uint32_t> numbers, std::span<const IdCount> distinct) {
  const SymbolTree tree = symbol_tree(distinct, numbers.size() >= counted_ids);
  SymbolMixingEncoder encoder(tree, numbers.size());
  std::uint32_t seen = 0;
  for (const std::uint32_t number : numbers) {
    encoder.put(number > seen ? 0 : number, number);
    seen = std::max(seen, number);
  }
  return encoder.take();
}

std::size_t plain_width(std::size_t distinct) { return distinct <= 256 ? 1 : distinct <= 65536 ? 2 : 3; }

Bytes plain_symbols(std::span<const std::uint32_t> numbers, std::size_t distinct) {
  Bytes planes(plain_width(distinct) * numbers.size());
  for (std::size_t i = 0; i < planes.size(); ++i)
    planes[i] = static_cast<std::byte>((numbers[i % numbers.size()] - 1) >> 8 * (i / numbers.size()));
  return zstd_compress(planes, 3);
}

}  // namespace

Bytes encode_ids(std::span<const std::uint32_t> ids, IdCoding coding) {
  std::unordered_map<std::uint32_t, std::uint32_t> known;
  std::vector<std::uint32_t> numbers(ids.size());
  std::vector<IdCount> distinct;
  ByteWriter writer, firsts;
  std::int64_t previous = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto [at, is_new] = known.try_emplace(ids[i], static_cast<std::uint32_t>(known.size() + 1));
    numbers[i] = at->second;
    if (is_new) {
      firsts.signed_varint(ids[i] - previous);
      previous = ids[i];
      distinct.push_back({ids[i], 0});
    }
    ++distinct[numbers[i] - 1].lines;
  }
  const bool plain = coding == IdCoding::plain;
  writer.varint(2 * known.size() + (plain ? 1 : 0));
  writer.append(firsts.span());
  if (known.size() <= 1) return writer.take();
  if (ids.size() >= counted_ids)
    for (std::size_t i = 0; i + 1 < distinct.size(); ++i) writer.varint(distinct[i].lines);
  writer.append(plain ? plain_symbols(numbers, known.size()) : mixed_symbols(numbers, distinct));
  return writer.take();
}

IdSequence::IdSequence(ByteSpan bytes, std::size_t count, std::uint32_t limit, std::string where)
    : count_(count), where_(std::move(where)) {
  ByteReader reader(bytes, where_);
  const std::uint64_t head = reader.varint(), distinct = head / 2;
  coding_ = head % 2 != 0 ? IdCoding::plain : IdCoding::mixed;
  if (distinct > std::min<std::uint64_t>(count, limit)) reader.corrupt("more template ids than there can be");
  if ((distinct == 0) != (count == 0)) reader.corrupt("no template ids for the lines of a block");
  std::int64_t previous = 0;
  for (std::uint64_t i = 0; i < distinct; ++i) {
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
  if (distinct <= 1) {
    reader.expect_end();
    if (distinct == 1) distinct_[0].lines = static_cast<std::uint32_t>(count);
    if (distinct == 1) ids_.assign(count, distinct_[0].id);
    counted_ = decoded_ = true;
    return;
  }
  if (count >= counted_ids) {
    std::uint64_t left = count;
    for (std::size_t i = 0; i + 1 < distinct_.size(); ++i) {
      distinct_[i].lines = static_cast<std::uint32_t>(reader.length(left));
      left -= distinct_[i].lines;
      if (distinct_[i].lines == 0) reader.corrupt("a template id without lines");
    }
    if (left == 0) reader.corrupt("a template id without lines");
    distinct_.back().lines = static_cast<std::uint32_t>(left);
    counted_ = true;
  }
  coded_ = reader.take(reader.remaining());
}

const std::vector<IdCount>& IdSequence::counts() {
  if (!counted_) ids();
  return distinct_;
}

const std::vector<std::uint32_t>& IdSequence::ids() {
  if (decoded_) return ids_;
  if (coding_ == IdCoding::plain) {
    decode_plain();
  } else {
    decode_mixed();
  }
  count_ids();
  decoded_ = true;
  return ids_;
}

void IdSequence::decode_mixed() {
  const SymbolTree tree = symbol_tree(distinct_, counted_);
  SymbolMixingDecoder decoder(tree, count_, coded_, where_);
  ids_.resize(count_);
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

void IdSequence::decode_plain() {
  const std::size_t width = plain_width(distinct_.size());
  Bytes planes(width * count_);
  zstd_expand(coded_, planes, where_);
  ids_.assign(count_, 0);
  for (std::size_t i = 0; i < planes.size(); ++i)
    ids_[i % count_] |= static_cast<std::uint32_t>(planes[i]) << 8 * (i / count_);
  for (const std::uint32_t number : ids_)
    if (number >= distinct_.size()) fail(ErrorKind::corrupt, "a template id that does not exist", where_);
}

// From numbers by first use to ids; what was told of their counts is checked.
void IdSequence::count_ids() {
  std::vector<std::uint32_t> lines(distinct_.size());
  for (std::uint32_t& id : ids_) {
    ++lines[id];
    id = distinct_[id].id;
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (counted_ && lines[i] != distinct_[i].lines)
      fail(ErrorKind::corrupt, "another number of lines of a template than was told", where_);
    distinct_[i].lines = lines[i];
  }
  counted_ = true;
}

}  // namespace laconic::logzip
