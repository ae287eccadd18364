// A sequence of symbols through mixed contexts: each symbol is asked for down a tree (symbol_tree.h), and
// each answer is predicted from the last 0, 1, 2 and 3 symbols and from the last but one. The contexts'
// answers are weighed in the logistic domain (mixing_logistic.h) by weights that learn (Mahoney, "Adaptive
// weighing of context models for lossless data compression", 2005), all in integers, and drive the range
// coder.
//
// Where the tree was made by counts, each symbol has to occur just so often. Then what is left of the counts
// stands for the context of no symbols, an answer is not coded where only one is left, and the kinds of the
// last four symbols (SymbolTree::by_kinds) are a context besides.
//
// A symbol may stand for a number that contexts should see in its place, as an escape stands for what it
// introduces. Stream: the range coder's bytes; nothing says how many symbols there are. Memory: 512 KiB.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/coding/symbol_tree.h"

namespace laconic {

class SymbolMixingEncoder {
 public:
  // `count`: how many symbols there will be. The tree outlives the encoder.
  SymbolMixingEncoder(const SymbolTree& tree, std::size_t count);
  ~SymbolMixingEncoder();

  void put(std::uint32_t symbol, std::uint32_t number);  // a symbol of the tree
  Bytes take();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class SymbolMixingDecoder {
 public:
  // The tree and the bytes outlive the decoder.
  SymbolMixingDecoder(const SymbolTree& tree, std::size_t count, ByteSpan coded, std::string_view where);
  ~SymbolMixingDecoder();

  std::uint32_t take();  // Error(corrupt) where the answers lead to no symbol
  // What the symbol taken last stands for.
  void stands_for(std::uint32_t number);
  void expect_end() const;  // Error(corrupt)

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
