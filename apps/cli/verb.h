// A verb of the command line: its options described as data, and what it does. Only cli.cpp talks to the
// option parser; a verb sees checked values.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"

namespace laconic::cli {

struct OptionSpec {
  enum class Kind { flag, text, integer, number, bytes, list, flag_or_text };
  std::string name;  // "model" for a positional argument, "--bits" or "-m,--method" for an option
  Kind kind = Kind::text;
  std::string help;
  bool required = false;
  std::string default_text = {};  // shown in the help; the verb applies it
};

class Arguments {
 public:
  bool flag(std::string_view name) const { return values_.count(std::string(name)) > 0; }
  bool has(std::string_view name) const { return values_.count(std::string(name)) > 0; }
  std::string text(std::string_view name, std::string_view otherwise = {}) const;
  std::int64_t integer(std::string_view name, std::int64_t otherwise, std::int64_t low,
                       std::int64_t high) const;
  double number(std::string_view name, double otherwise, double low, double high) const;
  std::optional<std::uint64_t> bytes(std::string_view name) const;  // "900MB" (10^6), "64MiB" (2^20), "1234"
  std::vector<std::string> list(std::string_view name) const;
  void set(std::string name, std::vector<std::string> values) {
    values_[std::move(name)] = std::move(values);
  }

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

// What every verb may use: whether JSON on standard output was asked for (--json; a verb whose own --json
// takes an optional file hears of the file instead), and a listener that shows progress on a terminal.
struct Session {
  bool json = false;
  ProgressListener progress;
};

struct Verb {
  std::string name;  // "eval", or with a group before it: "kv train"
  std::string summary, examples;
  std::vector<OptionSpec> options;
  std::function<int(const Arguments&, const Session&)> run;
};

// One per file.
Verb list_verb();
Verb info_verb();
Verb compress_verb();
Verb decompress_verb();
Verb inspect_verb();
Verb diff_verb();
Verb eval_verb();
Verb generate_verb();
Verb reproduce_verb();
Verb bench_verb();
Verb demo_verb();
Verb train_verb();
Verb kv_train_verb();
Verb kv_save_verb();
Verb kv_load_verb();
Verb kv_inspect_verb();
Verb kv_serve_verb();
Verb kv_fetch_verb();
Verb logs_compress_verb();
Verb logs_decompress_verb();
Verb logs_cat_verb();
Verb logs_grep_verb();
Verb logs_templates_verb();
Verb logs_stats_verb();
Verb logs_verify_verb();
Verb logs_bench_verb();
Verb master_verb();
Verb peer_bench_verb();

// --data, else $LACONIC_DATA, else nothing. Throws Error(input) where --data names no directory.
std::filesystem::path data_folder(const Arguments& arguments);

// One line on standard error: what a user should know about a model that was read.
void print_notice(std::string_view text);

// "1.23 MB", "4.5 GB": powers of ten.
std::string human_bytes(std::uint64_t bytes);
std::string human_seconds(double seconds);
std::uint64_t parse_bytes(std::string_view text, std::string_view option);

// Rows as aligned columns; the first row is the head.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace laconic::cli
