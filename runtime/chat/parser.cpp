// Statements of a template.
#include <algorithm>

#include "engine/base/error.h"
#include "runtime/chat/expression_parser.h"

namespace laconic::chat {
namespace {

using Kind = Statement::Kind;
using Body = std::vector<Statement>;

class StatementParser {
 public:
  StatementParser(std::vector<Token> tokens, std::string where)
      : parser_(std::move(tokens), std::move(where)) {}

  Body whole() {
    Body body = statements({});
    if (parser_.token().kind != Token::Kind::end) {
      parser_.fault("the tag \"" + parser_.following().text + "\" closes nothing");
    }
    return body;
  }

 private:
  // Up to a tag whose name is one of `ends`; stops before its opening mark.
  Body statements(const std::vector<std::string_view>& ends) {
    const ExpressionParser::Nesting nesting(parser_);
    Body body;
    for (;;) {
      const Token& token = parser_.token();
      if (token.kind == Token::Kind::end) {
        if (!ends.empty()) parser_.fault("the tag \"" + std::string(ends.back()) + "\" is missing");
        return body;
      }
      if (token.kind == Token::Kind::text) {
        Statement statement = begun(Kind::text);
        statement.text = parser_.take().text;
        body.push_back(std::move(statement));
      } else if (token.kind == Token::Kind::print_begin) {
        Statement statement = begun(Kind::print);
        parser_.take();
        statement.expressions.push_back(parser_.expression_or_list());
        parser_.expect(Token::Kind::print_end, "\"}}\"");
        body.push_back(std::move(statement));
      } else {
        const std::string& name = parser_.following().text;
        if (std::find(ends.begin(), ends.end(), name) != ends.end()) return body;
        if (ends.empty() && (name == "else" || name == "elif" || name.substr(0, 3) == "end")) return body;
        parser_.expect(Token::Kind::block_begin, "\"{%\"");
        tag(body);
      }
    }
  }

  Statement begun(Kind kind) const {
    Statement statement;
    statement.kind = kind;
    statement.line = parser_.token().line;
    return statement;
  }

  void end_tag() { parser_.expect(Token::Kind::block_end, "\"%}\""); }
  // {% name %}, whose opening mark is next.
  void whole_tag(std::string_view name) {
    parser_.expect(Token::Kind::block_begin, "\"{%\"");
    if (!parser_.accept_name(name)) parser_.fault("expects the tag \"" + std::string(name) + "\"");
    end_tag();
  }
  bool tag_follows(std::string_view name) const {
    return parser_.token().kind == Token::Kind::block_begin && parser_.following().text == name;
  }

  void tag(Body& body) {
    const std::string name = parser_.expect_name("a tag's name");
    if (name == "if") {
      body.push_back(condition());
    } else if (name == "for") {
      body.push_back(loop());
    } else if (name == "set") {
      body.push_back(assignment());
    } else if (name == "macro") {
      body.push_back(macro());
    } else if (name == "break" || name == "continue") {
      body.push_back(begun(name == "break" ? Kind::leave_loop : Kind::next_turn));
      if (loops_ == 0) parser_.fault("the tag \"" + name + "\" stands outside of a loop");
      end_tag();
    } else if (name == "generation") {  // marks the model's own words for training; renders what it holds
      end_tag();
      Body inner = statements({"endgeneration"});
      std::move(inner.begin(), inner.end(), std::back_inserter(body));
      whole_tag("endgeneration");
    } else {
      parser_.fault("the tag \"" + name + "\" is not supported", ErrorKind::unsupported);
    }
  }

  Statement condition() {
    Statement statement = begun(Kind::condition);
    for (;;) {
      statement.expressions.push_back(parser_.expression());
      end_tag();
      statement.bodies.push_back(statements({"elif", "else", "endif"}));
      if (!tag_follows("elif")) break;
      parser_.take(), parser_.take();
    }
    if (tag_follows("else")) {
      whole_tag("else");
      statement.bodies.push_back(statements({"endif"}));
    }
    whole_tag("endif");
    return statement;
  }

  Statement loop() {
    Statement statement = begun(Kind::loop);
    statement.names = targets();
    if (!parser_.accept_name("in")) parser_.fault("expects \"in\" before \"" + parser_.token().text + "\"");
    statement.expressions.push_back(parser_.expression_without_condition());
    ExpressionPtr only;
    if (parser_.accept_name("if")) only = parser_.expression();
    statement.expressions.push_back(std::move(only));
    if (parser_.at_name("recursive"))
      parser_.fault("recursive loops are not supported", ErrorKind::unsupported);
    end_tag();
    ++loops_;
    statement.bodies.push_back(statements({"else", "endfor"}));
    --loops_;
    if (tag_follows("else")) {
      whole_tag("else");
      statement.bodies.push_back(statements({"endfor"}));
    }
    whole_tag("endfor");
    return statement;
  }

  std::vector<std::string> targets() {
    const bool bracketed = parser_.accept_sign("(");
    std::vector<std::string> names;
    do {
      names.push_back(parser_.expect_name("a variable's name"));
      if (names.back() == "loop") parser_.fault("the name \"loop\" cannot be assigned");
    } while (parser_.accept_sign(","));
    if (bracketed) parser_.expect_sign(")");
    return names;
  }

  Statement assignment() {
    Statement statement = begun(Kind::assignment);
    statement.names = targets();
    if (statement.names.size() == 1 && parser_.accept_sign(".")) {
      statement.text = parser_.expect_name("an attribute's name");
    }
    if (parser_.accept_sign("=")) {
      statement.expressions.push_back(parser_.expression_or_list());
      end_tag();
      return statement;
    }
    if (parser_.at_sign("|"))
      parser_.fault("filters on a set block are not supported", ErrorKind::unsupported);
    if (statement.names.size() != 1) parser_.fault("a set block has one name");
    statement.kind = Kind::capture;
    end_tag();
    statement.bodies.push_back(inner_body("endset"));
    return statement;
  }

  Statement macro() {
    Statement statement = begun(Kind::macro);
    statement.text = parser_.expect_name("a macro's name");
    parser_.expect_sign("(");
    while (!parser_.at_sign(")")) {
      statement.names.push_back(parser_.expect_name("a parameter's name"));
      if (parser_.accept_sign("=")) {
        statement.expressions.push_back(parser_.expression());
      } else if (!statement.expressions.empty()) {
        parser_.fault("a parameter without a default follows one with a default");
      }
      if (!parser_.accept_sign(",")) break;
    }
    parser_.expect_sign(")");
    end_tag();
    statement.bodies.push_back(inner_body("endmacro"));
    return statement;
  }

  // A body that no break or continue leaves.
  Body inner_body(std::string_view end) {
    const int outer = std::exchange(loops_, 0);
    Body body = statements({end});
    loops_ = outer;
    whole_tag(end);
    return body;
  }

  ExpressionParser parser_;
  int loops_ = 0;
};

}  // namespace

std::vector<Statement> parse_template(std::string_view source, std::string_view where) {
  constexpr std::size_t largest = std::size_t{4} << 20;
  if (source.size() > largest) fail(ErrorKind::input, "a template of over 4 MiB", where);
  return StatementParser(tokens_of(source, where), std::string(where)).whole();
}

}  // namespace laconic::chat
