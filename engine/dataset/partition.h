// Who owns which examples when they are spread over workers or clients. Every example belongs to exactly one
// of them; a client may own none. A client's examples are listed in ascending order.
//
//   iid          a random permutation, cut into equal runs
//   labels:N     every client has N classes (or what there are): classes are dealt in turn from one random
//                order, and a class is cut equally among its clients (McMahan et al. 2017 have N = 2)
//   dirichlet:a  the shares of a class are drawn from Dirichlet(a, ..., a) over the clients (Hsu, Qi, Brown,
//                arXiv 1909.06335); a small a makes clients of few classes
//   sorted       sorted by label, cut into equal runs
//   rows         as they lie, cut into equal runs
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

using Partition = std::vector<std::vector<std::int64_t>>;  // by client

struct PartitionRule {
  enum class Kind { iid, labels, dirichlet, sorted, rows } kind = Kind::iid;
  std::int64_t labels_each = 2;  // labels
  double alpha = 0.5;            // dirichlet
};
// "iid", "labels:2", "dirichlet:0.3", "sorted", "rows". Throws Error(usage) with what there is.
PartitionRule parse_partition_rule(std::string_view text);
std::string text_of(const PartitionRule& rule);

// Of examples 0 .. examples - 1. Throws Error(usage) where the rule needs labels and there are none, and
// where `labels:N` leaves a class without a client.
Partition partition(const PartitionRule& rule, std::int64_t examples, std::span<const std::int32_t> labels,
                    int clients, std::uint64_t seed);

// Examples in ascending order of a key (ties in their own order), cut into equal runs: by row norm, say,
// where clients are to differ in smoothness.
Partition partition_by_key(std::span<const double> keys, int clients);

}  // namespace laconic
