#include "runtime/chat/evaluator.h"

#include <algorithm>
#include <cmath>

namespace laconic::chat {
namespace {

class Descent {
 public:
  Descent(const Run& run, int& depth) : depth_(depth) {
    constexpr int deepest = 500;  // statements and expressions inside one another
    if (depth >= deepest) run.fault("macros call each other too deeply");
    ++depth_;
  }
  ~Descent() { --depth_; }
  Descent(const Descent&) = delete;
  Descent& operator=(const Descent&) = delete;

 private:
  int& depth_;
};

Value loop_facts(const List& items, std::size_t index) {
  const auto integer = [](std::size_t value) { return Value::integer(static_cast<std::int64_t>(value)); };
  Map facts;
  facts.emplace_back("index", integer(index + 1));
  facts.emplace_back("index0", integer(index));
  facts.emplace_back("revindex", integer(items.size() - index));
  facts.emplace_back("revindex0", integer(items.size() - index - 1));
  facts.emplace_back("first", Value::boolean(index == 0));
  facts.emplace_back("last", Value::boolean(index + 1 == items.size()));
  facts.emplace_back("length", integer(items.size()));
  facts.emplace_back("previtem", index > 0 ? items[index - 1] : Value::undefined("loop.previtem"));
  facts.emplace_back("nextitem",
                     index + 1 < items.size() ? items[index + 1] : Value::undefined("loop.nextitem"));
  return Value::map(std::move(facts));
}

// Python's // and %: the quotient is rounded down, the remainder has the divisor's sign.
Value floor_division(Run& run, std::int64_t a, std::int64_t b, bool quotient) {
  if (b == -1) {
    std::int64_t negated = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &negated)) run.fault("a number too large");
    return Value::integer(quotient ? negated : 0);
  }
  const bool down = a % b != 0 && (a % b < 0) != (b < 0);
  return Value::integer(quotient ? a / b - (down ? 1 : 0) : a % b + (down ? b : 0));
}

Value number_arithmetic(Run& run, const std::string& sign, const Value& a, const Value& b) {
  if ((sign == "/" || sign == "//" || sign == "%") && b.as_real() == 0) {
    run.fault("divides by zero", ErrorKind::input);
  }
  if (sign == "/") return Value::real(a.as_real() / b.as_real());
  if (a.is_real() || b.is_real()) {
    const double x = a.as_real(), y = b.as_real();
    if (sign == "+") return Value::real(x + y);
    if (sign == "-") return Value::real(x - y);
    if (sign == "*") return Value::real(x * y);
    if (sign == "//") return Value::real(std::floor(x / y));
    return Value::real(x - y * std::floor(x / y));
  }
  const std::int64_t x = a.as_integer(), y = b.as_integer();
  std::int64_t result = 0;
  bool over = false;
  if (sign == "+") {
    over = __builtin_add_overflow(x, y, &result);
  } else if (sign == "-") {
    over = __builtin_sub_overflow(x, y, &result);
  } else if (sign == "*") {
    over = __builtin_mul_overflow(x, y, &result);
  } else {
    return floor_division(run, x, y, sign == "//");
  }
  if (over) run.fault("a number too large");
  return Value::integer(result);
}

}  // namespace

Evaluator::Evaluator(Run& run, Scope globals) : run_(run) { scopes_.push_back(std::move(globals)); }

std::string Evaluator::render(const std::vector<Statement>& body) {
  execute(body);
  return std::move(output_);
}

void Evaluator::write(std::string_view text) {
  run_.spend(text.size());
  if (output_.size() + text.size() > run_.limits.output_bytes) run_.fault("makes too long a text");
  output_ += text;
}

Evaluator::Flow Evaluator::execute(const std::vector<Statement>& body) {
  for (const Statement& statement : body) {
    const Flow flow = execute(statement);
    if (flow != Flow::onward) return flow;
  }
  return Flow::onward;
}

Evaluator::Flow Evaluator::execute(const Statement& statement) {
  using Kind = Statement::Kind;
  const Descent descent(run_, depth_);
  run_.line = statement.line;
  run_.spend(1);
  switch (statement.kind) {
    case Kind::text:
      write(statement.text);
      break;
    case Kind::print:
      write(to_text(run_, evaluate(*statement.expressions[0])));
      break;
    case Kind::condition: {
      std::size_t branch = 0;
      while (branch < statement.expressions.size() && !evaluate(*statement.expressions[branch]).truth())
        ++branch;
      return branch < statement.bodies.size() ? execute(statement.bodies[branch]) : Flow::onward;
    }
    case Kind::loop:
      loop(statement);
      break;
    case Kind::assignment:
      assign(statement);
      break;
    case Kind::capture:
      bind(statement.names, Value::text(captured(statement.bodies[0])));
      break;
    case Kind::macro:
      scopes_.back()[statement.text] = Value::function({statement.text, &statement});
      break;
    case Kind::leave_loop:
      return Flow::leave_loop;
    case Kind::next_turn:
      return Flow::next_turn;
  }
  return Flow::onward;
}

void Evaluator::loop(const Statement& statement) {
  List items = items_of(run_, evaluate(*statement.expressions[0]));
  if (statement.expressions[1]) {
    List kept;
    for (Value& item : items) {
      scopes_.emplace_back();
      bind(statement.names, item);
      if (evaluate(*statement.expressions[1]).truth()) kept.push_back(std::move(item));
      scopes_.pop_back();
    }
    items = std::move(kept);
  }
  if (items.empty() && statement.bodies.size() > 1) {
    scopes_.emplace_back();
    execute(statement.bodies[1]);
    scopes_.pop_back();
    return;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    run_.spend(16);
    scopes_.emplace_back();
    bind(statement.names, items[i]);
    scopes_.back()["loop"] = loop_facts(items, i);
    const Flow flow = execute(statement.bodies[0]);
    scopes_.pop_back();
    if (flow == Flow::leave_loop) break;
  }
}

void Evaluator::bind(const std::vector<std::string>& names, const Value& value) {
  if (names.size() == 1) {
    scopes_.back()[names[0]] = value;
    return;
  }
  const List parts = items_of(run_, value);
  if (parts.size() != names.size()) {
    run_.fault(
        "gives " + std::to_string(parts.size()) + " values to " + std::to_string(names.size()) + " names",
        ErrorKind::input);
  }
  for (std::size_t i = 0; i < names.size(); ++i) scopes_.back()[names[i]] = parts[i];
}

void Evaluator::assign(const Statement& statement) {
  const Value value = evaluate(*statement.expressions[0]);
  if (statement.text.empty()) {
    bind(statement.names, value);
    return;
  }
  const Value target = look_up(statement.names[0]);
  if (!target.is_name_space())
    run_.fault("sets an attribute of \"" + statement.names[0] + "\", which is no namespace",
               ErrorKind::input);
  run_.spend(target.as_map().size());
  target.set(statement.text, value);
}

std::string Evaluator::captured(const std::vector<Statement>& body) {
  std::string outer = std::exchange(output_, {});
  execute(body);
  return std::exchange(output_, std::move(outer));
}

Value Evaluator::look_up(const std::string& name) const {
  for (std::size_t i = scopes_.size(); i-- > frame_;) {
    const auto found = scopes_[i].find(name);
    if (found != scopes_[i].end()) return found->second;
  }
  if (const auto found = scopes_[0].find(name); found != scopes_[0].end()) return found->second;
  if (is_function(name)) return Value::function({name, nullptr});
  return Value::undefined(name);
}

Value Evaluator::evaluate_or_undefined(const ExpressionPtr& expression) {
  return expression ? evaluate(*expression) : Value();
}

Value Evaluator::evaluate(const Expression& expression) {
  using Kind = Expression::Kind;
  const Descent descent(run_, depth_);
  run_.line = expression.line;
  run_.spend(1);
  const auto operand = [&](std::size_t i) { return evaluate(*expression.operands[i]); };
  switch (expression.kind) {
    case Kind::literal:
      return expression.value;
    case Kind::name:
      return look_up(expression.text);
    case Kind::list: {
      List items;
      for (const ExpressionPtr& item : expression.operands) items.push_back(evaluate(*item));
      return Value::list(std::move(items));
    }
    case Kind::map: {
      Map entries;
      for (std::size_t i = 0; i < expression.operands.size(); i += 2) {
        const Value key = operand(i);
        if (!key.is_text())
          run_.fault(std::string("maps with ") + key.kind_name() + " as a key are not supported");
        run_.spend(entries.size());
        set_entry(entries, key.as_text(), operand(i + 1));
      }
      return Value::map(std::move(entries));
    }
    case Kind::attribute:
      return attribute_of(run_, operand(0), expression.text);
    case Kind::item: {
      const Value object = operand(0);
      return item_of(run_, object, operand(1));
    }
    case Kind::slice: {
      const Value object = operand(0), start = evaluate_or_undefined(expression.operands[1]);
      const Value stop = evaluate_or_undefined(expression.operands[2]);
      return slice_of(run_, object, start, stop, evaluate_or_undefined(expression.operands[3]));
    }
    case Kind::call:
      return call(expression);
    case Kind::filter: {
      const Value input = operand(0);
      return apply_filter(run_, expression.text, input, arguments_of(expression));
    }
    case Kind::test: {
      const Value input = operand(0);
      return Value::boolean(apply_test(run_, expression.text, input, arguments_of(expression)));
    }
    case Kind::negate:
    case Kind::keep_sign: {
      const Value value = operand(0);
      if (!value.is_number())
        run_.fault(std::string("gives a sign to ") + value.kind_name(), ErrorKind::input);
      return number_arithmetic(run_, expression.kind == Kind::negate ? "-" : "+", Value::integer(0), value);
    }
    case Kind::logical_not:
      return Value::boolean(!operand(0).truth());
    case Kind::logical_and: {
      Value left = operand(0);
      return left.truth() ? operand(1) : left;
    }
    case Kind::logical_or: {
      Value left = operand(0);
      return left.truth() ? left : operand(1);
    }
    case Kind::conditional:
      if (operand(1).truth()) return operand(0);
      return evaluate_or_undefined(expression.operands[2]);
    case Kind::comparison:
      return comparison(expression);
    case Kind::arithmetic:
      return arithmetic(expression);
  }
  return {};
}

Value Evaluator::comparison(const Expression& expression) {
  Value left = evaluate(*expression.operands[0]);
  for (std::size_t i = 0; i < expression.signs.size(); ++i) {
    const std::string& sign = expression.signs[i];
    Value right = evaluate(*expression.operands[i + 1]);
    bool holds = false;
    if (sign == "==" || sign == "!=") {
      holds = equal(run_, left, right) == (sign == "==");
    } else if (sign == "in" || sign == "not in") {
      holds = contains(run_, right, left) == (sign == "in");
    } else {
      const int order = compare(run_, left, right);
      holds = sign == "<" ? order < 0 : sign == "<=" ? order <= 0 : sign == ">" ? order > 0 : order >= 0;
    }
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Evaluator::arithmetic(const Expression& expression) {
  const Value a = evaluate(*expression.operands[0]), b = evaluate(*expression.operands[1]);
  const std::string& sign = expression.text;
  if (sign == "~") {
    std::string text = to_text(run_, a);
    return Value::text(std::move(text) + to_text(run_, b));
  }
  if (a.is_number() && b.is_number()) return number_arithmetic(run_, sign, a, b);
  if (sign == "+" && a.is_text() && b.is_text()) {
    run_.spend(a.as_text().size() + b.as_text().size());
    return Value::text(a.as_text() + b.as_text());
  }
  if (sign == "+" && a.is_list() && b.is_list()) {
    run_.spend(a.as_list().size() + b.as_list().size());
    List items = a.as_list();
    items.insert(items.end(), b.as_list().begin(), b.as_list().end());
    return Value::list(std::move(items));
  }
  if (sign == "*" && a.is_text() && b.is_integer()) {
    std::string text;
    for (std::int64_t i = 0; i < b.as_integer(); ++i) {
      run_.spend(a.as_text().size() + 1);
      text += a.as_text();
    }
    return Value::text(std::move(text));
  }
  if (a.is_undefined() || b.is_undefined()) {
    run_.fault("\"" + (a.is_undefined() ? a : b).undefined_name() + "\" is not defined", ErrorKind::input);
  }
  run_.fault("the operator " + sign + " between " + a.kind_name() + " and " + b.kind_name() +
             " is not supported");
}

CallArguments Evaluator::arguments_of(const Expression& expression) {
  CallArguments arguments;
  const std::size_t plain = expression.operands.size() - expression.argument_names.size();
  for (std::size_t i = 1; i < plain; ++i) arguments.positional.push_back(evaluate(*expression.operands[i]));
  for (std::size_t i = 0; i < expression.argument_names.size(); ++i) {
    arguments.named.emplace_back(expression.argument_names[i], evaluate(*expression.operands[plain + i]));
  }
  run_.line = expression.line;
  return arguments;
}

Value Evaluator::call(const Expression& expression) {
  const Expression& callee = *expression.operands[0];
  if (callee.kind == Expression::Kind::attribute) {
    const Value object = evaluate(*callee.operands[0]);
    return call_method(run_, object, callee.text, arguments_of(expression));
  }
  const Value function = evaluate(callee);
  if (function.is_undefined()) {
    run_.fault("the function \"" + function.undefined_name() + "\" is not supported");
  }
  if (!function.is_function()) run_.fault(std::string("calls ") + function.kind_name(), ErrorKind::input);
  const CallArguments arguments = arguments_of(expression);
  const Function& named = function.as_function();
  if (named.macro == nullptr) return call_function(run_, named.name, arguments);
  return call_macro(*named.macro, arguments);
}

Value Evaluator::call_macro(const Statement& macro, const CallArguments& arguments) {
  const std::size_t count = macro.names.size(), required = count - macro.expressions.size();
  Scope scope;
  std::size_t used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Value* given = arguments.find(i, macro.names[i]);
    if (given != nullptr) {
      scope[macro.names[i]] = *given;
      ++used;
    } else {
      scope[macro.names[i]] =
          i < required ? Value::undefined(macro.names[i]) : evaluate(*macro.expressions[i - required]);
    }
  }
  if (used < arguments.positional.size() + arguments.named.size()) {
    run_.fault("the macro \"" + macro.text + "\" takes other arguments", ErrorKind::input);
  }
  const std::size_t outer_frame = std::exchange(frame_, scopes_.size());
  scopes_.push_back(std::move(scope));
  std::string text = captured(macro.bodies[0]);
  scopes_.pop_back();
  frame_ = outer_frame;
  return Value::text(std::move(text));
}

}  // namespace laconic::chat
