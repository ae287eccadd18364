// Rows in classes that follow one another, each class in a store of its own: tokens that a policy sorted
// (TokenSplit) get more or fewer bits.
#pragma once

#include <memory>
#include <vector>

#include "runtime/cache/row_store.h"

namespace laconic {

class ClassStore final : public RowStore {
 public:
  // Stores of the same parts and widths, in the order of their rows.
  explicit ClassStore(std::vector<std::unique_ptr<const RowStore>> classes);

  std::int64_t parts() const override { return classes_.front()->parts(); }
  std::int64_t rows(std::int64_t part) const override;
  std::int64_t width(std::int64_t part) const override { return classes_.front()->width(part); }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override;
  void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
           float* scores, std::int64_t stride) const override;
  void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;

  const RowStore& of_class(std::int64_t which) const { return *classes_.at(static_cast<std::size_t>(which)); }

 private:
  // visit(store, first, last, at) for every class that has rows in [begin, end): its rows [first, last) are
  // those from begin + at on.
  template <class Visit>
  void over(std::int64_t part, std::int64_t begin, std::int64_t end, Visit visit) const;

  std::vector<std::unique_ptr<const RowStore>> classes_;
};

// One codec for each class of context.class_rows. Reading refuses (Error(corrupt)) another number of classes.
std::shared_ptr<const RowCodec> class_row_codec(std::vector<std::shared_ptr<const RowCodec>> classes);

}  // namespace laconic
