// laconic.Exchange: one vector per rank becomes one agreed vector (engine/exchange/gradient_exchange.h), by a
// published method or by a codec, over whatever carries messages between Python processes. The vector lies in
// one array that Python fills and reads; work goes on beside Python, on a thread that owns the communicator.
#include <fmt/format.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/saved_state.h"
#include "engine/exchange/overlapped_exchange.h"
#include "engine/transport/collectives.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "python/binding/arrays.h"
#include "python/binding/bind.h"
#include "python/binding/carrier_communicator.h"

namespace laconic::python {
namespace {

namespace py = pybind11;
using Access = BorrowedArray::Access;

constexpr std::uint64_t exchange_schema = 1;

using NamedShapes = std::vector<std::pair<std::string, Shape>>;

std::vector<TensorSlice> slices_of(const NamedShapes& tensors) {
  std::vector<TensorSlice> slices;
  std::size_t offset = 0;
  for (const auto& [name, shape] : tensors) {
    TensorSlice slice;
    slice.name = name;
    slice.shape = shape;
    slice.offset = offset;
    slice.size = static_cast<std::size_t>(element_count(shape));
    offset += slice.size;
    slices.push_back(std::move(slice));
  }
  return slices;
}

// Of a run whose length nobody has said: longer than any.
constexpr std::uint64_t unknown_steps = std::uint64_t{1} << 40;

OptimizerSettings optimizer_settings(const std::string& kind, double momentum, bool nesterov, double beta1,
                                     double beta2, double epsilon, bool bias_correction,
                                     double weight_decay) {
  OptimizerSettings settings;
  if (kind != "sgd" && kind != "adam")
    fail(ErrorKind::usage, fmt::format("'{}' is no optimizer", kind), "optimizer", "sgd or adam");
  settings.kind = kind == "sgd" ? OptimizerSettings::Kind::sgd : OptimizerSettings::Kind::adam;
  settings.momentum = momentum;
  settings.nesterov = nesterov;
  settings.beta1 = beta1;
  settings.beta2 = beta2;
  settings.epsilon = epsilon;
  settings.bias_correction = bias_correction;
  settings.weight_decay = weight_decay;
  return settings;
}

class RunningExchange {
 public:
  RunningExchange(const std::string& text, const std::map<std::string, std::string>& parameters,
                  ExchangeRequest request, py::object carrier)
      : carrier_(std::move(carrier)) {
    const py::gil_scoped_release released;
    const ExchangeCandidate candidate = step_exchange_by_name(text, {parameters.begin(), parameters.end()});
    request.parameters = candidate.parameters;
    if (request.rank == 0) request.message = [this](std::string_view line) { messages_.emplace_back(line); };
    made_ = candidate.exchange(request);
    optimizer_ = made_.optimizer ? std::move(made_.optimizer)
                                 : make_optimizer(request.optimizer, made_.exchange->tensors());
    vector_.assign(made_.exchange->size(), 0.0f);
    const py::handle carries = carrier_;
    thread_ = std::make_unique<CommunicationThread>(
        [&] { return carrier_communicator(carries, request.rank, request.ranks); });
    overlapped_ = std::make_unique<OverlappedExchange>(*made_.exchange, *thread_);
    const std::string settings =
        fmt::format("{}\n{}\nseed {}, {} bytes a bucket\n{}", made_.exchange->text(), optimizer_->text(),
                    request.seed, request.bucket_bytes, layout_text(made_.exchange->tensors()));
    try {
      thread_->run("compare", [&](Communicator& communicator) {
        require_equal_everywhere(communicator, settings, "the settings of the exchange");
      });
    } catch (...) {
      shut();
      throw;
    }
  }

  ~RunningExchange() { close(); }

  // With the GIL: the thread needs it to come to its end.
  void close() {
    const py::gil_scoped_release released;
    shut();
  }

  std::string text() const { return made_.exchange->text(); }
  // What the user should see of its making.
  const std::vector<std::string>& messages() const { return messages_; }
  const std::vector<TensorSlice>& tensors() const { return made_.exchange->tensors(); }
  const std::vector<Bucket>& buckets() const { return made_.exchange->buckets(); }
  std::span<float> vector() { return vector_; }

  void begin(std::uint64_t step) {
    require_open(false);
    overlapped_->begin(step, vector_, vector_);
    ready_.assign(tensors().size(), 0);
    in_step_ = true;
  }

  void ready(std::size_t tensor) {
    require_open(true);
    require_tensor(tensor);
    if (ready_[tensor] != 0) fail(ErrorKind::usage, "was ready already in this step", tensors()[tensor].name);
    ready_[tensor] = 1;
    overlapped_->ready(tensor);
  }

  bool end() {
    require_open(true);
    in_step_ = false;
    return overlapped_->end();
  }

  void prepare(std::size_t tensor) {
    require_tensor(tensor);
    optimizer_->prepare(tensor, slice_of(std::span<float>(vector_), tensors()[tensor]));
  }

  void apply(std::span<float> parameters, double rate) {
    if (parameters.size() != vector_.size())
      fail(ErrorKind::usage, fmt::format("has {} numbers, not {}", parameters.size(), vector_.size()),
           "parameters");
    optimizer_->apply(vector_, parameters, rate);
  }

  Bytes save() const {
    require_open(false);
    ByteWriter writer;
    writer.varint(exchange_schema);
    for (const Bytes& part : {made_.exchange->save(), optimizer_->save()}) {
      writer.varint(part.size());
      writer.append(part);
    }
    return sealed(std::move(writer));
  }

  void restore(ByteSpan bytes) {
    require_open(false);
    const std::string_view where = "state of the exchange";
    ByteReader reader(unsealed(bytes, where), std::string(where));
    if (reader.varint() != exchange_schema) reader.corrupt("a state of another version");
    const ByteSpan exchange = reader.take(reader.length(reader.remaining()));
    const ByteSpan optimizer = reader.take(reader.length(reader.remaining()));
    reader.expect_end();
    made_.exchange->restore(exchange, where);
    optimizer_->restore(optimizer, where);
  }

  // Of this rank. Lengths that announce messages (8 bytes each) are the carrier's and not in it.
  Traffic traffic() const { return thread_ ? thread_->traffic() : last_traffic_; }
  Traffic traffic(Exchange kind) const { return thread_ ? thread_->traffic(kind) : Traffic(); }
  double waited_seconds() const { return overlapped_ ? overlapped_->waited_seconds() : 0; }
  CodecSeconds codec_seconds() const { return made_.exchange->codec_seconds(); }

  // Error(usage) on every rank unless all hold the same numbers.
  void require_equal(std::span<const float> numbers, const std::string& what) {
    require_open(false);
    const std::string own = to_hex(xxh3_128(std::as_bytes(numbers)));
    thread_->run("compare",
                 [&](Communicator& communicator) { require_equal_everywhere(communicator, own, what); });
  }

 private:
  void shut() {
    if (thread_) last_traffic_ = thread_->traffic();
    overlapped_.reset();
    thread_.reset();
    in_step_ = false;
  }
  void require_open(bool in_step) const {
    if (!thread_) fail(ErrorKind::usage, "is closed", "exchange");
    if (in_step_ != in_step) {
      fail(ErrorKind::usage, in_step_ ? "a step has begun and not ended" : "no step has begun", "exchange");
    }
  }
  void require_tensor(std::size_t tensor) const {
    if (tensor >= tensors().size())
      fail(ErrorKind::usage, fmt::format("has {} tensors, and no number {}", tensors().size(), tensor),
           "exchange");
  }

  py::object carrier_;
  std::vector<std::string> messages_;
  TrainingExchange made_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<float> vector_;
  std::unique_ptr<CommunicationThread> thread_;
  std::unique_ptr<OverlappedExchange> overlapped_;
  std::vector<char> ready_;
  bool in_step_ = false;
  Traffic last_traffic_;
};

py::dict row_of(const Traffic& traffic) {
  py::dict row;
  row["sent_bytes"] = traffic.sent_bytes;
  row["received_bytes"] = traffic.received_bytes;
  row["sent_messages"] = traffic.sent_messages;
  row["received_messages"] = traffic.received_messages;
  return row;
}

}  // namespace

void bind_exchange(py::module_& module) {
  using released = py::call_guard<py::gil_scoped_release>;
  py::class_<RunningExchange>(
      module, "Exchange",
      "One vector per rank becomes one agreed vector. `exchange`: a method (laconic.methods()), "
      "or a pipeline like 'ef:outliers(fraction=0.01)'; `steps`: of the whole run, 0: unknown.")
      .def(py::init([](const std::string& text, const NamedShapes& tensors, py::object carrier, int rank,
                       int ranks, const std::map<std::string, std::string>& parameters, std::uint64_t seed,
                       std::uint64_t steps, std::uint64_t steps_per_epoch, std::size_t bucket_bytes,
                       const std::string& optimizer, double momentum, bool nesterov, double beta1,
                       double beta2, double epsilon, bool bias_correction, double weight_decay) {
             if (ranks < 1 || rank < 0 || rank >= ranks)
               fail(ErrorKind::usage, fmt::format("rank {} of {} makes no sense", rank, ranks), "exchange");
             ExchangeRequest request;
             request.tensors = slices_of(tensors);
             request.rank = rank;
             request.ranks = ranks;
             request.seed = seed;
             request.steps = steps == 0 ? unknown_steps : steps;
             request.steps_per_epoch = std::max<std::uint64_t>(steps_per_epoch, 1);
             request.bucket_bytes = bucket_bytes;
             request.optimizer = optimizer_settings(optimizer, momentum, nesterov, beta1, beta2, epsilon,
                                                    bias_correction, weight_decay);
             return std::make_unique<RunningExchange>(text, parameters, std::move(request),
                                                      std::move(carrier));
           }),
           py::arg("exchange"), py::arg("tensors"), py::arg("carrier") = py::none(), py::arg("rank") = 0,
           py::arg("ranks") = 1, py::kw_only(), py::arg("parameters") = std::map<std::string, std::string>(),
           py::arg("seed") = 0, py::arg("steps") = 0, py::arg("steps_per_epoch") = 1,
           py::arg("bucket_bytes") = 25'000'000, py::arg("optimizer") = "sgd", py::arg("momentum") = 0.0,
           py::arg("nesterov") = false, py::arg("beta1") = 0.9, py::arg("beta2") = 0.999,
           py::arg("epsilon") = 1e-8, py::arg("bias_correction") = true, py::arg("weight_decay") = 0.0)
      .def_property_readonly("text", &RunningExchange::text, "Everything that decides the numbers.")
      .def_property_readonly("messages", &RunningExchange::messages)
      .def_property_readonly(
          "vector",
          [](const py::object& self) {
            const std::span<float> vector = self.cast<RunningExchange&>().vector();
            return py::array_t<float>({static_cast<py::ssize_t>(vector.size())}, vector.data(), self);
          },
          "This rank's numbers before a step, the agreed ones after it: one array, no copy.")
      .def_property_readonly("buckets",
                             [](const RunningExchange& exchange) {
                               std::vector<std::pair<std::size_t, std::size_t>> ranges;
                               for (const Bucket& bucket : exchange.buckets())
                                 ranges.emplace_back(bucket.first, bucket.last);
                               return ranges;
                             })
      .def("begin", &RunningExchange::begin, py::arg("step"), released())
      .def("ready", &RunningExchange::ready, py::arg("tensor"), released(),
           "The tensor's numbers are final; whole buckets leave at once.")
      .def("end", &RunningExchange::end, released(),
           "Waits. False: some rank had a number that is not finite.")
      .def("prepare", &RunningExchange::prepare, py::arg("tensor"), released(),
           "Makes what is sent from a tensor's gradient, in place.")
      .def(
          "apply",
          [](RunningExchange& exchange, const py::object& parameters, double rate) {
            BorrowedArray array(parameters, Access::write, "parameters");
            const std::span<float> numbers = array.writable_floats();
            const py::gil_scoped_release unlocked;
            exchange.apply(numbers, rate);
          },
          py::arg("parameters"), py::arg("rate"), "The method's optimizer moves the parameters, in place.")
      .def("save",
           [](const RunningExchange& exchange) {
             Bytes bytes;
             {
               const py::gil_scoped_release unlocked;
               bytes = exchange.save();
             }
             return bytes_of(bytes);
           })
      .def("restore",
           [](RunningExchange& exchange, const py::object& state) {
             const BorrowedArray bytes(state, Access::read, "state");
             exchange.restore(bytes.bytes());
           })
      .def("require_equal",
           [](RunningExchange& exchange, const py::object& numbers, const std::string& what) {
             const BorrowedArray array(numbers, Access::read, what);
             const std::span<const float> floats = array.floats();
             const py::gil_scoped_release unlocked;
             exchange.require_equal(floats, what);
           })
      .def("traffic",
           [](const RunningExchange& exchange) {
             py::dict all = row_of(exchange.traffic());
             for (int kind = 0; kind < exchange_kinds; ++kind) {
               const auto which = static_cast<Exchange>(kind);
               const Traffic traffic = exchange.traffic(which);
               if (traffic.sent_messages + traffic.received_messages > 0)
                 all[py::str(std::string(laconic::name_of(which)))] = row_of(traffic);
             }
             return all;
           })
      .def("seconds",
           [](const RunningExchange& exchange) {
             py::dict row;
             row["encode"] = exchange.codec_seconds().encode;
             row["decode"] = exchange.codec_seconds().decode;
             row["waited"] = exchange.waited_seconds();
             return row;
           })
      .def("close", &RunningExchange::close, "Ends the thread. Every exchange is closed before Python ends.");
}

}  // namespace laconic::python
