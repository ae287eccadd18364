#include "runtime/cache/token_index.h"

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::int64_t most_classes = 16;
constexpr std::uint8_t alike = 4;  // added to the form where all of several heads have the same lists

std::vector<std::byte> bitmap_of(std::int64_t first, std::int64_t span,
                                 const TokenIndex::Positions& members) {
  std::vector<std::byte> bits(static_cast<std::size_t>((span + 7) / 8));
  for (const std::int32_t position : members) {
    const auto at = static_cast<std::size_t>(position - first);
    bits[at / 8] |= static_cast<std::byte>(1u << (at % 8));
  }
  return bits;
}

bool bit_at(const std::vector<std::byte>& bits, std::size_t at) {
  return (static_cast<unsigned>(bits[at / 8]) >> (at % 8) & 1u) != 0;
}

std::vector<std::byte> gaps_of(std::int64_t first, const std::vector<TokenIndex::Positions>& classes) {
  ByteWriter writer;
  for (const TokenIndex::Positions& members : classes) {
    std::int64_t next = first;
    for (const std::int32_t position : members) {
      writer.varint(static_cast<std::uint64_t>(position - next));
      next = position + 1;
    }
  }
  return writer.take();
}

}  // namespace

TokenIndex TokenIndex::run(std::int64_t heads, std::int64_t first, std::int64_t count) {
  require(heads > 0 && first >= 0 && count >= 0, "a run of tokens starts at a position");
  TokenIndex index;
  index.heads_ = heads;
  index.first_ = first;
  index.span_ = count;
  return index;
}

TokenIndex TokenIndex::listed(std::int64_t first, std::int64_t span,
                              const std::vector<std::vector<Positions>>& classes) {
  require(!classes.empty() && !classes.front().empty(), "an index lists at least one class of one head");
  TokenIndex index;
  index.heads_ = static_cast<std::int64_t>(classes.size());
  index.first_ = first;
  index.span_ = span;
  index.classes_ = static_cast<std::int64_t>(classes.front().size());
  bool splits_all = index.classes_ == 2;
  for (const std::vector<Positions>& head : classes) {
    require(head.size() == classes.front().size(), "all heads have the same classes");
    std::size_t members = 0;
    for (const Positions& list : head) members += list.size();
    splits_all = splits_all && members == static_cast<std::size_t>(span);
  }
  index.form_ = splits_all ? Form::bitmap : Form::lists;
  for (const std::vector<Positions>& head : classes) {
    Head entry;
    for (const Positions& list : head) entry.rows.push_back(static_cast<std::int64_t>(list.size()));
    entry.coded = splits_all ? bitmap_of(first, span, head.front()) : gaps_of(first, head);
    index.lists_.push_back(std::move(entry));
  }
  return index;
}

std::int64_t TokenIndex::rows(std::int64_t head) const {
  if (form_ == Form::run) return span_;
  const Head& entry = lists_.at(static_cast<std::size_t>(head));
  return std::accumulate(entry.rows.begin(), entry.rows.end(), std::int64_t{0});
}

std::int64_t TokenIndex::class_rows(std::int64_t head, std::int64_t which) const {
  if (form_ == Form::run) return span_;
  return lists_.at(static_cast<std::size_t>(head)).rows.at(static_cast<std::size_t>(which));
}

TokenIndex::Positions TokenIndex::positions(std::int64_t head) const {
  Positions all;
  if (form_ == Form::run) {
    all.resize(static_cast<std::size_t>(span_));
    std::iota(all.begin(), all.end(), static_cast<std::int32_t>(first_));
    return all;
  }
  const Head& entry = lists_.at(static_cast<std::size_t>(head));
  if (form_ == Form::bitmap) {
    for (const bool wanted : {true, false}) {
      for (std::int64_t i = 0; i < span_; ++i) {
        if (bit_at(entry.coded, static_cast<std::size_t>(i)) == wanted)
          all.push_back(static_cast<std::int32_t>(first_ + i));
      }
    }
    return all;
  }
  ByteReader reader(entry.coded);
  for (const std::int64_t count : entry.rows) {
    std::int64_t next = first_;
    for (std::int64_t i = 0; i < count; ++i) {
      next += static_cast<std::int64_t>(reader.varint());
      all.push_back(static_cast<std::int32_t>(next++));
    }
  }
  return all;
}

std::span<const TokenIndex::Head> TokenIndex::written() const {
  const bool same =
      std::all_of(lists_.begin(), lists_.end(), [&](const Head& entry) { return entry == lists_.front(); });
  return std::span(lists_).first(same && lists_.size() > 1 ? 1 : lists_.size());
}

KvBytes TokenIndex::bytes() const {
  ByteWriter writer;
  write(writer);
  KvBytes sum;
  for (const Head& entry : written()) sum.indices += entry.coded.size();
  sum.header = writer.size() - sum.indices;
  return sum;
}

void TokenIndex::write(ByteWriter& writer) const {
  const std::span<const Head> heads = written();
  const bool same = heads.size() < lists_.size();
  writer.u8(static_cast<std::uint8_t>(static_cast<std::uint8_t>(form_) + (same ? alike : 0)));
  writer.varint(static_cast<std::uint64_t>(first_));
  writer.varint(static_cast<std::uint64_t>(span_));
  if (form_ == Form::run) return;
  writer.varint(static_cast<std::uint64_t>(classes_));
  for (const Head& entry : heads) {
    for (const std::int64_t count : entry.rows) writer.varint(static_cast<std::uint64_t>(count));
    writer.varint(entry.coded.size());
    writer.append(entry.coded);
  }
}

TokenIndex TokenIndex::read(ByteReader& reader, std::int64_t heads, std::int64_t most) {
  TokenIndex index;
  const std::uint8_t kind = reader.u8(), form = kind % alike;
  const bool same = kind >= alike;
  if (kind >= 2 * alike || form > static_cast<std::uint8_t>(Form::lists) ||
      (same && (heads < 2 || form == static_cast<std::uint8_t>(Form::run))))
    reader.corrupt("an unknown form of token positions");
  index.form_ = static_cast<Form>(form);
  index.heads_ = heads;
  index.first_ = static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(most)));
  index.span_ = static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(most - index.first_)));
  if (index.form_ == Form::run) return index;
  index.classes_ = static_cast<std::int64_t>(reader.length(most_classes));
  if (index.classes_ < 1 || (index.form_ == Form::bitmap && index.classes_ != 2))
    reader.corrupt("token positions in an impossible number of classes");
  for (std::int64_t head = 0; head < (same ? 1 : heads); ++head) {
    Head entry;
    std::int64_t members = 0;
    for (std::int64_t c = 0; c < index.classes_; ++c) {
      entry.rows.push_back(
          static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(index.span_ - members))));
      members += entry.rows.back();
    }
    const ByteSpan coded = reader.take(reader.length(reader.remaining()));
    entry.coded.assign(coded.begin(), coded.end());
    if (index.form_ == Form::bitmap) {
      if (members != index.span_ || coded.size() != static_cast<std::size_t>((index.span_ + 7) / 8))
        reader.corrupt("a bitmap of tokens of another length");
      std::int64_t ones = 0, beyond = 0;
      for (std::size_t i = 0; i < coded.size() * 8; ++i) {
        if (bit_at(entry.coded, i)) ++(i < static_cast<std::size_t>(index.span_) ? ones : beyond);
      }
      if (beyond > 0) reader.corrupt("a bitmap that marks tokens beyond its span");
      if (ones != entry.rows.front()) reader.corrupt("a bitmap of tokens that marks another number");
    } else {
      ByteReader gaps(coded, "token positions");
      std::vector<bool> seen(static_cast<std::size_t>(index.span_));
      for (const std::int64_t count : entry.rows) {
        std::int64_t next = 0;
        for (std::int64_t i = 0; i < count; ++i) {
          next += static_cast<std::int64_t>(gaps.length(static_cast<std::uint64_t>(index.span_)));
          if (next >= index.span_ || seen[static_cast<std::size_t>(next)])
            reader.corrupt("token positions that leave their span or repeat");
          seen[static_cast<std::size_t>(next++)] = true;
        }
      }
      gaps.expect_end();
    }
    index.lists_.push_back(std::move(entry));
  }
  if (same) index.lists_.resize(static_cast<std::size_t>(heads), index.lists_.front());
  if (!same && index.written().size() < index.lists_.size())
    reader.corrupt("token positions that are alike in all heads and written for each");
  return index;
}

}  // namespace laconic
