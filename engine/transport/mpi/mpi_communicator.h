// The rank of a process that mpirun (or a cluster's scheduler) started, over Open MPI or another MPI. One per
// process; it is made, used and destroyed on one thread, which then owns MPI (MPI_THREAD_FUNNELED): give
// make_mpi_communicator to a CommunicationThread.
//
// Waiting never spins: messages are looked for at intervals that grow from 5 to 50 microseconds, since a
// rank that spins takes the core on which another computes.
#pragma once

#include <memory>

#include "engine/transport/communicator.h"

namespace laconic {

// Throws Error(unsupported) where MPI cannot be started. When an exchange has failed, the communicator ends
// without MPI_Finalize, so that mpirun stops the ranks that would wait for this one.
std::unique_ptr<Communicator> make_mpi_communicator();

}  // namespace laconic
