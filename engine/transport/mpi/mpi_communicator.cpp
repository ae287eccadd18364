#include "engine/transport/mpi/mpi_communicator.h"

#include <fmt/format.h>

// The C++ bindings that Open MPI still carries are not wanted.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <list>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/mpi_plugin.h"

namespace laconic {
namespace {

void check(int code, std::string_view call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(ErrorKind::io, fmt::format("{}: {}", call, std::string_view(text, static_cast<std::size_t>(length))));
}

// Sleeps a little longer each time.
class BackOff {
 public:
  void pause() {
    std::this_thread::sleep_for(std::chrono::microseconds(micros_));
    micros_ = std::min(micros_ * 2, 50);
  }

 private:
  int micros_ = 5;
};

struct World {
  World() {
    int initialised = 0, provided = MPI_THREAD_SINGLE;
    MPI_Initialized(&initialised);
    if (initialised != 0) fail(ErrorKind::unsupported, "MPI runs already in this process");
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS ||
        provided < MPI_THREAD_FUNNELED) {
      fail(ErrorKind::unsupported, "MPI cannot be started beside other threads");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
  }
  int rank = 0, size = 1;
};

class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(const World& world) : Communicator(world.rank, world.size) {}

  ~MpiCommunicator() override {
    if (failed_ || std::uncaught_exceptions() > 0) return;  // mpirun ends the others when this process ends
    BackOff back_off;
    while (!sending_.empty()) {
      try {
        release_sent();
      } catch (const Error&) {
        return;
      }
      if (!sending_.empty()) back_off.pause();
    }
    MPI_Finalize();
  }

  void abandon(std::string_view) override { failed_ = true; }

  bool ready(int from, std::uint32_t tag) override {
    release_sent();
    int found = 0;
    guarded(MPI_Iprobe(from, static_cast<int>(tag), MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE), "MPI_Iprobe");
    return found != 0;
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    if (message.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      fail(ErrorKind::unsupported, fmt::format("a message of {} bytes; MPI takes 2 GiB", message.size()), {},
           "exchange the vector in smaller buckets");
    }
    release_sent();
    sending_.push_back({std::move(message), MPI_REQUEST_NULL});
    Sending& last = sending_.back();
    guarded(MPI_Isend(last.message.data(), static_cast<int>(last.message.size()), MPI_BYTE, to,
                      static_cast<int>(tag), MPI_COMM_WORLD, &last.request),
            "MPI_Isend");
  }

  Bytes take(int from, std::uint32_t tag) override {
    const auto begin = std::chrono::steady_clock::now();
    BackOff back_off;
    for (;;) {
      int found = 0;
      MPI_Message message = MPI_MESSAGE_NULL;
      MPI_Status status;
      guarded(MPI_Improbe(from, static_cast<int>(tag), MPI_COMM_WORLD, &found, &message, &status),
              "MPI_Improbe");
      if (found != 0) {
        int count = 0;
        guarded(MPI_Get_count(&status, MPI_BYTE, &count), "MPI_Get_count");
        Bytes bytes(static_cast<std::size_t>(count));
        MPI_Request request = MPI_REQUEST_NULL;
        guarded(MPI_Imrecv(bytes.data(), count, MPI_BYTE, &message, &request), "MPI_Imrecv");
        for (int done = 0;;) {
          guarded(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
          if (done != 0) return bytes;
          release_sent();
          back_off.pause();
        }
      }
      release_sent();
      const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
      if (timeout() > 0 && waited.count() > timeout()) {
        failed_ = true;
        fail(ErrorKind::io, fmt::format("rank {} sent nothing for {:g} s", from, timeout()),
             fmt::format("rank {}", rank()), "is it still running, and does it run the same exchanges?");
      }
      back_off.pause();
    }
  }

 private:
  struct Sending {
    Bytes message;
    MPI_Request request;
  };

  void guarded(int code, std::string_view call) {
    if (code != MPI_SUCCESS) failed_ = true;
    check(code, call);
  }

  void release_sent() {
    for (auto at = sending_.begin(); at != sending_.end();) {
      int done = 0;
      guarded(MPI_Test(&at->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      at = done != 0 ? sending_.erase(at) : std::next(at);
    }
  }

  std::list<Sending> sending_;  // a list: MPI holds the address of each message
  bool failed_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator() { return std::make_unique<MpiCommunicator>(World()); }

}  // namespace laconic

extern "C" {
__attribute__((visibility("default"))) int laconic_mpi_version() { return laconic::mpi_plugin_version; }
__attribute__((visibility("default"))) laconic::Communicator* laconic_mpi_communicator() {
  return laconic::make_mpi_communicator().release();
}
}
