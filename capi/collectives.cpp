#include <array>
#include <cstring>
#include <string>

#include "capi/laconic.h"
#include "engine/transport/tcp/master.h"
#include "engine/transport/tcp/peer.h"

using namespace laconic;

struct laconic_master {
  explicit laconic_master(const MasterOptions& options) : master(options) {}
  Master master;
};
struct laconic_peer {
  explicit laconic_peer(const PeerOptions& options) : peer(options) {}
  Peer peer;
};
struct laconic_operation {
  std::future<ReduceReport> result;
};

namespace {

thread_local std::string last_error;

laconic_result result_of(PeerFault fault) {
  switch (fault) {
    case PeerFault::aborted:
      return LACONIC_ABORTED;
    case PeerFault::too_few_peers:
      return LACONIC_TOO_FEW_PEERS;
    case PeerFault::pending_operations:
      return LACONIC_PENDING_OPERATIONS;
    case PeerFault::tag_running:
      return LACONIC_TAG_RUNNING;
    case PeerFault::busy:
      return LACONIC_BUSY;
    case PeerFault::not_connected:
      return LACONIC_NOT_CONNECTED;
    case PeerFault::ended:
      return LACONIC_ENDED;
  }
  return LACONIC_INTERNAL;
}

laconic_result result_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return LACONIC_USAGE;
    case ErrorKind::input:
      return LACONIC_INPUT;
    case ErrorKind::unsupported:
      return LACONIC_UNSUPPORTED;
    case ErrorKind::corrupt:
      return LACONIC_CORRUPT;
    case ErrorKind::io:
      return LACONIC_IO;
    case ErrorKind::interrupted:
      return LACONIC_INTERRUPTED;
    case ErrorKind::internal:
      return LACONIC_INTERNAL;
  }
  return LACONIC_INTERNAL;
}

// No exception leaves the library.
template <class Body>
laconic_result guarded(const Body& body) noexcept {
  try {
    body();
    return LACONIC_OK;
  } catch (const PeerError& error) {
    last_error = error.what();
    return result_of(error.fault());
  } catch (const Error& error) {
    last_error = error.what();
    return result_of(error.kind());
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an unknown failure";
  }
  return LACONIC_INTERNAL;
}

void need(bool condition, const char* what) {
  if (!condition) fail(ErrorKind::usage, what, "laconic.h");
}

// What a program that was built with an older header does not know keeps its default.
template <class T, class Init>
T whole(const T* given, const Init& init) {
  need(given != nullptr, "a structure is null");
  T all;
  init(&all);
  need(given->struct_size > 0 && given->struct_size <= sizeof(T),
       "a structure has no size, or that of a newer header: call its *_init function first");
  std::memcpy(&all, given, given->struct_size);
  return all;
}

LinkSettings link_of(const char* key_file, int tls, int unauthenticated) {
  LinkSettings link;
  if (key_file != nullptr) link.key = key_from_file(key_file);
  link.tls = tls != 0;
  link.allow_unauthenticated = unauthenticated != 0;
  return link;
}

ReduceRequest request_of(const laconic_reduce* given) {
  const laconic_reduce reduce = whole(given, laconic_reduce_init);
  need(reduce.type >= LACONIC_U8 && reduce.type <= LACONIC_F64, "an unknown type");
  need(reduce.op >= LACONIC_SUM && reduce.op <= LACONIC_MIN, "an unknown operation");
  need(reduce.quantization >= LACONIC_EXACT && reduce.quantization <= LACONIC_ZERO_POINT,
       "an unknown quantisation");
  need(reduce.algorithm == LACONIC_RING || reduce.algorithm == LACONIC_DIRECT, "an unknown algorithm");
  ReduceRequest request;
  request.type = static_cast<NumberType>(reduce.type);
  request.op = static_cast<ReduceOp>(reduce.op);
  request.source = reduce.source;
  request.destination = reduce.destination;
  request.count = reduce.count;
  request.tag = reduce.tag;
  request.quantization.kind = static_cast<QuantizationKind>(reduce.quantization);
  request.quantization.bits = reduce.quantized_bits;
  request.algorithm = static_cast<AllReduceAlgorithm>(reduce.algorithm);
  return request;
}

void write_report(const ReduceReport& from, laconic_reduce_report* to) {
  if (to != nullptr) *to = {from.world, from.sent_bytes, from.received_bytes, from.seconds};
}

}  // namespace

extern "C" {

const char* laconic_result_name(laconic_result result) {
  constexpr std::array names = {"ok",          "aborted",     "too few peers", "operations are running",
                                "tag running", "busy",        "not connected", "the run has ended",
                                "usage",       "input",       "unsupported",   "corrupt",
                                "io",          "interrupted", "internal"};
  const auto index = static_cast<std::size_t>(result);
  return index < names.size() ? names[index] : "unknown";
}

const char* laconic_last_error(void) { return last_error.c_str(); }

void laconic_master_options_init(laconic_master_options* options) {
  if (options == nullptr) return;
  *options = {};
  options->struct_size = sizeof *options;
  options->port = default_master_port;
  options->stall_notice = MasterOptions().stall_notice;
}

laconic_result laconic_master_create(const laconic_master_options* given, laconic_master** master) {
  return guarded([&] {
    const laconic_master_options from = whole(given, laconic_master_options_init);
    need(master != nullptr, "there is no place for the master");
    MasterOptions options;
    options.listen.address = from.bind_address != nullptr ? from.bind_address : "127.0.0.1";
    options.listen.port = from.port;
    options.link = link_of(from.key_file, from.tls, from.unauthenticated);
    options.stall_notice = from.stall_notice;
    options.stall_limit = from.stall_limit;
    *master = new laconic_master(options);
  });
}

uint16_t laconic_master_port(const laconic_master* master) {
  return master == nullptr ? std::uint16_t{0} : master->master.port();
}

void laconic_master_destroy(laconic_master* master) { delete master; }

void laconic_peer_options_init(laconic_peer_options* options) {
  if (options == nullptr) return;
  *options = {};
  options->struct_size = sizeof *options;
  options->pool_size = options->stripes = 1;
}

laconic_result laconic_peer_create(const laconic_peer_options* given, laconic_peer** peer) {
  return guarded([&] {
    const laconic_peer_options from = whole(given, laconic_peer_options_init);
    need(peer != nullptr, "there is no place for the peer");
    need(from.master != nullptr, "a peer needs the address of a master");
    PeerOptions options;
    options.masters = parse_masters(from.master);
    if (from.bind_address != nullptr) options.listen = from.bind_address;
    options.link = link_of(from.key_file, from.tls, from.unauthenticated);
    options.group = from.group;
    if (from.settings != nullptr) options.settings = from.settings;
    options.pool_size = from.pool_size;
    options.stripes = from.stripes;
    options.all_pairs = from.all_pairs != 0;
    if (from.message != nullptr) {
      options.message = [message = from.message, context = from.message_context](std::string_view text) {
        message(std::string(text).c_str(), context);
      };
    }
    *peer = new laconic_peer(options);
  });
}

void laconic_peer_destroy(laconic_peer* peer) { delete peer; }

laconic_result laconic_peer_join(laconic_peer* peer) {
  return guarded([&] { need(peer != nullptr, "the peer is null"), peer->peer.join(); });
}

int laconic_peer_group_size(const laconic_peer* peer) {
  return peer == nullptr ? 0 : peer->peer.group_size();
}

int laconic_peer_world_size(const laconic_peer* peer) {
  return peer == nullptr ? 0 : peer->peer.sizes().world;
}

laconic_result laconic_peer_newcomers_pending(laconic_peer* peer, int* pending) {
  return guarded([&] {
    need(peer != nullptr && pending != nullptr, "an argument is null");
    *pending = peer->peer.newcomers_pending() ? 1 : 0;
  });
}

laconic_result laconic_peer_update_topology(laconic_peer* peer) {
  return guarded([&] { need(peer != nullptr, "the peer is null"), peer->peer.update_topology(); });
}

laconic_result laconic_peer_optimize_topology(laconic_peer* peer) {
  return guarded([&] { need(peer != nullptr, "the peer is null"), peer->peer.optimize_topology(); });
}

laconic_result laconic_peer_complete(laconic_peer* peer) {
  return guarded([&] { need(peer != nullptr, "the peer is null"), peer->peer.complete(); });
}

void laconic_reduce_init(laconic_reduce* reduce) {
  if (reduce == nullptr) return;
  *reduce = {};
  reduce->struct_size = sizeof *reduce;
  reduce->type = LACONIC_F32;
  reduce->quantized_bits = 8;
}

laconic_result laconic_all_reduce(laconic_peer* peer, const laconic_reduce* reduce,
                                  laconic_reduce_report* report) {
  return guarded([&] {
    need(peer != nullptr, "the peer is null");
    write_report(peer->peer.all_reduce(request_of(reduce)), report);
  });
}

laconic_result laconic_all_reduce_start(laconic_peer* peer, const laconic_reduce* reduce,
                                        laconic_operation** operation) {
  return guarded([&] {
    need(peer != nullptr && operation != nullptr, "an argument is null");
    *operation = new laconic_operation{peer->peer.start_all_reduce(request_of(reduce))};
  });
}

laconic_result laconic_operation_wait(laconic_operation* operation, laconic_reduce_report* report) {
  return guarded([&] {
    need(operation != nullptr, "the operation is null");
    const std::unique_ptr<laconic_operation> owned(operation);
    write_report(owned->result.get(), report);
  });
}

laconic_result laconic_all_reduce_many(laconic_peer* peer, const laconic_reduce* reduces, size_t count,
                                       int in_flight, laconic_reduce_report* reports) {
  return guarded([&] {
    need(peer != nullptr && (count == 0 || (reduces != nullptr && reports != nullptr)),
         "an argument is null");
    std::vector<ReduceRequest> requests;
    for (std::size_t i = 0; i < count; ++i) {
      reports[i] = {};
      requests.push_back(request_of(&reduces[i]));
    }
    const ManyReport report = peer->peer.all_reduce(requests, in_flight);
    for (std::size_t i = 0; i < count; ++i) {
      if (report.each[i]) write_report(*report.each[i], &reports[i]);
    }
    if (report.too_few_peers) throw PeerError(PeerFault::too_few_peers, "nobody else is left in the group");
  });
}

laconic_result laconic_synchronise(laconic_peer* peer, laconic_entry* entries, size_t count,
                                   laconic_strategy strategy, uint64_t* revision,
                                   laconic_sync_report* report) {
  return guarded([&] {
    need(peer != nullptr && revision != nullptr && (entries != nullptr || count == 0), "an argument is null");
    need(strategy >= LACONIC_ENFORCE_POPULAR && strategy <= LACONIC_SEND_ONLY, "an unknown strategy");
    SharedState state;
    state.revision = *revision;
    state.strategy = static_cast<control::SyncStrategy>(strategy);
    for (std::size_t i = 0; i < count; ++i) {
      const laconic_entry& entry = entries[i];
      need(entry.key != nullptr && (entry.data != nullptr || entry.count == 0), "an entry is null");
      need(entry.type >= LACONIC_U8 && entry.type <= LACONIC_F64, "an unknown type");
      const auto type = static_cast<NumberType>(entry.type);
      need(entry.count <= SIZE_MAX / size_of(type), "an entry of more than all memory");
      state.entries.push_back(
          {{entry.key, type, {static_cast<std::byte*>(entry.data), entry.count * size_of(type)}},
           entry.allow_inequality != 0});
    }
    const SyncReport moved = peer->peer.synchronise(state);
    *revision = state.revision;
    if (report != nullptr) *report = {moved.received_keys, moved.sent_bytes, moved.received_bytes};
  });
}

}  // extern "C"
