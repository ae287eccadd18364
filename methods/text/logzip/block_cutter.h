// Blocks of a log from a source of bytes: as lines.h cuts them.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "engine/container/byte_source.h"

namespace laconic::logzip {

class BlockCutter {
 public:
  // `patience`: how long next() goes on reading a source that is followed and brings a little again and
  // again.
  explicit BlockCutter(ByteSource& source, std::chrono::milliseconds patience = std::chrono::hours(24 * 365))
      : source_(source), patience_(patience) {}

  // The next block that is whole: nothing at the end of the source, or, where it is followed, as long as less
  // than a block is there.
  std::optional<std::string> next();
  // Bytes that were read and are in no block yet.
  std::size_t waiting() const { return buffer_.size() - begin_; }
  // A block of the whole lines that wait, or with `partial` of the bytes behind the last one too; nothing
  // where there are none. For closing a block early: more than a block may wait, so ask until there is none.
  // Also gives what was read before the source failed.
  std::optional<std::string> cut_now(bool partial);

 private:
  void refill();
  std::optional<std::string> take(std::size_t size);

  ByteSource& source_;
  std::chrono::milliseconds patience_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what waits
};

}  // namespace laconic::logzip
