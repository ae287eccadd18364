#include "apps/cli/cli.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <memory>
#include <new>
#include <system_error>

#include "engine/base/error.h"
#include "engine/base/threads.h"

namespace laconic::cli {
namespace {

extern "C" void on_interrupt(int) {
  // The first request lets work stop at a safe place; the second ends the program.
  if (interrupt_requested()) _exit(130);
  request_interrupt();
}

// One line on the terminal, rewritten in place: activity, share, rate, time left.
ProgressListener terminal_progress() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](const ProgressReport& report) {
    const double rate = report.seconds > 0 ? static_cast<double>(report.done) / report.seconds : 0;
    std::string line = fmt::format("{}  {}", report.activity, report.done);
    if (report.total > 0) {
      line += fmt::format("/{} ({:.0f} %)", report.total,
                          100.0 * static_cast<double>(report.done) / static_cast<double>(report.total));
    }
    line += fmt::format("  {:.3g}/s", rate);
    if (report.total > report.done && rate > 0) {
      line += "  " + human_seconds(static_cast<double>(report.total - report.done) / rate) + " left";
    }
    fmt::print(stderr, "\r\033[K{}", line);
    if (report.total > 0 && report.done >= report.total) fmt::print(stderr, "\r\033[K");
    std::fflush(stderr);
  };
}

// "-m,--method" -> "method": the name a verb asks for.
std::string plain_name(std::string name) {
  if (const auto comma = name.rfind(','); comma != std::string::npos) name.erase(0, comma + 1);
  return name.substr(std::min(name.find_first_not_of('-'), name.size()));
}

std::string group_subject(const std::string& group) { return group == "kv" ? "key-value caches" : group; }

// The place of a verb: below its group where its name has one.
CLI::App* add_verb(CLI::App& app, const Verb& verb) {
  const std::size_t space = verb.name.find(' ');
  if (space == std::string::npos) return app.add_subcommand(verb.name, verb.summary);
  const std::string group = verb.name.substr(0, space);
  const auto made = app.get_subcommands([&](const CLI::App* other) { return other->get_name() == group; });
  CLI::App* parent = made.empty() ? nullptr : made.front();
  if (parent == nullptr) {
    parent = app.add_subcommand(group, "Verbs about " + group_subject(group));
    parent->require_subcommand(1);
  }
  return parent->add_subcommand(verb.name.substr(space + 1), verb.summary);
}

struct Bound {
  const Verb* verb;
  CLI::App* app;
  std::map<std::string, std::vector<std::string>> texts;
  std::map<std::string, bool> flags;
  std::map<std::string, CLI::Option*> options;
};

void bind(Bound& bound) {
  for (const OptionSpec& spec : bound.verb->options) {
    const std::string name = plain_name(spec.name);
    std::string help = spec.help;
    if (!spec.default_text.empty()) help += " [" + spec.default_text + "]";
    CLI::Option* option = nullptr;
    if (spec.kind == OptionSpec::Kind::flag) {
      option = bound.app->add_flag(spec.name, bound.flags[name], help);
    } else {
      option = bound.app->add_option(spec.name, bound.texts[name], help);
      if (spec.kind == OptionSpec::Kind::list) option->take_all();
      if (spec.kind == OptionSpec::Kind::flag_or_text)
        option->expected(0, 1);
      else if (spec.kind != OptionSpec::Kind::list)
        option->expected(1);
      // One value each time the option is given; as many as there are without a name.
      const bool many = spec.kind == OptionSpec::Kind::list && spec.name.front() != '-';
      if (many) option->expected(-1);
      option->allow_extra_args(many);
      static const char* const kinds[] = {"", "TEXT", "N", "X", "SIZE", "TEXT", "[FILE]"};
      option->type_name(kinds[static_cast<int>(spec.kind)]);
    }
    option->required(spec.required);
    bound.options[name] = option;
  }
}

int report_failure(bool json, std::string_view message, int code) {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r\033[K");
  if (json) {
    std::string escaped;
    for (const char c : message) {
      if (c == '"' || c == '\\') escaped += '\\';
      escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    fmt::print("{{\"error\": \"{}\", \"exit_code\": {}}}\n", escaped, code);
  }
  fmt::print(stderr, "laconic: {}\n", message);
  return code;
}

}  // namespace

int run(const std::vector<Verb>& verbs, int argc, char** argv) {
  CLI::App app{"Laconic makes machine-learning data small enough to move.", "laconic"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "laconic 0.1.0");
  app.footer("Run laconic VERB --help for options and examples.");
  bool json = false;
  std::int64_t threads = 0;
  std::vector<std::unique_ptr<Bound>> bound;
  for (const Verb& verb : verbs) {
    bound.push_back(std::make_unique<Bound>());
    Bound& entry = *bound.back();
    entry.verb = &verb;
    entry.app = add_verb(app, verb);
    entry.app->footer("Examples:\n" + verb.examples);
    bind(entry);
    if (entry.options.count("json") == 0)
      entry.app->add_flag("--json", json, "print one JSON value instead of text");
    entry.app->add_option("--threads", threads, "threads to use [one per core]")->check(CLI::Range(1, 1024));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    set_thread_count(static_cast<int>(threads));
    for (const auto& entry : bound) {
      if (!entry->app->parsed()) continue;
      Arguments arguments;
      for (const auto& [name, option] : entry->options) {
        if (option->count() == 0) continue;
        const auto text = entry->texts.find(name);
        arguments.set(name, text == entry->texts.end() ? std::vector<std::string>{} : text->second);
      }
      if (arguments.has("json") && arguments.text("json").empty()) json = true;
      return entry->verb->run(arguments, {json, terminal_progress()});
    }
  } catch (const Error& error) {
    return report_failure(json, error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report_failure(json, "out of memory (free some memory, or use fewer threads)", 2);
  } catch (const std::system_error& error) {
    // A reader that closed the pipe (head) has what it wanted.
    if (error.code() == std::errc::broken_pipe) return 0;
    return report_failure(json, std::string("internal fault: ") + error.what(), 70);
  } catch (const std::exception& error) {
    return report_failure(json, std::string("internal fault: ") + error.what(), 70);
  }
  return 2;
}

}  // namespace laconic::cli
