#include "methods/text/logzip/search.h"

#include <utility>

#include "engine/container/ordered_pipeline.h"
#include "methods/text/logzip/block_search.h"

namespace laconic::logzip {
namespace {

// Takes what blocks found in order, and puts the lines together that go over several.
class MatchCollector {
 public:
  MatchCollector(const ArchiveReader& archive, const LinePattern& pattern, const SearchOptions& options,
                 const FoundSink& sink, const DamageListener& damage)
      : archive_(archive), pattern_(pattern), options_(options), sink_(sink), damage_(damage) {}

  void take(std::size_t block, BlockMatches&& found) {
    const ArchiveBlock& one = archive_.blocks()[block];
    if (!one.goes_on) close();
    if (!count_outcome(found)) return;
    if (one.goes_on) {
      extend(one, found.head);
      if (found.head_ends) close();
    }
    result_.lines += found.count;
    for (const BlockMatches::Match& match : found.matches) tell(one.section, match.line, match.text);
    if (!found.tail.empty()) {
      open_ = true;
      open_section_ = one.section;
      open_line_ = one.first_line + one.newlines;
      open_in_time_ = found.tail_in_time;
      line_ = std::move(found.tail);
    }
  }
  SearchResult finish() {
    close();
    return result_;
  }

 private:
  bool count_outcome(const BlockMatches& found) {
    switch (found.outcome) {
      case BlockMatches::Outcome::not_in_time:
        ++result_.skipped_by_time;
        return false;
      case BlockMatches::Outcome::cannot_match:
        ++result_.skipped_by_content;
        return false;
      case BlockMatches::Outcome::damaged:
        close();  // a line that goes on in it is not put together with what follows it
        ++result_.damaged;
        if (damage_) damage_(found.message);
        return false;
      case BlockMatches::Outcome::searched:
        ++result_.searched;
    }
    return true;
  }
  void extend(const ArchiveBlock& block, std::string_view head) {
    if (!open_) {  // the block before is damaged: what is left of the line is searched
      open_ = true;
      open_section_ = block.section;
      open_line_ = block.first_line;
      open_in_time_ = in_time({}, {}, archive_.sections()[block.section].format, block.entry.carried,
                              options_.window_of(block.section));
    }
    if (line_.size() + head.size() > options_.longest_line) search_open_line();
    line_ += head;
  }
  // Once per line, however many of its pieces match.
  void search_open_line() {
    if (!told_ && open_in_time_ && pattern_.matches(line_)) {
      told_ = true;
      ++result_.lines;
      if (!options_.count_only) tell(open_section_, open_line_, line_);
    }
    line_.clear();
  }
  void close() {
    if (open_) search_open_line();
    open_ = told_ = false;
    line_.clear();
  }
  void tell(std::size_t section, std::uint64_t line, std::string_view text) const {
    sink_({section, line - archive_.sections()[section].first_line, text});
  }

  const ArchiveReader& archive_;
  const LinePattern& pattern_;
  const SearchOptions& options_;
  const FoundSink& sink_;
  const DamageListener& damage_;
  SearchResult result_;
  bool open_ = false, told_ = false, open_in_time_ = true;
  std::size_t open_section_ = 0;
  std::uint64_t open_line_ = 0;
  std::string line_;
};

}  // namespace

SearchResult search(const ArchiveReader& archive, const LinePattern& pattern, const SearchOptions& options,
                    const FoundSink& sink, const DamageListener& damage) {
  MatchCollector collector(archive, pattern, options, sink, damage);
  std::optional<LiteralPlans> plans;
  if (!pattern.literal().empty()) plans.emplace(pattern.literal());
  std::size_t next = 0;
  ordered_pipeline(
      [&]() -> std::optional<std::size_t> {
        if (next == archive.blocks().size()) return std::nullopt;
        return next++;
      },
      [&](std::size_t&& block) -> std::pair<std::size_t, BlockMatches> {
        return {block, search_block(archive, block, pattern, options, plans ? &*plans : nullptr)};
      },
      [&](std::pair<std::size_t, BlockMatches>&& found) {
        collector.take(found.first, std::move(found.second));
      });
  return collector.finish();
}

}  // namespace laconic::logzip
