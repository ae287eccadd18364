// laconic inspect PATH: what each tensor is stored as, and what it costs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "engine/base/hash.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"

namespace laconic::cli {
namespace {

struct TensorRow {
  std::string tensor, codec, dtype, shape, checksum;
  std::uint64_t bytes = 0;
  std::int64_t elements = 0;
  double bits() const {
    return elements == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  }
};

TensorRow kept_row(const SafetensorsDirectory& tensors, const std::string& name) {
  const TensorView view = tensors.tensor(name);
  return {name,
          "kept",
          std::string(name_of(view.dtype)),
          to_string(view.shape),
          to_hex(xxh3_128(view.span())).substr(0, 16),
          view.bytes(),
          view.elements()};
}

std::vector<TensorRow> rows_of(const std::filesystem::path& path, std::string& method) {
  std::vector<TensorRow> rows;
  if (!CompressedModel::is_compressed(path)) {
    const SafetensorsDirectory tensors(path);
    for (const std::string& name : tensors.names()) rows.push_back(kept_row(tensors, name));
    return rows;
  }
  const CompressedModel model(path);
  method = model.method();
  if (const std::string notice = model.notice(); !notice.empty()) print_notice(notice);
  for (const std::string& name : model.compressed_tensors()) {
    const Payload payload = model.payload(name);
    StreamingHash128 hash;
    for (const Field& field : payload.fields) hash.update(field.data.span());
    rows.push_back({name, payload.codec, std::string(name_of(payload.dtype)), to_string(payload.shape),
                    to_hex(hash.digest()).substr(0, 16), payload.field_bytes(),
                    element_count(payload.shape)});
  }
  for (const std::string& name : model.untouched_tensors()) rows.push_back(kept_row(model.tensors(), name));
  return rows;
}

// "5 x sign(rank=1)" for stages of one kind: a stack of blocks would not fit a line.
std::string shortened(const std::string& codec) {
  const std::string first = codec.substr(0, codec.find('+'));
  std::size_t count = 1;
  for (std::size_t at = first.size(); at < codec.size(); at += 1 + first.size(), ++count) {
    if (codec.compare(at + 1, first.size(), first) != 0 ||
        (at + 1 + first.size() < codec.size() && codec[at + 1 + first.size()] != '+')) {
      return codec;
    }
  }
  return count == 1 ? codec : fmt::format("{} x {}", count, first);
}

int inspect(const Arguments& arguments, const Session& session) {
  std::string method;
  const std::vector<TensorRow> rows = rows_of(arguments.text("path"), method);
  if (session.json) {
    nlohmann::json tensors = nlohmann::json::array();
    for (const TensorRow& row : rows) {
      tensors.push_back({{"tensor", row.tensor},
                         {"codec", row.codec},
                         {"dtype", row.dtype},
                         {"shape", row.shape},
                         {"bytes", row.bytes},
                         {"bits_per_weight", row.bits()},
                         {"checksum", row.checksum}});
    }
    fmt::print("{}\n", nlohmann::json{{"method", method}, {"tensors", tensors}}.dump(2));
    return 0;
  }
  if (!method.empty()) fmt::print("method: {}\n", method);
  std::vector<std::vector<std::string>> table = {
      {"tensor", "codec", "dtype", "shape", "bytes", "bits/weight", "xxh3"}};
  std::uint64_t bytes = 0;
  for (const TensorRow& row : rows) {
    bytes += row.bytes;
    table.push_back({row.tensor, shortened(row.codec), row.dtype, row.shape, std::to_string(row.bytes),
                     fmt::format("{:.3f}", row.bits()), row.checksum});
  }
  table.push_back({"total", "", "", "", std::to_string(bytes), "", ""});
  fmt::print("{}", format_table(table));
  return 0;
}

}  // namespace

Verb inspect_verb() {
  return {"inspect",
          "Show how every tensor of a model is stored",
          "  laconic inspect ./model-4bit\n  laconic inspect ./model --json\n",
          {{"path", OptionSpec::Kind::text, "a model directory, compressed or not", true}},
          inspect};
}

}  // namespace laconic::cli
