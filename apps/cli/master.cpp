// laconic master: the master of a run over TCP, a standby of one, or what one says of its run.
#include "engine/transport/tcp/master.h"

#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/cli/collective_options.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"

namespace laconic::cli {
namespace {

int run_master(const Arguments& arguments, const Session& session) {
  const LinkSettings link = link_settings(arguments);
  if (arguments.has("status")) {
    const MasterStatus status =
        ask_status(parse_masters(arguments.text("status")), link, arguments.number("timeout", 5, 0.1, 3600));
    if (session.json)
      fmt::print("{}\n", status_json(status).dump(2));
    else
      fmt::print("{}", status_text(status));
    return 0;
  }
  MasterOptions options;
  options.link = link;
  options.listen.address = arguments.text("bind", "127.0.0.1");
  if (options.listen.address == "0.0.0.0" || options.listen.address == "::") options.listen.address.clear();
  options.listen.port = static_cast<std::uint16_t>(arguments.integer("port", default_master_port, 0, 65535));
  if (arguments.has("masters")) {
    options.masters = parse_masters(arguments.text("masters"));
    options.place = static_cast<std::uint32_t>(
        arguments.integer("place", 0, 0, static_cast<std::int64_t>(options.masters.size()) - 1));
    // Peers and the other masters look for it there.
    options.listen.port = options.masters[options.place].port;
    options.ports = 1;
  } else if (arguments.has("place")) {
    fail(ErrorKind::usage, "is a place in a list of masters", "--place", "add --masters tcp://A,B");
  }
  options.stall_notice = arguments.number("stall-notice", 10, 0, 1e6);
  options.stall_limit = arguments.number("stall-limit", 0, 0, 1e6);
  options.silence_limit = arguments.number("silence-limit", 15, 0, 1e6);
  options.message = [](std::string_view text) { print_notice(text); };
  Master master(options);
  if (session.json) {
    fmt::print("{}\n", nlohmann::json({{"address", options.listen.address}, {"port", master.port()}}).dump());
  } else {
    const std::string address = options.listen.address.empty() ? "ADDRESS" : options.listen.address;
    fmt::print("{} at tcp://{}\n", options.place == 0 ? "master" : "standby",
               to_text({address, master.port()}));
  }
  std::fflush(stdout);
  while (!interrupt_requested() && !master.stood_down())
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const bool replaced = master.stood_down();
  master.stop();
  if (replaced) fail(ErrorKind::io, "has stood down: another master leads the run, or may", "master");
  return 0;
}

}  // namespace

Verb master_verb() {
  using Kind = OptionSpec::Kind;
  std::vector<OptionSpec> options = {
      {"--bind", Kind::text, "address to listen on; 0.0.0.0: all", false, "127.0.0.1"},
      {"--port", Kind::integer, "or the next free one; 0 takes any", false, "48148"},
      {"--masters", Kind::text, "all masters of the run, tcp://A,B,C: the others stand by"},
      {"--place", Kind::integer, "of this one in that list, from 0", false, "0"},
      {"--stall-notice", Kind::number, "seconds until those who wait are told who is missing", false, "10"},
      {"--stall-limit", Kind::number, "seconds until who is missing is removed; 0: never", false, "0"},
      {"--silence-limit", Kind::number, "seconds until a peer that answers nothing is gone", false, "15"},
      {"--status", Kind::text, "do not run: show the run of this master (or list of masters)"},
      {"--timeout", Kind::number, "seconds to wait for the status", false, "5"},
  };
  for (OptionSpec& option : link_options()) options.push_back(std::move(option));
  return {"master", "Lead a run of peers that come and go",
          "  laconic master\n"
          "  laconic master --bind 0.0.0.0 --key-file run.key\n"
          "  laconic master --bind 0.0.0.0 --key-file run.key --masters tcp://10.0.0.1,10.0.0.2 --place 1\n"
          "  laconic master --status tcp://10.0.0.1 --key-file run.key\n"
          "It carries no bulk data. A master of a list with --place 1 or more stands by until most of the\n"
          "peers agree that the one before it is lost.\n",
          std::move(options), run_master};
}

}  // namespace laconic::cli
