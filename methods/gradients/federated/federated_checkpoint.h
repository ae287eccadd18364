// Federated training that can go on where it stopped, bit for bit. One file, replaced as a whole: a run that
// is killed at any moment leaves the previous checkpoint or the new one. It holds the server's state and the
// memories of the clients that have any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/gradients/federated/round_record.h"

namespace laconic {

struct FederatedState {
  std::int64_t round = 0, refused = 0;
  std::uint64_t bytes_up = 0, bytes_down = 0;
  double seconds = 0;
  std::vector<RoundRecord> evaluations;  // rounds with `held_out`
  Bytes algorithm;
};

// `settings`: everything that decides the numbers, one thing a line.
void save_federated(const std::filesystem::path& directory, const std::string& settings,
                    const FederatedState& state);
// Throws Error(usage) that names the first line of the settings that differs, Error(corrupt) on damage.
FederatedState load_federated(const std::filesystem::path& directory, const std::string& settings);
// The file's bytes.
Bytes federated_bytes(const std::string& settings, const FederatedState& state);
FederatedState parse_federated(ByteSpan bytes, const std::string& settings, const std::string& where);
bool has_federated_checkpoint(const std::filesystem::path& directory);

}  // namespace laconic
