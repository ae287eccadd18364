// Filters and tests.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "runtime/chat/builtins.h"
#include "runtime/chat/characters.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::chat {
namespace {

std::int64_t length_of(Run& run, const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) {
    run.spend(value.as_text().size());
    return static_cast<std::int64_t>(character_count(value.as_text()));
  }
  if (value.is_list()) return static_cast<std::int64_t>(value.as_list().size());
  if (value.is_map()) return static_cast<std::int64_t>(value.as_map().size());
  run.fault(std::string("takes the length of ") + value.kind_name(), ErrorKind::input);
}

// "a.b" looks up a, then b in it.
Value attribute_path(Run& run, Value value, const std::string& path) {
  for (std::size_t begin = 0;;) {
    const std::size_t end = path.find('.', begin);
    if (value.is_undefined()) return value;
    value = attribute_of(run, value, path.substr(begin, end - begin));
    if (end == std::string::npos) return value;
    begin = end + 1;
  }
}

Value first_or_last(Run& run, const Value& input, bool first) {
  const List items = items_of(run, input);
  if (items.empty()) return Value::undefined(first ? "the first item" : "the last item");
  return first ? items.front() : items.back();
}

Value joined(Run& run, const Value& input, const CallArguments& arguments) {
  arguments.check(run, "join", {"d", "attribute"});
  const std::string mark = arguments.text(run, 0, "d", ""),
                    attribute = arguments.text(run, 1, "attribute", "");
  std::string result;
  bool first = true;
  for (const Value& item : items_of(run, input)) {
    const std::string text = to_text(run, attribute.empty() ? item : attribute_path(run, item, attribute));
    run.spend(mark.size() + text.size());
    if (!first) result += mark;
    result += text;
    first = false;
  }
  return Value::text(std::move(result));
}

Value as_integer(Run& run, const Value& input, std::int64_t otherwise) {
  if (input.is_integer() || input.is_boolean()) return Value::integer(input.as_integer());
  if (input.is_real() && std::fabs(input.as_real()) < 9e18) {
    return Value::integer(static_cast<std::int64_t>(input.as_real()));
  }
  if (input.is_text()) {
    run.spend(input.as_text().size());
    const std::string text(without_leading_space(without_trailing_space(input.as_text())));
    std::int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return Value::integer(value);
  }
  return Value::integer(otherwise);
}

// The items of a list for which a test holds, or does not; of an attribute of theirs, or of themselves.
Value selected(Run& run, std::string_view filter, const Value& input, const CallArguments& arguments) {
  const bool by_attribute = filter == "selectattr" || filter == "rejectattr";
  const bool wanted = filter == "select" || filter == "selectattr";
  const std::size_t fixed = by_attribute ? 1 : 0;
  if (!arguments.named.empty())
    run.fault("named arguments of \"" + std::string(filter) + "\" are not supported");
  const std::string attribute = by_attribute ? arguments.text(run, 0, "attribute", "") : std::string();
  if (by_attribute && arguments.positional.empty()) {
    run.fault("\"" + std::string(filter) + "\" without an attribute", ErrorKind::input);
  }
  const std::string test = arguments.text(run, fixed, "test", "");
  CallArguments inner;
  for (std::size_t i = fixed + 1; i < arguments.positional.size(); ++i) {
    inner.positional.push_back(arguments.positional[i]);
  }
  List kept;
  for (const Value& item : items_of(run, input)) {
    const Value subject = by_attribute ? attribute_path(run, item, attribute) : item;
    run.spend(1);
    if ((test.empty() ? subject.truth() : apply_test(run, test, subject, inner)) == wanted)
      kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Value mapped(Run& run, const Value& input, const CallArguments& arguments) {
  List results;
  if (arguments.positional.empty()) {
    arguments.check(run, "map", {"attribute", "default"});
    const std::string attribute = arguments.text(run, 0, "attribute", "");
    const Value* otherwise = arguments.find(1, "default");
    if (attribute.empty()) run.fault("\"map\" without a filter or an attribute", ErrorKind::input);
    for (const Value& item : items_of(run, input)) {
      const Value value = attribute_path(run, item, attribute);
      results.push_back(value.is_undefined() && otherwise != nullptr ? *otherwise : value);
    }
    return Value::list(std::move(results));
  }
  const std::string filter = arguments.text(run, 0, "filter", "");
  if (filter == "map") run.fault("\"map\" of \"map\" is not supported");
  CallArguments inner = arguments;
  inner.positional.erase(inner.positional.begin());
  for (const Value& item : items_of(run, input)) results.push_back(apply_filter(run, filter, item, inner));
  return Value::list(std::move(results));
}

Value indented(Run& run, const Value& input, const CallArguments& arguments) {
  arguments.check(run, "indent", {"width", "first", "blank"});
  const std::int64_t width = arguments.integer(run, 0, "width", 4);
  if (width < 0 || width > 1000) run.fault("an indent of " + std::to_string(width), ErrorKind::input);
  const bool first = arguments.flag(1, "first", false), blank = arguments.flag(2, "blank", false);
  const std::string text = to_text(run, input), margin(static_cast<std::size_t>(width), ' ');
  std::string result;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    run.spend(margin.size() + end - begin + 1);
    if (begin == 0 ? first : (blank || end > begin)) result += margin;
    result.append(text, begin, end - begin);
    if (end < text.size()) result += '\n';
    begin = end + 1;
  }
  return Value::text(std::move(result));
}

// Filters on the text of a value that are methods of strings.
bool is_text_filter(std::string_view filter) {
  return filter == "upper" || filter == "lower" || filter == "capitalize" || filter == "replace";
}

constexpr std::array<std::string_view, 28> filters = {
    "upper",  "lower", "capitalize", "replace", "trim",       "default",    "d",
    "tojson", "join",  "select",     "reject",  "selectattr", "rejectattr", "map",
    "indent", "int",   "title",      "length",  "count",      "string",     "safe",
    "list",   "first", "last",       "items",   "reverse",    "abs",        "float"};
constexpr std::array<std::string_view, 33> tests = {
    "equalto",  "eq",       "==",          "ne",      "!=",          "lt",    "lessthan",
    "<",        "le",       "<=",          "gt",      "greaterthan", ">",     "ge",
    ">=",       "in",       "divisibleby", "defined", "undefined",   "none",  "string",
    "number",   "integer",  "float",       "boolean", "true",        "false", "mapping",
    "sequence", "iterable", "callable",    "odd",     "even"};

template <class Names>
void refuse_unknown(const Run& run, const Names& names, std::string_view what, std::string_view name) {
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  run.fault("the " + std::string(what) + " \"" + std::string(name) + "\" is not supported");
}

}  // namespace

Value apply_filter(Run& run, std::string_view filter, const Value& input, const CallArguments& arguments) {
  refuse_unknown(run, filters, "filter", filter);
  run.spend(1);
  if (is_text_filter(filter)) return call_method(run, Value::text(to_text(run, input)), filter, arguments);
  if (filter == "trim") return call_method(run, Value::text(to_text(run, input)), "strip", arguments);
  if (filter == "default" || filter == "d") {
    arguments.check(run, filter, {"default_value", "boolean"});
    const bool replaces = input.is_undefined() || (arguments.flag(1, "boolean", false) && !input.truth());
    const Value* otherwise = arguments.find(0, "default_value");
    return !replaces ? input : otherwise != nullptr ? *otherwise : Value::text("");
  }
  if (filter == "tojson") {
    arguments.check(run, filter, {"ensure_ascii", "indent"});
    if (arguments.flag(0, "ensure_ascii", false)) run.fault("\"tojson\" with ensure_ascii is not supported");
    const Value* indent = arguments.find(1, "indent");
    const std::int64_t width =
        indent == nullptr || indent->is_none() ? -1 : arguments.integer(run, 1, "indent", -1);
    if (width > 100) run.fault("an indent of " + std::to_string(width), ErrorKind::input);
    return Value::text(to_json(run, input, static_cast<int>(std::max<std::int64_t>(width, -1))));
  }
  if (filter == "join") return joined(run, input, arguments);
  if (filter == "select" || filter == "reject" || filter == "selectattr" || filter == "rejectattr") {
    return selected(run, filter, input, arguments);
  }
  if (filter == "map") return mapped(run, input, arguments);
  if (filter == "indent") return indented(run, input, arguments);
  if (filter == "int") {
    arguments.check(run, filter, {"default"});
    return as_integer(run, input, arguments.integer(run, 0, "default", 0));
  }
  arguments.check(run, filter, {});
  if (filter == "length" || filter == "count") return Value::integer(length_of(run, input));
  if (filter == "title") {
    const std::string text = to_text(run, input);
    run.spend(text.size());
    return Value::text(title_case_of_words(text));
  }
  if (filter == "string" || filter == "safe") return Value::text(to_text(run, input));
  if (filter == "list") return Value::list(items_of(run, input));
  if (filter == "first" || filter == "last") return first_or_last(run, input, filter == "first");
  if (filter == "items") {
    if (input.is_undefined()) return Value::list({});
    return call_method(run, input, filter, arguments);
  }
  if (filter == "reverse") {
    if (input.is_text()) return slice_of(run, input, Value(), Value(), Value::integer(-1));
    List items = items_of(run, input);
    std::reverse(items.begin(), items.end());
    return Value::list(std::move(items));
  }
  // abs and float
  if (!input.is_number())
    run.fault("the filter \"" + std::string(filter) + "\" of " + input.kind_name(), ErrorKind::input);
  if (filter == "float") return Value::real(input.as_real());
  if (input.is_real()) return Value::real(std::fabs(input.as_real()));
  std::int64_t value = input.as_integer();
  if (value < 0 && __builtin_sub_overflow(std::int64_t{0}, value, &value)) run.fault("a number too large");
  return Value::integer(value);
}

bool apply_test(Run& run, std::string_view test, const Value& input, const CallArguments& arguments) {
  refuse_unknown(run, tests, "test", test);
  run.spend(1);
  const auto other = [&]() -> const Value& {
    arguments.check(run, test, {"other"});
    const Value* value = arguments.find(0, "other");
    if (value == nullptr)
      run.fault("the test \"" + std::string(test) + "\" without a value", ErrorKind::input);
    return *value;
  };
  if (test == "equalto" || test == "eq" || test == "==") return equal(run, input, other());
  if (test == "ne" || test == "!=") return !equal(run, input, other());
  if (test == "lt" || test == "lessthan" || test == "<") return compare(run, input, other()) < 0;
  if (test == "le" || test == "<=") return compare(run, input, other()) <= 0;
  if (test == "gt" || test == "greaterthan" || test == ">") return compare(run, input, other()) > 0;
  if (test == "ge" || test == ">=") return compare(run, input, other()) >= 0;
  if (test == "in") return contains(run, other(), input);
  const auto remainder = [&](std::int64_t by) {
    if (!input.is_integer() && !input.is_boolean()) {
      run.fault(std::string("divides ") + input.kind_name(), ErrorKind::input);
    }
    if (by == 0) run.fault("divides by zero", ErrorKind::input);
    return by == -1 ? 0 : input.as_integer() % by;
  };
  if (test == "divisibleby") {
    other();
    return remainder(arguments.integer(run, 0, "other", 1)) == 0;
  }
  arguments.check(run, test, {});
  if (test == "defined") return !input.is_undefined();
  if (test == "undefined") return input.is_undefined();
  if (test == "none") return input.is_none();
  if (test == "string") return input.is_text();
  if (test == "number") return input.is_number();
  if (test == "integer") return input.is_integer();
  if (test == "float") return input.is_real();
  if (test == "boolean") return input.is_boolean();
  if (test == "true") return input.is_boolean() && input.truth();
  if (test == "false") return input.is_boolean() && !input.truth();
  if (test == "mapping") return input.is_map();
  if (test == "sequence") return input.is_list() || input.is_text() || input.is_map();
  if (test == "iterable") return input.is_list() || input.is_text() || input.is_map() || input.is_undefined();
  if (test == "callable") return input.is_function();
  if (test == "odd") return remainder(2) != 0;
  return remainder(2) == 0;  // even
}

}  // namespace laconic::chat
