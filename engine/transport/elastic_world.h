// One member's place in a run whose members come and go (card 57). Between two renewals the group is fixed:
// it has ranks and a communicator. What is exchanged between begin_operation() and end_operation() counts for
// all who survive it, or for none of them:
//
//   world.begin_operation();                       all members, one operation after the other
//   ... exchanges over the communicator; a lost member makes them throw Error(io) ...
//   if (world.end_operation(ok)) commit; else undo, then world.renew();
//
// Newcomers wait until the members renew the group; then everybody, newcomers included, calls synchronise(),
// which gives all the state that most of the old members hold.
//
// Calls other than those of the communicator come from one thread; the communicator belongs to the thread
// that uses it, and both may be the same.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/transport/communicator.h"

namespace laconic {

// State that all members should hold alike. `bytes` is read when this member's state is taken over by others,
// and replaced by what they hold otherwise; its length may change.
struct SharedPart {
  std::string name;
  Bytes bytes;
};

struct SharedStateReport {
  bool received = false;  // this member's state was not the one that won
  std::uint64_t sent_bytes = 0, received_bytes = 0;
};

class ElasticWorld {
 public:
  virtual ~ElasticWorld() = default;
  ElasticWorld(const ElasticWorld&) = delete;
  ElasticWorld& operator=(const ElasticWorld&) = delete;

  // Of the group as it is; they change in renew() only.
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::uint64_t revision() const = 0;

  // This rank's end of the group. It is good for the operations of this revision, and its messages are
  // counted.
  virtual std::unique_ptr<Communicator> communicator() = 0;

  // Throws Error(io) when this member is no longer part of the run.
  virtual void begin_operation() = 0;
  // `succeeded`: nothing failed here. The answer is the same on all who survive, and false when any of them
  // failed or was lost. Whoever still waits in the communicator of a failed operation gets Error(io).
  virtual bool end_operation(bool succeeded) = 0;

  // The same answer on all members: are there newcomers to be taken in?
  virtual bool newcomers_wait() = 0;
  // Drops the lost and takes in the newcomers; returns when the new group stands. A group of one is a group.
  virtual void renew() = 0;

  // All members after renew(), with parts of the same names. `revision` counts what was done to the state:
  // the members that are furthest hold the truth, a newcomer has 0. Ties are decided by what most hold.
  virtual SharedStateReport synchronise(std::uint64_t revision, std::vector<SharedPart>& state) = 0;

  // The run is complete, as all members say: newcomers that still wait get Error(io).
  virtual void finish() = 0;

 protected:
  ElasticWorld() = default;
};

}  // namespace laconic
