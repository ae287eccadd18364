// The syntax tree of a template.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/value.h"

namespace laconic::chat {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    literal,      // value
    name,         // text
    list,         // operands
    map,          // operands: key, value, key, value, ...
    attribute,    // operand 0 . text
    item,         // operand 0 [operand 1]
    slice,        // operand 0 [operand 1 : operand 2 : operand 3], each of 1 to 3 may be null
    call,         // operand 0 (arguments)
    filter,       // operand 0 | text(arguments)
    test,         // operand 0 is text(arguments)
    negate,       // - operand 0
    keep_sign,    // + operand 0
    logical_not,  // not operand 0
    logical_and,
    logical_or,
    conditional,  // operand 0 if operand 1 else operand 2 (may be null)
    comparison,   // operand 0 signs[0] operand 1 signs[1] operand 2 ...: ==, !=, <, <=, >, >=, in, not in
    arithmetic,   // operand 0 text operand 1: + - * / // % ~
  };
  Kind kind = Kind::literal;
  int line = 1;
  int depth = 1;  // of the tree below
  std::string text;
  Value value;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> signs;
  // Of calls, filters and tests: after operand 0, the last ones named.
  std::vector<std::string> argument_names;
};

struct Statement {
  enum class Kind {
    text,       // text as it stands
    print,      // expressions[0]
    condition,  // expressions[i] guards bodies[i]; one body more: else
    loop,       // names in expressions[0], only where expressions[1] (may be null); bodies[0], else bodies[1]
    assignment,  // names = expressions[0], or names[0].text = expressions[0]
    capture,     // names[0] = what bodies[0] renders
    macro,       // text(names) renders bodies[0]; expressions: defaults of the last names
    leave_loop,
    next_turn,
  };
  Kind kind = Kind::text;
  int line = 1;
  std::string text;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> expressions;
  std::vector<std::vector<Statement>> bodies;
};

// Throws Error(input) where the template is not well formed, Error(unsupported) naming what is outside of the
// language that this version has.
std::vector<Statement> parse_template(std::string_view source, std::string_view where);

}  // namespace laconic::chat
