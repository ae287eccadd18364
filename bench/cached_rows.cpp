// Decoding CacheGen's bitstream on one thread. Rates are of the decoded f16 numbers: the entropy coder alone,
// and a record until attention can read its rows.
#include <cmath>

#include "bench/copy_rate.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/coding/column_tables.h"
#include "methods/cache/cachegen/coded_rows.h"

namespace laconic {
namespace {

constexpr std::int64_t heads = 8, head_dim = 128, columns = heads * head_dim;

// Channels of different spread, as keys and values have them.
const HeadMatrices& cached_rows(std::int64_t rows) {
  static std::vector<std::pair<std::int64_t, HeadMatrices>> kept;
  for (const auto& [count, made] : kept) {
    if (count == rows) return made;
  }
  HeadMatrices made;
  const RandomStream random(1, "bench", "rows");
  for (std::int64_t h = 0; h < heads; ++h) {
    made.emplace_back(rows, head_dim);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < head_dim; ++j) {
        const auto draw = static_cast<std::uint64_t>((h * rows + r) * head_dim + j);
        made.back().row(r)[j] = random.gaussian_at(draw) * (0.5f + static_cast<float>(j % 8) / 4);
      }
    }
  }
  kept.emplace_back(rows, std::move(made));
  return kept.back().second;
}

RowContext context_for() {
  RowContext context;
  context.layer = 1;
  context.layers = 3;
  context.side = KvSide::values;
  return context;
}

void report_rows(benchmark::State& state, std::int64_t rows, std::size_t coded) {
  const double bytes = 2.0 * static_cast<double>(rows * columns);
  report_rate(state, bytes);
  state.counters["bits/number"] = 16.0 * static_cast<double>(coded) / bytes;
}

void columns_decoding(benchmark::State& state) {
  const std::int64_t rows = state.range(0);
  std::vector<float> x;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (const HeadMatrix& head : cached_rows(rows)) x.insert(x.end(), head.row(r), head.row(r) + head_dim);
  }
  const RowSymbols symbols = row_symbols(x.data(), rows, columns, CodedRowForm(), context_for(), {});
  const ColumnTables tables =
      ColumnTables::fit(symbols.numbers.data(), symbols.coded_rows(), columns, columns);
  const Bytes coded =
      rans_encode_columns(symbols.numbers.data(), symbols.coded_rows(), columns, tables.columns());
  std::int64_t sum = 0;
  for (auto _ : state) {
    rans_decode_columns(
        coded, symbols.coded_rows(), tables.columns(),
        [&](std::int64_t, std::span<const std::int32_t> numbers) { sum += numbers.front(); }, "bench");
  }
  benchmark::DoNotOptimize(sum);
  report_rows(state, rows, coded.size());
}
BENCHMARK(columns_decoding)->Arg(256)->Arg(1500)->Unit(benchmark::kMillisecond);

void records_decoding(benchmark::State& state) {
  set_thread_count(1);
  const std::int64_t rows = state.range(0);
  CodedRowForm form;
  if (state.range(1) == 1) form.delta_values = CodedRowForm::Reference::yes;
  if (state.range(1) == 2) form.mode = CodedRowForm::Mode::direct;
  const auto codec = coded_row_codec("bench", form, nullptr, nullptr);
  const auto store = codec->encode(cached_rows(rows), context_for());
  ByteWriter writer;
  store->write(writer);
  for (auto _ : state) {
    ByteReader reader(writer.span(), "bench");
    benchmark::DoNotOptimize(codec->read(reader, shape_of(cached_rows(rows)), context_for()));
  }
  report_rows(state, rows, writer.size());
}
BENCHMARK(records_decoding)
    ->ArgNames({"rows", "plain_anchors_direct"})
    ->ArgsProduct({{256, 1500}, {0, 1, 2}})
    ->Unit(benchmark::kMillisecond);

void records_encoding(benchmark::State& state) {
  set_thread_count(1);
  const std::int64_t rows = state.range(0);
  const auto codec = coded_row_codec("bench", CodedRowForm(), nullptr, nullptr);
  std::size_t coded = 0;
  for (auto _ : state) coded = codec->encode(cached_rows(rows), context_for())->bytes().total();
  report_rows(state, rows, coded);
}
BENCHMARK(records_encoding)->Arg(256)->Arg(1500)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace laconic
