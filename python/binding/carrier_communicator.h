// Ranks whose messages a Python object carries: a process group of torch.distributed, or queues in a test.
// The engine's collectives run over it unchanged, so sums have the same order, and counts the same values, as
// over MPI. The carrier has
//
//   send(to, tag, array)            array: uint8, the carrier's to keep; may wait for earlier sends, not for
//                                   this one
//   receive_length(source, tag)     waits; bytes of the next message
//   receive_into(source, tag, out)  waits; writes that message into the uint8 array
//   finish()                        returns when everything sent is read
//   abandon(reason)                 this rank exchanges no more, having failed
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "engine/transport/communicator.h"

namespace laconic::python {

// Used on a thread that does not hold the GIL; takes it for each call of the carrier. The owner keeps the
// carrier alive until the communicator is gone. None is a carrier for one rank.
std::unique_ptr<Communicator> carrier_communicator(pybind11::handle carrier, int rank, int ranks);

}  // namespace laconic::python
