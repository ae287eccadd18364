#include "engine/dataset/partition.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

constexpr std::string_view partition_rules = "iid, labels:N, dirichlet:ALPHA, sorted, rows";

// Places [first, last) of a run of `count` that is cut into `parts`, as equal as they can be.
std::int64_t run_begin(std::int64_t count, std::int64_t part, std::int64_t parts) {
  return count / parts * part + count % parts * part / parts;
}

void shuffle(std::span<std::int64_t> values, RandomStream& random) {
  require(values.size() < std::size_t{1} << 32, "examples that a random number can count");
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[random.below(static_cast<std::uint32_t>(i))]);
}

Partition cut_into_runs(std::span<const std::int64_t> order, int clients) {
  Partition parts(static_cast<std::size_t>(clients));
  const auto count = static_cast<std::int64_t>(order.size());
  for (int client = 0; client < clients; ++client) {
    const std::int64_t first = run_begin(count, client, clients),
                       last = run_begin(count, client + 1, clients);
    parts[static_cast<std::size_t>(client)].assign(order.begin() + first, order.begin() + last);
  }
  return parts;
}

std::vector<std::int64_t> numbers_to(std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

// Examples of each class that occurs, shuffled.
Partition shuffled_classes(std::span<const std::int32_t> labels, RandomStream& random) {
  const std::int32_t most = *std::max_element(labels.begin(), labels.end());
  Partition classes(static_cast<std::size_t>(most) + 1);
  for (std::size_t i = 0; i < labels.size(); ++i)
    classes[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::int64_t>(i));
  std::erase_if(classes, [](const auto& examples) { return examples.empty(); });
  for (auto& examples : classes) shuffle(examples, random);
  return classes;
}

double uniform_open(RandomStream& random) {  // (0, 1), 32 bits
  return (static_cast<double>(random.bits()) + 0.5) / 4294967296.0;
}

// Logarithm of a Gamma(alpha, 1) draw: small alphas give numbers that no double holds. G. Marsaglia, W.
// Tsang, "A simple method for generating gamma variables", 2000, with Gamma(a) = Gamma(a + 1) U^(1/a)
// below 1.
double log_gamma_draw(double alpha, RandomStream& random) {
  double boost = 0;
  if (alpha < 1) {
    boost = std::log(uniform_open(random)) / alpha;
    alpha += 1;
  }
  const double d = alpha - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.gaussian();
    const double v = (1 + c * x) * (1 + c * x) * (1 + c * x);
    if (v <= 0) continue;
    if (std::log(uniform_open(random)) < 0.5 * x * x + d - d * v + d * std::log(v))
      return std::log(d * v) + boost;
  }
}

Partition partition_of_labels(std::int64_t each, std::span<const std::int32_t> labels, int clients,
                              std::uint64_t seed) {
  RandomStream random(seed, "partition", "labels");
  const Partition classes = shuffled_classes(labels, random);
  const auto count = static_cast<std::int64_t>(classes.size());
  each = std::min(each, count);
  if (each * clients < count)
    fail(ErrorKind::usage,
         fmt::format("{} clients of {} classes each leave some of {} classes without one", clients, each,
                     count),
         fmt::format("labels:{}", each), "use more clients or more classes each");
  std::vector<std::int64_t> order = numbers_to(count);
  shuffle(order, random);
  // Dealt in turn: a client's classes follow each other in the round, so they differ.
  std::vector<std::vector<std::size_t>> clients_of(classes.size());
  for (std::int64_t deal = 0; deal < each * clients; ++deal)
    clients_of[static_cast<std::size_t>(order[static_cast<std::size_t>(deal % count)])].push_back(
        static_cast<std::size_t>(deal / each));
  Partition parts(static_cast<std::size_t>(clients));
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const Partition shares = cut_into_runs(classes[c], static_cast<int>(clients_of[c].size()));
    for (std::size_t s = 0; s < shares.size(); ++s) {
      auto& part = parts[clients_of[c][s]];
      part.insert(part.end(), shares[s].begin(), shares[s].end());
    }
  }
  return parts;
}

Partition partition_by_dirichlet(double alpha, std::span<const std::int32_t> labels, int clients,
                                 std::uint64_t seed) {
  RandomStream random(seed, "partition", "dirichlet");
  Partition parts(static_cast<std::size_t>(clients));
  for (const auto& examples : shuffled_classes(labels, random)) {
    std::vector<double> share(parts.size());
    for (double& value : share) value = log_gamma_draw(alpha, random);
    const double most = *std::max_element(share.begin(), share.end());
    double sum = 0;
    for (double& value : share) sum += value = std::exp(value - most);
    double before = 0;
    std::size_t first = 0;
    for (std::size_t client = 0; client < parts.size(); ++client) {
      before += share[client] / sum;
      const std::size_t last =
          client + 1 == parts.size()
              ? examples.size()
              : std::clamp(static_cast<std::size_t>(before * static_cast<double>(examples.size())), first,
                           examples.size());
      parts[client].insert(parts[client].end(), examples.begin() + static_cast<std::ptrdiff_t>(first),
                           examples.begin() + static_cast<std::ptrdiff_t>(last));
      first = last;
    }
  }
  return parts;
}

}  // namespace

PartitionRule parse_partition_rule(std::string_view text) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const bool has_value = colon < text.size();
  const std::string_view value = has_value ? text.substr(colon + 1) : std::string_view{};
  const auto number = [&](auto& result) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    return error == std::errc{} && end == value.data() + value.size();
  };
  PartitionRule rule;
  bool right = true;
  if (name == "labels") {
    rule.kind = PartitionRule::Kind::labels;
    right = (!has_value || number(rule.labels_each)) && rule.labels_each >= 1;
  } else if (name == "dirichlet") {
    rule.kind = PartitionRule::Kind::dirichlet;
    right = (!has_value || number(rule.alpha)) && rule.alpha >= 1e-6 && rule.alpha <= 1e6;
  } else {
    right = !has_value;
    if (name == "sorted")
      rule.kind = PartitionRule::Kind::sorted;
    else if (name == "rows")
      rule.kind = PartitionRule::Kind::rows;
    else
      right = right && name == "iid";
  }
  if (!right)
    fail(ErrorKind::usage, fmt::format("\"{}\" is no way to part examples", text), {},
         fmt::format("there are {}", partition_rules));
  return rule;
}

std::string text_of(const PartitionRule& rule) {
  switch (rule.kind) {
    case PartitionRule::Kind::iid:
      return "iid";
    case PartitionRule::Kind::labels:
      return fmt::format("labels:{}", rule.labels_each);
    case PartitionRule::Kind::dirichlet:
      return fmt::format("dirichlet:{}", rule.alpha);
    case PartitionRule::Kind::sorted:
      return "sorted";
    case PartitionRule::Kind::rows:
      return "rows";
  }
  fail(ErrorKind::internal, "a partition rule without a name");
}

Partition partition(const PartitionRule& rule, std::int64_t examples, std::span<const std::int32_t> labels,
                    int clients, std::uint64_t seed) {
  if (clients < 1) fail(ErrorKind::usage, fmt::format("{} clients cannot own examples", clients));
  const bool needs_labels = rule.kind == PartitionRule::Kind::labels ||
                            rule.kind == PartitionRule::Kind::dirichlet ||
                            rule.kind == PartitionRule::Kind::sorted;
  require(labels.empty() || static_cast<std::int64_t>(labels.size()) == examples,
          "a label for every example");
  require(std::all_of(labels.begin(), labels.end(), [](std::int32_t label) { return label >= 0; }),
          "labels that are classes");
  if (examples == 0) return Partition(static_cast<std::size_t>(clients));
  if (needs_labels && labels.empty())
    fail(ErrorKind::usage, "these examples have no labels", text_of(rule), "part them with iid or rows");
  Partition parts;
  switch (rule.kind) {
    case PartitionRule::Kind::iid: {
      std::vector<std::int64_t> order = numbers_to(examples);
      RandomStream random(seed, "partition", "iid");
      shuffle(order, random);
      parts = cut_into_runs(order, clients);
      break;
    }
    case PartitionRule::Kind::labels:
      parts = partition_of_labels(rule.labels_each, labels, clients, seed);
      break;
    case PartitionRule::Kind::dirichlet:
      parts = partition_by_dirichlet(rule.alpha, labels, clients, seed);
      break;
    case PartitionRule::Kind::sorted:
      parts = partition_by_key(std::vector<double>(labels.begin(), labels.end()), clients);
      break;
    case PartitionRule::Kind::rows:
      parts = cut_into_runs(numbers_to(examples), clients);
      break;
  }
  for (auto& part : parts) std::sort(part.begin(), part.end());
  return parts;
}

Partition partition_by_key(std::span<const double> keys, int clients) {
  std::vector<std::int64_t> order = numbers_to(static_cast<std::int64_t>(keys.size()));
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)];
  });
  Partition parts = cut_into_runs(order, clients);
  for (auto& part : parts) std::sort(part.begin(), part.end());
  return parts;
}

}  // namespace laconic
