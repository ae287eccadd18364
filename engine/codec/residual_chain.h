// A composition of stages as one codec. Stage i encodes what the decoded, rounded stages before it left:
//
//   r_0 = x,   p_i = encode_i(r_i),   r_{i+1} = x - (decode(p_0) + ... + decode(p_i))
//
// and the tensor decodes to the sum of the decoded stages, added in order in f32. With two or more stages the
// fields and attributes of stage i carry the prefix "i." in the payload; one stage alone keeps its names. A
// coder stands behind a run of stages and codes their fields (coded_fields.h), inner runs first.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/codec/codec.h"
#include "engine/codec/coded_fields.h"

namespace laconic {

// A coder behind stages [begin, end); spans nest or are disjoint and come innermost first.
struct CoderSpan {
  FieldCoder coder = FieldCoder::best;
  std::size_t begin = 0, end = 0;
};

class ResidualChain : public TensorCodec {
 public:
  ResidualChain(std::vector<std::unique_ptr<TensorCodec>> stages, std::vector<CoderSpan> spans);

  std::string canonical() const override { return canonical_text(true); }
  // The text without coders: what the expanded payload says it was written by.
  std::string packed_canonical() const { return canonical_text(false); }
  Payload encode(const TensorView& tensor, const EncodeContext& context) const override;
  Tensor decode(const Payload& payload) const override;
  // delta of the whole is 1 - prod(1 - delta_i); homogeneous when every stage is.
  CodecProperties properties(const Shape& shape) const override;

  std::size_t size() const { return stages_.size(); }
  // The payloads of the stages, with fields expanded. Error(corrupt) when fields or attributes belong to
  // none.
  std::vector<Payload> split(const Payload& payload) const;

 private:
  std::string canonical_text(bool with_coders) const;
  std::vector<std::unique_ptr<TensorCodec>> stages_;
  std::vector<CoderSpan> spans_;
};

// One payload from those of its stages, in order, each of a codec without coders behind it: what a chain of
// these codecs would have written. The inverse of ResidualChain::split.
Payload join_stages(std::vector<Payload> stages);

}  // namespace laconic
