#include "methods/cache/cachegen/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/coding/column_tables.h"
#include "engine/coding/zstd_bytes.h"
#include "methods/cache/cache_trial.h"
#include "methods/cache/cachegen/link_claims.h"
#include "methods/cache/cachegen/settings.h"
#include "methods/cache/trial_bases.h"
#include "runtime/benchmark/measure.h"
#include "runtime/cache/run_rows.h"

namespace laconic::cachegen {
namespace {

using Scale = ReproduceRequest::Scale;
using CacheGenArms = std::vector<ArmNumbers>;  // one per seed

constexpr double most_change = 0.01;  // of perplexity, for claims at equal quality

struct CacheGenRow {
  std::string label, pipeline;
  CacheGenArms quality;    // protocol P2
  CacheGenArms container;  // bits of a prompt's rows, coded as one chunk
  double bits() const { return mean_of(container, "bits"); }
  double change() const { return mean_of(quality, "change"); }
};

// Numbers of one side of a layer as the coder sees them, with what they are measured against.
struct SymbolCost {
  double numbers = 0, payload = 0, entropy = 0, fitted_payload = 0, shared_payload = 0, zstd = 0,
         fixed_width = 0, by_token = 0;
};

double entropy_bits(const std::map<std::int32_t, double>& counts) {
  double all = 0, bits = 0;
  for (const auto& [number, count] : counts) all += count;
  for (const auto& [number, count] : counts) bits -= count * std::log2(count / all);
  return bits;
}

SymbolCost cost_of(const RowSymbols& symbols) {
  SymbolCost cost;
  const std::int64_t rows = symbols.coded_rows(), columns = symbols.columns;
  const std::int32_t* numbers = symbols.numbers.data();
  cost.numbers = static_cast<double>(rows * columns);
  for (std::int64_t c = 0; c < columns; ++c) {
    std::map<std::int32_t, double> counts;
    for (std::int64_t r = 0; r < rows; ++r) ++counts[numbers[r * columns + c]];
    cost.entropy += entropy_bits(counts);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    std::map<std::int32_t, double> counts;
    for (std::int64_t c = 0; c < columns; ++c) ++counts[numbers[r * columns + c]];
    cost.by_token += entropy_bits(counts);
  }
  using Choice = ColumnTables::Choice;
  const auto payload = [&](Choice choice) {
    const ColumnTables tables = ColumnTables::fit(numbers, rows, columns, columns, choice);
    return 8.0 * static_cast<double>(rans_encode_columns(numbers, rows, columns, tables.columns()).size());
  };
  cost.payload = payload(Choice::smallest);
  cost.fitted_payload = payload(Choice::fitted);
  cost.shared_payload = payload(Choice::shared);
  const auto [low, high] = std::minmax_element(symbols.numbers.begin(), symbols.numbers.end());
  Bytes packed;
  for (const std::int32_t number : symbols.numbers)
    packed.push_back(static_cast<std::byte>(std::clamp(number - *low, 0, 255)));
  cost.zstd = 8.0 * static_cast<double>(zstd_compress(packed, 19).size());
  cost.fixed_width = cost.numbers * std::ceil(std::log2(static_cast<double>(*high) - *low + 1));
  return cost;
}

class CacheGenClaims {
 public:
  CacheGenClaims(const ReproduceRequest& request, CacheTrial& trial, Reproduction& result)
      : request_(request),
        trial_(trial),
        result_(result),
        seeds_(trial_seeds(request)),
        shape_(trial.model().kv_shape()) {}

  void note() {
    result_.notes.push_back(fmt::format(
        "{}: prompts of {} tokens, {} forced ones, {} windows a seed, {} exact tokens, {} seeds; {} layers "
        "of "
        "{} KV heads of {}; bits per number are those of a prompt's rows coded as one chunk, window aside",
        trial_.subject().name, trial_.options().prompt, trial_.options().forced, trial_.options().windows,
        trial_.options().exact_window, seeds_.size(), shape_.layers, shape_.kv_heads, shape_.head_dim));
  }

  // All rows, and claims (1) and (3).
  void quality() {
    add("f16", "f16");
    for (const int bits : {8, 4})
      quantised_.push_back(add(fmt::format("per token, {} bits, no entropy coder", bits),
                               fmt::format("per-token(kind=symmetric,joint=true,bits={})", bits)));
    add("KIVI, 4 bits", "kivi");
    for (const int level : {3, 2, 1}) {
      const std::string of = fmt::format("level={}", level);
      ours_.push_back(add(fmt::format("CacheGen, level {}", level), "cachegen(" + of + ")"));
      published_.push_back(add(fmt::format("deltas to anchors everywhere, level {}", level),
                               "cachegen(delta_k=yes,delta_v=yes," + of + ")"));
      chosen_.push_back(
          add(fmt::format("deltas where they pay, level {}", level), "cachegen(turn=false," + of + ")"));
      direct_.push_back(add(fmt::format("direct, level {}", level), "cachegen(mode=direct," + of + ")"));
    }
    add("direct, scales of channels for keys, level 2", "cachegen(mode=direct,key_scale=channel)");
    add("as the released code (fidelity=official), level 2", "cachegen(fidelity=official)");
    add("equal steps in all layers", "cachegen(steps=equal)");
    add("no deltas, no turned mean", "cachegen(delta_k=no,delta_v=no,turn=false)");
    add("one table for all channels", "cachegen(tables=shared)");
    add("tables that learn", "cachegen(tables=adaptive)");
    result_.tables.push_back({trial_.subject().name + ": all forms of a cache", rows_});
    smaller_than_quantised(ours_, "chunk tables", 1.5);
    deltas_against_direct();
  }

  void profiles() {
    const TrialBases bases(request_, trial_.subject());
    const TrialBases::Settings settings = {
        {"calibration-sequences", request_.scale == Scale::quick ? "4" : "32"}};
    std::vector<CacheGenRow> rows;
    std::vector<std::vector<std::string>> table = {
        {"level", "bits per number, chunk tables", "with a profile", "bytes of the profile, all levels"}};
    for (const int level : {3, 2, 1}) {
      const CacheGenRow& plain = ours_[static_cast<std::size_t>(3 - level)];
      const std::string pipeline = fmt::format("cachegen(level={},tables=profile)", level);
      CacheGenRow row{fmt::format("CacheGen, level {}, profile", level), pipeline, {}, {}};
      for (const std::uint64_t seed : seeds_) {
        row.quality.push_back(arm_with_base(trial_, bases, "cachegen", settings, pipeline, seed));
        row.container.push_back(container(pipeline, seed, bases.directory("cachegen", settings, seed),
                                          bases.key("cachegen", settings, seed)));
      }
      table.push_back({std::to_string(level), fmt::format("{:.3f}", plain.bits()),
                       fmt::format("{:.3f}", row.bits()),
                       fmt::format("{:.0f}", mean_of(row.container, "profile_bytes"))});
      rows.push_back(std::move(row));
    }
    result_.tables.push_back({trial_.subject().name + ": tables learnt once", table});
    smaller_than_quantised(rows, "profile tables", 2.0);
  }

  // Claim (2), and what the coder is compared with.
  void coder() {
    std::vector<std::vector<std::string>> table = {
        {"numbers of", "own tables", "entropy by channel", "counted tables", "one table a layer and side",
         "one table for all (entropy)", "a table a token (entropy)", "zstd -19", "fixed width"}};
    ArmNumbers all;
    std::string others;  // what tables save in other forms
    const auto saved = [](const ArmNumbers& sum, const char* other) {
      return 100 * (1 - number(sum, "payload") / number(sum, other));
    };
    std::vector<std::string> pipelines = {"cachegen", "cachegen(mode=direct)"};
    if (request_.scale != Scale::quick)
      pipelines = {"cachegen(level=3)", "cachegen", "cachegen(level=1)", "cachegen(mode=direct)"};
    for (const std::string& pipeline : pipelines) {
      ArmNumbers sum;
      for (const std::uint64_t seed : seeds_) {
        for (const auto& [name, value] : symbol_costs(pipeline, seed)) sum[name] += value;
      }
      const auto bits = [&](const char* name) {
        return fmt::format("{:.3f}", number(sum, name) / number(sum, "numbers"));
      };
      table.push_back({pipeline, bits("payload"), bits("entropy"), bits("fitted"), bits("shared"),
                       bits("global"), bits("by_token"), bits("zstd"), bits("fixed")});
      if (pipeline == "cachegen") {
        all = sum;
      } else {
        others +=
            fmt::format("; {}: {:.1f} and {:.1f} %", pipeline, saved(sum, "global"), saved(sum, "shared"));
      }
    }
    result_.tables.push_back({trial_.subject().name + ": bits per number of payloads, tables aside", table});

    Claim tables = claim_of(
        "one table for all layers, keys and values",
        "a table for every layer and channel makes payloads at least 15 % smaller than a global one");
    tables.paper = "up to 53 % against one global distribution (unverified)";
    tables.baseline_value = number(all, "global") / number(all, "numbers");
    tables.measured_value = number(all, "payload") / number(all, "numbers");
    tables.threshold = "payload <= 0.85 of the baseline's, tables aside";
    tables.met = tables.measured_value <= 0.85 * tables.baseline_value;
    tables.note = fmt::format(
        "{:.1f} % smaller, {:.1f} % than with one table for each layer's keys and values{}; values are bits "
        "per "
        "number, the global table's by its entropy",
        saved(all, "global"), saved(all, "shared"), others);
    result_.claims.push_back(std::move(tables));

    Claim coder = claim_of("the empirical entropy of every channel's numbers",
                           "the entropy coder is within 1 % of the empirical entropy");
    coder.paper = "not given";
    coder.baseline_value = number(all, "entropy") / number(all, "numbers");
    coder.measured_value = number(all, "fitted") / number(all, "numbers");
    coder.threshold = "payload with counted tables <= 1.01 x entropy";
    coder.met = coder.measured_value <= 1.01 * coder.baseline_value;
    coder.note = fmt::format(
        "{:+.2f} %; values are bits per number. Chunks themselves use the two numbers of a Gaussian where "
        "that "
        "is smaller with its table: {:.3f} bits",
        100 * (coder.measured_value / coder.baseline_value - 1),
        number(all, "payload") / number(all, "numbers"));
    result_.claims.push_back(std::move(coder));
  }

  // What the card wants of the decoder, so that it does not hold up a fast link.
  void decoding() {
    const ArmNumbers speed = trial_.other_arm("speed of decoding", "decoding 1", seeds_.front(),
                                              [&] { return decoding_speed(seeds_.front()); });
    const double entropy = number(speed, "entropy coder"), records = number(speed, "records");
    Claim claim = claim_of("the card's target, MB/s of decoded f16 numbers",
                           "rANS decodes at least 500 MB/s on one core");
    claim.paper = "decoding hides behind transfer, on a GPU";
    claim.baseline_value = 500;
    claim.measured_value = entropy / 1e6;
    claim.threshold = ">= 500 MB/s";
    claim.met = entropy >= 500e6;
    claim.note = fmt::format(
        "level 2, all layers of a prompt of {} tokens, {} numbers a row, by processor time; until attention "
        "can read the rows {:.0f} MB/s: numbers become values, and keys are turned to their positions",
        trial_.options().prompt, shape_.kv_heads * shape_.head_dim, records / 1e6);
    result_.claims.push_back(std::move(claim));
  }

  // The paper's insights, before anything is built on them.
  void insights() {
    std::vector<std::vector<std::string>> variances = {
        {"layer", "deltas / keys", "turned mean taken away / keys", "deltas / values"}};
    const ArmNumbers spread = trial_.other_arm("variances", "variances 1", seeds_.front(),
                                               [&] { return variances_of(seeds_.front()); });
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      const auto of = [&](const char* what) {
        return fmt::format("{:.2f}", number(spread, fmt::format("{}.{}", what, layer)));
      };
      variances.push_back({std::to_string(layer), of("delta_k"), of("turned_k"), of("delta_v")});
    }
    result_.tables.push_back(
        {trial_.subject().name + ": variance inside channels that is left (2: nothing in common)",
         variances});

    std::vector<std::vector<std::string>> thirds = {{"coarse third", "KL", "perplexity change"}};
    const char* names[] = {"first", "middle", "last"};
    for (std::int64_t third = 0; third < 3; ++third) {
      CacheGenArms arms;
      for (const std::uint64_t seed : seeds_)
        arms.push_back(trial_.other_arm(fmt::format("coarse {} third", names[third]),
                                        fmt::format("coarse third 1 {}", third), seed,
                                        [&] { return coarse_third(third, seed); }));
      thirds.push_back({names[third], fmt::format("{:.6f}", mean_of(arms, "kl")),
                        fmt::format("{:+.3f} %", 100 * mean_of(arms, "change"))});
    }
    result_.tables.push_back(
        {trial_.subject().name + ": steps of 2 deviations in one third of the layers, f16 in the others",
         thirds});
  }

 private:
  Claim claim_of(const std::string& baseline, const std::string& text) const {
    Claim claim;
    claim.claim = trial_.subject().name + ": " + text;
    claim.baseline_name = baseline;
    return claim;
  }

  CacheGenRow add(const std::string& label, const std::string& pipeline) {
    CacheGenRow row{label, pipeline, trial_.arms(pipeline, seeds_), {}};
    for (const std::uint64_t seed : seeds_) row.container.push_back(container(pipeline, seed));
    if (rows_.empty())
      rows_.push_back({"cache", "bits per number", "of it tables", "of it scales", "perplexity change", "KL",
                       "top-1", "bytes per token (P2)"});
    rows_.push_back(
        {label, fmt::format("{:.3f}", row.bits()), fmt::format("{:.3f}", mean_of(row.container, "tables")),
         fmt::format("{:.3f}", mean_of(row.container, "scales")),
         fmt::format("{:+.3f} %", 100 * row.change()), fmt::format("{:.6f}", mean_of(row.quality, "kl")),
         fmt::format("{:.2f} %", 100 * mean_of(row.quality, "top1")),
         fmt::format("{:.1f}", mean_of(row.quality, "bytes_per_token"))});
    result_.curves.push_back({trial_.subject().name + ": KL against bits of a chunk",
                              label,
                              {{row.bits(), mean_of(row.quality, "kl")}},
                              "bits per number",
                              "KL"});
    return row;
  }

  // Bits per number of prompts whose rows are all coded, as one chunk each.
  ArmNumbers container(const std::string& pipeline, std::uint64_t seed,
                       const std::filesystem::path& bases = {}, const std::string& key = {}) {
    const std::vector<CacheStageText> stages = parse_cache_pipeline(pipeline);
    std::string what = "container 2" + key;
    for (const CacheStageText& stage : stages)
      what += "\n" + settings_text(stage.method->slug, stage.parameters);
    return trial_.other_arm("container of " + pipeline, what, seed, [&] {
      const CacheFactory factory = trial_.factory(pipeline, seed, 0, bases);
      KvBytes sum;
      double numbers = 0;
      const auto& windows = trial_.windows(seed).windows;
      const std::size_t count = std::min<std::size_t>(windows.size(), 6);
      for (std::size_t i = 0; i < count; ++i) {
        const auto cache = factory.make();
        trial_.model().forward(std::span(windows[i]).first(static_cast<std::size_t>(trial_.options().prompt)),
                               cache.get(), true);
        sum += cache->bytes();
        numbers += numbers_of(trial_.options().prompt);
      }
      require(sum.window == 0 || stages.front().method->slug == "f16", "all rows are coded");
      ArmNumbers arm = {{"bits", 8 * static_cast<double>(sum.total()) / numbers},
                        {"payload", 8 * static_cast<double>(sum.payload) / numbers},
                        {"tables", 8 * static_cast<double>(sum.tables) / numbers},
                        {"scales", 8 * static_cast<double>(sum.scales) / numbers}};
      if (!bases.empty()) {
        double bytes = 0;
        for (const auto& file : std::filesystem::directory_iterator(bases / "kv"))
          bytes += static_cast<double>(file.file_size());
        arm["profile_bytes"] = bytes;
      }
      return arm;
    });
  }

  double numbers_of(std::int64_t tokens) const {
    return static_cast<double>(2 * shape_.layers * shape_.kv_heads * shape_.head_dim * tokens);
  }

  void smaller_than_quantised(const std::vector<CacheGenRow>& rows, const std::string& tables, double times) {
    const auto smallest = [](const std::vector<const CacheGenRow*>& from) -> const CacheGenRow* {
      const CacheGenRow* best = nullptr;
      for (const CacheGenRow* row : from) {
        if (row->change() <= most_change && (best == nullptr || row->bits() < best->bits())) best = row;
      }
      return best;
    };
    std::vector<const CacheGenRow*> coded, plain;
    for (const CacheGenRow& row : rows) coded.push_back(&row);
    plain = {&quantised_.front(), &quantised_.back()};  // int8 and int4
    const CacheGenRow *ours = smallest(coded), *theirs = smallest(plain);
    Claim claim =
        claim_of("int4 or int8 per token, whichever keeps perplexity within 1 %",
                 fmt::format("at most 1 % of perplexity lost, chunks with {} are at least {} times smaller",
                             tables, times));
    claim.paper = "3.7 to 4.3 times less bandwidth than quantised caches at similar quality";
    claim.threshold = fmt::format("bits per number <= baseline's / {}", times);
    if (ours != nullptr && theirs != nullptr) {
      claim.baseline_value = theirs->bits();
      claim.measured_value = ours->bits();
      claim.met = ours->bits() <= theirs->bits() / times;
      claim.note = fmt::format(
          "{} at {:+.3f} % against {} at {:+.3f} %: {:.2f} times smaller{}; values are bits per "
          "number of a chunk, everything counted",
          ours->label, 100 * ours->change(), theirs->label, 100 * theirs->change(),
          theirs->bits() / ours->bits(), times_smaller_at_equal_kl(rows, *theirs));
    } else {
      claim.note = "no setting keeps perplexity within 1 %";
    }
    result_.claims.push_back(std::move(claim));
  }

  static std::string times_smaller_at_equal_kl(const std::vector<CacheGenRow>& rows,
                                               const CacheGenRow& other) {
    std::vector<RatePoint> points;  // bits against KL, so that its logarithm is what is interpolated in
    for (const CacheGenRow& row : rows) points.push_back({mean_of(row.quality, "kl"), row.bits()});
    const auto bits = value_at_bytes(points, mean_of(other.quality, "kl"));
    if (!bits) return "";
    return fmt::format(", {:.2f} times at its KL of {:.6f}", other.bits() / *bits,
                       mean_of(other.quality, "kl"));
  }

  // KL at the bits of each direct level, read off the levels of another form.
  void deltas_against_direct() {
    std::vector<std::vector<std::string>> table = {
        {"direct", "bits", "KL", "deltas everywhere", "deltas where they pay", "with the turned mean"}};
    double ours = 0, direct = 0;
    int compared = 0;
    const auto at = [](const std::vector<CacheGenRow>& rows, double bits) {
      std::vector<RatePoint> points;
      for (const CacheGenRow& row : rows)
        points.push_back({row.bits(), std::log(mean_of(row.quality, "kl"))});
      return value_at_bytes(points, bits);
    };
    const auto shown = [](const std::optional<double>& value) {
      return value ? fmt::format("{:.6f}", std::exp(*value)) : std::string("not measured there");
    };
    for (const CacheGenRow& row : direct_) {
      const auto everywhere = at(published_, row.bits()), chosen = at(chosen_, row.bits()),
                 turned = at(ours_, row.bits());
      table.push_back({row.label, fmt::format("{:.3f}", row.bits()),
                       fmt::format("{:.6f}", mean_of(row.quality, "kl")), shown(everywhere), shown(chosen),
                       shown(turned)});
      if (!chosen) continue;
      ours += *chosen;
      direct += std::log(mean_of(row.quality, "kl"));
      ++compared;
    }
    result_.tables.push_back({trial_.subject().name + ": KL at the bits of the direct mode", table});
    Claim claim = claim_of("mode direct",
                           "mode delta loses less than mode direct at equal bytes, or it is "
                           "said by how much it does not");
    claim.paper = "deltas of nearby tokens vary much less than values";
    claim.threshold = "KL below that of mode direct at equal bits (levels interpolated in log rate)";
    if (compared > 0) {
      claim.baseline_value = std::exp(direct / compared);
      claim.measured_value = std::exp(ours / compared);
      claim.met = claim.measured_value < claim.baseline_value;
      claim.note = fmt::format(
          "deltas where they pay, without the turned mean; {:.2f} times the KL of mode direct, mean over {} "
          "levels "
          "of it; values are KL",
          claim.measured_value / claim.baseline_value, compared);
    } else {
      claim.note = "the levels of the two modes do not overlap in bits";
    }
    result_.claims.push_back(std::move(claim));
  }

  // Calls body(symbols' rows) for a few prompts, every layer and side.
  template <class Body>
  void each_side(std::uint64_t seed, const Body& body) {
    const auto& windows = trial_.windows(seed).windows;
    const std::size_t count = std::min<std::size_t>(windows.size(), 4);
    const std::int64_t tokens = trial_.options().prompt, columns = shape_.kv_heads * shape_.head_dim;
    for (std::size_t i = 0; i < count; ++i) {
      const auto cache = make_exact_cache(shape_, DType::f16);
      trial_.model().forward(std::span(windows[i]).first(static_cast<std::size_t>(tokens)), cache.get(),
                             true);
      for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
        const RunRows run = run_rows(cache->layer(layer), 0, tokens);
        for (const KvSide side : {KvSide::keys, KvSide::values}) {
          const HeadMatrices& heads = side == KvSide::keys ? run.keys : run.values;
          std::vector<float> x(static_cast<std::size_t>(tokens * columns));
          for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
            for (std::int64_t r = 0; r < tokens; ++r)
              std::copy_n(heads[static_cast<std::size_t>(h)].row(r), shape_.head_dim,
                          x.data() + r * columns + h * shape_.head_dim);
          }
          RowContext context;
          context.layer = layer;
          context.layers = shape_.layers;
          context.side = side;
          const KeyTurns turns = side == KvSide::keys && shape_.rope != nullptr
                                     ? KeyTurns(*shape_.rope, shape_.head_dim, 0, tokens)
                                     : KeyTurns();
          body(x, tokens, columns, context, turns);
        }
      }
    }
  }

  ArmNumbers symbol_costs(const std::string& pipeline, std::uint64_t seed) {
    const CacheStageText stage = parse_cache_pipeline(pipeline).front();
    return trial_.other_arm(
        "coder of " + pipeline, "coder 2\n" + settings_text("cachegen", stage.parameters), seed, [&] {
          ArmNumbers sum;
          std::map<std::int32_t, double> everywhere;
          const CodedRowForm form = cachegen_form(stage.parameters);
          each_side(seed, [&](const std::vector<float>& x, std::int64_t rows, std::int64_t columns,
                              const RowContext& context, const KeyTurns& turns) {
            const RowSymbols symbols = row_symbols(x.data(), rows, columns, form, context, turns);
            for (const std::int32_t value : symbols.numbers) ++everywhere[value];
            const SymbolCost cost = cost_of(symbols);
            sum["numbers"] += cost.numbers;
            sum["payload"] += cost.payload;
            sum["entropy"] += cost.entropy;
            sum["fitted"] += cost.fitted_payload;
            sum["shared"] += cost.shared_payload;
            sum["by_token"] += cost.by_token;
            sum["zstd"] += cost.zstd;
            sum["fixed"] += cost.fixed_width;
          });
          sum["global"] = entropy_bits(everywhere);
          return sum;
        });
  }

  // Bytes of f16 numbers decoded per second of processor time, medians of some rounds.
  ArmNumbers decoding_speed(std::uint64_t seed) {
    struct Side {
      Bytes stream;  // of the entropy coder
      ColumnTables tables;
      std::int64_t coded_rows = 0;
      Bytes record;
      RowStoreShape shape;
      RowContext context;
    };
    const auto codec = coded_row_codec("speed", CodedRowForm(), shape_.rope, nullptr);
    std::vector<Side> sides;
    double bytes = 0;
    each_side(seed, [&](const std::vector<float>& x, std::int64_t rows, std::int64_t columns,
                        const RowContext& context, const KeyTurns& turns) {
      const RowSymbols symbols = row_symbols(x.data(), rows, columns, CodedRowForm(), context, turns);
      Side side;
      side.tables = ColumnTables::fit(symbols.numbers.data(), symbols.coded_rows(), columns, columns);
      side.coded_rows = symbols.coded_rows();
      side.stream =
          rans_encode_columns(symbols.numbers.data(), side.coded_rows, columns, side.tables.columns());
      HeadMatrices heads;
      for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
        heads.emplace_back(rows, shape_.head_dim);
        for (std::int64_t r = 0; r < rows; ++r)
          std::copy_n(x.data() + r * columns + h * shape_.head_dim, shape_.head_dim, heads.back().row(r));
      }
      side.context = context;
      side.context.turned_run = context.side == KvSide::keys;
      side.shape = shape_of(heads);
      ByteWriter writer;
      codec->encode(heads, side.context)->write(writer);
      side.record = writer.take();
      bytes += 2 * static_cast<double>(rows * columns);
      sides.push_back(std::move(side));
    });
    const int threads = thread_count();
    set_thread_count(1);
    std::vector<double> entropy, records;
    std::uint64_t sum = 0;
    for (int round = 0; round < 15; ++round) {
      const Seconds coder = time_of([&] {
        for (const Side& side : sides)
          rans_decode_columns(
              side.stream, side.coded_rows, side.tables.columns(),
              [&](std::int64_t, std::span<const std::int32_t> numbers) { sum += numbers.size(); }, "speed");
      });
      entropy.push_back(bytes / coder.processor);
      const Seconds whole = time_of([&] {
        for (const Side& side : sides) {
          ByteReader reader(side.record, "speed");
          sum += static_cast<std::uint64_t>(codec->read(reader, side.shape, side.context)->parts());
        }
      });
      records.push_back(bytes / whole.processor);
    }
    set_thread_count(threads);
    require(sum > 0, "something was decoded");
    return {{"entropy coder", median(entropy)}, {"records", median(records)}};
  }

  ArmNumbers variances_of(std::uint64_t seed) {
    std::map<std::pair<std::int64_t, bool>, RowSpread> sums;
    each_side(seed, [&](const std::vector<float>& x, std::int64_t rows, std::int64_t columns,
                        const RowContext& context, const KeyTurns& turns) {
      const RowSpread spread = spread_of(x.data(), rows, columns, 10, turns);
      RowSpread& sum = sums[{context.layer, context.side == KvSide::keys}];
      sum.plain += spread.plain;
      sum.anchors += spread.anchors;
      sum.turned_mean += spread.turned_mean;
    });
    ArmNumbers numbers;
    for (const auto& [key, sum] : sums) {
      const auto& [layer, keys] = key;
      numbers[fmt::format("{}.{}", keys ? "delta_k" : "delta_v", layer)] = sum.anchors / sum.plain;
      // The sum began at -1: no turns.
      if (keys) numbers[fmt::format("turned_k.{}", layer)] = (sum.turned_mean + 1) / sum.plain;
    }
    return numbers;
  }

  ArmNumbers coarse_third(std::int64_t third, std::uint64_t seed) {
    CodedRowForm form;
    form.level = 1;
    form.layer_steps = false;
    std::vector<std::shared_ptr<const KvCodec>> codecs;
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      KvStages stages;
      stages.canonical = "coarse third";
      stages.window.exact = trial_.options().exact_window;
      stages.window.flush = 64;
      stages.bits = 3 * layer / shape_.layers == third ? coded_row_codec("coarse", form, shape_.rope, nullptr)
                                                       : exact_row_codec(DType::f16);
      codecs.push_back(make_stage_codec(shape_, layer, std::move(stages)));
    }
    return trial_.measure([&] { return std::make_unique<KvCache>(shape_, codecs); }, seed);
  }

  const ReproduceRequest& request_;
  CacheTrial& trial_;
  Reproduction& result_;
  std::vector<std::uint64_t> seeds_;
  KvShape shape_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<CacheGenRow> quantised_, ours_, published_, chosen_, direct_;
};

// The card's pilot on the small model, whose heads of 8 make no claims.
void pilot_rows(const ReproduceRequest& request, ArmCache& cache, Reproduction& result) {
  std::optional<TrialSubject> subject;
  try {
    subject = trial_subject(request, "stories260K-hf");
  } catch (const Error&) {
    result.notes.push_back("no rows for stories260K: it is not in the data folder");
    return;
  }
  CacheTrial trial(request, std::move(*subject), "tinystories", cache, {});
  const std::uint64_t seed = trial_seeds(request).front();
  std::vector<std::vector<std::string>> rows = {{"cache", "perplexity change", "KL", "the card's pilot"}};
  const auto add = [&](const std::string& pipeline, const std::string& pilot) {
    const ArmNumbers arm = trial.arm(pipeline, seed);
    rows.push_back({pipeline, fmt::format("{:+.3f} %", 100 * number(arm, "change")),
                    fmt::format("{:.6f}", number(arm, "kl")), pilot});
  };
  add("cachegen(mode=direct,level=3)", "32 bins: -0.04 %");
  add("cachegen(mode=direct)", "32/16 bins; 16 bins alone +1.5 %");
  add("cachegen(delta_k=yes,delta_v=yes,steps=equal,level=3)", "0.5 deviations: +0.01 %");
  add("cachegen(delta_k=yes,delta_v=yes,steps=equal)", "1 deviation: +1.7 %");
  add("cachegen", "not part of it");
  result.tables.push_back({"stories260K, heads of 8: the card's pilot, one seed", rows});
}

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) {
  ArmCache cache(request.cache, request.on_arm);
  Reproduction result;
  TrialSubject subject = long_context_subject(request);
  const std::string text = subject.held_out.size() > 1 ? "tinystories" : subject.held_out.front().name;
  CacheTrial trial(request, std::move(subject), text, cache, CacheTrialOptions::long_context());
  CacheGenClaims claims(request, trial, result);
  claims.note();
  claims.quality();
  claims.profiles();
  claims.coder();
  claims.decoding();
  simulated_link_claims(request, trial, result);
  served_link_claims(request, trial, result);
  if (request.scale != Scale::quick) {
    claims.insights();
    pilot_rows(request, cache, result);
  }
  result.arms = cache.records();
  return result;
}

}  // namespace laconic::cachegen
