// A run over TCP whose members come and go, as elastic_world.h has it, and a fixed group of ranks over TCP.
// Members find each other through a master (master.h); their messages go straight from peer to peer.
#pragma once

#include <memory>

#include "engine/transport/elastic_world.h"
#include "engine/transport/tcp/peer.h"

namespace laconic {

// The first renew() joins; it waits until the members there are take newcomers in, and throws Error(io) with
// the reason when this member is refused: settings that are not those of the run, a run that is complete.
// `options.all_pairs` is set, since any member may send to any other.
std::unique_ptr<ElasticWorld> join_tcp_run(PeerOptions options);

// A rank of a fixed group: waits until `size` peers with the same settings are there. The first failure of
// one ends exchanges for all. When the object ends it waits until all ranks are done.
std::unique_ptr<Communicator> join_tcp_ranks(PeerOptions options, int size);

}  // namespace laconic
