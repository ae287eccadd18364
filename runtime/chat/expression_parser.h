// Parses expressions by precedence, as Jinja does: if-else, or, and, not, comparisons, + -, ~, * / // %,
// signs; filters and tests bind to the operand before them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/lexer.h"
#include "runtime/chat/syntax.h"

namespace laconic::chat {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string where)
      : tokens_(std::move(tokens)), where_(std::move(where)) {}

  const Token& token() const { return tokens_[position_]; }
  const Token& following() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool at_sign(std::string_view text) const {
    return token().kind == Token::Kind::sign && token().text == text;
  }
  bool at_name(std::string_view text) const {
    return token().kind == Token::Kind::name && token().text == text;
  }
  bool accept_sign(std::string_view text);
  bool accept_name(std::string_view text);
  void expect_sign(std::string_view text);
  void expect(Token::Kind kind, std::string_view what);
  std::string expect_name(std::string_view what);

  ExpressionPtr expression();
  ExpressionPtr expression_without_condition() { return or_level(); }
  ExpressionPtr expression_or_list();  // a, b is a list

  // Counts recursion; refuses absurd nesting.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser);
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };
  [[noreturn]] void fault(std::string_view what, ErrorKind kind = ErrorKind::input) const;

 private:
  ExpressionPtr node(Expression::Kind kind, std::string text = {}) const;
  ExpressionPtr with(ExpressionPtr parent, ExpressionPtr operand) const;
  ExpressionPtr literal(Value value) const;
  ExpressionPtr or_level();
  ExpressionPtr and_level();
  ExpressionPtr not_level();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr signed_operand(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr parenthesised();
  ExpressionPtr list_literal();
  ExpressionPtr map_literal();
  ExpressionPtr postfix(ExpressionPtr operand);
  ExpressionPtr subscript(ExpressionPtr operand);
  ExpressionPtr filters_and_tests(ExpressionPtr operand);
  ExpressionPtr test(ExpressionPtr operand);
  ExpressionPtr arguments(ExpressionPtr call);

  std::vector<Token> tokens_;
  std::string where_;
  std::size_t position_ = 0;
  int nesting_ = 0;
};

}  // namespace laconic::chat
