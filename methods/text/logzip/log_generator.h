// A log that is made up, for tests and measurements: the same seed gives the same bytes for ever. 240
// templates with Zipf frequencies, times that come in bursts, stack traces whose lines other lines stand
// between, identifiers of a few often and many seldom (Zipf) and identifiers that never come again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace laconic::logzip {

class LogGenerator {
 public:
  static constexpr std::size_t templates = 240;

  explicit LogGenerator(std::uint64_t seed = 1);

  // Appends whole lines until `text` has grown by at least `bytes`.
  void append(std::size_t bytes, std::string& text);
  std::string make(std::size_t bytes);

  std::uint64_t lines() const { return lines_; }  // so far
  // An estimate of the information in what was made so far: -log2 of the probability of every choice, in
  // bits. No lossless code that knows no more than how the log is made needs fewer on average.
  double entropy_bits() const { return entropy_bits_; }

 private:
  enum class Value : std::uint8_t { count, milliseconds, bytes, address, user, path, block, request, uuid };
  struct Piece {
    std::string text;
    Value value = Value::count;
    bool is_value = false;
  };
  struct LineTemplate {
    std::string component, level;
    std::vector<Piece> pieces;
  };
  // Integers with given weights.
  struct Choice {
    std::vector<std::uint64_t> ends;  // running sums
    std::vector<double> bits;
    static Choice zipf(std::size_t count, std::uint64_t offset);
  };

  void make_templates();
  LineTemplate make_template(std::size_t number);
  std::size_t draw(const Choice& choice);
  std::uint64_t uniform(std::uint64_t bound, double bits);
  void advance_clock();
  void append_head(const LineTemplate& line, std::string& text);
  void append_value(Value value, std::string& text);
  void append_line(std::string& text);
  void append_trace_line(std::string& text);

  RandomStream random_;
  std::vector<LineTemplate> templates_;
  Choice template_choice_, user_choice_, address_choice_, path_choice_, thread_choice_, frame_choice_;
  std::int64_t clock_ = 1'772'366'400'000;  // milliseconds since 1970: 2026-03-01 12:00
  std::uint64_t burst_left_ = 0, trace_left_ = 0, next_block_ = 1'073'741'825;
  std::uint64_t lines_ = 0;
  double entropy_bits_ = 0;
};

}  // namespace laconic::logzip
