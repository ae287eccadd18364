// Distributions of the numbers of every channel, learnt once for a model and kept with it
// (kv/cachegen.profile), so that records need not carry tables. Numbers that were not seen in learning are
// escapes or have a small frequency.
//
// File: "LKVP", u8 version, text of the settings it was learnt with, 16 bytes model fingerprint, varint
// layers, varint columns; per layer, keys then values: u8 form of the numbers, the tables; u64 XXH3 of all
// before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/hash.h"
#include "engine/coding/column_tables.h"
#include "methods/cache/cachegen/coded_rows.h"

namespace laconic {

class CodingProfile {
 public:
  struct Side {
    RowSymbols::Form form = RowSymbols::Form::plain;  // that the numbers were made with
    ColumnTables tables;
  };

  // sides: keys and values of each layer, in order.
  CodingProfile(std::string settings, Hash128 model, std::int64_t layers, std::int64_t columns,
                std::vector<Side> sides);
  static CodingProfile load(const std::filesystem::path& file);
  static CodingProfile read(ByteSpan bytes, const std::string& where);
  const Bytes& bytes() const { return bytes_; }  // the file

  const std::string& settings() const { return settings_; }
  const Hash128& model() const { return model_; }
  std::int64_t layers() const { return layers_; }
  std::int64_t columns() const { return columns_; }
  std::uint64_t fingerprint() const { return fingerprint_; }
  const Side& side(std::int64_t layer, KvSide side) const;

 private:
  std::string settings_;
  Hash128 model_;
  std::int64_t layers_, columns_;
  std::vector<Side> sides_;
  Bytes bytes_;
  std::uint64_t fingerprint_ = 0;
};

// What a profile depends on besides model and text: the form's settings without its tables.
std::string profile_settings(const CodedRowForm& form);

}  // namespace laconic
