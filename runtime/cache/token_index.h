// Which token every row of a block belongs to. Rows of a run are consecutive tokens, the same in every head.
// Where a policy sorted or chose tokens, each head has its own list: classes one after the other, positions
// ascending inside a class.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "runtime/cache/kv_bytes.h"

namespace laconic {

class TokenIndex {
 public:
  using Positions = std::vector<std::int32_t>;

  // Tokens first, first + 1, ... in each of `heads` heads.
  static TokenIndex run(std::int64_t heads, std::int64_t first, std::int64_t count);
  // classes[head][class]: ascending positions inside [first, first + span), no token twice in a head. Every
  // head has the same number of classes.
  static TokenIndex listed(std::int64_t first, std::int64_t span,
                           const std::vector<std::vector<Positions>>& classes);

  std::int64_t heads() const { return heads_; }
  std::int64_t rows(std::int64_t head) const;
  std::int64_t first() const { return first_; }
  std::int64_t end() const { return first_ + span_; }  // one past the last position a row may have
  bool consecutive() const { return form_ == Form::run; }
  std::int64_t classes() const { return classes_; }
  std::int64_t class_rows(std::int64_t head, std::int64_t which) const;
  Positions positions(std::int64_t head) const;  // of all rows, in row order

  KvBytes bytes() const;
  void write(ByteWriter& writer) const;
  // Error(corrupt) on anything write() does not write, on more than `most` tokens, and on another number of
  // heads.
  static TokenIndex read(ByteReader& reader, std::int64_t heads, std::int64_t most);

 private:
  // A two-class split of all tokens of the span is a bitmap; lists are gaps as varints. What all heads have
  // in common is written once.
  enum class Form : std::uint8_t { run, bitmap, lists };
  struct Head {
    std::vector<std::int64_t> rows;  // per class
    std::vector<std::byte> coded;    // bitmap (1: first class) or gaps
    bool operator==(const Head&) const = default;
  };
  // The heads whose lists are written: all, or the first when they are alike.
  std::span<const Head> written() const;

  Form form_ = Form::run;
  std::int64_t heads_ = 0, first_ = 0, span_ = 0, classes_ = 1;
  std::vector<Head> lists_;
};

}  // namespace laconic
