// CacheGen's bitstream for the rows of one side of a layer (Liu et al. 2023, arXiv 2310.07240): rows as whole
// numbers (row_symbols.h), whole numbers through an entropy coder with a distribution for every channel.
//
// Record of rows [rows, columns], columns those of all heads:
//   u8      form (3 bits), parameters are f32 (1 bit), coder (2 bits)
//   ...     parameters of the form
//   coder 0 tables of the columns (engine/coding/column_tables.h); streams
//   coder 1 u64 identity of the profile that holds the tables (profile.h); streams
//   coder 2 varint length, one stream of models that learn (engine/coding/adaptive_columns.h)
//   coder 3 the released code's: per column B + 1 cumulative u16, floor((65535 - B) cum_i / n) + i; varint
//           length, one range-coded stream, a column after the other
//   streams of coders 0 and 1: varint length and bytes (engine/coding/rans_columns.h) of 64 columns each, or
//           of as many times 64 as 65536 numbers take
// Where the heads of a store have different numbers of rows, each has a record of its own; a record of no
// rows is nothing.
//
// A store keeps the coded bytes, which are what bytes() counts, and beside them the decoded rows as f16,
// which attention reads: coded rows save transfer and storage, not the memory of whoever attends to them.
#pragma once

#include <memory>
#include <string>

#include "methods/cache/cachegen/levels.h"
#include "methods/cache/cachegen/row_symbols.h"
#include "runtime/cache/exact_store.h"
#include "runtime/cache/row_store.h"

namespace laconic {

class CodingProfile;

struct CodedRowForm {
  enum class Mode { delta, direct };
  enum class Reference { automatic, yes, no };
  enum class Tables { chunk, profile, adaptive, shared, dense };
  Mode mode = Mode::delta;
  int level = 2;
  Tables tables = Tables::chunk;
  // Mode delta:
  std::int64_t group = 10;  // tokens with one anchor
  Reference delta_keys = Reference::automatic, delta_values = Reference::automatic;
  bool turned_mean = true;  // keys may be coded about their mean before turning
  bool layer_steps = true;  // false: the same relative step in every third of the layers
  // Mode direct:
  BinTable bins = BinTable::layers_32;
  bool unscaled_bins = false;
  bool channel_scale = false;  // keys: a scale for each channel instead of each token
  bool f32_parameters = false;
};

// The form with its choice of a reference (mode delta) fixed to the one that made numbers of this form.
CodedRowForm with_reference(CodedRowForm form, RowSymbols::Form reference);
// What a record does with the rows of a layer and side; profiles are made of these.
RowSymbols row_symbols(const float* x, std::int64_t rows, std::int64_t columns, const CodedRowForm& form,
                       const RowContext& context, const KeyTurns& turns);

// `profile` may be null unless form.tables is profile; `rope` is null where keys are not turned.
std::shared_ptr<const RowCodec> coded_row_codec(std::string canonical, CodedRowForm form,
                                                std::shared_ptr<const RopeTable> rope,
                                                std::shared_ptr<const CodingProfile> profile);

}  // namespace laconic
