#include "methods/text/logzip/block_search.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/text/logzip/time_text.h"

namespace laconic::logzip {
namespace {

bool block_not_in_time(const BlockEntry& entry, const TimeWindow& window) {
  if (!window.bounds()) return false;
  if (!entry.times && !entry.carried) return false;
  std::int64_t first = entry.times ? entry.times->first : *entry.carried;
  std::int64_t last = entry.times ? entry.times->last : *entry.carried;
  if (entry.carried) {
    first = std::min(first, *entry.carried);
    last = std::max(last, *entry.carried);
  }
  return (window.since && last < *window.since) || (window.until && first >= *window.until);
}

void find_matches(std::string_view text, std::uint64_t first_line, const ArchiveBlock& block,
                  const HeaderFormat& format, const LinePattern& pattern, const SearchOptions& options,
                  std::string_view whole, BlockMatches& found) {
  const TimeWindow window = options.window_of(block.section);
  std::uint64_t line = first_line;
  std::size_t counted = 0;                                   // newlines before here are in `line`
  std::optional<std::int64_t> moment = block.entry.carried;  // of the lines of `whole` before `timed`
  std::size_t timed = 0;
  const auto in_window = [&](std::string_view one) {
    if (!window.bounds()) return true;
    const auto line_end = static_cast<std::size_t>(one.data() - whole.data()) + one.size();
    if (const auto told = last_moment(whole.substr(timed, line_end - timed), format)) moment = told;
    timed = std::min(line_end + 1, whole.size());
    return moment && window.holds(*moment);
  };
  for (std::size_t at = 0; (at = pattern.next_candidate(text, at)) != std::string_view::npos;) {
    const std::size_t before = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
    const std::size_t begin = before == std::string_view::npos ? 0 : before + 1;
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view one = text.substr(begin, end - begin);
    if ((pattern.is_literal() || pattern.matches(one)) && in_window(one)) {
      ++found.count;
      if (!options.count_only) {
        line +=
            static_cast<std::uint64_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(counted),
                                                  text.begin() + static_cast<std::ptrdiff_t>(begin), '\n'));
        counted = begin;
        found.matches.push_back({line, std::string(one)});
      }
    }
    at = end + 1;
  }
}

void search_text(std::string_view text, const ArchiveBlock& block, const HeaderFormat& format,
                 const LinePattern& pattern, const SearchOptions& options, BlockMatches& found) {
  std::string_view inside = text;
  std::uint64_t first_line = block.first_line;
  if (block.goes_on) {
    const std::size_t newline = inside.find('\n');
    const std::size_t size = newline == std::string_view::npos ? inside.size() : newline;
    found.head = inside.substr(0, size);
    found.head_ends = newline != std::string_view::npos;
    inside.remove_prefix(std::min(size + 1, inside.size()));
    ++first_line;
  }
  if (!inside.empty() && block.entry.open_end) {
    const std::size_t newline = inside.rfind('\n');
    const std::size_t size = newline == std::string_view::npos ? 0 : newline + 1;
    found.tail = inside.substr(size);
    found.tail_in_time = in_time(found.tail, text.substr(0, text.size() - found.tail.size()), format,
                                 block.entry.carried, options.window_of(block.section));
    inside = inside.substr(0, size);
  }
  if (!inside.empty()) find_matches(inside, first_line, block, format, pattern, options, text, found);
}

}  // namespace

bool in_time(std::string_view line, std::string_view before, const HeaderFormat& format,
             std::optional<std::int64_t> carried, const TimeWindow& window) {
  if (!window.bounds()) return true;
  auto moment = last_moment(line, format);
  if (!moment && !before.empty()) moment = last_moment(before.substr(0, before.size() - 1), format);
  if (!moment) moment = carried;
  return moment && window.holds(*moment);
}

namespace {

// The moments of the lines of a block, by the primary stamp of its format; a line that tells none has that of
// the line before.
class LineMoments {
 public:
  LineMoments(BlockReader& block, const HeaderFormat& format, std::optional<std::int64_t> carried)
      : block_(block), moment_(carried) {
    if (format.stamps().empty()) return;
    unit_ = format.stamps()[format.primary_stamp()].stamp.unit();
    values_ = block.stamp(format.primary_stamp());
  }
  // Lines are asked for in ascending order.
  std::optional<std::int64_t> of(std::uint32_t line) {
    for (; next_ <= line; ++next_) {
      if (!block_.template_of(block_.ids()[next_]).has_header()) continue;
      std::int64_t moment = 0;
      if (row_ < values_.size() && __builtin_mul_overflow(values_[row_], unit_, &moment))
        fail(ErrorKind::corrupt, "a time out of range", "a block of log");
      if (row_ < values_.size()) moment_ = moment;
      ++row_;
    }
    return moment_;
  }

 private:
  BlockReader& block_;
  std::optional<std::int64_t> moment_;
  std::span<const std::int64_t> values_;
  std::int64_t unit_ = 1;
  std::uint32_t next_ = 0;
  std::size_t row_ = 0;
};

std::string_view without_newline(std::string_view line) {
  return line.ends_with('\n') ? line.substr(0, line.size() - 1) : line;
}

// Searches by columns. False where the whole text should be searched instead.
bool search_columns(BlockReader& block, const ArchiveBlock& one, const HeaderFormat& format,
                    const SearchOptions& options, LiteralPlans& plans, BlockMatches& found) {
  if (block.lossy() || block.line_count() != one.newlines) return false;
  const auto candidates = candidate_lines(block, format, plans);
  if (!candidates) return false;
  if (candidates->empty()) {
    found.outcome = BlockMatches::Outcome::cannot_match;
    return true;
  }
  const TimeWindow window = options.window_of(one.section);
  std::optional<LineMoments> moments;
  if (window.bounds()) moments.emplace(block, format, one.entry.carried);
  for (const std::uint32_t line : *candidates) {
    if (moments) {
      const auto moment = moments->of(line);
      if (!moment || !window.holds(*moment)) continue;
    }
    const std::string text = block.lines(line, line + 1);
    const std::string_view shown = without_newline(text);
    if (shown.find(plans.literal()) == std::string_view::npos) continue;
    ++found.count;
    if (!options.count_only) found.matches.push_back({one.first_line + line, std::string(shown)});
  }
  return true;
}

BlockMatches search_sound_block(const ArchiveReader& archive, std::size_t block, const LinePattern& pattern,
                                const SearchOptions& options, LiteralPlans* plans) {
  const ArchiveBlock& one = archive.blocks()[block];
  const HeaderFormat& format = archive.sections()[one.section].format;
  BlockMatches found;
  // Ends of lines that go on in other blocks are needed in any case.
  const bool alone = !one.goes_on && !one.entry.open_end;
  if (alone && block_not_in_time(one.entry, options.window_of(one.section))) {
    found.outcome = BlockMatches::Outcome::not_in_time;
    return found;
  }
  if (alone && plans != nullptr) {
    if (!archive.may_hold(block, plans->literal())) {
      found.outcome = BlockMatches::Outcome::cannot_match;
      return found;
    }
    ArchiveReader::OpenBlock opened = archive.open(block);
    if (search_columns(opened.reader(), one, format, options, *plans, found)) return found;
  }
  search_text(archive.text(block), one, format, pattern, options, found);
  return found;
}

}  // namespace

BlockMatches search_block(const ArchiveReader& archive, std::size_t block, const LinePattern& pattern,
                          const SearchOptions& options, LiteralPlans* plans) {
  try {
    return search_sound_block(archive, block, pattern, options, plans);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    BlockMatches found;
    found.outcome = BlockMatches::Outcome::damaged;
    found.message = error.what();
    return found;
  }
}

}  // namespace laconic::logzip
