#include "engine/transport/mpi_plugin.h"

#include <cstdlib>

#include "engine/base/plugin.h"

namespace laconic {

std::unique_ptr<Communicator> open_mpi_communicator() {
  const Plugin plugin(
      {"liblaconic_mpi.so", "LACONIC_MPI", "engine/transport/mpi", "ranks over MPI need their plug-in",
       "build it with ./laconic mpi (it needs Open MPI: packages libopenmpi-dev and openmpi-bin)"},
      "laconic_mpi_version", mpi_plugin_version);
  return std::unique_ptr<Communicator>(
      reinterpret_cast<laconic_mpi_communicator_function>(plugin.symbol("laconic_mpi_communicator"))());
}

bool started_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return true;
  return false;
}

}  // namespace laconic
