#include "runtime/chat/expression_parser.h"

#include <algorithm>
#include <charconv>

#include "engine/base/error.h"

namespace laconic::chat {

using Kind = Expression::Kind;

void ExpressionParser::fault(std::string_view what, ErrorKind kind) const {
  fail(kind, what, where_ + ", line " + std::to_string(token().line));
}

ExpressionParser::Nesting::Nesting(ExpressionParser& parser) : parser_(parser) {
  constexpr int deepest = 64;
  if (parser.nesting_ >= deepest) parser.fault("nested deeper than 64 levels", ErrorKind::unsupported);
  ++parser.nesting_;
}

Token ExpressionParser::take() {
  Token taken = tokens_[position_];
  if (position_ + 1 < tokens_.size()) ++position_;
  return taken;
}
bool ExpressionParser::accept_sign(std::string_view text) {
  if (!at_sign(text)) return false;
  take();
  return true;
}
bool ExpressionParser::accept_name(std::string_view text) {
  if (!at_name(text)) return false;
  take();
  return true;
}
void ExpressionParser::expect_sign(std::string_view text) {
  if (!accept_sign(text)) fault("expects \"" + std::string(text) + "\" before \"" + token().text + "\"");
}
void ExpressionParser::expect(Token::Kind kind, std::string_view what) {
  if (token().kind != kind) fault("expects " + std::string(what) + " before \"" + token().text + "\"");
  take();
}
std::string ExpressionParser::expect_name(std::string_view what) {
  if (token().kind != Token::Kind::name)
    fault("expects " + std::string(what) + " before \"" + token().text + "\"");
  return take().text;
}

ExpressionPtr ExpressionParser::node(Kind kind, std::string text) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = token().line;
  made->text = std::move(text);
  return made;
}

ExpressionPtr ExpressionParser::with(ExpressionPtr parent, ExpressionPtr operand) const {
  constexpr int deepest = 200;  // bounds the recursion of whoever walks the tree
  if (operand != nullptr) parent->depth = std::max(parent->depth, operand->depth + 1);
  if (parent->depth > deepest) fault("an expression of over 200 steps", ErrorKind::unsupported);
  parent->operands.push_back(std::move(operand));
  return parent;
}

ExpressionPtr ExpressionParser::literal(Value value) const {
  auto made = node(Kind::literal);
  made->value = std::move(value);
  return made;
}

ExpressionPtr ExpressionParser::expression() {
  const Nesting nesting(*this);
  ExpressionPtr value = or_level();
  while (accept_name("if")) {
    auto made = with(node(Kind::conditional), std::move(value));
    made = with(std::move(made), or_level());
    ExpressionPtr otherwise;
    if (accept_name("else")) otherwise = expression();
    value = with(std::move(made), std::move(otherwise));
  }
  return value;
}

ExpressionPtr ExpressionParser::expression_or_list() {
  ExpressionPtr first = expression();
  if (!at_sign(",")) return first;
  auto list = with(node(Kind::list), std::move(first));
  while (accept_sign(",")) {
    if (token().kind == Token::Kind::block_end || token().kind == Token::Kind::print_end || at_sign(")"))
      break;
    list = with(std::move(list), expression());
  }
  return list;
}

ExpressionPtr ExpressionParser::or_level() {
  ExpressionPtr left = and_level();
  while (accept_name("or")) {
    auto made = with(node(Kind::logical_or), std::move(left));
    left = with(std::move(made), and_level());
  }
  return left;
}

ExpressionPtr ExpressionParser::and_level() {
  ExpressionPtr left = not_level();
  while (accept_name("and")) {
    auto made = with(node(Kind::logical_and), std::move(left));
    left = with(std::move(made), not_level());
  }
  return left;
}

ExpressionPtr ExpressionParser::not_level() {
  if (!at_name("not")) return comparison();
  const Nesting nesting(*this);
  auto made = node(Kind::logical_not);
  take();
  return with(std::move(made), not_level());
}

ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr left = sum();
  bool chained = false;  // left is a comparison that further signs join
  for (;;) {
    std::string sign;
    if (at_sign("==") || at_sign("!=") || at_sign("<") || at_sign("<=") || at_sign(">") || at_sign(">=") ||
        at_name("in")) {
      sign = take().text;
    } else if (at_name("not") && following().kind == Token::Kind::name && following().text == "in") {
      take(), take();
      sign = "not in";
    } else {
      return left;
    }
    if (!chained) left = with(node(Kind::comparison), std::move(left));
    chained = true;
    left->signs.push_back(sign);
    left = with(std::move(left), sum());
  }
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr left = concatenation();
  while (at_sign("+") || at_sign("-")) {
    auto made = node(Kind::arithmetic, take().text);
    made = with(std::move(made), std::move(left));
    left = with(std::move(made), concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::concatenation() {
  ExpressionPtr left = product();
  while (at_sign("~")) {
    auto made = node(Kind::arithmetic, take().text);
    made = with(std::move(made), std::move(left));
    left = with(std::move(made), product());
  }
  return left;
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr left = signed_operand(true);
  while (at_sign("*") || at_sign("/") || at_sign("//") || at_sign("%")) {
    auto made = node(Kind::arithmetic, take().text);
    made = with(std::move(made), std::move(left));
    left = with(std::move(made), signed_operand(true));
  }
  if (at_sign("**")) fault("the operator ** is not supported", ErrorKind::unsupported);
  return left;
}

ExpressionPtr ExpressionParser::signed_operand(bool with_filters) {
  ExpressionPtr operand;
  if (at_sign("-") || at_sign("+")) {
    const Nesting nesting(*this);
    auto made = node(at_sign("-") ? Kind::negate : Kind::keep_sign);
    take();
    operand = with(std::move(made), signed_operand(false));
  } else {
    operand = primary();
  }
  operand = postfix(std::move(operand));
  return with_filters ? filters_and_tests(std::move(operand)) : std::move(operand);
}

ExpressionPtr ExpressionParser::primary() {
  const Token current = token();
  if (current.kind == Token::Kind::name) {
    auto made = node(Kind::name, current.text);
    take();
    const std::string& name = current.text;
    if (name == "true" || name == "True") return literal(Value::boolean(true));
    if (name == "false" || name == "False") return literal(Value::boolean(false));
    if (name == "none" || name == "None") return literal(Value::none());
    return made;
  }
  if (current.kind == Token::Kind::string) {
    std::string text;
    while (token().kind == Token::Kind::string) text += take().text;  // neighbours are one string
    return literal(Value::text(std::move(text)));
  }
  if (current.kind == Token::Kind::integer || current.kind == Token::Kind::real) {
    const char *begin = current.text.data(), *end = begin + current.text.size();
    std::int64_t integer = 0;
    double real = 0;
    const auto result = current.kind == Token::Kind::integer ? std::from_chars(begin, end, integer)
                                                             : std::from_chars(begin, end, real);
    if (result.ec != std::errc() || result.ptr != end)
      fault("the number " + current.text + " is out of range");
    take();
    return literal(current.kind == Token::Kind::integer ? Value::integer(integer) : Value::real(real));
  }
  if (at_sign("(")) return parenthesised();
  if (at_sign("[")) return list_literal();
  if (at_sign("{")) return map_literal();
  fault(current.text.empty() ? "expects a value" : "expects a value before \"" + current.text + "\"");
}

ExpressionPtr ExpressionParser::parenthesised() {
  take();
  if (accept_sign(")")) return node(Kind::list);
  ExpressionPtr inside = expression_or_list();
  expect_sign(")");
  return inside;
}

ExpressionPtr ExpressionParser::list_literal() {
  auto list = node(Kind::list);
  take();
  while (!at_sign("]")) {
    list = with(std::move(list), expression());
    if (!accept_sign(",")) break;
  }
  expect_sign("]");
  return list;
}

ExpressionPtr ExpressionParser::map_literal() {
  auto map = node(Kind::map);
  take();
  while (!at_sign("}")) {
    map = with(std::move(map), expression());
    expect_sign(":");
    map = with(std::move(map), expression());
    if (!accept_sign(",")) break;
  }
  expect_sign("}");
  return map;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr operand) {
  for (;;) {
    if (at_sign(".")) {
      take();
      if (token().kind == Token::Kind::integer) {
        auto made = with(node(Kind::item), std::move(operand));
        operand = with(std::move(made), primary());
      } else {
        auto made = node(Kind::attribute, expect_name("a name after the point"));
        operand = with(std::move(made), std::move(operand));
      }
    } else if (at_sign("[")) {
      operand = subscript(std::move(operand));
    } else if (at_sign("(")) {
      operand = arguments(with(node(Kind::call), std::move(operand)));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr operand) {
  auto item = with(node(Kind::item), std::move(operand));
  take();
  std::vector<ExpressionPtr> parts;
  bool is_slice = false;
  for (;;) {
    ExpressionPtr part;
    if (!at_sign(":") && !at_sign("]")) part = expression();
    parts.push_back(std::move(part));
    if (!accept_sign(":")) break;
    is_slice = true;
  }
  expect_sign("]");
  if ((!is_slice && !parts[0]) || parts.size() > 3) fault("a subscript that is neither an index nor a slice");
  if (is_slice) {
    item->kind = Kind::slice;
    parts.resize(3);
  }
  for (ExpressionPtr& part : parts) item = with(std::move(item), std::move(part));
  return item;
}

ExpressionPtr ExpressionParser::arguments(ExpressionPtr call) {
  expect_sign("(");
  while (!at_sign(")")) {
    if (at_sign("*") || at_sign("**")) fault("unpacked arguments are not supported", ErrorKind::unsupported);
    if (token().kind == Token::Kind::name && following().kind == Token::Kind::sign &&
        following().text == "=") {
      call->argument_names.push_back(take().text);
      take();
    } else if (!call->argument_names.empty()) {
      fault("an argument without a name follows one with a name");
    }
    call = with(std::move(call), expression());
    if (!accept_sign(",")) break;
  }
  expect_sign(")");
  return call;
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr operand) {
  for (;;) {
    if (accept_sign("|")) {
      auto made = node(Kind::filter, expect_name("a filter's name"));
      operand = with(std::move(made), std::move(operand));
      if (at_sign("(")) operand = arguments(std::move(operand));
    } else if (at_name("is")) {
      take();
      operand = test(std::move(operand));
    } else if (at_sign("(")) {
      operand = arguments(with(node(Kind::call), std::move(operand)));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::test(ExpressionPtr operand) {
  auto refused = accept_name("not") ? node(Kind::logical_not) : nullptr;
  auto made = node(Kind::test, expect_name("a test's name"));
  made = with(std::move(made), std::move(operand));
  const Token& next = token();
  const bool value_follows =
      next.kind == Token::Kind::string || next.kind == Token::Kind::integer ||
      next.kind == Token::Kind::real || at_sign("[") || at_sign("{") ||
      (next.kind == Token::Kind::name && next.text != "else" && next.text != "or" && next.text != "and" &&
       next.text != "is" && next.text != "if" && next.text != "not" && next.text != "in");
  if (at_sign("(")) {
    made = arguments(std::move(made));
  } else if (value_follows) {
    made = with(std::move(made), postfix(primary()));
  }
  return refused ? with(std::move(refused), std::move(made)) : std::move(made);
}

}  // namespace laconic::chat
