// How a client's vector becomes the body of its message: whole ("model": one run of numbers, as the papers on
// top-k and QSGD have it), or tensor by tensor, where selectors may choose codecs ("[*bias*] keep; qsgd").
// "none", and tensors that are kept, travel as f32.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/codec/composition.h"
#include "engine/exchange/tensor_layout.h"

namespace laconic {

class UpdateCodec {
 public:
  enum class Scope { model, tensor };
  UpdateCodec(const std::vector<TensorSlice>& tensors, std::string_view composition, Scope scope,
              std::uint64_t seed);

  std::string text() const;  // canonical, with its scope
  std::size_t size() const { return size_; }
  // Of the whole vector: the least delta and the largest omega of its parts.
  CodecProperties properties() const;

  // Writes the body, and to `decoded` what its reader gets.
  void encode(std::span<const float> vector, std::uint64_t round, int client, ByteWriter& writer,
              std::span<float> decoded) const;
  // Writes all of `vector`; Error(corrupt) on anything encode() does not write.
  void decode(ByteReader& reader, std::span<float> vector) const;

 private:
  struct Part {
    TensorSlice slice;
    const TensorCodec* codec = nullptr;  // null: f32
  };
  std::unique_ptr<TensorCodec> whole_;
  LayerRules rules_;
  std::vector<Part> parts_;
  std::string text_;
  std::size_t size_;
  std::uint64_t seed_;
};

}  // namespace laconic
