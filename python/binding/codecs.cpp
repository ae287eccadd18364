// Codecs for Python: laconic.Codec, laconic.decode, laconic.codecs. Arrays are read where they lie, and the
// GIL is released while codecs work.
#include <fmt/format.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/codec/message.h"
#include "python/binding/arrays.h"
#include "python/binding/bind.h"

namespace laconic::python {
namespace {

namespace py = pybind11;
using Access = BorrowedArray::Access;

std::string_view name_of(ParameterSpec::Type type) {
  using Type = ParameterSpec::Type;
  switch (type) {
    case Type::integer:
      return "integer";
    case Type::number:
      return "number";
    case Type::boolean:
      return "boolean";
    case Type::text:
      return "text";
    case Type::choice:
      return "choice";
    case Type::list:
      return "list";
    case Type::codec:
      return "codec";
  }
  fail(ErrorKind::internal, "a type of parameter has no name");
}

// Writes what was decoded into the caller's array, in the array's own type.
void store(const Tensor& decoded, BorrowedArray& out) {
  if (out.shape() != decoded.shape()) {
    fail(ErrorKind::usage,
         fmt::format("has the shape {}; the tensor's is {}", to_string(out.shape()),
                     to_string(decoded.shape())),
         "out");
  }
  if (!is_real(out.dtype()))
    fail(ErrorKind::usage, fmt::format("holds {}, not real numbers", laconic::name_of(out.dtype())), "out");
  convert_from_f32(decoded.f32(), out.dtype(), out.writable_bytes().data());
}

// As an array of its own, or into `out`, which is then what comes back.
template <class Decode>
py::object decoded_array(const py::object& out, const Decode& decode) {
  if (out.is_none()) {
    Tensor tensor;
    {
      const py::gil_scoped_release released;
      tensor = decode();
    }
    return array_of(std::move(tensor));
  }
  BorrowedArray target(out, Access::write, "out");
  {
    const py::gil_scoped_release released;
    store(decode(), target);
  }
  return out;
}

DType dtype_by_name(const std::string& name) {
  std::string upper = name;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  const std::optional<DType> dtype = dtype_named(upper);
  if (!dtype || !is_real(*dtype)) {
    fail(ErrorKind::usage, fmt::format("'{}' is not a real dtype", name), "dtype", "F64, F32, F16 or BF16");
  }
  return *dtype;
}

// Bytes as a Python object of their own, or at the front of `out`, and then their number.
py::object given_bytes(const Bytes& bytes, const py::object& out) {
  if (out.is_none()) return bytes_of(bytes);
  BorrowedArray target(out, Access::write, "out");
  const std::span<std::byte> space = target.writable_bytes();
  if (space.size() < bytes.size()) {
    fail(ErrorKind::usage, fmt::format("has room for {} bytes, of {}", space.size(), bytes.size()), "out");
  }
  std::copy(bytes.begin(), bytes.end(), space.begin());
  return py::int_(bytes.size());
}

class Codec {
 public:
  explicit Codec(const std::string& text) : codec_(parse_codec(text)), text_(codec_->canonical()) {}

  const std::string& text() const { return text_; }

  py::object encode(const py::object& array, const std::string& name, std::uint64_t seed, std::uint64_t step,
                    std::uint16_t peer, const py::object& out) const {
    return encoded(array, name, seed, step, peer, out,
                   [](const Payload& payload) { return to_frame(payload); });
  }

  py::object encode_message(const py::object& array, const std::string& name, std::uint64_t seed,
                            std::uint64_t step, std::uint16_t peer, const py::object& out) const {
    return encoded(array, name, seed, step, peer, out, [](const Payload& payload) {
      ByteWriter writer;
      write_message(writer, payload);
      return writer.take();
    });
  }

  py::object decode_message(const py::object& message, const Shape& shape, const std::string& dtype,
                            const py::object& out) const {
    const BorrowedArray bytes(message, Access::read, "message");
    const DType type = dtype_by_name(dtype);
    return decoded_array(out, [&] { return codec_->decode(read(bytes.bytes(), shape, type)); });
  }

  void add_decoded(const py::object& message, const py::object& sum, const std::string& dtype) const {
    const BorrowedArray bytes(message, Access::read, "message");
    const DType type = dtype_by_name(dtype);
    BorrowedArray target(sum, Access::write, "sum");
    const std::span<float> numbers = target.writable_floats();
    const py::gil_scoped_release released;
    codec_->add_decoded(read(bytes.bytes(), target.shape(), type), numbers);
  }

  py::object positions(const py::object& message, const Shape& shape, const std::string& dtype) const {
    const BorrowedArray bytes(message, Access::read, "message");
    const auto found = codec_->positions(read(bytes.bytes(), shape, dtype_by_name(dtype)));
    if (!found) return py::none();
    Tensor tensor(DType::i64, {static_cast<std::int64_t>(found->size())});
    std::copy(found->begin(), found->end(), tensor.as<std::int64_t>().begin());
    return array_of(std::move(tensor));
  }

  py::dict properties(const Shape& shape) const {
    const CodecProperties properties = codec_->properties(shape);
    py::dict result;
    result["lossless"] = properties.lossless;
    result["positively_homogeneous"] = properties.positively_homogeneous;
    result["unbiased"] = properties.unbiased;
    result["delta"] = properties.delta;
    result["omega"] = properties.omega;
    return result;
  }

 private:
  template <class Write>
  py::object encoded(const py::object& array, const std::string& name, std::uint64_t seed, std::uint64_t step,
                     std::uint16_t peer, const py::object& out, const Write& write) const {
    const BorrowedArray tensor(array, Access::read, name);
    EncodeContext context;
    context.seed = seed;
    context.tensor_name = name;
    context.step = step;
    context.peer = peer;
    Bytes bytes;
    {
      const py::gil_scoped_release released;
      bytes = write(codec_->encode(tensor.view(), context));
    }
    return given_bytes(bytes, out);
  }

  Payload read(ByteSpan message, const Shape& shape, DType dtype) const {
    ByteReader reader(message, "message");
    Payload payload = read_message(reader, text_, dtype, shape);
    reader.expect_end();
    return payload;
  }

  std::shared_ptr<const TensorCodec> codec_;
  std::string text_;
};

py::list list_codecs() {
  py::list list;
  for (const CodecDescription& codec : codec_registry()) {
    py::dict row;
    row["name"] = codec.name;
    row["summary"] = codec.summary;
    row["parameters"] = parameter_rows(codec.parameters);
    list.append(row);
  }
  return list;
}

}  // namespace

py::list parameter_rows(const std::vector<ParameterSpec>& specs) {
  py::list rows;
  for (const ParameterSpec& spec : specs) {
    py::dict row;
    row["name"] = spec.name;
    row["type"] = std::string(name_of(spec.type));
    row["default"] = spec.default_value;
    row["values"] = spec.range();
    row["help"] = spec.help;
    rows.append(row);
  }
  return rows;
}

void bind_codecs(py::module_& module) {
  module.def("codecs", &list_codecs, "The codecs: a list of dictionaries with name, summary and parameters.");
  module.def(
      "decode",
      [](const py::object& frame, const py::object& out) {
        const BorrowedArray bytes(frame, Access::read, "frame");
        return decoded_array(out, [&] { return decode_payload(parse_frame(bytes.bytes(), "frame")); });
      },
      py::arg("frame"), py::arg("out") = py::none(),
      "The tensor of a frame that any codec wrote, as float32; or written into `out`, in its own type.");

  module.def(
      "borrowed",
      [](const py::object& array) {
        const BorrowedArray borrowed(array, Access::read, "array");
        return py::make_tuple(reinterpret_cast<std::uintptr_t>(borrowed.view().data),
                              std::string(laconic::name_of(borrowed.dtype())),
                              py::tuple(py::cast(borrowed.shape())));
      },
      py::arg("array"), "Where the engine would read an array, and as what: (address, dtype, shape).");

  const auto dtype = py::arg("dtype") = "F32";
  py::class_<Codec>(module, "Codec", "A codec, or a composition of codecs: Codec('outliers(fraction=0.01)').")
      .def(py::init<const std::string&>(), py::arg("composition"))
      .def_property_readonly("text", &Codec::text, "Canonical spelling.")
      .def("__str__", &Codec::text)
      .def("__repr__", [](const Codec& codec) { return "laconic.Codec('" + codec.text() + "')"; })
      .def("encode", &Codec::encode, py::arg("array"), py::arg("name") = "tensor", py::arg("seed") = 0,
           py::arg("step") = 0, py::arg("peer") = 0, py::arg("out") = py::none(),
           "A frame that says everything about itself and ends in a checksum. With `out`: written there, and "
           "its length comes back. (seed, name, step, peer) are the keys of random codecs.")
      .def("encode_message", &Codec::encode_message, py::arg("array"), py::arg("name") = "tensor",
           py::arg("seed") = 0, py::arg("step") = 0, py::arg("peer") = 0, py::arg("out") = py::none(),
           "The shorter form for receivers that know the codec, shape and dtype; no checksum.")
      .def("decode_message", &Codec::decode_message, py::arg("message"), py::arg("shape"), dtype,
           py::arg("out") = py::none())
      .def("add_decoded", &Codec::add_decoded, py::arg("message"), py::arg("sum"), dtype,
           "sum += the decoded message, in place; codecs of few numbers touch only those.")
      .def("positions", &Codec::positions, py::arg("message"), py::arg("shape"), dtype,
           "The flat positions that the message carries, ascending; None where it carries all.")
      .def("properties", &Codec::properties, py::arg("shape"));
}

}  // namespace laconic::python
