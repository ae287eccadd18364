// One way to decompress a stream piece by piece, as byte_source uses it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/base/bytes.h"
#include "engine/base/error.h"

namespace laconic {

class StreamDecoder {
 public:
  struct Step {
    std::size_t consumed = 0, produced = 0;
    // Not empty: decoding cannot go on.
    std::string fault = {};
    ErrorKind kind = ErrorKind::corrupt;
  };
  virtual ~StreamDecoder() = default;
  // Takes what it can from `in` and puts what it can into `out`. Without input it gives what it still holds.
  virtual Step decode(ByteSpan in, std::span<std::byte> out) = 0;
  // Whether the input may end here: not inside a member, frame or stream.
  virtual bool complete() const = 0;
};

// `memory`: most bytes that the decoder may take.
std::unique_ptr<StreamDecoder> make_gzip_decoder();
std::unique_ptr<StreamDecoder> make_zstd_decoder(std::uint64_t memory);
std::unique_ptr<StreamDecoder> make_xz_decoder(std::uint64_t memory);

}  // namespace laconic
