// laconic kv fetch URL: a stored context from a server, whole or in one level.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/context_options.h"
#include "apps/cli/verb.h"

namespace laconic::cli {
namespace {

int fetch(const Arguments& arguments, const Session& session) {
  const std::filesystem::path output = arguments.text("output");
  const auto start = std::chrono::steady_clock::now();
  const auto source = open_context(arguments.text("context"), arguments);
  const ContextIndex index = read_context_index(*source);
  ContextCopyOptions options;
  const std::string level = arguments.text("level", "all");
  options.wanted.assign(index.forms.size(), level == "all");
  if (level != "all") {
    if (const std::size_t form = form_of_level(level, index); form < index.forms.size())
      options.wanted[form] = true;
  }
  options.notice = print_notice;
  options.progress = session.progress;
  const ContextIndex copied = copy_context(*source, index, output, options);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (session.json) {
    const nlohmann::json value = {{"file", output.string()}, {"bytes", copied.bytes()}, {"seconds", seconds}};
    fmt::print("{}\n", value.dump(2));
  } else {
    fmt::print("{}: {} in {:.2f} s\n", output.string(), human_bytes(copied.bytes()), seconds);
  }
  return 0;
}

}  // namespace

Verb kv_fetch_verb() {
  using Kind = OptionSpec::Kind;
  return {"kv fetch",
          "Copy a stored context from a server; goes on where an earlier copy broke off",
          "  laconic kv fetch http://127.0.0.1:8080/book.kv -o book.kv\n"
          "  laconic kv fetch http://127.0.0.1:8080/book.kv --level 2 -o book.kv\n",
          {{"context", Kind::text, "its address, or a file", true},
           {"-o,--output", Kind::text, "the new file", true},
           {"--level", Kind::text, "one level, 0 for the text alone", false, "all"},
           stall_option_spec()},
          fetch};
}

}  // namespace laconic::cli
