// What every kind of training keeps and says so that it can go on where it stopped. A file of a checkpoint is
// sealed bytes: what kind it is, the settings of the run that wrote it, then what the kind holds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

struct CheckpointKind {
  std::string_view magic;  // with its version
  std::string_view name;   // "a rank's part of a checkpoint"
};

// sealed() ends what is written behind it.
ByteWriter begin_checkpoint(const CheckpointKind& kind, const std::string& settings);
// What lies behind kind and settings. `settings`: everything that decides the numbers, one thing a line.
// Throws Error(usage) that names the first line that differs, Error(corrupt) on damage and another kind.
ByteReader open_checkpoint(const CheckpointKind& kind, ByteSpan bytes, const std::string& settings,
                           const std::string& where);

void write_part(ByteWriter& writer, ByteSpan part);  // with its length
Bytes read_part(ByteReader& reader);
std::int64_t read_count(ByteReader& reader);  // of steps or rounds
double read_run_seconds(ByteReader& reader);

[[noreturn]] void fail_without_checkpoint(const std::filesystem::path& directory);
// The user asked to stop. `after`: "step 7"; `checkpoint`: where the run was kept; empty: nowhere.
[[noreturn]] void fail_stopped(const std::string& after, const std::filesystem::path& checkpoint);

}  // namespace laconic
