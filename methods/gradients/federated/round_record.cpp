#include "methods/gradients/federated/round_record.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "methods/gradients/training/evaluation_record.h"
#include "methods/gradients/training/resumable_run.h"

namespace laconic {

nlohmann::json RoundRecord::to_json() const {
  nlohmann::json json = {{"event", "round"},     {"round", round},           {"loss", loss},
                         {"bytes_up", bytes_up}, {"bytes_down", bytes_down}, {"clients", clients},
                         {"accepted", accepted}, {"seconds", seconds}};
  if (held_out) {
    json["held_out_loss"] = held_out->loss;
    if (held_out->accuracy) json["accuracy"] = *held_out->accuracy;
  }
  return json;
}

void write_rounds(ByteWriter& writer, const std::vector<RoundRecord>& records) {
  writer.varint(records.size());
  for (const RoundRecord& record : records) {
    require(record.held_out.has_value(), "a round that is kept was evaluated");
    writer.varint(static_cast<std::uint64_t>(record.round));
    writer.f64(record.loss);
    writer.varint(record.bytes_up);
    writer.varint(record.bytes_down);
    writer.varint(static_cast<std::uint64_t>(record.clients));
    writer.u8(record.accepted ? 1 : 0);
    writer.f64(record.seconds);
    write_evaluation(writer, *record.held_out);
    writer.varint(record.total_bytes_up);
    writer.varint(record.total_bytes_down);
  }
}

std::vector<RoundRecord> read_rounds(ByteReader& reader) {
  constexpr std::size_t most_answers = std::size_t{1} << 30;
  std::vector<RoundRecord> records;
  for (std::size_t left = reader.length(reader.remaining()); left > 0; --left) {
    RoundRecord record;
    record.round = read_count(reader);
    if (!records.empty() && record.round <= records.back().round)
      reader.corrupt("rounds that are not in order");
    record.loss = reader.f64();
    record.bytes_up = reader.varint();
    record.bytes_down = reader.varint();
    record.clients = static_cast<int>(reader.length(most_answers));
    record.accepted = reader.u8() != 0;
    record.seconds = read_run_seconds(reader);
    record.held_out = read_evaluation(reader);
    record.total_bytes_up = reader.varint();
    record.total_bytes_down = reader.varint();
    records.push_back(record);
  }
  return records;
}

}  // namespace laconic
