// laconic diff A B: the error of every tensor of B against A.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"

namespace laconic::cli {
namespace {

// The tensors of a directory as f32, decoded where they are compressed.
class Values {
 public:
  explicit Values(const std::filesystem::path& path) {
    if (CompressedModel::is_compressed(path)) {
      compressed_ = std::make_unique<CompressedModel>(path);
      for (const std::string& name : compressed_->compressed_tensors()) names_.insert(name);
      for (const std::string& name : compressed_->untouched_tensors()) names_.insert(name);
    } else {
      dense_ = std::make_unique<SafetensorsDirectory>(path);
      for (const std::string& name : dense_->names()) names_.insert(name);
    }
  }
  const std::set<std::string>& names() const { return names_; }
  std::pair<Shape, std::vector<float>> get(const std::string& name) const {
    if (compressed_ && compressed_->has_payload(name)) {
      const Tensor tensor = decode_payload(compressed_->payload(name));
      return {tensor.shape(), {tensor.f32().begin(), tensor.f32().end()}};
    }
    const TensorView view = compressed_ ? compressed_->tensors().tensor(name) : dense_->tensor(name);
    return {view.shape, view.to_f32()};
  }

 private:
  std::unique_ptr<CompressedModel> compressed_;
  std::unique_ptr<SafetensorsDirectory> dense_;
  std::set<std::string> names_;
};

int diff(const Arguments& arguments, const Session& session) {
  const Values a(arguments.text("a")), b(arguments.text("b"));
  if (a.names() != b.names()) {
    for (const std::string& name : a.names()) {
      if (b.names().count(name) == 0) fail(ErrorKind::input, "has no tensor " + name, arguments.text("b"));
    }
    for (const std::string& name : b.names()) {
      if (a.names().count(name) == 0) fail(ErrorKind::input, "has no tensor " + name, arguments.text("a"));
    }
  }
  std::vector<std::vector<std::string>> table = {{"tensor", "relative error", "largest error", "SNR dB"}};
  nlohmann::json tensors = nlohmann::json::array();
  for (const std::string& name : a.names()) {
    const auto [a_shape, x] = a.get(name);
    const auto [b_shape, y] = b.get(name);
    if (a_shape != b_shape) {
      fail(ErrorKind::input, "shapes differ: " + to_string(a_shape) + " and " + to_string(b_shape), name);
    }
    double error = 0, power = 0, largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double e = static_cast<double>(x[i]) - static_cast<double>(y[i]);
      error += e * e;
      power += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      largest = std::max(largest, std::abs(e));
    }
    const double relative = power > 0 ? std::sqrt(error / power) : std::sqrt(error);
    const std::string decibels = error == 0   ? "exact"
                                 : power == 0 ? "-"
                                              : fmt::format("{:.2f}", 10 * std::log10(power / error));
    table.push_back({name, fmt::format("{:.6f}", relative), fmt::format("{:.6g}", largest), decibels});
    tensors.push_back({{"tensor", name}, {"relative_error", relative}, {"largest_error", largest}});
  }
  if (session.json) {
    fmt::print("{}\n", nlohmann::json{{"tensors", tensors}}.dump(2));
  } else {
    fmt::print("{}", format_table(table));
  }
  return 0;
}

}  // namespace

Verb diff_verb() {
  return {"diff",
          "Compare two models tensor by tensor",
          "  laconic diff ./model ./model-4bit\n",
          {{"a", OptionSpec::Kind::text, "a model directory", true},
           {"b", OptionSpec::Kind::text, "another, compressed or not", true}},
          diff};
}

}  // namespace laconic::cli
