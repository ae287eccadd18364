// The template language. Expected texts follow from Jinja 3.1's documentation with trim_blocks and
// lstrip_blocks.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "runtime/chat/chat_template.h"

namespace laconic {
namespace {

std::string rendered(std::string_view source, const chat::Limits& limits = {}) {
  const std::vector<ChatMessage> messages = {
      {"user", " Hi \xC3\xA9\n"}, {"assistant", "<think>a</think>\n b "}, {"user", "x'y\"z"}};
  return ChatTemplate(source, "test", {"<s>", "</s>", "", ""}).render(messages, true, limits);
}

std::string refusal(std::string_view source, ErrorKind kind, const chat::Limits& limits = {}) {
  try {
    return "accepted: " + rendered(source, limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << source << "\n" << error.what();
    return error.what();
  }
}

using Cases = std::vector<std::pair<const char*, const char*>>;

void expect_each(const Cases& cases) {
  for (const auto& [source, wanted] : cases) EXPECT_EQ(rendered(source), wanted) << source;
}

TEST(ChatLanguage, WhiteSpaceAroundTags) {
  expect_each({
      {"  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"},
      {"a {% if true %}b{% endif %}\n\nc\n\n", "a b\nc\n"},
      {"a  {{ 1 }}\n{{ 2 }}\n", "a  1\n2"},
      {"a \n {%- if true -%} \n x \n {%- endif +%}\n y", "ax\n y"},
      {"a\n  {%+ if true %}b{% endif %}", "a\n  b"},
      {"a {#- gone -#} b {# gone #}\nc\n   {# gone #}\nd", "ab c\nd"},
      {"x\r\n{{- 1 -}}\r\ny\r\n", "x1y"},
      {"{{ '%}' }}{{ '}}' }}{{ {'a': {'b': 1}}['a']['b'] }}", "%}}}1"},
      {"{ {{ 1 }} } { % #}", "{ 1 } { % #}"},
  });
}

TEST(ChatLanguage, ConditionsLoopsAndScopes) {
  expect_each({
      {"{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ "
       "loop.last }} "
       "{% endfor %}",
       "103TrueFalse 212FalseFalse 321FalseTrue "},
      {"{% for i in [] %}x{% else %}none{% endfor %}{% for i in [1,2,3,4] if i is even %}{{ i }}{{ "
       "loop.index }}{% "
       "endfor %}",
       "none2142"},
      {"{% for i in range(10) %}{% if i == 2 %}{% continue %}{% elif i == 5 %}{% break %}{% endif %}{{ i "
       "}}{% endfor "
       "%}",
       "0134"},
      {"{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "1231"},
      {"{% set x = 1 %}{% if true %}{% set x = 9 %}{% endif %}{{ x }}", "9"},
      {"{% set ns = namespace(n=0, seen=false) %}{% for m in messages if m.role == 'user' %}{% set ns.n = "
       "ns.n + 1 "
       "%}{% endfor %}{{ ns.n }}{{ ns.seen }}",
       "2False"},
      {"{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for c in 'h\xC3\xA9' %}[{{ "
       "c }}]{% "
       "endfor %}",
       "a=1;b=2;[h][\xC3\xA9]"},
      {"{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}{{ "
       "loop.nextitem.role if "
       "not loop.last else '.' }} {% endfor %}",
       "-assistant useruser assistant. "},
      {"{% macro f(a, b=2) %}({{ a }},{{ b }}){% endmacro %}{{ f(1) }}{{ f(a=5, b=6) }}{{ f() }}",
       "(1,2)(5,6)(,2)"},
      {"{% macro g(n) %}{% if n > 0 %}{{ n }}{{ g(n - 1) }}{% endif %}{% endmacro %}{{ g(4) }}", "4321"},
      {"{% set block %}in {{ 1 + 1 }}{% endset %}[{{ block }}]{% set a, b = 1, 2 %}{{ a }}{{ b }}",
       "[in 2]12"},
      {"{% generation %}kept{% endgeneration %}", "kept"},
  });
}

TEST(ChatLanguage, OperatorsAsPythonHasThem) {
  expect_each({
      {"{{ 1 + 2 * 3 - 4 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ -7.5 % 2 }} {{ 2 - -3 }}",
       "5.0 -4 2 -2 0.5 5"},
      {"{{ 10 / 4 }} {{ 2.0 * 3 }} {{ 1e20 }} {{ 1e-7 }} {{ true + 1 }}", "2.5 6.0 1e+20 1e-07 2"},
      {"{{ 1 ~ 'a' ~ none ~ true ~ 1.0 }} {{ 'ab' * 2 }} {{ [1] + [2] }}", "1aNoneTrue1.0 abab [1, 2]"},
      {"{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'a' in 'abc' }}{{ 'z' not in 'abc' }}{{ 2 in [1, 2] }}{{ 'role' in "
       "messages[0] }}",
       "TrueFalseTrueTrueTrueTrue"},
      {"{{ 1 == 1.0 }}{{ true == 1 }}{{ 'a' < 'b' }}{{ not 1 == 2 }}{{ not true and false }}{{ '1' == 1 }}",
       "TrueTrueTrueTrueFalseFalse"},
      {"{{ 0 or '' or 'z' }}{{ 1 and 'q' }}{{ 'a' if none else 'b' }}[{{ 'a' if false }}][{{ x }}]",
       "zqb[][]"},
      {"{{ [true, none, 'it\\'s', \"q\\\"\", 'a\\nb', 1.0, {'k': []}] }}",
       "[True, None, \"it's\", 'q\"', 'a\\nb', 1.0, {'k': []}]"},
      {"{{ 'a' 'b' }}{{ \"\\x41\\u00e9\\t\\q\" }}{{ (1) }}{{ (1, 2)[1] }}", "abA\xC3\xA9\t\\q12"},
      {"{{ 'a' + 'b' | upper }}{{ ('a' + 'b') | upper }}{{ -3 | abs }}", "aBAB3"},
  });
}

TEST(ChatLanguage, ItemsAndSlices) {
  expect_each({
      {"{{ messages[-1].role }}{{ messages[9] is defined }}{{ messages.0.role }}{{ messages[0]['zz'] }}",
       "userFalseuser"},
      {"{{ 'h\xC3\xA9llo'[::-1] }}{{ 'h\xC3\xA9llo'[1] }}{{ 'abc'[-2:] }}{{ 'abc'[10:0:-2] }}{{ 'abc'[:-1] "
       "}}",
       "oll\xC3\xA9h\xC3\xA9"
       "bccab"},
      {"{{ [1,2,3,4][1:3] }}{{ [1,2][5:] }}{{ messages[::2] | length }}{{ [1,2,3][::-1] }}",
       "[2, 3][]2[3, 2, 1]"},
      {"{{ {'x': 1}.get('y', 5) }}{{ {'x': 1}.get('y') }}{{ {'x': 1}.keys() | list }}{{ {'a': 1, 'a': 2} }}",
       "5None['x']{'a': 2}"},
  });
}

TEST(ChatLanguage, StringMethods) {
  expect_each({
      {"{{ ' a '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xa'.lstrip('x') }}|{{ 'a\\n\\n'.rstrip('\\n') }}",
       "a|a|a|a"},
      {"{{ 'a,b,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a b c'.split(' ', 1) }}{{ ''.split(',') }}{{ "
       "''.split() }}",
       "['a', 'b', 'c']['a', 'b']['a', 'b c'][''][]"},
      {"{{ 'a,b,c'.rsplit(',', 1) }}{{ messages[1].content.split('</think>')[-1].lstrip('\\n') }}|",
       "['a,b', 'c'] b |"},
      {"{{ 'abc'.startswith('ab') }}{{ 'abc'.endswith(('x', 'c')) }}{{ 'aXa'.replace('a', 'b') }}{{ "
       "'ab'.replace('', '-') }}",
       "TrueTruebXb-a-b-"},
      {"{{ 'Stra\xC3\x9F"
       "e'.upper() }}{{ '\xC3\x80'.lower() }}{{ 'hELLO wo'.title() }}{{ 'hELLO'.capitalize() }}",
       "STRASSE\xC3\xA0Hello WoHello"},
      {"{{ ', '.join(['a', 'b']) }}{{ 'abab'.count('ab') }}{{ '\xC3\xA9"
       "ab'.find('b') }}{{ "
       "'p-x'.removeprefix('p-') }}",
       "a, b22x"},
  });
}

TEST(ChatLanguage, FiltersAndTests) {
  expect_each({
      {"{{ x | default('d') }}{{ '' | default('e') }}{{ '' | default('f', true) }}{{ none | d('g', "
       "boolean=true) }}",
       "dfg"},
      {"{{ ' x '|trim }}{{ 'h\xC3\xA9'|length }}{{ [1,2]|join('-') }}{{ [1,2]|first }}{{ [1,2]|last }}{{ "
       "'12'|int + "
       "1 }}{{ 5|string + 'x' }}",
       "x21-212135x"},
      {"{{ \"it's a <b> x-ray\" | title }}{{ 'aB' | lower }}{{ 'abc' | reverse }}", "It's A <B> X-Rayabcba"},
      {"{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | "
       "rejectattr('role', 'eq', "
       "'user') | map(attribute='role') | join }}",
       "2assistant"},
      {"{{ [1,2,3] | select('odd') | list }}{{ ['a'] | map('upper') | join }}{{ messages | "
       "map(attribute='q', "
       "default='-') | join }}",
       "[1, 3]A---"},
      {"{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(1, true) }}", "a\n    b\n\n    c| a\n b"},
      {"{{ {'a': [1, 'x\"\\n'], 'b': {}, 'c': none, 'd': true} | tojson }}",
       "{\"a\": [1, \"x\\\"\\n\"], \"b\": {}, \"c\": null, \"d\": true}"},
      {"{{ {'a': [1], 'b': []} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ],\n  \"b\": []\n}"},
      {"{{ x is defined }}{{ x is not defined }}{{ tools is none }}{{ 'a' is string }}{{ 1 is number }}{{ "
       "messages[0] "
       "is mapping }}{{ messages is iterable }}",
       "FalseTrueTrueTrueTrueTrueTrue"},
      {"{{ 4 is divisibleby 2 }}{{ 3 is odd }}{{ true is true }}{{ 1 is boolean }}{{ 'a' is in(['a']) }}",
       "TrueTrueTrueFalseTrue"},
      {"{{ strftime_now is defined }}{{ raise_exception is defined }}", "FalseTrue"},
  });
}

TEST(ChatLanguage, RefusesByName) {
  const std::vector<std::pair<const char*, const char*>> unsupported = {
      {"{% include 'x' %}", "the tag \"include\" is not supported"},
      {"a\n{{ 1 | xmlattr }}", "the filter \"xmlattr\" is not supported"},
      {"{{ 1 is sameas(1) }}", "the test \"sameas\" is not supported"},
      {"{{ 'a'.encode() }}", "the string method \"encode\" is not supported"},
      {"{{ 1 | batch(2) }}", "the filter \"batch\" is not supported"},
      {"{{ {}.pop('a') }}", "the method \"pop\" of a map is not supported"},
      {"{{ 'a'.center(5) }}", "the string method \"center\" is not supported"},
      {"{{ 'a' | tojson(sort_keys=true) }}", "the argument \"sort_keys\" of \"tojson\" is not supported"},
      {"{{ [1].append(2) }}", "the method \"append\" of a list is not supported"},
      {"{{ strftime_now('%d') }}", "the function \"strftime_now\" is not supported"},
      {"{{ 2 ** 3 }}", "the operator ** is not supported"},
      {"{% for x in y recursive %}{% endfor %}", "recursive loops are not supported"},
      {"{{ {1: 2} }}", "an integer as a key"},
      {"{{ '%s' % 'a' }}", "the operator % between a string and a string"},
      {"{{ 9223372036854775807 + 1 }}", "a number too large"},
      {"{% set n = namespace() %}{% set n.x = [n] %}", "a namespace inside another value"},
  };
  for (const auto& [source, part] : unsupported) {
    EXPECT_NE(refusal(source, ErrorKind::unsupported).find(part), std::string::npos)
        << source << "\n"
        << refusal(source, ErrorKind::unsupported);
  }
  const std::vector<std::pair<const char*, const char*>> wrong = {
      {"a\nb {{ raise_exception('only pairs') }}", "refuses these messages: only pairs"},
      {"\n\n{{ x.y }}", "\"x\" is not defined"},
      {"{{ messages[0].zz.q }}", "\"zz\" is not defined"},
      {"{{ 1 + 'a' * }}", "expects a value"},
      {"{{ 1", "a tag is not closed"},
      {"{{ 'a }}", "a string is not closed"},
      {"{# a", "a comment is not closed"},
      {"{% if 1 %}a", "the tag \"endif\" is missing"},
      {"a{% endif %}", "the tag \"endif\" closes nothing"},
      {"{{ (1] }}", "a bracket closes that was not opened"},
      {"{{ 'a' < 1 }}", "compares a string with an integer"},
      {"{{ 1 / 0 }}", "divides by zero"},
      {"{% break %}", "stands outside of a loop"},
      {"{% set x.y = 1 %}", "is no namespace"},
      {"\xFF", "is not UTF-8"},
  };
  for (const auto& [source, part] : wrong) {
    const std::string message = refusal(source, ErrorKind::input);
    EXPECT_NE(message.find(part), std::string::npos) << source << "\n" << message;
  }
  EXPECT_NE(refusal("a\n\n{{ x.y }}", ErrorKind::input).find("line 3"), std::string::npos);
}

TEST(ChatLanguage, WorkDepthAndOutputAreBounded) {
  const auto repeated = [](const std::string& text, int times) {
    std::string all;
    for (int i = 0; i < times; ++i) all += text;
    return all;
  };
  const ErrorKind kind = ErrorKind::unsupported;
  EXPECT_NE(refusal("{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}", kind,
                    {1 << 20, 1 << 20})
                .find("too much work"),
            std::string::npos);
  EXPECT_NE(refusal("{% for i in range(90000) %}aaaaaaaaaaaaaaaaaaaa{% endfor %}", kind, {1 << 28, 1 << 20})
                .find("too long a text"),
            std::string::npos);
  EXPECT_NE(refusal("{{ 'a' * 999999999999 }}", kind).find("too much work"), std::string::npos);
  EXPECT_NE(refusal("{% set x = 'aaaa' %}" + repeated("{% set x = x + x %}", 40), kind).find("too much work"),
            std::string::npos);
  EXPECT_NE(refusal("{% set x = [1] %}" + repeated("{% set x = [x, x] %}", 40) + "{{ x }}", kind)
                .find("too much work"),
            std::string::npos);
  EXPECT_NE(refusal("{% set x = [1] %}" + repeated("{% set x = [x] %}", 80), kind).find("nested deeper"),
            std::string::npos);
  EXPECT_NE(refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", kind).find("too deeply"),
            std::string::npos);
  EXPECT_NE(
      refusal("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}", kind).find("nested deeper"),
      std::string::npos);
  EXPECT_NE(refusal("{{ " + repeated("not ", 5000) + "1 }}", kind).find("nested deeper"), std::string::npos);
  EXPECT_NE(refusal("{{ " + repeated("- ", 5000) + "1 }}", kind).find("nested deeper"), std::string::npos);
  EXPECT_NE(refusal("{{ 1" + repeated(" + 1", 5000) + " }}", kind).find("200 steps"), std::string::npos);
  EXPECT_NE(refusal(repeated("{% if 1 %}", 5000), kind).find("nested deeper"), std::string::npos);
  EXPECT_NE(refusal("{{ range(1000000) }}", kind).find("over 100000"), std::string::npos);
}

}  // namespace
}  // namespace laconic
