// Chooses codecs by trial and codes columns with them. One encoder codes the columns of one set, in order.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/column/column_facts.h"
#include "engine/column/column_set.h"
#include "engine/column/column_streams.h"
#include "engine/column/number_codec.h"
#include "engine/column/stream_cost.h"
#include "engine/column/value_pattern.h"

namespace laconic {

class ColumnEncoder {
 public:
  explicit ColumnEncoder(const ColumnOptions& options) : options_(options) {}

  // One of the columns that lie beside each other: its rows in common with `group`, or with nothing when
  // null.
  struct Sibling {
    std::shared_ptr<ColumnFacts> column;
    AlignedColumns* group = nullptr;
  };
  // What one descriptor begins: one column, or several that are joined.
  struct Unit {
    ColumnParts parts;
    std::size_t columns = 1;
    std::size_t entries = 0;  // that its decoder adds to the group: the columns and words of them
  };
  // Groups receive what was coded.
  std::vector<Unit> encode(std::span<const Sibling> siblings, int depth = 0);

 private:
  struct Coded {
    ColumnParts parts;
    std::uint64_t cost = 0;
    std::size_t columns = 1;  // more than one where they are joined
    AlignedColumns words;     // that its decoder adds to the group before the column itself
    std::size_t entries = 0;  // that its decoder adds to the group, once the encoder has

    void let_go() {
      parts = {};
      words = {};
    }
  };
  struct Attempt;
  struct Trial;
  struct JoinTrial {
    std::size_t columns = 0;
    NumberTransform transform = NumberTransform::delta;
    NumberPacking packing = NumberPacking::varints;
    std::uint64_t cost = 0;
  };

  Coded encode_one(ColumnFacts& column, const AlignedColumns* group, int depth);
  std::optional<Coded> encode_equal(ColumnFacts& column, const AlignedColumns* group) const;
  std::vector<Attempt> attempts_on(ColumnFacts& column, const AlignedColumns* group, int depth) const;
  void add_number_attempts(ColumnFacts& column, const AlignedColumns* group,
                           std::vector<Attempt>& attempts) const;
  void add_prediction_attempts(ColumnFacts& column, const AlignedColumns& group,
                               std::vector<Attempt>& attempts) const;
  static std::size_t told_rows(ColumnFacts& column, ColumnFacts& other);
  static bool later_word_tells(std::span<const std::shared_ptr<ColumnFacts>> words, std::size_t rows);
  // Cheapest first; only that one has its parts.
  std::vector<Trial> ranked(ColumnFacts& column, const AlignedColumns* group, int depth);
  std::optional<Coded> encode_by(const Attempt& attempt, ColumnFacts& column, const AlignedColumns* group,
                                 int depth);
  std::optional<Coded> encode_numbers(const Attempt& attempt, ColumnFacts& column,
                                      const AlignedColumns* group) const;
  std::optional<Coded> encode_dictionary(ColumnFacts& column, bool recent) const;
  std::optional<Coded> encode_text(const Attempt& attempt, ColumnFacts& column) const;
  std::optional<Coded> encode_predicted(const Attempt& attempt, ColumnFacts& column,
                                        const AlignedColumns* group, int depth);
  std::optional<Coded> encode_split(const Attempt& attempt, ColumnFacts& column, const AlignedColumns* group,
                                    int depth);
  std::size_t joinable_from(std::span<const Sibling> siblings, std::size_t begin) const;
  std::optional<JoinTrial> try_to_join(std::span<const Sibling> siblings) const;
  std::optional<Coded> encode_joined(std::span<const Sibling> siblings, const JoinTrial& trial) const;
  // `last`: nothing will ask for facts about the siblings again.
  void join_siblings(std::span<const Sibling> siblings, std::vector<Coded>& coded, bool last) const;

  ColumnOptions options_;
  StreamCosts costs_;
};

}  // namespace laconic
