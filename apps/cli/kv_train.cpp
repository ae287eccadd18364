// laconic kv train MODEL -m METHOD --text FILE: the base that a cache method learns of a model.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/threads.h"
#include "methods/cache/cache_method.h"
#include "methods/method.h"

namespace laconic::cli {
namespace {

// Methods that learn a base, "cskv, matryoshkakv".
std::string learning_methods() {
  std::string list;
  for (const MethodDescription& method : method_registry()) {
    if (method.cache && method.cache->make_base) list += (list.empty() ? "" : ", ") + method.slug;
  }
  return list;
}

CacheBaseRequest base_request(const Arguments& arguments, const MethodDescription& method) {
  CacheBaseRequest request;
  request.model = arguments.text("model");
  if (arguments.has("output") == arguments.flag("in-place")) {
    fail(ErrorKind::usage, "say where the base goes", "kv train",
         "-o DIR, or --in-place for the model's own directory");
  }
  request.directory =
      arguments.flag("in-place") ? request.model : std::filesystem::path(arguments.text("output"));
  request.name = arguments.text("name");
  if (request.name.find_first_of("/\\") != std::string::npos || request.name.starts_with("."))
    fail(ErrorKind::usage, fmt::format("\"{}\" is no name of a file", request.name), "--name");
  request.parameters = Parameters(method.cache->base_parameters);
  for (const std::string& assignment : arguments.list("parameter")) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos)
      fail(ErrorKind::usage, "\"" + assignment + "\" is not of the form name=value", "-p");
    request.parameters.set(assignment.substr(0, equals), assignment.substr(equals + 1));
  }
  request.text = read_text_file(arguments.text("text"));
  request.seed = static_cast<std::uint64_t>(arguments.integer("seed", 0, 0, std::int64_t{1} << 53));
  request.replace = arguments.flag("force");
  request.threads = thread_count();
  request.message = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  return request;
}

int train_base(const Arguments& arguments, const Session& session) {
  const std::string slug = arguments.text("method");
  const MethodDescription& method = method_named(slug);
  if (!method.cache || !method.cache->make_base) {
    fail(ErrorKind::usage, slug + " learns nothing of a model", "-m",
         fmt::format("methods that do are {}", learning_methods()));
  }
  CacheBaseRequest request = base_request(arguments, method);
  request.progress = session.progress;
  const auto start = std::chrono::steady_clock::now();
  const CacheBaseResult result = method.cache->make_base(request);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (session.json) {
    const nlohmann::json value = {{"method", slug},        {"base", result.file.string()},
                                  {"bytes", result.bytes}, {"made", request.parameters.canonical(slug)},
                                  {"seconds", seconds},    {"notes", result.notes}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{}  {}, {}\n", result.file.string(), human_bytes(result.bytes), human_seconds(seconds));
  for (const auto& [name, text] : result.notes) fmt::print("{}: {}\n", name, text);
  return 0;
}

}  // namespace

Verb kv_train_verb() {
  using Kind = OptionSpec::Kind;
  return {"kv train",
          "Calibrate and train what a cache method learns of a model",
          "  laconic kv train ./model -m cskv -p rank=0.25 --text text.txt --in-place\n"
          "  laconic kv train ./model -m matryoshkakv -p steps=0 --text text.txt -o ./bases\n"
          "  laconic eval ./model --text held-out.txt --cache matryoshkakv --cache-bases ./bases\n",
          {{"model", Kind::text, "a model directory", true},
           {"-m,--method", Kind::text, "a cache method that learns: cskv, matryoshkakv", true},
           {"--text", Kind::text, "a text file like the one the model will see", true},
           {"-p,--parameter", Kind::list, "how it is made, name=value (laconic info METHOD)"},
           {"-o,--output", Kind::text, "the directory whose kv/ gets the base"},
           {"--in-place", Kind::flag, "the model's own directory gets the base"},
           {"--name", Kind::text, "another name for the base; caches ask for it by base=NAME", false,
            "the method's"},
           {"--seed", Kind::integer, "draws calibration windows and all random numbers", false, "0"},
           {"--force", Kind::flag, "replace an existing base, or unfinished work with other settings"}},
          train_base};
}

}  // namespace laconic::cli
