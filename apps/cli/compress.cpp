// laconic compress MODEL -m METHOD ... -o OUT
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/tensor/safetensors.h"
#include "methods/weights/pipeline.h"

namespace laconic::cli {
namespace {

CalibrationKeep calibration_keep(const std::string& text) {
  if (text == "none") return CalibrationKeep::none;
  if (text == "statistics") return CalibrationKeep::statistics;
  if (text == "hidden") return CalibrationKeep::hidden;
  fail(ErrorKind::usage, "\"" + text + "\" is not none, statistics or hidden", "--calibration-keep");
}

int compress(const Arguments& arguments, const Session& session) {
  const std::string named = arguments.text("method");
  const bool pipeline = is_pipeline(named);
  const MethodDescription* method = pipeline ? nullptr : &method_named(named);
  if (method != nullptr && !method->compress)
    fail(ErrorKind::usage, named + " does not compress models", "-m");
  CompressionRequest request;
  request.model = arguments.text("model");
  request.output = arguments.text("output");
  request.parameters = Parameters(pipeline ? pipeline_parameters() : method->parameters);
  for (const std::string& assignment : arguments.list("parameter")) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos) {
      fail(ErrorKind::usage, "\"" + assignment + "\" is not of the form name=value", "-p");
    }
    request.parameters.set(assignment.substr(0, equals), assignment.substr(equals + 1));
  }
  if (arguments.has("bits")) request.target.bits = arguments.number("bits", 0, 0.1, 32);
  if (arguments.has("ratio")) request.target.ratio = arguments.number("ratio", 0, 1, 1000);
  request.target.size = arguments.bytes("size");
  if (request.target.bits.has_value() + request.target.ratio.has_value() + request.target.size.has_value() >
      1) {
    fail(ErrorKind::usage, "only one of --bits, --ratio and --size can be asked for");
  }
  if (arguments.has("calibration")) request.calibration_text = read_text_file(arguments.text("calibration"));
  request.seed = static_cast<std::uint64_t>(arguments.integer("seed", 0, 0, std::int64_t{1} << 53));
  request.replace = arguments.flag("force");
  request.dry_run = arguments.flag("dry-run");
  request.progress = session.progress;
  request.calibration_keep = calibration_keep(arguments.text("calibration-keep", "statistics"));
  request.message = [](std::string_view line) { fmt::print(stderr, "{}\n", line); };
  const std::uint64_t before = SafetensorsDirectory(request.model).file_bytes();
  const auto start = std::chrono::steady_clock::now();
  const CompressionResult result = pipeline ? compress_pipeline(request, named) : method->compress(request);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (session.json) {
    const nlohmann::json value = {{"method", named},
                                  {"output", request.output.string()},
                                  {"original_bytes", before},
                                  {"stored_bytes", result.safetensors_bytes},
                                  {"linear_bits_per_weight", result.linear_bits_per_weight},
                                  {"seconds", seconds},
                                  {"notes", result.notes}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{}  {} -> {} ({:.2f} times smaller), {:.3f} bits per linear weight, {}\n",
             request.output.string(), human_bytes(before), human_bytes(result.safetensors_bytes),
             static_cast<double>(before) / static_cast<double>(result.safetensors_bytes),
             result.linear_bits_per_weight, human_seconds(seconds));
  for (const auto& [name, text] : result.notes) fmt::print("{}: {}\n", name, text);
  return 0;
}

}  // namespace

Verb compress_verb() {
  using Kind = OptionSpec::Kind;
  return {
      "compress",
      "Compress a model",
      "  laconic compress ./model -m rtn -p bits=4 -o ./model-4bit\n"
      "  laconic compress ./model -m decoupleq -p bits=2 -p group=64 --calibration text.txt -o "
      "./model-2bit\n"
      "  laconic compress ./model -m gptq --size 900MB --calibration text.txt -o ./model-900MB\n"
      "  laconic compress ./model -m 'uniform(bits=3)+lowrank(rank=8)' -o ./model-mixed\n",
      {{"model", Kind::text, "a Hugging Face model directory", true},
       {"-m,--method", Kind::text, "a method of laconic list, or a composition (docs/composition.md)", true},
       {"-o,--output", Kind::text, "the directory to make", true},
       {"-p,--parameter", Kind::list, "a parameter of the method, name=value (laconic info METHOD)"},
       {"--bits", Kind::number, "total bits per compressed weight, side information included"},
       {"--ratio", Kind::number, "times smaller than 16-bit weights"},
       {"--size", Kind::bytes, "sum of all .safetensors files at most, e.g. 900MB"},
       {"--calibration", Kind::text, "a text file like the one the model will see"},
       {"--calibration-keep", Kind::text,
        "what later runs may reuse: none, statistics, or hidden (also states between blocks)", false,
        "statistics"},
       {"--seed", Kind::integer, "draws calibration windows and all random numbers", false, "0"},
       {"--dry-run", Kind::flag, "plan and predict; write nothing"},
       {"--force", Kind::flag, "replace an existing output"}},
      compress};
}

}  // namespace laconic::cli
