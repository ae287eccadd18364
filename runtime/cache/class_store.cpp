#include "runtime/cache/class_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

class ClassRowCodec final : public RowCodec {
 public:
  explicit ClassRowCodec(std::vector<std::shared_ptr<const RowCodec>> classes)
      : classes_(std::move(classes)) {}
  std::string canonical() const override {
    std::string text;
    for (const auto& codec : classes_) text += (text.empty() ? "" : " / ") + codec->canonical();
    return text;
  }
  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext& context) const override {
    require(context.class_rows.size() == classes_.size(), "rows come in the classes that have a codec");
    std::vector<std::unique_ptr<const RowStore>> stores;
    std::int64_t begin = 0;
    for (std::size_t c = 0; c < classes_.size(); ++c) {
      HeadMatrices members;
      for (const HeadMatrix& part : rows) {
        require(begin + context.class_rows[c] <= part.rows, "classes lie inside the rows");
        HeadMatrix& taken = members.emplace_back(context.class_rows[c], part.width);
        std::copy(part.row(begin), part.row(begin + taken.rows), taken.values.begin());
      }
      begin += context.class_rows[c];
      stores.push_back(classes_[c]->encode(members, context));
    }
    for (const HeadMatrix& part : rows) require(part.rows == begin, "every row is in a class");
    return std::make_unique<ClassStore>(std::move(stores));
  }
  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext& context) const override {
    if (context.class_rows.size() != classes_.size())
      reader.corrupt(
          fmt::format("{} classes of tokens where there are {}", context.class_rows.size(), classes_.size()));
    std::int64_t sum = 0;
    for (const std::int64_t rows : context.class_rows) sum += rows;
    std::vector<std::unique_ptr<const RowStore>> stores;
    for (std::size_t c = 0; c < classes_.size(); ++c) {
      RowStoreShape members;
      for (const auto& [rows, width] : shape.parts) {
        if (rows != sum) reader.corrupt("classes of tokens that are not all rows");
        members.parts.push_back({context.class_rows[c], width});
      }
      stores.push_back(classes_[c]->read(reader, members, context));
    }
    return std::make_unique<ClassStore>(std::move(stores));
  }

 private:
  std::vector<std::shared_ptr<const RowCodec>> classes_;
};

}  // namespace

ClassStore::ClassStore(std::vector<std::unique_ptr<const RowStore>> classes) : classes_(std::move(classes)) {
  require(!classes_.empty(), "rows are in at least one class");
  for (const auto& store : classes_)
    require(store->parts() == classes_.front()->parts(), "classes have the same parts");
}

template <class Visit>
void ClassStore::over(std::int64_t part, std::int64_t begin, std::int64_t end, Visit visit) const {
  std::int64_t before = 0;
  for (const auto& store : classes_) {
    const std::int64_t rows = store->rows(part);
    const std::int64_t first = std::clamp<std::int64_t>(begin - before, 0, rows);
    const std::int64_t last = std::clamp<std::int64_t>(end - before, 0, rows);
    if (first < last) visit(*store, first, last, before + first - begin);
    before += rows;
  }
}

std::int64_t ClassStore::rows(std::int64_t part) const {
  std::int64_t sum = 0;
  for (const auto& store : classes_) sum += store->rows(part);
  return sum;
}

void ClassStore::read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  over(part, begin, end, [&](const RowStore& store, std::int64_t first, std::int64_t last, std::int64_t at) {
    store.read(part, first, last, out + at * width(part));
  });
}

void ClassStore::dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                     std::int64_t count, float* scores, std::int64_t stride) const {
  over(part, begin, end, [&](const RowStore& store, std::int64_t first, std::int64_t last, std::int64_t at) {
    store.dot(part, first, last, queries, count, scores + at, stride);
  });
}

void ClassStore::mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                     std::int64_t stride, std::int64_t count, float* sums) const {
  over(part, begin, end, [&](const RowStore& store, std::int64_t first, std::int64_t last, std::int64_t at) {
    store.mix(part, first, last, weights + at, stride, count, sums);
  });
}

KvBytes ClassStore::bytes() const {
  KvBytes sum;
  for (const auto& store : classes_) sum += store->bytes();
  return sum;
}

void ClassStore::write(ByteWriter& writer) const {
  for (const auto& store : classes_) store->write(writer);
}

std::shared_ptr<const RowCodec> class_row_codec(std::vector<std::shared_ptr<const RowCodec>> classes) {
  require(!classes.empty(), "rows are in at least one class");
  return std::make_shared<ClassRowCodec>(std::move(classes));
}

}  // namespace laconic
