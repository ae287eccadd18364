#include "engine/codec/codec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/composition.h"

namespace laconic {
namespace {

// Edits (insert, delete, replace, swap of neighbours) that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        now[j] = std::min(now[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string advice_for(std::string_view name, const std::vector<std::string>& known, std::string_view none) {
  const std::string nearest = nearest_name(name, known);
  if (!nearest.empty()) return "did you mean \"" + nearest + "\"?";
  return known.empty() ? std::string(none) : "known: " + listed(known);
}

[[noreturn]] void refuse(const ParameterSpec& spec, std::string_view value, std::string_view wanted) {
  fail(ErrorKind::usage, fmt::format("parameter {}={} is not {}", spec.name, value, wanted));
}

template <class Number>
Number parse_number(const ParameterSpec& spec, std::string_view value, std::string_view kind) {
  Number number{};
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stop != end || !std::isfinite(static_cast<double>(number))) {
    refuse(spec, value, kind);
  }
  if (static_cast<double>(number) < spec.low || static_cast<double>(number) > spec.high) {
    refuse(spec, value, fmt::format("{} from {} to {}", kind, spec.low, spec.high));
  }
  return number;
}

std::vector<double> parse_list(const ParameterSpec& spec, std::string_view value) {
  std::vector<double> numbers;
  for (std::size_t begin = 0; begin <= value.size();) {
    const std::size_t end = std::min(value.find(',', begin), value.size());
    const double number = parse_number<double>(spec, value.substr(begin, end - begin), "a number");
    numbers.push_back(number == 0 ? 0.0 : number);
    begin = end + 1;
  }
  return numbers;
}

// The one spelling of a value, or Error(usage).
std::string canonical_value(const ParameterSpec& spec, std::string_view value) {
  switch (spec.type) {
    case ParameterSpec::Type::integer:
      return std::to_string(parse_number<std::int64_t>(spec, value, "an integer"));
    case ParameterSpec::Type::number: {
      const auto number = parse_number<double>(spec, value, "a number");
      return fmt::format("{}", number == 0 ? 0.0 : number);
    }
    case ParameterSpec::Type::boolean:
      if (value != "true" && value != "false") refuse(spec, value, "true or false");
      return std::string(value);
    case ParameterSpec::Type::choice:
      if (std::find(spec.choices.begin(), spec.choices.end(), value) == spec.choices.end()) {
        fail(ErrorKind::usage, fmt::format("parameter {}={} is not one of its choices", spec.name, value), {},
             advice_for(value, spec.choices, ""));
      }
      return std::string(value);
    case ParameterSpec::Type::text:
      for (char c : value) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '_' || c == '.' || c == '-';
        if (!plain) refuse(spec, value, "text of letters, digits and _ . -");
      }
      return std::string(value);
    case ParameterSpec::Type::codec:
      return value == "none" ? "none" : LayerRules::parse(value).canonical();
    case ParameterSpec::Type::list: {
      std::string all;
      for (const double number : parse_list(spec, value))
        all += fmt::format("{}{}", all.empty() ? "" : ",", number);
      return all;
    }
  }
  fail(ErrorKind::internal, "unknown parameter type");
}

}  // namespace

void TensorCodec::add_decoded(const Payload& payload, std::span<float> sum) const {
  const Tensor decoded = decode(payload);
  const std::span<const float> values = decoded.f32();
  require(values.size() == sum.size(), "the sum has the tensor's length");
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
}

std::vector<float> finite_values(const TensorView& tensor, std::string_view name) {
  std::vector<float> storage;
  const std::span<const float> values = finite_floats(tensor, name, storage);
  if (values.data() != storage.data()) storage.assign(values.begin(), values.end());
  return storage;
}

std::span<const float> real_floats(const TensorView& tensor, std::string_view name,
                                   std::vector<float>& storage) {
  if (!is_real(tensor.dtype)) {
    fail(ErrorKind::input, "holds " + std::string(name_of(tensor.dtype)) + ", codecs take real numbers",
         name);
  }
  if (tensor.dtype == DType::f32 && reinterpret_cast<std::uintptr_t>(tensor.data) % alignof(float) == 0)
    return tensor.f32();
  storage = tensor.to_f32();
  return storage;
}

std::span<const float> finite_floats(const TensorView& tensor, std::string_view name,
                                     std::vector<float>& storage) {
  const std::span<const float> values = real_floats(tensor, name, storage);
  require_finite(values, name);
  return values;
}

std::string ParameterSpec::range() const {
  switch (type) {
    case Type::integer:
    case Type::number:
      return fmt::format("{} to {}", low, high);
    case Type::boolean:
      return "true, false";
    case Type::choice:
      return fmt::format("{}", fmt::join(choices, ", "));
    case Type::text:
      return "text";
    case Type::codec:
      return "none, or a codec";
    case Type::list:
      return fmt::format("numbers from {} to {}", low, high);
  }
  return "";
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  std::size_t best = std::max<std::size_t>(2, name.size() / 2) + 1;
  std::string nearest;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

Parameters::Parameters(const std::vector<ParameterSpec>& specs) : specs_(specs), set_(specs.size(), false) {
  for (const ParameterSpec& spec : specs_) values_.push_back(canonical_value(spec, spec.default_value));
}

std::size_t Parameters::index_of(std::string_view name) const {
  std::vector<std::string> known;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].name == name) return i;
    known.push_back(specs_[i].name);
  }
  fail(ErrorKind::usage, fmt::format("unknown parameter \"{}\"", name), {},
       advice_for(name, known, "it takes no parameters"));
}

void Parameters::set(std::string_view name, std::string_view value) {
  const std::size_t index = index_of(name);
  if (set_[index]) fail(ErrorKind::usage, fmt::format("parameter \"{}\" stands twice", name));
  values_[index] = canonical_value(specs_[index], value);
  set_[index] = true;
}

bool Parameters::is_set(std::string_view name) const { return set_[index_of(name)]; }

std::int64_t Parameters::integer(std::string_view name) const {
  const std::size_t index = index_of(name);
  require(specs_[index].type == ParameterSpec::Type::integer, "parameter is an integer");
  return parse_number<std::int64_t>(specs_[index], values_[index], "an integer");
}

double Parameters::number(std::string_view name) const {
  const std::size_t index = index_of(name);
  require(specs_[index].type == ParameterSpec::Type::number, "parameter is a number");
  return parse_number<double>(specs_[index], values_[index], "a number");
}

bool Parameters::boolean(std::string_view name) const {
  const std::size_t index = index_of(name);
  require(specs_[index].type == ParameterSpec::Type::boolean, "parameter is true or false");
  return values_[index] == "true";
}

const std::string& Parameters::text(std::string_view name) const {
  const std::size_t index = index_of(name);
  const ParameterSpec::Type type = specs_[index].type;
  require(type == ParameterSpec::Type::text || type == ParameterSpec::Type::choice ||
              type == ParameterSpec::Type::codec,
          "parameter is text");
  return values_[index];
}

std::vector<double> Parameters::list(std::string_view name) const {
  const std::size_t index = index_of(name);
  require(specs_[index].type == ParameterSpec::Type::list, "parameter is a list");
  return parse_list(specs_[index], values_[index]);
}

std::string Parameters::canonical(std::string_view codec_name) const {
  std::string inside;
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (values_[i] == canonical_value(specs_[i], specs_[i].default_value)) continue;
    if (!inside.empty()) inside += ',';
    inside += specs_[i].name + '=' + values_[i];
  }
  return std::string(codec_name) + (inside.empty() ? "" : "(" + inside + ")");
}

}  // namespace laconic
