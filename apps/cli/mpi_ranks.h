// Starting ranks over MPI from one command.
#pragma once

namespace laconic::cli {

// Becomes mpirun, which starts this program's own command line `workers` times, with what a small machine
// needs: more ranks than cores, ranks that yield, root where it is the only user. Returns only by throwing
// Error(unsupported) when mpirun cannot be started.
[[noreturn]] void become_mpirun(int workers);

}  // namespace laconic::cli
