#include "runtime/cache/attention_sums.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"

namespace laconic {
namespace {

constexpr float largest_score = 65504.0f;  // of f16
constexpr std::uint64_t most_reach = std::uint64_t{1} << 28;

void round_to_f16(std::vector<float>& scores) {
  for (float& score : scores) score = rounded_to(DType::f16, std::min(score, largest_score));
}

// row_i = f16(row_i + weights_i); row grows to the length of weights.
void add_rounded(std::vector<float>& row, std::span<const float> weights) {
  row.resize(std::max(row.size(), weights.size()));
  for (std::size_t i = 0; i < weights.size(); ++i)
    row[i] = rounded_to(DType::f16, std::min(row[i] + weights[i], largest_score));
}

}  // namespace

AttentionSums::AttentionSums(std::int64_t heads, const AttentionSumsForm& form)
    : form_(form), heads_(static_cast<std::size_t>(heads)) {
  require(form.recent >= 0 && form.interval >= 1, "scores are kept between compressions");
}

std::int64_t AttentionSums::recent_at(std::int64_t remaining) const {
  return remaining >= form_.recent ? 0 : (form_.recent - remaining + form_.interval - 1) / form_.interval;
}

void AttentionSums::start(const PromptScores& prompt, std::int64_t remaining) {
  for (Head& head : heads_) head = {};
  if (form_.total) {
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      heads_[h].total = prompt.column_sums()[h];
      round_to_f16(heads_[h].total);
    }
  }
  // The last rows, by the number of compressions at which they are recent; the oldest first.
  const std::int64_t tokens = prompt.tokens();
  for (std::int64_t id =
           std::max<std::int64_t>(0, tokens - std::max<std::int64_t>(0, form_.recent - remaining));
       id < tokens;) {
    const std::int64_t compressions = recent_at(remaining + tokens - 1 - id);
    std::vector<std::int64_t> ids;
    for (; id < tokens && recent_at(remaining + tokens - 1 - id) == compressions; ++id) ids.push_back(id);
    std::vector<std::vector<float>> sums = prompt.sums(ids);
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      round_to_f16(sums[h]);
      heads_[h].sums.push_back({compressions, true, std::move(sums[h])});
    }
  }
}

void AttentionSums::observe(std::int64_t h, std::span<const float> weights, std::int64_t remaining) {
  if (!wants(remaining)) return;
  const std::int64_t compressions = recent_at(remaining);
  std::vector<Sum>& sums = heads_.at(static_cast<std::size_t>(h)).sums;
  if (sums.empty() || sums.back().counted || sums.back().compressions != compressions)
    sums.push_back({compressions, false, {}});
  add_rounded(sums.back().weights, weights);
}

std::vector<float> AttentionSums::total(std::int64_t h) const {
  if (!form_.total) return {};
  std::vector<float> total = at(h).total;
  for (const Sum& sum : at(h).sums) {
    if (!sum.counted) add_rounded(total, sum.weights);
  }
  return total;
}

std::vector<float> AttentionSums::recent_sum(std::int64_t h) const {
  std::vector<float> recent;
  for (const Sum& sum : at(h).sums) {
    if (sum.compressions == 0) continue;
    recent.resize(std::max(recent.size(), sum.weights.size()));
    for (std::size_t i = 0; i < sum.weights.size(); ++i) recent[i] += sum.weights[i];
  }
  return recent;
}

void AttentionSums::drop_front(std::int64_t h, std::int64_t count) {
  regroup(h, std::vector<std::int32_t>(static_cast<std::size_t>(count), -1), 0);
}

void AttentionSums::regroup(std::int64_t h, std::span<const std::int32_t> slot_of, std::int64_t slots) {
  const auto regrouped = [&](std::vector<float>& row) {
    std::vector<float> result(static_cast<std::size_t>(slots));
    const std::size_t old = std::min(row.size(), slot_of.size());
    for (std::size_t i = 0; i < old; ++i) {
      if (slot_of[i] >= 0) result.at(static_cast<std::size_t>(slot_of[i])) += row[i];
    }
    result.insert(result.end(), row.begin() + static_cast<std::ptrdiff_t>(old), row.end());
    round_to_f16(result);
    row = std::move(result);
  };
  Head& head = heads_.at(static_cast<std::size_t>(h));
  if (form_.total) regrouped(head.total);
  for (Sum& sum : head.sums) regrouped(sum.weights);
  head.reach.clear();
}

void AttentionSums::set_reach(std::int64_t h, std::vector<std::int32_t> reach) {
  while (!reach.empty() && reach.back() == 0) reach.pop_back();
  heads_.at(static_cast<std::size_t>(h)).reach = std::move(reach);
}

void AttentionSums::settle() {
  for (Head& head : heads_) {
    for (Sum& sum : head.sums) {
      if (!sum.counted && form_.total) add_rounded(head.total, sum.weights);
      sum.counted = true;
      sum.compressions = std::max<std::int64_t>(0, sum.compressions - 1);
    }
    std::erase_if(head.sums, [](const Sum& sum) { return sum.compressions == 0; });
  }
}

void AttentionSums::truncate(std::int64_t h, std::int64_t rows) {
  Head& head = heads_.at(static_cast<std::size_t>(h));
  const auto most = static_cast<std::size_t>(rows);
  const auto cut = [&](auto& row) {
    if (row.size() > most) row.resize(most);
  };
  cut(head.total);
  cut(head.reach);
  for (Sum& sum : head.sums) cut(sum.weights);
}

std::uint64_t AttentionSums::bytes() const {
  ByteWriter writer;
  write(writer);
  return writer.size();
}

void AttentionSums::write(ByteWriter& writer) const {
  const auto put = [&](const std::vector<float>& row) {
    writer.varint(row.size());
    for (const float value : row) writer.u16(f32_to_f16(value));
  };
  for (const Head& head : heads_) {
    if (form_.total) put(head.total);
    writer.varint(head.sums.size());
    for (const Sum& sum : head.sums) {
      writer.varint(static_cast<std::uint64_t>(sum.compressions));
      writer.u8(sum.counted ? 1 : 0);
      put(sum.weights);
    }
    writer.varint(head.reach.size());
    for (const std::int32_t tokens : head.reach) writer.varint(static_cast<std::uint64_t>(tokens));
  }
}

AttentionSums AttentionSums::read(ByteReader& reader, std::int64_t heads, const AttentionSumsForm& form,
                                  std::int64_t most_rows) {
  const auto most = static_cast<std::uint64_t>(most_rows);
  // How many numbers follow, of a byte or more each.
  const auto take_length = [&] {
    const std::uint64_t length = reader.length(most);
    if (length > reader.remaining()) reader.corrupt("fewer attention scores than were said");
    return static_cast<std::size_t>(length);
  };
  const auto take = [&] {
    std::vector<float> row(take_length());
    for (float& value : row) {
      value = f16_to_f32(reader.u16());
      if (!std::isfinite(value) || value < 0) reader.corrupt("an attention score that is no score");
    }
    return row;
  };
  AttentionSums memory(heads, form);
  const auto most_compressions = static_cast<std::uint64_t>(memory.recent_at(0));
  for (Head& head : memory.heads_) {
    if (form.total) head.total = take();
    // One for each number of compressions among counted sums, and one among those since.
    const std::uint64_t sums = reader.length(2 * (most_compressions + 1));
    for (std::uint64_t i = 0; i < sums; ++i) {
      Sum sum;
      sum.compressions = static_cast<std::int64_t>(reader.length(most_compressions));
      const std::uint8_t counted = reader.u8();
      if (counted > 1) reader.corrupt("attention scores that are neither counted nor new");
      sum.counted = counted == 1;
      sum.weights = take();
      head.sums.push_back(std::move(sum));
    }
    head.reach.resize(take_length());
    for (std::int32_t& tokens : head.reach) tokens = static_cast<std::int32_t>(reader.length(most_reach));
  }
  return memory;
}

}  // namespace laconic
