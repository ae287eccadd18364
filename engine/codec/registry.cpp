#include "engine/codec/registry.h"

#include <fmt/format.h>

#include "engine/base/error.h"

namespace laconic {

const std::vector<CodecDescription>& codec_registry() {
  static const std::vector<CodecDescription> registry = [] {
    std::vector<CodecDescription> list;
    list.push_back(describe_uniform());
    list.push_back(describe_raw());
    list.push_back(describe_low_rank());
    list.push_back(describe_outliers());
    list.push_back(describe_sparse());
    list.push_back(describe_sign());
    list.push_back(describe_gptq_codec());
    list.push_back(describe_decoupled());
    list.push_back(describe_zero());
    list.push_back(describe_qsgd_codec());
    list.push_back(describe_ternary());
    list.push_back(describe_natural());
    list.push_back(describe_one_bit());
    list.push_back(describe_rand_k());
    list.push_back(describe_kmeans());
    return list;
  }();
  return registry;
}

const CodecDescription& codec_named(std::string_view name) {
  std::vector<std::string> known;
  for (const CodecDescription& description : codec_registry()) {
    if (description.name == name) return description;
    known.push_back(description.name);
  }
  std::string advice;
  if (const std::string nearest = nearest_name(name, known); !nearest.empty()) {
    advice = "did you mean \"" + nearest + "\"?";
  } else {
    advice = "known: ";
    for (std::size_t i = 0; i < known.size(); ++i) advice += (i == 0 ? "" : ", ") + known[i];
  }
  fail(ErrorKind::usage, fmt::format("unknown codec \"{}\"", name), {}, advice);
}

}  // namespace laconic
