#include "methods/gradients/workers.h"

#include "engine/base/error.h"
#include "engine/transport/collectives.h"

namespace laconic {
namespace {

class LocalWorkers : public Workers {
 public:
  explicit LocalWorkers(int count) : Workers(count, 0, count) {}
  std::vector<Bytes> exchange(std::vector<Bytes> local) override { return local; }
};

int first_of(int rank, int ranks, int count) {
  return static_cast<int>(static_cast<std::int64_t>(count) * rank / ranks);
}

class DistributedWorkers : public Workers {
 public:
  DistributedWorkers(Communicator& communicator, int count)
      : Workers(count, first_of(communicator.rank(), communicator.size(), count),
                first_of(communicator.rank() + 1, communicator.size(), count) -
                    first_of(communicator.rank(), communicator.size(), count)),
        communicator_(communicator) {}

  std::vector<Bytes> exchange(std::vector<Bytes> local) override {
    ByteWriter own;
    for (const Bytes& message : local) {
      own.varint(message.size());
      own.append(message);
    }
    const std::vector<Bytes> all = all_gather(communicator_, own.span());
    std::vector<Bytes> messages;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      ByteReader reader(all[rank], "messages of rank " + std::to_string(rank));
      const int of_rank = first_of(static_cast<int>(rank) + 1, communicator_.size(), count()) -
                          first_of(static_cast<int>(rank), communicator_.size(), count());
      for (int i = 0; i < of_rank; ++i) {
        const ByteSpan message = reader.take(reader.length(reader.remaining()));
        messages.emplace_back(message.begin(), message.end());
      }
      reader.expect_end();
    }
    return messages;
  }

 private:
  Communicator& communicator_;
};

}  // namespace

std::unique_ptr<Workers> local_workers(int count) {
  require(count >= 1, "there is a worker");
  return std::make_unique<LocalWorkers>(count);
}

std::unique_ptr<Workers> distributed_workers(Communicator& communicator, int count) {
  if (count < communicator.size()) {
    fail(ErrorKind::usage, "fewer workers than ranks", "--workers", "start at most one rank per worker");
  }
  return std::make_unique<DistributedWorkers>(communicator, count);
}

}  // namespace laconic
