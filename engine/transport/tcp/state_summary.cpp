#include "engine/transport/tcp/state_summary.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/base/error.h"

namespace laconic {

StateSummary summary_of(std::uint64_t revision, std::span<const SharedPart> state) {
  StateSummary summary;
  summary.revision = revision;
  StreamingHash128 names, content;
  for (const SharedPart& part : state) {
    const std::uint64_t lengths[] = {part.name.size(), part.bytes.size()};
    names.update(std::as_bytes(std::span(lengths, 1)));
    names.update(part.name);
    content.update(std::as_bytes(std::span(lengths)));
    content.update(part.bytes);
    summary.sizes.push_back(part.bytes.size());
  }
  summary.names = names.digest();
  summary.content = content.digest();
  return summary;
}

Bytes encode_summary(const StateSummary& summary) {
  ByteWriter out;
  out.u64(summary.revision);
  out.append(std::as_bytes(std::span(summary.names)));
  out.append(std::as_bytes(std::span(summary.content)));
  for (const std::uint64_t size : summary.sizes) out.u64(size);
  return out.take();
}

StateSummary decode_summary(ByteSpan bytes) {
  ByteReader in(bytes, "summary of a state");
  StateSummary summary;
  summary.revision = in.u64();
  std::memcpy(summary.names.data(), in.take(16).data(), 16);
  std::memcpy(summary.content.data(), in.take(16).data(), 16);
  while (!in.at_end()) summary.sizes.push_back(in.u64());
  return summary;
}

std::size_t elected_member(std::span<const StateSummary> summaries) {
  std::uint64_t furthest = 0;
  for (const StateSummary& summary : summaries) furthest = std::max(furthest, summary.revision);
  std::map<Hash128, std::size_t> holders;
  for (const StateSummary& summary : summaries) {
    if (summary.revision == furthest) ++holders[summary.content];
  }
  const auto elected = std::max_element(holders.begin(), holders.end(), [](const auto& a, const auto& b) {
    return a.second < b.second || (a.second == b.second && a.first > b.first);
  });
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    if (summaries[i].revision == furthest && summaries[i].content == elected->first) return i;
  }
  return 0;
}

void require_memory_for(std::span<const std::uint64_t> sizes, std::uint64_t memory) {
  std::uint64_t left = memory;
  for (const std::uint64_t size : sizes) {
    if (size > left) {
      double total = 0;
      for (const std::uint64_t part : sizes) total += static_cast<double>(part);
      constexpr double gib = 1073741824.0;
      fail(ErrorKind::input,
           fmt::format(
               "the members that are furthest say that the shared state has {:.4g} GiB; this machine has "
               "{:.4g} GiB of memory",
               total / gib, static_cast<double>(memory) / gib),
           "collective run", "join from a machine that can hold the state, with the program the others run");
    }
    left -= size;
  }
}

std::uint64_t machine_memory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) fail(ErrorKind::io, "the system does not say how much memory it has");
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
}

}  // namespace laconic
