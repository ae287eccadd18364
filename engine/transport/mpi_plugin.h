// Ranks over MPI for programs that do not link it: liblaconic_mpi.so (mpi/mpi_communicator.h) is opened on
// first need.
#pragma once

#include <memory>

#include "engine/transport/communicator.h"

namespace laconic {

// Raised with every change of Communicator: a plug-in of another version is refused.
inline constexpr int mpi_plugin_version = 1;

// This process's rank, as mpirun or a cluster's scheduler started it; one per process, made, used and
// destroyed on one thread (give it to a CommunicationThread). Throws Error(unsupported) that says how to
// build the plug-in when it is missing.
std::unique_ptr<Communicator> open_mpi_communicator();

// Whether mpirun (Open MPI, MPICH and their descendants) or srun with PMI started this process as a rank.
bool started_by_mpi();

}  // namespace laconic

// What the plug-in exports; the caller owns the result.
extern "C" {
using laconic_mpi_version_function = int (*)();
using laconic_mpi_communicator_function = laconic::Communicator* (*)();
}
