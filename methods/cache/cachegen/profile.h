// Distributions of the numbers of every channel, learnt once for a model and kept with it as a base
// (methods/cache/trained_base.h), so that records need not carry tables. Numbers that were not seen in
// learning are escapes or have a small frequency.
//
// Tensors of the base, U8: level<n>.keys.<layer> and level<n>.values.<layer>, each the form of the numbers
// (a byte) and their tables (engine/coding/column_tables.h). Fact "settings": what the numbers were made
// with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/coding/column_tables.h"
#include "methods/cache/cachegen/coded_rows.h"
#include "methods/cache/trained_base.h"

namespace laconic {

class CodingProfile {
 public:
  struct Side {
    RowSymbols::Form form = RowSymbols::Form::plain;  // that the numbers were made with
    ColumnTables tables;
  };

  // The distributions of one level for rows of `columns` numbers. Error(input) where the base was learnt with
  // other settings or for another shape.
  CodingProfile(const TrainedBase& base, const CodedRowForm& form, std::int64_t layers, std::int64_t columns);
  // keys and values of each layer, in order
  CodingProfile(std::uint64_t identity, std::int64_t columns, std::vector<Side> sides);

  std::int64_t layers() const { return static_cast<std::int64_t>(sides_.size()) / 2; }
  std::int64_t columns() const { return columns_; }
  std::uint64_t identity() const { return identity_; }  // of base and level
  const Side& side(std::int64_t layer, KvSide side) const;

 private:
  std::uint64_t identity_;
  std::int64_t columns_;
  std::vector<Side> sides_;
};

// The settings that decide what numbers are made of rows, level aside.
std::vector<ParameterSpec> coding_parameters();
CodedRowForm coding_form(const Parameters& parameters);

// `laconic kv train -m cachegen`: the distributions of all levels.
std::vector<ParameterSpec> profile_parameters();
CacheBaseResult learn_profile(const CacheBaseRequest& request);

}  // namespace laconic
