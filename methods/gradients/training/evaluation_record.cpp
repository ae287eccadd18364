#include "methods/gradients/training/evaluation_record.h"

#include <optional>

#include "engine/base/error.h"
#include "methods/gradients/training/resumable_run.h"

namespace laconic {
namespace {

void write_optional(ByteWriter& writer, const std::optional<double>& value) {
  writer.u8(value ? 1 : 0);
  if (value) writer.f64(*value);
}

std::optional<double> read_optional(ByteReader& reader) {
  const std::uint8_t there = reader.u8();
  if (there > 1) reader.corrupt("neither a number nor none");
  return there == 1 ? std::optional<double>(reader.f64()) : std::nullopt;
}

}  // namespace

void write_evaluation(ByteWriter& writer, const Evaluation& evaluation) {
  writer.f64(evaluation.loss);
  write_optional(writer, evaluation.accuracy);
  write_optional(writer, evaluation.clean_accuracy);
  writer.varint(static_cast<std::uint64_t>(evaluation.count));
}

Evaluation read_evaluation(ByteReader& reader) {
  Evaluation evaluation;
  evaluation.loss = reader.f64();
  evaluation.accuracy = read_optional(reader);
  evaluation.clean_accuracy = read_optional(reader);
  evaluation.count = read_count(reader);
  return evaluation;
}

void write_evaluations(ByteWriter& writer, const std::vector<EvaluationRecord>& records) {
  writer.varint(records.size());
  for (const EvaluationRecord& record : records) {
    writer.varint(static_cast<std::uint64_t>(record.step));
    write_evaluation(writer, record.held_out);
    writer.f64(record.training_loss);
    writer.varint(record.sent_bytes);
    writer.f64(record.seconds);
  }
}

std::vector<EvaluationRecord> read_evaluations(ByteReader& reader) {
  std::vector<EvaluationRecord> records;
  for (std::size_t left = reader.length(reader.remaining()); left > 0; --left) {
    EvaluationRecord record;
    record.step = read_count(reader);
    if (!records.empty() && record.step <= records.back().step)
      reader.corrupt("evaluations that are not in order");
    record.held_out = read_evaluation(reader);
    record.training_loss = reader.f64();
    record.sent_bytes = reader.varint();
    record.seconds = read_run_seconds(reader);
    records.push_back(record);
  }
  return records;
}

}  // namespace laconic
