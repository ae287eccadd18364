#include "runtime/tokenizer/post_processor.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "runtime/tokenizer/component.h"

namespace laconic {
namespace {

std::int32_t checked_id(const nlohmann::json& value, const Component& part) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() > std::numeric_limits<std::int32_t>::max()) {
    part.fault("a special token has no proper id");
  }
  return value.get<std::int32_t>();
}

// ["[SEP]", 102]
std::int32_t named_id(const Component& part, const char* key) {
  const nlohmann::json& value = part.list(key);
  if (value.size() != 2) part.fault(std::string("\"") + key + "\" is not a token with its id");
  return checked_id(value[1], part);
}

}  // namespace

PostProcessor::PostProcessor(std::vector<std::int32_t> before, std::vector<std::int32_t> after)
    : before_(std::move(before)), after_(std::move(after)) {}

PostProcessor::PostProcessor(const nlohmann::json& value, std::string_view where) {
  if (!value.is_null()) add(value, where, 0);
}

void PostProcessor::add(const nlohmann::json& value, std::string_view where, int depth) {
  const Component part(value, "post_processor", where);
  const std::string& type = part.type();
  std::vector<std::int32_t> before, after;
  if (type == "Sequence") {
    if (depth > 16) part.fault("sequences nested too deep");
    for (const auto& inner : part.list("processors")) add(inner, where, depth + 1);
  } else if (type == "TemplateProcessing") {
    const nlohmann::json& tokens = part.member("special_tokens");
    bool seen_text = false;
    for (const nlohmann::json& item : part.list("single")) {
      if (item.is_object() && item.contains("Sequence")) {
        if (seen_text) part.fault("the text stands twice in \"single\"");
        seen_text = true;
        continue;
      }
      if (!item.is_object() || !item.contains("SpecialToken") || !item["SpecialToken"].is_object() ||
          !item["SpecialToken"].contains("id") || !item["SpecialToken"]["id"].is_string()) {
        part.fault("\"single\" holds something that is neither a Sequence nor a SpecialToken");
      }
      const std::string name = item["SpecialToken"]["id"].get<std::string>();
      if (!tokens.is_object() || !tokens.contains(name) || !tokens[name].is_object() ||
          !tokens[name].contains("ids") || !tokens[name]["ids"].is_array()) {
        part.fault("the special token \"" + name + "\" has no ids");
      }
      for (const nlohmann::json& id : tokens[name]["ids"]) {
        (seen_text ? after : before).push_back(checked_id(id, part));
      }
    }
    if (!seen_text) part.fault("\"single\" leaves out the text");
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    before.push_back(named_id(part, "cls"));
    after.push_back(named_id(part, "sep"));
  } else if (type != "ByteLevel") {  // that one only moves offsets
    part.unknown();
  }
  // Each processor of a sequence stands around what the ones before it made.
  before_.insert(before_.begin(), before.begin(), before.end());
  after_.insert(after_.end(), after.begin(), after.end());
}

std::vector<std::int32_t> PostProcessor::apply(std::vector<std::int32_t> ids) const {
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), after_.begin(), after_.end());
  return ids;
}

}  // namespace laconic
