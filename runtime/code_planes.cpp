#include "runtime/code_planes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::int64_t longest_run = 512;
// Blocks of at least this size are mapped by themselves: freed, they leave the resident set at once, which
// freed heap memory does not.
constexpr std::size_t smallest_mapping = std::size_t{64} << 10;

// Large blocks start at a multiple of the size of large pages.
std::uint32_t* mapped(std::size_t bytes) {
  const bool large = bytes >= 2 * huge_page;
  const std::size_t slack = large ? huge_page : 0;
  void* const memory =
      mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(memory);
  if (!large) return reinterpret_cast<std::uint32_t*>(begin);
  const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t used = (bytes + page - 1) / page * page;
  if (before > 0) munmap(begin, before);
  if (slack > before) munmap(begin + before + used, slack - before);
  begin += before;
  // Streaming through weights touches every page once per token: large pages spare the address translation.
  madvise(begin, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a hint: refusal is harmless
  return reinterpret_cast<std::uint32_t*>(begin);
}

// Zeros.
std::uint32_t* zeroed_words(std::size_t bytes) {
  if (bytes >= smallest_mapping) return mapped(bytes);
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, std::max<std::size_t>(bytes, 64)) != 0) throw std::bad_alloc();
  std::memset(memory, 0, std::max<std::size_t>(bytes, 64));
  return static_cast<std::uint32_t*>(memory);
}

}  // namespace

void CodePlanes::Free::operator()(std::uint32_t* pointer) const {
  if (bytes >= smallest_mapping) {
    munmap(pointer, bytes);
  } else {
    std::free(pointer);
  }
}

CodePlanes::CodePlanes(std::int64_t rows, std::int64_t columns, int bits) : rows_(rows), columns_(columns) {
  require(rows >= 0 && columns >= 0 && bits >= 1 && bits <= 8, "codes have 1 to 8 bits");
  int shift = 0;
  for (const int width : {8, 4, 2, 1}) {
    if ((bits & width) == 0) continue;
    CodePart part;
    part.width = width;
    part.shift = shift;
    part.offset = row_words_;
    part.words = (columns + part.codes_per_word() - 1) / part.codes_per_word();
    row_words_ += part.words;
    shift += width;
    parts_[part_count_++] = part;
  }
  wide_tiles_ = rows / wide_tile;
  narrow_tiles_ = (rows % wide_tile + narrow_tile - 1) / narrow_tile;
  const auto size = static_cast<std::size_t>(bytes());
  words_ = std::unique_ptr<std::uint32_t[], Free>(zeroed_words(size), Free{size});
}

CodeTile CodePlanes::tile(std::int64_t index) const {
  CodeTile tile;
  if (index < wide_tiles_) {
    tile.first_row = index * wide_tile;
    tile.rows = wide_tile;
  } else {
    tile.first_row = wide_tiles_ * wide_tile + (index - wide_tiles_) * narrow_tile;
    tile.rows = narrow_tile;
  }
  tile.words = words_.get() + tile.first_row * row_words_;
  return tile;
}

std::int64_t CodePlanes::tile_of(std::int64_t row) const {
  const std::int64_t in_wide = wide_tiles_ * wide_tile;
  return row < in_wide ? row / wide_tile : wide_tiles_ + (row - in_wide) / narrow_tile;
}

std::uint32_t* CodePlanes::word_of(std::int64_t row, std::int64_t word, std::int64_t& stride) const {
  stride = row < wide_tiles_ * wide_tile ? wide_tile : narrow_tile;
  const std::int64_t first = row / stride * stride;  // wide tiles end at a multiple of both
  return words_.get() + first * row_words_ + word * stride + (row - first);
}

void CodePlanes::set_row(std::int64_t row, std::span<const std::uint8_t> codes) {
  for (const CodePart& part : parts()) {
    const int per_word = part.codes_per_word();
    const std::uint32_t mask = (1u << part.width) - 1;
    std::int64_t stride = 0;
    std::uint32_t* to = word_of(row, part.offset, stride);
    for (std::int64_t j = 0; j < columns_; j += per_word, to += stride) {
      const auto count = static_cast<int>(std::min<std::int64_t>(per_word, columns_ - j));
      std::uint32_t word = 0;
      for (int k = 0; k < count; ++k) {
        const std::uint32_t code = codes[static_cast<std::size_t>(j + k)];
        word |= ((code >> part.shift) & mask) << (part.width * k);
      }
      *to = word;
    }
  }
}

void CodePlanes::get_row(std::int64_t row, std::span<std::uint8_t> codes) const {
  std::fill_n(codes.begin(), columns_, std::uint8_t{0});
  for (const CodePart& part : parts()) {
    const int per_word = part.codes_per_word();
    const std::uint32_t mask = (1u << part.width) - 1;
    std::int64_t stride = 0;
    const std::uint32_t* from = word_of(row, part.offset, stride);
    for (std::int64_t j = 0; j < columns_; j += per_word, from += stride) {
      const auto count = static_cast<int>(std::min<std::int64_t>(per_word, columns_ - j));
      for (int k = 0; k < count; ++k) {
        const std::uint32_t bits = (*from >> (part.width * k)) & mask;
        codes[static_cast<std::size_t>(j + k)] |= static_cast<std::uint8_t>(bits << part.shift);
      }
    }
  }
}

std::vector<ColumnRun> column_runs(std::int64_t columns, std::int64_t group_columns) {
  std::vector<ColumnRun> runs;
  for (std::int64_t begin = 0; begin < columns;) {
    const std::int64_t group = begin / group_columns;
    const std::int64_t group_end = std::min(columns, (group + 1) * group_columns);
    // Long groups are cut at multiples of the longest run, which are whole words of every part.
    const std::int64_t end = std::min(group_end, (begin / longest_run + 1) * longest_run);
    runs.push_back({begin, end, group});
    begin = end;
  }
  return runs;
}

void prepare_input(const CodePlanes& planes, std::span<const ColumnRun> runs, const float* x,
                   const float* factors, PlaneInput& input) {
  const std::int64_t columns = planes.columns();
  if (factors != nullptr) {
    input.product.resize(static_cast<std::size_t>(columns));
    for (std::int64_t j = 0; j < columns; ++j) input.product[static_cast<std::size_t>(j)] = x[j] * factors[j];
    x = input.product.data();
  }
  input.plain = x;
  std::size_t at = 0;
  for (const CodePart& part : planes.parts()) {
    const int per_word = part.codes_per_word();
    std::array<float, 32> scale;
    for (int k = 0; k < per_word; ++k) {
      // The topmost code of a word is shifted down instead, so that the conversion sees no sign bit.
      const int exponent = k == per_word - 1 ? part.shift : part.shift - part.width * k;
      scale[static_cast<std::size_t>(k)] = std::ldexp(1.0f, exponent);
    }
    std::vector<float>& scaled = input.scaled[at++];
    scaled.resize(static_cast<std::size_t>(part.words * per_word));
    for (std::int64_t j = 0; j < part.words * per_word; ++j) {
      const float value = j < columns ? x[j] : 0.0f;
      scaled[static_cast<std::size_t>(j)] = value * scale[static_cast<std::size_t>(j % per_word)];
    }
  }
  input.run_sum.resize(runs.size());
  for (std::size_t r = 0; r < runs.size(); ++r) {
    double sum = 0;
    for (std::int64_t j = runs[r].begin; j < runs[r].end; ++j) sum += static_cast<double>(x[j]);
    input.run_sum[r] = static_cast<float>(sum);
  }
}

}  // namespace laconic
