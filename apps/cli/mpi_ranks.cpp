#include "apps/cli/mpi_ranks.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/base/error.h"

namespace laconic::cli {

void become_mpirun(int workers) {
  std::vector<std::string> words = {"mpirun", "-n", std::to_string(workers), "--bind-to", "none"};
  std::vector<char> program(4096);
  const ssize_t length = readlink("/proc/self/exe", program.data(), program.size());
  if (length <= 0 || static_cast<std::size_t>(length) == program.size())
    fail(ErrorKind::io, "does not tell where this program lies", "/proc/self/exe");
  words.emplace_back(program.data(), static_cast<std::size_t>(length));
  // Files of /proc have no size that could be asked for.
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string line((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (line.empty()) fail(ErrorKind::io, "does not tell this program's own command", "/proc/self/cmdline");
  for (std::size_t begin = line.find('\0') + 1; begin > 0 && begin < line.size();) {  // after the name
    const std::size_t end = std::min(line.find('\0', begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  // Only what the user has not set.
  setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 0);
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  // A rank that is asked to stop writes its checkpoint first.
  setenv("OMPI_MCA_odls_base_sigkill_timeout", "30", 0);
  if (geteuid() == 0) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 0);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 0);
  }
  std::vector<char*> pointers;
  for (std::string& each : words) pointers.push_back(each.data());
  pointers.push_back(nullptr);
  execvp("mpirun", pointers.data());
  fail(ErrorKind::unsupported, std::string("cannot be started: ") + std::strerror(errno), "mpirun",
       "install Open MPI (packages openmpi-bin and libopenmpi-dev), or use --launcher threads");
}

}  // namespace laconic::cli
