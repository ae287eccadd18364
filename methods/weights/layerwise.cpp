#include "methods/weights/layerwise.h"

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/tensor/safetensors.h"
#include "methods/weights/variants.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/fingerprint.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

constexpr const char* variants_folder = ".variants";

class Run {
 public:
  Run(const CompressionRequest& request, const LeveledMethod& method, const CalibrationOptions& calibration)
      : request_(request), method_(method), source_(request.model), model_(Transformer::load(request.model)) {
    if (method.needs_calibration) {
      calibration_ = open_calibration(request, model_.config(), method.slug, calibration);
    }
  }

  CompressionResult execute() {
    const std::string key = run_key();
    ArtifactWriter writer(request_.model, request_.output, key, request_.replace);
    VariantDatabase database(writer.work_folder() / variants_folder, key, method_.levels);
    build_variants(model_, source_, method_,
                   {calibration_.windows, calibration_.store ? &*calibration_.store : nullptr}, request_.seed,
                   database, request_.progress);
    std::uint64_t payload_bytes = 0;
    std::int64_t weights = 0;
    for (const std::string& name : database.units()) {
      const UnitVariants& unit = database.unit(name);
      payload_bytes += unit.levels[0].frame_bytes;
      weights += unit.rows * unit.columns;
      if (writer.has_unit(name)) continue;
      std::vector<std::pair<std::string, Payload>> chosen;
      chosen.emplace_back(name, database.payload(name, 0));
      writer.put_unit(name, std::move(chosen));
    }
    Attributes provenance;
    provenance.set("method", method_.slug);
    provenance.set("seed", static_cast<std::int64_t>(request_.seed));
    provenance.set("recipe", request_.parameters.canonical(method_.slug));
    CompressionResult result;
    result.safetensors_bytes = writer.finish(method_.slug, provenance, request_.progress);
    result.linear_bits_per_weight = 8.0 * static_cast<double>(payload_bytes) / static_cast<double>(weights);
    return result;
  }

 private:
  std::string run_key() const {
    std::string text = request_.parameters.canonical(method_.slug) + '\n' + std::to_string(request_.seed) +
                       '\n' + to_hex(fingerprint(source_)) + '\n' + calibration_.key;
    return to_hex(xxh3_128(as_byte_span(text)));
  }

  const CompressionRequest& request_;
  const LeveledMethod& method_;
  SafetensorsDirectory source_;
  Transformer model_;
  CalibrationSource calibration_;
};

}  // namespace

CompressionResult compress_layerwise(const CompressionRequest& request, const LeveledMethod& method,
                                     const CalibrationOptions& calibration) {
  if (request.target.bits || request.target.ratio || request.target.size) {
    fail(ErrorKind::unsupported, method.slug + " does not mix levels to meet a size yet",
         "--size, --bits or --ratio", "choose the code width with -p bits=N");
  }
  if (request.dry_run) fail(ErrorKind::unsupported, "no plan without a run for this method", "--dry-run");
  return Run(request, method, calibration).execute();
}

std::vector<ParameterSpec> grid_parameters(int default_bits, int default_group) {
  return {{"bits", ParameterSpec::Type::integer, std::to_string(default_bits), 1, 8, {}, "bits of a code"},
          {"group",
           ParameterSpec::Type::integer,
           std::to_string(default_group),
           0,
           1 << 20,
           {},
           "weights that share a scale; 0: a whole row"}};
}

}  // namespace laconic
