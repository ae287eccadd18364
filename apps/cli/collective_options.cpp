#include "apps/cli/collective_options.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace laconic::cli {

std::vector<OptionSpec> link_options() {
  using Kind = OptionSpec::Kind;
  return {
      {"--key-file", Kind::text,
       "a secret that all members of the run share (head -c 32 /dev/urandom > FILE); control packets and "
       "bulk data are then authenticated"},
      {"--tls", Kind::flag, "encrypt as well (TLS 1.3 by that key)"},
      {"--unauthenticated", Kind::flag,
       "talk to other machines without a key: for networks where everybody is trusted"},
  };
}

LinkSettings link_settings(const Arguments& arguments) {
  LinkSettings settings;
  if (arguments.has("key-file")) settings.key = key_from_file(arguments.text("key-file"));
  settings.tls = arguments.flag("tls");
  settings.allow_unauthenticated = arguments.flag("unauthenticated");
  if (settings.tls && !settings.key) fail(ErrorKind::usage, "needs a key", "--tls", "add --key-file");
  return settings;
}

namespace {
std::string missing_names(const control::Wait& wait) {
  std::string names;
  for (const control::PeerId& id : wait.missing) names += (names.empty() ? "" : ", ") + control::name_of(id);
  return names;
}
}  // namespace

std::string status_text(const MasterStatus& answer) {
  const control::Status& status = answer.status;
  std::string text = fmt::format(
      "master of epoch {}, up for {}: {} peers, {} standbys, {} rounds of connections, {} operations, {} "
      "aborted\n",
      control::generation_of(answer.epoch), human_seconds(status.seconds), status.peers.size(),
      status.standbys, status.rounds, status.operations, status.aborted_operations);
  if (!status.peers.empty()) {
    std::vector<std::vector<std::string>> rows = {
        {"peer", "group", "address", "host", "phase", "operations", "sent", "received"}};
    for (const control::PeerStatus& peer : status.peers) {
      rows.push_back({control::name_of(peer.member.id), std::to_string(peer.member.group),
                      fmt::format("{}:{}", peer.member.address, peer.member.p2p_port), peer.host,
                      std::string(control::name_of(peer.phase)), std::to_string(peer.operations),
                      human_bytes(peer.sent_bytes), human_bytes(peer.received_bytes)});
    }
    text += format_table(rows);
  }
  for (const control::Wait& wait : status.waits) {
    text += fmt::format(
        "waiting for {} ({}{}): {} missing\n", human_seconds(wait.seconds), control::name_of(wait.kind),
        wait.tag != 0 ? fmt::format(", tag {}", wait.tag) : std::string(), missing_names(wait));
  }
  if (!status.last_abort.empty())
    text +=
        fmt::format("last abort {} ago: {}\n", human_seconds(status.last_abort_seconds), status.last_abort);
  for (const std::string& kicked : status.kicked) text += fmt::format("kicked {}\n", kicked);
  return text;
}

nlohmann::json status_json(const MasterStatus& answer) {
  const control::Status& status = answer.status;
  nlohmann::json peers = nlohmann::json::array(), waits = nlohmann::json::array();
  for (const control::PeerStatus& peer : status.peers) {
    peers.push_back({{"id", control::name_of(peer.member.id)},
                     {"group", peer.member.group},
                     {"address", peer.member.address},
                     {"port", peer.member.p2p_port},
                     {"host", peer.host},
                     {"phase", std::string(control::name_of(peer.phase))},
                     {"operations", peer.operations},
                     {"sent_bytes", peer.sent_bytes},
                     {"received_bytes", peer.received_bytes}});
  }
  for (const control::Wait& wait : status.waits) {
    nlohmann::json missing = nlohmann::json::array();
    for (const control::PeerId& id : wait.missing) missing.push_back(control::name_of(id));
    waits.push_back({{"for", std::string(control::name_of(wait.kind))},
                     {"group", wait.group},
                     {"tag", wait.tag},
                     {"seconds", wait.seconds},
                     {"missing", missing}});
  }
  nlohmann::json value = {{"epoch", control::generation_of(answer.epoch)},
                          {"seconds", status.seconds},
                          {"standbys", status.standbys},
                          {"rounds", status.rounds},
                          {"operations", status.operations},
                          {"aborted_operations", status.aborted_operations},
                          {"peers", peers},
                          {"waits", waits},
                          {"kicked", status.kicked}};
  if (!status.last_abort.empty())
    value["last_abort"] = {{"reason", status.last_abort}, {"seconds_ago", status.last_abort_seconds}};
  return value;
}

}  // namespace laconic::cli
