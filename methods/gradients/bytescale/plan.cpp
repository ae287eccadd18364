#include "methods/gradients/bytescale/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/base/error.h"
#include "engine/base/hash.h"

namespace laconic::bytescale {
namespace {

constexpr std::uint32_t plan_magic = 0x504C4D4C;  // "LMLP"
constexpr std::size_t item_bytes = 17;            // without ranks

// Tokens' worth of memory, by what the layers keep: the first and the last in full, the others 1 - r.
double resident_share(const StepCosts& costs, double ratio) {
  const auto layers = static_cast<double>(costs.layers);
  return costs.layers <= 2 ? 1 : (2 + (1 - ratio) * (layers - 2)) / layers;
}

[[noreturn]] void wrong(std::size_t item, const PlanItem& what, std::string_view fault) {
  fail(ErrorKind::corrupt, fmt::format("item {} (sequence {}): {}", item, what.sequence, fault), "plan");
}

}  // namespace

std::vector<GroupWork> group_works(const Plan& plan) {
  std::vector<GroupWork> works;
  // A rank has one group in a slot, so slot and first rank name it.
  std::map<std::pair<std::uint16_t, std::uint16_t>, std::size_t> known;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    const auto [place, fresh] = known.try_emplace({item.slot, item.ranks.front()}, works.size());
    if (fresh) works.push_back({item.slot, item.ranks, {}});
    GroupWork& work = works[place->second];
    require(work.ranks == item.ranks, "items that share a slot and a rank share all ranks");
    work.items.push_back(i);
  }
  std::stable_sort(works.begin(), works.end(),
                   [](const GroupWork& a, const GroupWork& b) { return a.slot < b.slot; });
  return works;
}

Bytes encode_plan(const Plan& plan) {
  ByteWriter writer;
  writer.u32(plan_magic);
  writer.u32(plan.ranks);
  writer.u32(plan.capacity);
  writer.u32(static_cast<std::uint32_t>(plan.items.size()));
  for (const PlanItem& item : plan.items) {
    writer.u32(item.sequence);
    writer.u32(item.start);
    writer.u32(item.length);
    writer.u16(static_cast<std::uint16_t>(item.ranks.size()));
    for (const std::uint16_t rank : item.ranks) writer.u16(rank);
    writer.u16(item.slot);
    writer.u8(item.offload);
  }
  writer.u64(xxh3_64(writer.span()));
  return writer.take();
}

Plan decode_plan(ByteSpan bytes) {
  ByteReader reader(bytes, "plan");
  if (bytes.size() < 24) reader.corrupt("a plan has 24 bytes or more");
  ByteReader check(bytes.last(8), "plan");
  if (xxh3_64(bytes.first(bytes.size() - 8)) != check.u64()) reader.corrupt("the checksum does not fit");
  if (reader.u32() != plan_magic) reader.corrupt("these bytes are not a plan");
  Plan plan;
  plan.ranks = reader.u32();
  plan.capacity = reader.u32();
  if (plan.ranks < 1 || plan.ranks > 65535) reader.corrupt("a plan has 1 to 65535 ranks");
  if (plan.capacity < 1) reader.corrupt("ranks hold nothing");
  const std::uint32_t count = reader.u32();
  if (count > (reader.remaining() - 8) / (item_bytes + 2)) reader.corrupt("more items than bytes");
  plan.items.resize(count);
  std::vector<std::uint32_t> seen(plan.ranks, 0);
  for (std::uint32_t i = 0; i < count; ++i) {
    PlanItem& item = plan.items[i];
    item.sequence = reader.u32();
    item.start = reader.u32();
    item.length = reader.u32();
    if (item.length == 0) reader.corrupt("an item without tokens");
    const std::uint16_t members = reader.u16();
    if (members == 0 || members > plan.ranks) reader.corrupt("a group of no ranks, or of more than all");
    if (members * std::size_t{2} > reader.remaining()) reader.corrupt("more ranks than bytes");
    item.ranks.resize(members);
    for (std::uint16_t& rank : item.ranks) {
      rank = reader.u16();
      if (rank >= plan.ranks) reader.corrupt("a rank that there is not");
      if (seen[rank] == i + 1) reader.corrupt("a rank twice in one group");
      seen[rank] = i + 1;
    }
    item.slot = reader.u16();
    item.offload = reader.u8();
  }
  reader.u64();
  reader.expect_end();
  return plan;
}

void check_plan(const Plan& plan, std::span<const std::uint32_t> lengths, const StepCosts& costs,
                std::span<const std::uint16_t> present) {
  std::vector<std::vector<std::pair<std::uint32_t, std::uint32_t>>> slices(lengths.size());
  std::vector<std::uint32_t> seen(plan.ranks, 0);
  // Of a rank in a slot: the item that was there first.
  std::map<std::pair<std::uint16_t, std::uint16_t>, std::size_t> owner;
  std::map<std::size_t, double> held;  // tokens' worth of memory of a group, by its first item
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const PlanItem& item = plan.items[i];
    if (item.sequence >= lengths.size()) wrong(i, item, "the batch has no such sequence");
    if (item.length == 0) wrong(i, item, "it has no tokens");
    if (item.ranks.empty()) wrong(i, item, "nobody works on it");
    slices[item.sequence].push_back({item.start, item.length});
    for (const std::uint16_t rank : item.ranks) {
      if (rank >= plan.ranks) wrong(i, item, fmt::format("there is no rank {}", rank));
      if (!present.empty() && !std::binary_search(present.begin(), present.end(), rank))
        wrong(i, item, fmt::format("rank {} is absent: plan again", rank));
      if (seen[rank] == i + 1) wrong(i, item, fmt::format("rank {} is in its group twice", rank));
      seen[rank] = static_cast<std::uint32_t>(i + 1);
      const auto [place, fresh] = owner.try_emplace({item.slot, rank}, i);
      if (!fresh && plan.items[place->second].ranks != item.ranks)
        wrong(i, item, fmt::format("rank {} works for two groups in slot {}", rank, item.slot));
    }
    const std::size_t first = owner.at({item.slot, item.ranks.front()});
    const double whole = costs.activation_bytes(item.length) / costs.activation_bytes(plan.capacity);
    const double tokens = static_cast<double>(item.length) / plan.capacity;
    const double shares = held[first] += std::min(whole, tokens) * resident_share(costs, item.ratio());
    if (shares > static_cast<double>(item.ranks.size()) * (1 + 1e-9))
      wrong(i, item,
            fmt::format("{} ranks of {} tokens do not hold it in slot {}", item.ranks.size(), plan.capacity,
                        item.slot));
  }
  for (std::size_t s = 0; s < slices.size(); ++s) {
    std::sort(slices[s].begin(), slices[s].end());
    std::uint64_t at = 0;
    for (const auto& [start, length] : slices[s]) {
      if (start != at)
        fail(ErrorKind::corrupt,
             fmt::format("sequence {}: token {} {}", s, std::min<std::uint64_t>(start, at),
                         start > at ? "is in no slice" : "is in two slices"),
             "plan");
      at += length;
    }
    if (at != lengths[s])
      fail(ErrorKind::corrupt, fmt::format("sequence {}: {} of {} tokens are planned", s, at, lengths[s]),
           "plan");
  }
}

}  // namespace laconic::bytescale
