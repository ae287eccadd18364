#include "methods/gradients/bytescale/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "engine/allocate/bin_packing.h"
#include "engine/base/error.h"

namespace laconic::bytescale {
namespace {

// What is given to a group as one: a long sequence, or a pack of short ones.
struct Item {
  std::vector<std::uint32_t> sequences;
  std::uint64_t tokens = 0;
  std::uint32_t ranks = 1;
  double ratio = 0;
  double seconds = 0;  // of each rank
};

class Planning {
 public:
  Planning(std::span<const std::uint32_t> lengths, const StepCosts& costs, const PlannerOptions& options)
      : lengths_(lengths), costs_(costs), options_(options), present_(options.present) {
    check();
    plan_.ranks = options.ranks;
    plan_.capacity = options.capacity;
    next_slot_.assign(present_.size(), 0);
  }

  Plan run() {
    switch (options_.schedule) {
      case Schedule::static_context:
        static_context();
        break;
      case Schedule::naive:
        in_turn(items());
        break;
      case Schedule::balanced_data:
        longest_first(items());
        break;
      case Schedule::balanced_pipeline:
        by_buckets(items());
        break;
    }
    return std::move(plan_);
  }

 private:
  void check() {
    validate(costs_);
    if (options_.capacity < 1) fail(ErrorKind::usage, "a rank holds one token or more", "capacity");
    if (options_.ranks < 1 || options_.ranks > 65535)
      fail(ErrorKind::usage, fmt::format("{} ranks; 1 to 65535 can be planned for", options_.ranks), "ranks");
    if (!(options_.delta >= 0)) fail(ErrorKind::usage, "the allowed lag is not below 0", "delta");
    if (lengths_.empty()) fail(ErrorKind::usage, "a batch has one sequence or more", "lengths");
    if (present_.empty()) {
      present_.resize(options_.ranks);
      std::iota(present_.begin(), present_.end(), std::uint16_t{0});
    }
    for (std::size_t i = 0; i < present_.size(); ++i) {
      if (present_[i] >= options_.ranks || (i > 0 && present_[i] <= present_[i - 1]))
        fail(ErrorKind::usage, "present ranks ascend and lie below the number of ranks", "ranks");
    }
    for (std::size_t i = 0; i < lengths_.size(); ++i) {
      if (lengths_[i] == 0) fail(ErrorKind::usage, fmt::format("sequence {} has no tokens", i), "lengths");
      if (lengths_[i] >= options_.capacity) refuse_too_long(i);
    }
  }

  void refuse_too_long(std::size_t sequence) const {
    const std::uint32_t length = lengths_[sequence];
    const bool offload = options_.offload != Offload::none && options_.schedule != Schedule::static_context;
    const std::uint32_t needed = place(costs_, options_.capacity, length, offload).ranks;
    if (needed > present_.size())
      fail(ErrorKind::usage,
           fmt::format("sequence {} has {} tokens and needs {} ranks of {} tokens; there are {}", sequence,
                       length, needed, options_.capacity, present_.size()),
           "lengths", "more ranks, a larger capacity, or a faster way to host memory");
  }

  // Long sequences in the order of the batch, then packs of the others.
  std::vector<Item> items() const {
    std::vector<Item> list;
    std::vector<std::uint32_t> shorts;
    std::vector<std::uint64_t> sizes;
    for (std::uint32_t i = 0; i < lengths_.size(); ++i) {
      if (lengths_[i] < options_.capacity) {
        shorts.push_back(i);
        sizes.push_back(lengths_[i]);
        continue;
      }
      const Placement placement =
          place(costs_, options_.capacity, lengths_[i], options_.offload != Offload::none);
      list.push_back({{i}, lengths_[i], placement.ranks, placement.ratio, 0});
    }
    for (const std::vector<std::size_t>& bin : pack_best_fit(sizes, options_.capacity)) {
      Item item;
      for (const std::size_t i : bin) {
        item.sequences.push_back(shorts[i]);
        item.tokens += sizes[i];
      }
      list.push_back(std::move(item));
    }
    for (Item& item : list) item.seconds = seconds_of(item);
    if (options_.offload == Offload::within_horizon) widen(list);
    return list;
  }

  // The fewest ranks that end within the horizon; where none do, those that end first.
  std::uint32_t ranks_within(const Item& item, double horizon) const {
    if (item.seconds <= horizon) return item.ranks;
    const auto all = static_cast<std::uint32_t>(present_.size());
    const auto most = std::min(all, static_cast<std::uint32_t>((item.tokens - 1) / options_.capacity) + 1);
    std::uint32_t best = item.ranks;
    double least = item.seconds;
    for (std::uint32_t ranks = item.ranks + 1; ranks <= most; ++ranks) {
      const double seconds = work_seconds(costs_, {&lengths_[item.sequences.front()], 1}, ranks).total;
      if (seconds <= horizon) return ranks;
      if (seconds < least) {
        least = seconds;
        best = ranks;
      }
    }
    return best;
  }

  // How often all ranks together hold so many tokens.
  std::uint64_t slots_of(std::uint64_t tokens) const {
    const std::uint64_t batch = std::uint64_t{options_.capacity} * present_.size();
    return (tokens + batch - 1) / batch;
  }

  void widen(std::vector<Item>& list) const {
    const auto long_end = std::find_if(list.begin(), list.end(), [&](const Item& item) {
      return item.sequences.size() > 1 || item.tokens < options_.capacity;
    });
    // Items that go to ranks in turn meet slot by slot: there a sequence should end within the mean of a
    // slot.
    double horizons = 1;
    if (options_.schedule == Schedule::naive) {
      std::uint64_t tokens = 0;
      for (const Item& item : list) tokens += item.tokens;
      horizons = static_cast<double>(slots_of(tokens));
    }
    double packed = 0, low = 0, high = 0;
    for (auto item = long_end; item != list.end(); ++item) packed += item->seconds;
    for (auto item = list.begin(); item != long_end; ++item) {
      high += item->seconds * item->ranks;
      high = std::max(high, item->seconds);
    }
    high += packed;
    std::vector<std::uint32_t> chosen(static_cast<std::size_t>(long_end - list.begin()));
    const auto busy_within = [&](double horizon) {
      double busy = packed;
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        chosen[i] = ranks_within(list[i], horizon);
        busy += chosen[i] * work_seconds(costs_, {&lengths_[list[i].sequences.front()], 1}, chosen[i]).total;
      }
      return busy;
    };
    for (int i = 0; i < 30; ++i) {
      const double middle = (low + high) / 2;
      (busy_within(middle) <= middle * horizons * static_cast<double>(present_.size()) ? high : low) = middle;
    }
    busy_within(high);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (chosen[i] == list[i].ranks) continue;
      list[i].ranks = chosen[i];
      list[i].ratio =
          place_on(costs_, options_.capacity, lengths_[list[i].sequences.front()], chosen[i]).ratio;
      list[i].seconds = seconds_of(list[i]);
    }
  }

  double seconds_of(const Item& item) const {
    std::vector<std::uint32_t> tokens;
    for (const std::uint32_t sequence : item.sequences) tokens.push_back(lengths_[sequence]);
    return work_seconds(costs_, tokens, item.ranks).total;
  }

  // `places`: positions in present_.
  void give(const Item& item, std::vector<std::size_t> places) {
    std::sort(places.begin(), places.end());
    std::uint32_t slot = 0;
    for (const std::size_t place : places) slot = std::max(slot, next_slot_[place]);
    if (slot > 65535)
      fail(ErrorKind::unsupported, "a rank would take more than 65536 packs in one step", "plan",
           "a larger capacity, or smaller batches");
    PlanItem planned;
    for (const std::size_t place : places) {
      planned.ranks.push_back(present_[place]);
      next_slot_[place] = slot + 1;
    }
    planned.slot = static_cast<std::uint16_t>(slot);
    // Rounded up, so that the sequence fits; what that copies more is below 1 / 255 of it.
    planned.offload = static_cast<std::uint8_t>(std::min(255.0, std::ceil(item.ratio * 255 - 1e-9)));
    for (const std::uint32_t sequence : item.sequences) {
      planned.sequence = sequence;
      planned.length = lengths_[sequence];
      plan_.items.push_back(planned);
    }
  }

  void in_turn(const std::vector<Item>& list) {
    std::size_t next = 0;
    for (const Item& item : list) {
      std::vector<std::size_t> places(item.ranks);
      for (std::size_t& place : places) {
        place = next;
        next = (next + 1) % present_.size();
      }
      give(item, std::move(places));
    }
  }

  void static_context() {
    const std::uint32_t longest =
        std::max(options_.longest, *std::max_element(lengths_.begin(), lengths_.end()));
    const std::uint32_t members =
        static_context_ranks(longest, options_.capacity, static_cast<std::uint32_t>(present_.size()));
    const std::size_t groups = present_.size() / members;
    const std::vector<std::uint64_t> sizes(lengths_.begin(), lengths_.end());
    std::size_t next = 0;
    for (const std::vector<std::size_t>& bin :
         pack_best_fit(sizes, std::uint64_t{members} * options_.capacity)) {
      Item item;
      item.ranks = members;
      for (const std::size_t i : bin) item.sequences.push_back(static_cast<std::uint32_t>(i));
      std::vector<std::size_t> places(members);
      std::iota(places.begin(), places.end(), next * members);
      give(item, std::move(places));
      next = (next + 1) % groups;
    }
  }

  static void sort_by_length(std::vector<Item>& list) {
    std::stable_sort(list.begin(), list.end(),
                     [](const Item& a, const Item& b) { return a.tokens > b.tokens; });
  }

  void longest_first(std::vector<Item> list) {
    sort_by_length(list);
    std::set<std::pair<double, std::size_t>> ranks;  // by clock
    for (std::size_t i = 0; i < present_.size(); ++i) ranks.insert({0.0, i});
    for (const Item& item : list) {
      std::vector<std::size_t> places;
      double start = 0;
      for (std::uint32_t i = 0; i < item.ranks; ++i) {
        const auto least = ranks.begin();
        start = std::max(start, least->first);
        places.push_back(least->second);
        ranks.erase(least);
      }
      for (const std::size_t place : places) ranks.insert({start + item.seconds, place});
      give(item, std::move(places));
    }
  }

  void by_buckets(std::vector<Item> list) {
    sort_by_length(list);
    double total = 0;
    std::uint64_t tokens = 0;
    for (const Item& item : list) {
      total += item.seconds * item.ranks;
      tokens += item.tokens;
    }
    const auto count = static_cast<std::size_t>(
        std::clamp<std::uint64_t>(4 * slots_of(tokens), 1, static_cast<std::uint64_t>(list.size())));
    std::vector<std::size_t> bucket_end;  // of `list`
    double sum = 0;
    for (std::size_t i = 0; i < list.size(); ++i) {
      sum += list[i].seconds * list[i].ranks;
      if (sum >= total * static_cast<double>(bucket_end.size() + 1) / static_cast<double>(count) ||
          i + 1 == list.size())
        bucket_end.push_back(i + 1);
    }
    std::vector<std::size_t> at(bucket_end.size(), 0);
    for (std::size_t b = 1; b < at.size(); ++b) at[b] = bucket_end[b - 1];

    const double lag = options_.delta * total / static_cast<double>(present_.size());
    std::vector<double> clocks(present_.size(), 0.0);
    std::vector<std::size_t> last(present_.size(), bucket_end.size());  // bucket; none
    std::vector<std::size_t> order(present_.size());
    for (std::size_t given = 0; given < list.size();) {
      for (std::size_t b = 0; b < at.size(); ++b) {
        if (at[b] == bucket_end[b]) continue;
        const Item& item = list[at[b]++];
        ++given;
        std::iota(order.begin(), order.end(), std::size_t{0});
        const auto end = order.begin() + item.ranks;
        std::nth_element(order.begin(), end - 1, order.end(), [&](std::size_t x, std::size_t y) {
          return std::pair(clocks[x], x) < std::pair(clocks[y], y);
        });
        const double latest = clocks[*(end - 1)] + lag;
        const auto key = [&](std::size_t rank) {
          const int strange = clocks[rank] > latest ? 2 : last[rank] == b || last[rank] == at.size() ? 0 : 1;
          return std::tuple(strange, clocks[rank], rank);
        };
        std::partial_sort(order.begin(), end, order.end(),
                          [&](std::size_t x, std::size_t y) { return key(x) < key(y); });
        double start = 0;
        for (auto place = order.begin(); place != end; ++place) start = std::max(start, clocks[*place]);
        for (auto place = order.begin(); place != end; ++place) {
          clocks[*place] = start + item.seconds;
          last[*place] = b;
        }
        give(item, {order.begin(), end});
      }
    }
  }

  std::span<const std::uint32_t> lengths_;
  const StepCosts& costs_;
  const PlannerOptions& options_;
  std::vector<std::uint16_t> present_;
  std::vector<std::uint32_t> next_slot_;  // of each present rank
  Plan plan_;
};

}  // namespace

std::string_view name_of(Schedule schedule) {
  static constexpr std::string_view names[] = {"static", "naive", "balanced", "balanced-pipeline"};
  return names[static_cast<std::size_t>(schedule)];
}

Schedule schedule_named(std::string_view name) {
  for (const Schedule schedule : schedules) {
    if (name_of(schedule) == name) return schedule;
  }
  fail(ErrorKind::usage, fmt::format("no schedule \"{}\"", name), "schedule",
       "known: static, naive, balanced, balanced-pipeline");
}

std::uint32_t static_context_ranks(std::uint32_t longest, std::uint32_t capacity, std::uint32_t ranks) {
  require(longest >= 1 && capacity >= 1, "a sequence and a rank with tokens");
  const std::uint32_t needed = (longest - 1) / capacity + 1;
  std::uint32_t members = 1;
  while (members < needed) members *= 2;
  if (members > ranks)
    fail(ErrorKind::usage,
         fmt::format("a fixed mesh for {} tokens needs groups of {} ranks; there are {}", longest, members,
                     ranks),
         "static context", "more ranks or a larger capacity");
  return members;
}

Plan make_plan(std::span<const std::uint32_t> lengths, const StepCosts& costs,
               const PlannerOptions& options) {
  return Planning(lengths, costs, options).run();
}

}  // namespace laconic::bytescale
