#include "python/binding/carrier_communicator.h"

#include <fmt/format.h>
#include <pybind11/numpy.h>

#include <deque>
#include <map>

#include "engine/base/error.h"
#include "python/binding/arrays.h"

namespace laconic::python {
namespace {

namespace py = pybind11;

// No message of the engine comes near it; a length beyond is a peer that speaks of something else.
constexpr std::int64_t longest_message = std::int64_t{1} << 40;

class CarrierCommunicator : public Communicator {
 public:
  CarrierCommunicator(py::handle carrier, int rank, int ranks)
      : Communicator(rank, ranks), carrier_(carrier) {}

  ~CarrierCommunicator() override {
    if (abandoned_ || carrier_.is_none()) return;  // one rank alone needs no carrier
    try {
      call([&] { carrier_.attr("finish")(); });
    } catch (const Error&) {
      // A peer is gone; whoever needs it finds out by itself.
    }
  }

  void abandon(std::string_view reason) override {
    abandoned_ = true;
    if (!carrier_.is_none()) call([&] { carrier_.attr("abandon")(std::string(reason)); });
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    if (to == rank()) {
      to_self_[tag].push_back(std::move(message));
      return;
    }
    call([&] {
      auto* owner = new Bytes(std::move(message));
      const py::capsule keep(owner, [](void* pointer) { delete static_cast<Bytes*>(pointer); });
      const py::array_t<std::uint8_t> array({static_cast<py::ssize_t>(owner->size())},
                                            reinterpret_cast<const std::uint8_t*>(owner->data()), keep);
      carrier_.attr("send")(to, tag, array);
    });
  }

  Bytes take(int from, std::uint32_t tag) override {
    if (from == rank()) {
      std::deque<Bytes>& waiting = to_self_[tag];
      require(!waiting.empty(), "a rank sends to itself before it receives");
      Bytes message = std::move(waiting.front());
      waiting.pop_front();
      if (waiting.empty()) to_self_.erase(tag);
      return message;
    }
    Bytes message;
    call([&] {
      const auto length = carrier_.attr("receive_length")(from, tag).cast<std::int64_t>();
      if (length < 0 || length > longest_message) {
        fail(ErrorKind::corrupt, fmt::format("announced a message of {} bytes", length),
             fmt::format("rank {}", from), "do all ranks run the same exchanges on this process group?");
      }
      message.resize(static_cast<std::size_t>(length));
      if (length == 0) return;
      const py::capsule borrowed(message.data(), [](void*) {});
      py::array_t<std::uint8_t> array({static_cast<py::ssize_t>(length)},
                                      reinterpret_cast<std::uint8_t*>(message.data()), borrowed);
      carrier_.attr("receive_into")(from, tag, array);
    });
    return message;
  }

 private:
  template <class Body>
  void call(const Body& body) {
    const py::gil_scoped_acquire acquired;
    try {
      body();
    } catch (py::error_already_set& failure) {
      const std::string kind = py::str(failure.type().attr("__name__")), text = py::str(failure.value());
      fail(ErrorKind::io, kind + ": " + text, fmt::format("rank {}", rank()));
    }
  }

  py::handle carrier_;
  bool abandoned_ = false;
  std::map<std::uint32_t, std::deque<Bytes>> to_self_;
};

}  // namespace

std::unique_ptr<Communicator> carrier_communicator(py::handle carrier, int rank, int ranks) {
  return std::make_unique<CarrierCommunicator>(carrier, rank, ranks);
}

}  // namespace laconic::python
