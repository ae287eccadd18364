// Any bytes as a plan, and edits of one with its checksum made right again: refused as corrupt, or a
// well-formed plan that encodes to the same bytes, whose check names faults as corrupt.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "methods/gradients/bytescale/planner.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;
using namespace laconic::bytescale;

const std::vector<std::uint32_t> batch_lengths = {250, 40, 60, 30, 900};

StepCosts plan_costs() {
  StepCosts costs;
  costs.layers = 4;
  costs.attention = costs.linear = 1e-6;
  costs.activation = 100;
  costs.host_rate = costs.link_rate = 1e6;
  costs.key_value_bytes = 8;
  return costs;
}

void decode(ByteSpan bytes) {
  try {
    const Plan plan = decode_plan(bytes);
    const Bytes again = encode_plan(plan);
    if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
    check_plan(plan, batch_lengths, plan_costs());
    if (group_works(plan).empty()) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  if (data[0] % 2 == 0) {
    decode({reinterpret_cast<const std::byte*>(data + 1), size - 1});
    return 0;
  }
  static const Bytes written = [] {
    PlannerOptions options;
    options.ranks = 12;
    options.capacity = 100;
    return encode_plan(make_plan(batch_lengths, plan_costs(), options));
  }();
  Bytes bytes = written;
  apply_edits({data + 1, size - 1}, bytes);
  if (bytes.size() >= 8) {
    ByteWriter checksum;
    checksum.u64(xxh3_64(ByteSpan(bytes).first(bytes.size() - 8)));
    std::copy(checksum.span().begin(), checksum.span().end(), bytes.end() - 8);
  }
  decode(bytes);
  return 0;
}
