#include "methods/text/logzip/template_matcher.h"

#include <gtest/gtest.h>

#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {
namespace {

// '*' stands for a slot.
std::string marked(std::string text) {
  for (char& c : text)
    if (c == '*') c = slot_mark;
  return "P" + text + "\n";
}

class Templates {
 public:
  Templates(std::initializer_list<const char*> texts) {
    for (const char* text : texts) matcher_.add(marked(text), next_++);
  }
  // The template's id and what its wildcards take, "-" for none.
  std::string match(const char* skeleton) const {
    const std::string text = marked(skeleton);
    const auto found = matcher_.match(text);
    if (!found) return "-";
    std::string shown = std::to_string(found->id);
    const TokenSequence tokens = tokens_of(std::string_view(text).substr(1));
    for (const TokenRange range : found->wildcards) {
      std::string taken(tokens.text.substr(tokens.begins[range.begin],
                                           tokens.begins[range.end] - tokens.begins[range.begin]));
      for (char& c : taken)
        if (c == slot_mark) c = '*';
      shown += '[' + taken + ']';
    }
    return shown;
  }

 private:
  TemplateMatcher matcher_;
  std::uint32_t next_ = 0;
};

TEST(TemplateMatcher, LiteralsAndWildcards) {
  const Templates templates{"open file * ok"};
  EXPECT_EQ(templates.match("open file * ok"), "0[*]");
  EXPECT_EQ(templates.match("open file a.b ok"), "0[a.b]");
  EXPECT_EQ(templates.match("open file  ok"), "0[]");
  EXPECT_EQ(templates.match("open file * no"), "-");
  EXPECT_EQ(templates.match("open file * ok ok"), "0[* ok]");
  EXPECT_EQ(templates.match(""), "-");
}

TEST(TemplateMatcher, AWildcardDoesNotTakeWhatALiteralNeeds) {
  const Templates templates{"a * c * e"};
  EXPECT_EQ(templates.match("a b c c d e"), "0[b][c d]");
  EXPECT_EQ(templates.match("a c c e"), "-");
  EXPECT_EQ(templates.match("a  c  e"), "0[][]");
}

TEST(TemplateMatcher, PrefixesOfEachOther) {
  const Templates templates{"job *", "job * done", "job * done in * s"};
  EXPECT_EQ(templates.match("job * done in * s"), "2[*][*]");
  EXPECT_EQ(templates.match("job * done"), "1[*]");
  EXPECT_EQ(templates.match("job *"), "0[*]");
  EXPECT_EQ(templates.match("job * failed"), "0[* failed]");
}

TEST(TemplateMatcher, MostLiteralsThenFewestWildcardsThenLowestId) {
  EXPECT_EQ((Templates{"* b * d", "* b c d"}.match("a b c d")), "1[a]");
  EXPECT_EQ((Templates{"a * c*", "a * c"}.match("a b c")), "1[b]");
  EXPECT_EQ((Templates{"x*y", "x*y"}.match("xzy")), "-");  // one word
  EXPECT_EQ((Templates{"x *", "* *", "x *"}.match("x y")), "0[y]");
}

TEST(TemplateMatcher, SlotsOfTheSkeletonMatchOnlyWildcards) {
  EXPECT_EQ((Templates{"a b"}.match("a *")), "-");
  EXPECT_EQ((Templates{"a *"}.match("a *")), "0[*]");
}

TEST(TemplateMatcher, SegmentsStayApart) {
  TemplateMatcher matcher;
  const std::string one = std::string("Ha\n") + slot_mark + "b\n";
  matcher.add(one, 5);
  EXPECT_TRUE(matcher.match("Ha\ncb\n") == std::nullopt);  // one token "cb"
  const auto found = matcher.match("Ha\n.b\n");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, 5u);
  EXPECT_FALSE(matcher.match("Ha\n.\nb\n"));
  EXPECT_FALSE(matcher.match("Pa\n.b\n"));
}

TEST(TemplateMatcher, TheSearchIsBounded) {
  Templates templates{"* a * a * a * a * a * a * a * a * b"};
  std::string text;
  for (int i = 0; i < 60; ++i) text += "a ";
  EXPECT_EQ(templates.match(text.c_str()), "-");
}

}  // namespace
}  // namespace laconic::logzip
