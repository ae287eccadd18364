// Conversations in the shapes of well-known model families. The templates are written for this test; the
// expected texts are worked out by hand from the published prompt formats.
#include "runtime/chat/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../artifact/small_model.h"
#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

const std::vector<ChatMessage> talk = {
    {"system", "Be brief.\n"}, {"user", " Hi "}, {"assistant", "Hello."}, {"user", "Why?"}};
const std::vector<ChatMessage> question = {{"user", "Why?"}};

TEST(ChatTemplate, InstAndSysBlocks) {  // the shape of Llama 2
  const ChatTemplate shape(R"({% if messages[0]['role'] == 'system' %}
{% set rest = messages[1:] %}
{% set system = messages[0]['content'] %}
{% else %}
{% set rest = messages %}
{% set system = false %}
{% endif %}
{% for message in rest %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('user and assistant must take turns') }}
{% endif %}
{% if loop.index0 == 0 and system != false %}
{% set content = '<<SYS>>\n' + system.strip() + '\n<</SYS>>\n\n' + message['content'] %}
{% else %}
{% set content = message['content'] %}
{% endif %}
{% if message['role'] == 'user' %}
{{- bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
{%- elif message['role'] == 'assistant' %}
{{- ' ' + content.strip() + ' ' + eos_token }}
{%- endif %}
{% endfor %})",
                           "test", {"<s>", "</s>", "", ""});
  EXPECT_EQ(shape.render(talk),
            "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n Hi [/INST] Hello. </s><s>[INST] Why? [/INST]");
  EXPECT_EQ(shape.render(question), "<s>[INST] Why? [/INST]");
  const std::vector<ChatMessage> twice = {{"user", "a"}, {"user", "b"}};
  try {
    shape.render(twice);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("user and assistant must take turns"), std::string::npos);
  }
}

TEST(ChatTemplate, HeaderIds) {  // the shape of Llama 3
  const ChatTemplate shape(
      R"({%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
{%- else %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}{%- endif %}
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Tools: " + tools | tojson(indent=4) }}
{%- endif %}
{{- "Today: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)",
      "test", {"<|begin_of_text|>", "<|eot_id|>", "", ""});
  EXPECT_EQ(shape.render(talk),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\nBe "
            "brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(shape.render(question, false),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>");
}

TEST(ChatTemplate, InstructionsWithToolsBeforeTheLastTurn) {  // the shape of Mistral
  const ChatTemplate shape(R"({%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] " + tools | tojson + "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- else %}
        {{- raise_exception("only user and assistant roles are known") }}
    {%- endif %}
{%- endfor %})",
                           "test", {"<s>", "</s>", "", ""});
  EXPECT_EQ(shape.render(talk), "<s>[INST]  Hi [/INST] Hello.</s>[INST] Be brief.\n\n\nWhy?[/INST]");
  const std::vector<ChatMessage> odd = {{"user", "a"}, {"user", "b"}};
  EXPECT_THROW(shape.render(odd), Error);
}

TEST(ChatTemplate, ChatMarkup) {  // the shape of ChatML: Qwen2, Qwen3
  const ChatTemplate shape(R"({%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- else %}
    {{- '<|im_start|>system\nYou help.<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and reasoning %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %})",
                           "test");
  EXPECT_EQ(
      shape.render(question),
      "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n");
  std::vector<ChatMessage> thinking = {{"user", "Q"}, {"assistant", "<think>\nlong\n</think>\n\nA"}};
  EXPECT_EQ(shape.render(thinking, false),
            "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nlong\n</think>\n\nA<|im_end|>\n");
  thinking.push_back({"user", "R"});
  EXPECT_EQ(shape.render(thinking, false),
            "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
            "<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nR<|im_end|>\n");
}

TEST(ChatTemplate, OneLineForms) {  // the shapes of Zephyr and of early ChatML
  const ChatTemplate zephyr(
      "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + "
      "message['content'] + "
      "eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\\n'  + message['content'] "
      "+ eos_token "
      "}}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% "
      "endfor %}",
      "test", {"<s>", "</s>", "", ""});
  EXPECT_EQ(zephyr.render(question), "<|user|>\nWhy?</s>\n<|assistant|>\n");
  const ChatTemplate plain(
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
      "'<|im_end|>' + "
      "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
      "test");
  EXPECT_EQ(plain.render(question), "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, IsFoundBesideTheTokenizer) {
  TemporaryFolder folder;
  const fs::path config = folder.path() / "tokenizer_config.json";
  const auto rendered = [&] { return ChatTemplate::load(folder.path()).render(question); };
  const auto write_config = [&](const nlohmann::json& chat_template) {
    write_file(config, nlohmann::json{{"bos_token", "<b>"},
                                      {"eos_token", {{"content", "<e>"}}},
                                      {"chat_template", chat_template}}
                           .dump());
  };
  EXPECT_THROW(rendered(), Error);  // nothing there
  write_file(config, std::string_view("{\"bos_token\": \"<b>\"}"));
  EXPECT_THROW(rendered(), Error);  // no template in it
  write_config("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}");
  EXPECT_EQ(rendered(), "<b>Why?<e>");
  write_config({{{"name", "tools"}, {"template", "t"}}, {{"name", "default"}, {"template", "d"}}});
  EXPECT_EQ(rendered(), "d");
  write_config({{{"name", "only"}, {"template", "o"}}});
  EXPECT_EQ(rendered(), "o");
  write_config({{{"name", "tools"}, {"template", "t"}}, {{"name", "rag"}, {"template", "r"}}});
  EXPECT_THROW(rendered(), Error);
  for (const nlohmann::json& wrong :
       {nlohmann::json(7), nlohmann::json::array(), nlohmann::json{{{"name", "x"}}}, nlohmann::json{"x"}}) {
    write_config(wrong);
    EXPECT_THROW(rendered(), Error) << wrong;
  }
  write_file(folder.path() / "chat_template.json", std::string_view("{\"chat_template\": \"from json\"}"));
  EXPECT_EQ(rendered(), "from json");
  write_file(folder.path() / "chat_template.jinja", std::string_view("from jinja\n"));
  EXPECT_EQ(rendered(), "from jinja");
}

TEST(ChatTemplate, RefusesMessagesThatAreNotUtf8) {
  const std::vector<ChatMessage> bad = {{"user", "\xC3"}};
  EXPECT_THROW(ChatTemplate("x", "test").render(bad), Error);
}

}  // namespace
}  // namespace laconic
