// laconic decompress OUT -o DIR: an ordinary Hugging Face directory again; needs no flags.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"

namespace laconic::cli {

Verb decompress_verb() {
  using Kind = OptionSpec::Kind;
  return {"decompress",
          "Expand a compressed model into an ordinary one",
          "  laconic decompress ./model-4bit -o ./model-again\n  laconic decompress ./model-4bit -o ./m "
          "--dtype bf16\n",
          {{"model", Kind::text, "a directory that laconic compress made", true},
           {"-o,--output", Kind::text, "the directory to make", true},
           {"--dtype", Kind::text, "bf16, f16 or f32", false, "that of each original tensor"},
           {"--force", Kind::flag, "replace an existing output"}},
          [](const Arguments& arguments, const Session& session) {
            std::optional<DType> dtype;
            if (const std::string name = arguments.text("dtype"); !name.empty()) {
              if (name == "bf16") {
                dtype = DType::bf16;
              } else if (name == "f16") {
                dtype = DType::f16;
              } else if (name == "f32") {
                dtype = DType::f32;
              } else {
                fail(ErrorKind::usage, "\"" + name + "\" is not bf16, f16 or f32", "--dtype");
              }
            }
            const std::filesystem::path output = arguments.text("output");
            const std::string notice = decompress_model(arguments.text("model"), output, dtype,
                                                        arguments.flag("force"), session.progress);
            if (!notice.empty()) print_notice(notice);
            const std::uint64_t bytes = SafetensorsDirectory(output).file_bytes();
            if (session.json) {
              fmt::print("{}\n", nlohmann::json{{"output", output.string()}, {"bytes", bytes}}.dump(2));
            } else {
              fmt::print("{}  {}\n", output.string(), human_bytes(bytes));
            }
            return 0;
          }};
}

}  // namespace laconic::cli
