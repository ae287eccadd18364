#include "runtime/cache/outlier_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "engine/base/finite.h"
#include "engine/coding/bit_stream.h"
#include "engine/math/extremes.h"

namespace laconic {
namespace {

constexpr std::size_t word_bytes = 8;

std::int64_t entries_of(std::int64_t length, std::int64_t per_side) {
  const std::int64_t high = std::clamp<std::int64_t>(per_side, 0, length);
  return high + std::min(high, length - high);
}

// One vector: its numbers are gathered, and where they stand in the rows is known.
struct OutlierVector {
  std::vector<float> numbers;
  std::vector<float*> places;

  void clear() {
    numbers.clear();
    places.clear();
  }
  void add(float* place) {
    numbers.push_back(*place);
    places.push_back(place);
  }
  float mean() const {
    double sum = 0;
    for (const float number : numbers) sum += static_cast<double>(number);
    return numbers.empty() ? 0 : static_cast<float>(sum / static_cast<double>(numbers.size()));
  }
};

}  // namespace

std::int64_t OutlierRows::Lists::position(std::int64_t index) const {
  const auto bit = static_cast<std::uint64_t>(index) * static_cast<std::uint64_t>(bits);
  std::uint64_t word = 0;
  std::memcpy(&word, positions.data() + bit / 8, word_bytes);
  return static_cast<std::int64_t>(word >> (bit % 8) & ((std::uint64_t{1} << bits) - 1));
}

std::int64_t OutlierRows::Lists::lower_bound(std::int64_t vector, std::int64_t least) const {
  std::int64_t low = vector * entries, high = low + entries;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (position(middle) < least) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

OutlierRows OutlierRows::shaped(const RowStoreShape& shape, const OutlierForm& form) {
  OutlierRows result;
  result.form_ = form;
  bool aligned = true;
  std::int64_t columns = 0, numbers = 0;
  for (const auto& [rows, width] : shape.parts) {
    aligned = aligned && rows == shape.parts.front().first;
    result.parts_.push_back({rows, width, form.across ? numbers : columns});
    columns += width;
    numbers += rows * width;
  }
  const auto add = [&](std::int64_t vectors, std::int64_t length) {
    Lists lists;
    lists.vectors = vectors;
    lists.length = length;
    lists.bits = length > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(length - 1))) : 0;
    result.lists_.push_back(std::move(lists));
  };
  if (form.across) {
    add(1, numbers);
  } else if (form.vectors == OutlierVectors::token && aligned) {
    add(shape.parts.empty() ? 0 : shape.parts.front().first, columns);
  } else {
    for (Part& part : result.parts_) {
      part.first = 0;
      if (form.vectors == OutlierVectors::channel) {
        add(part.width, part.rows);
      } else {
        add(part.rows, part.width);
      }
    }
  }
  return result;
}

OutlierRows OutlierRows::take(HeadMatrices& rows, const OutlierForm& form,
                              const std::function<std::int64_t(std::int64_t)>& per_side) {
  OutlierRows result = shaped(shape_of(rows), form);
  std::vector<float> values;
  std::vector<std::pair<float*, float>> fills;
  OutlierVector vector;
  // Visits the vectors as they are for one form, whole.
  const auto each_vector = [&](const OutlierForm& of, const auto& visit) {
    const OutlierRows vectors = shaped(shape_of(rows), of);
    for (std::size_t l = 0; l < vectors.lists_.size(); ++l) {
      const bool all = vectors.lists_.size() == 1;
      const std::size_t first = all ? 0 : l, last = all ? rows.size() : l + 1;
      for (std::int64_t v = 0; v < vectors.lists_[l].vectors; ++v) {
        vector.clear();
        for (std::size_t p = first; p < last; ++p) {
          HeadMatrix& part = rows[p];
          if (of.across) {
            for (float& number : part.values) vector.add(&number);
          } else if (of.vectors == OutlierVectors::channel) {
            for (std::int64_t r = 0; r < part.rows; ++r) vector.add(part.row(r) + v);
          } else {
            for (std::int64_t j = 0; j < part.width; ++j) vector.add(part.row(v) + j);
          }
        }
        visit(l);
      }
    }
  };
  std::vector<BitWriter> writers(result.lists_.size());
  std::vector<std::vector<float>> taken(result.lists_.size());
  std::vector<const float*> chosen;
  each_vector(form, [&](std::size_t l) {
    Lists& lists = result.lists_[l];
    const std::int64_t k = per_side(lists.length);
    lists.entries = entries_of(lists.length, k);
    const float mean = vector.mean();
    for (const std::int64_t i : extreme_entries(vector.numbers, k)) {
      const auto at = static_cast<std::size_t>(i);
      writers[l].put(static_cast<std::uint64_t>(i), lists.bits);
      taken[l].push_back(vector.numbers[at]);
      if (form.across) {
        chosen.push_back(vector.places[at]);
      } else {
        fills.emplace_back(vector.places[at], mean);
      }
    }
  });
  if (form.across) {
    std::sort(chosen.begin(), chosen.end(), std::less<>());
    each_vector({form.vectors, false}, [&](std::size_t) {
      const float mean = vector.mean();
      for (float* place : vector.places) {
        if (std::binary_search(chosen.begin(), chosen.end(), place, std::less<>()))
          fills.emplace_back(place, mean);
      }
    });
  }
  for (const auto& [place, mean] : fills) *place = mean;

  const auto beyond_f16 = [](float number) { return !std::isfinite(rounded_to(DType::f16, number)); };
  for (const std::vector<float>& numbers : taken) {
    if (std::any_of(numbers.begin(), numbers.end(), beyond_f16)) result.dtype_ = DType::f32;
  }
  for (std::size_t l = 0; l < result.lists_.size(); ++l) {
    Lists& lists = result.lists_[l];
    const Bytes packed = writers[l].take();
    lists.positions.assign(packed.begin(), packed.end());
    lists.positions.resize(packed.size() + word_bytes);
    lists.values.resize(taken[l].size() * size_of(result.dtype_));
    convert_from_f32(taken[l], result.dtype_, lists.values.data());
  }
  return result;
}

float OutlierRows::value(const Lists& lists, std::int64_t index) const {
  const std::byte* at = lists.values.data() + static_cast<std::size_t>(index) * size_of(dtype_);
  if (dtype_ == DType::f32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint16_t half = 0;
  std::memcpy(&half, at, sizeof half);
  return f16_to_f32(half);
}

void OutlierRows::list(std::int64_t part, std::int64_t begin, std::int64_t end,
                       std::vector<Outlier>& out) const {
  out.clear();
  const Lists& lists = lists_of(part);
  const Part& shape = parts_.at(static_cast<std::size_t>(part));
  if (lists.entries == 0) return;
  // Entries of a vector with positions in [first, last).
  const auto between = [&](std::int64_t vector, std::int64_t first, std::int64_t last, const auto& make) {
    const std::int64_t stop = (vector + 1) * lists.entries;
    for (std::int64_t i = lists.lower_bound(vector, first); i < stop; ++i) {
      const std::int64_t position = lists.position(i);
      if (position >= last) break;
      const auto [row, column] = make(position - first);
      out.push_back({static_cast<std::int32_t>(row), static_cast<std::int32_t>(column), value(lists, i)});
    }
  };
  using Place = std::pair<std::int64_t, std::int64_t>;
  if (form_.across) {
    between(0, shape.first + begin * shape.width, shape.first + end * shape.width, [&](std::int64_t i) {
      return Place{begin + i / shape.width, i % shape.width};
    });
  } else if (form_.vectors == OutlierVectors::channel) {
    for (std::int64_t j = 0; j < shape.width; ++j)
      between(j, begin, end, [&](std::int64_t i) { return Place{begin + i, j}; });
  } else {
    for (std::int64_t r = begin; r < end; ++r)
      between(r, shape.first, shape.first + shape.width, [&](std::int64_t i) { return Place{r, i}; });
  }
}

std::uint64_t OutlierRows::count() const {
  std::uint64_t sum = 0;
  for (const Lists& lists : lists_) sum += static_cast<std::uint64_t>(lists.count());
  return sum;
}

KvBytes OutlierRows::bytes() const {
  KvBytes sum;
  ByteWriter header;
  header.u8(0);
  for (const Lists& lists : lists_) {
    header.varint(static_cast<std::uint64_t>(lists.entries));
    sum.indices += lists.position_bytes();
    sum.payload += lists.values.size();
  }
  sum.header = header.size();
  return sum;
}

void OutlierRows::write(ByteWriter& writer) const {
  writer.u8(dtype_ == DType::f32 ? 1 : 0);
  for (const Lists& lists : lists_) {
    writer.varint(static_cast<std::uint64_t>(lists.entries));
    writer.append(ByteSpan(lists.positions).first(lists.position_bytes()));
    writer.append(lists.values);
  }
}

OutlierRows OutlierRows::read_from(ByteReader& reader, const RowStoreShape& shape, const OutlierForm& form) {
  OutlierRows result = shaped(shape, form);
  const std::uint8_t wide = reader.u8();
  if (wide > 1) reader.corrupt("outliers of an unknown type");
  result.dtype_ = wide == 1 ? DType::f32 : DType::f16;
  for (Lists& lists : result.lists_) {
    lists.entries = static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(lists.length)));
    const auto count = static_cast<std::uint64_t>(lists.count());
    const std::uint64_t bits = count * static_cast<std::uint64_t>(lists.bits);
    const ByteSpan positions = reader.take((bits + 7) / 8);
    const ByteSpan values = reader.take(count * size_of(result.dtype_));
    lists.positions.assign(positions.begin(), positions.end());
    lists.positions.resize(positions.size() + word_bytes);
    lists.values.assign(values.begin(), values.end());
    if (bits % 8 != 0 && (positions.back() >> (bits % 8)) != std::byte{0})
      reader.corrupt("bits behind the places of outliers");
    for (std::int64_t i = 0; i < lists.count(); ++i) {
      const std::int64_t position = lists.position(i);
      if (position >= lists.length || (i % lists.entries > 0 && position <= lists.position(i - 1)))
        reader.corrupt("places of outliers that do not ascend inside their vector");
      if (!std::isfinite(result.value(lists, i))) reader.corrupt("an outlier that is not finite");
    }
  }
  return result;
}

}  // namespace laconic
