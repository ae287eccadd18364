#include "engine/base/json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/base/error.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

// A first pass that only judges the text: it keeps no values, so an absurd text costs no memory.
class Judge : public nlohmann::json_sax<Json> {
 public:
  Judge(std::string_view where, std::size_t depth_limit) : where_(where), depth_limit_(depth_limit) {}
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    descend();
    keys_.emplace_back();
    return true;
  }
  bool end_object() override {
    --depth_;
    keys_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override {
    descend();
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      fail(ErrorKind::input, "JSON key \"" + name + "\" stands twice in one object", where_);
    }
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) override {
    fail(ErrorKind::input,
         "not valid JSON at byte " + std::to_string(position) + ": " + std::string(error.what()), where_);
  }

 private:
  void descend() {
    if (++depth_ > depth_limit_) {
      fail(ErrorKind::input, "JSON nested deeper than " + std::to_string(depth_limit_) + " levels", where_);
    }
  }
  std::string_view where_;
  std::size_t depth_limit_, depth_ = 0;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view where, JsonLimits limits) {
  if (text.size() > limits.bytes) {
    fail(ErrorKind::input,
         "JSON text of " + std::to_string(text.size()) + " bytes is over the limit of " +
             std::to_string(limits.bytes),
         where);
  }
  Judge judge(where, limits.depth);
  Json::sax_parse(text, &judge);
  return Json::parse(text);
}

}  // namespace laconic
