// Renders a parsed template.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/chat/builtins.h"
#include "runtime/chat/syntax.h"

namespace laconic::chat {

using Scope = std::map<std::string, Value, std::less<>>;

class Evaluator {
 public:
  Evaluator(Run& run, Scope globals);
  std::string render(const std::vector<Statement>& body);

 private:
  enum class Flow { onward, leave_loop, next_turn };
  // A name is looked for in the scopes from the innermost out to `frame_`, then among the globals.
  Flow execute(const std::vector<Statement>& body);
  Flow execute(const Statement& statement);
  void loop(const Statement& statement);
  void assign(const Statement& statement);
  void bind(const std::vector<std::string>& names, const Value& value);
  std::string captured(const std::vector<Statement>& body);
  void write(std::string_view text);

  Value evaluate(const Expression& expression);
  Value evaluate_or_undefined(const ExpressionPtr& expression);
  Value look_up(const std::string& name) const;
  Value comparison(const Expression& expression);
  Value arithmetic(const Expression& expression);
  Value call(const Expression& expression);
  Value call_macro(const Statement& macro, const CallArguments& arguments);
  CallArguments arguments_of(const Expression& expression);

  Run& run_;
  std::vector<Scope> scopes_;
  std::size_t frame_ = 0;
  std::string output_;
  int depth_ = 0;
};

}  // namespace laconic::chat
