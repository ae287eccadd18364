// Any bytes as a data set: the first byte chooses the reader. Each refuses, or returns arrays that agree with
// each other.
#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/dataset/gzip.h"
#include "engine/dataset/idx.h"
#include "engine/dataset/libsvm.h"
#include "engine/dataset/partition.h"
#include "engine/dataset/picture_sheets.h"
#include "engine/dataset/ratings.h"

namespace {

using namespace laconic;

void check(bool promise) {
  if (!promise) std::abort();
}

void check_rows(const SparseExamples& rows) {
  check(rows.row_start.size() == rows.label.size() + 1 && rows.row_start.back() == rows.column.size());
  check(rows.column.size() == rows.value.size());
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    const SparseRow row = rows.row(i);
    check(std::is_sorted(row.columns.begin(), row.columns.end(), std::less_equal<>{}) ||
          row.columns.size() < 2);
    check(row.columns.empty() || row.columns.back() < rows.columns);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  constexpr std::size_t limit = 1 << 20;
  try {
    switch (data[0] % 7) {
      case 0:
        check_rows(parse_libsvm(as_text(bytes), "fuzz"));
        break;
      case 1:
        check_rows(parse_libsvm(as_text(bytes), "fuzz", 50));
        break;
      case 2:
        check(decompress_gzip(bytes, limit, "fuzz").size() <= limit);
        break;
      case 3: {
        const IdxArray array = parse_idx(bytes, "fuzz");
        check(static_cast<std::size_t>(element_count(array.shape)) == array.values.size());
        break;
      }
      case 4: {
        const RasterImage image = decode_png(bytes, "fuzz", limit);
        check(image.pixels.size() == static_cast<std::size_t>(image.width * image.height * 3));
        break;
      }
      case 5:
        for (const std::int32_t label : parse_label_lines(as_text(bytes), 10, "fuzz")) check(label < 10);
        break;
      default: {
        const Ratings ratings = parse_ratings(as_text(bytes), "fuzz");
        for (const Rating& rating : ratings.ratings)
          check(rating.user >= 0 && rating.user < ratings.users && rating.item >= 0 &&
                rating.item < ratings.items);
        text_of(parse_partition_rule(as_text(bytes)));
      }
    }
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
