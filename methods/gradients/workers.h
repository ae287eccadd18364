// Which workers of an algorithm live here, and how their messages reach everybody. One process may hold all
// of them (a simulation of hundreds), or each rank of a communicator its own: the algorithm above is the
// same, and so are its numbers, because messages come back in the order of the workers.
#pragma once

#include <memory>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/transport/communicator.h"

namespace laconic {

class Workers {
 public:
  virtual ~Workers() = default;
  int count() const { return count_; }
  int first_local() const { return first_; }
  int local_count() const { return local_; }

  // One message per local worker; returns one per worker, in order.
  virtual std::vector<Bytes> exchange(std::vector<Bytes> local) = 0;

 protected:
  Workers(int count, int first, int local) : count_(count), first_(first), local_(local) {}

 private:
  int count_, first_, local_;
};

// All here.
std::unique_ptr<Workers> local_workers(int count);
// Cut among the ranks of a communicator in equal runs, as far as it goes. Borrows the communicator.
std::unique_ptr<Workers> distributed_workers(Communicator& communicator, int count);

}  // namespace laconic
