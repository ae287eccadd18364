// Any text as the metadata of a compressed model and any text as its manifest. The input up to the first zero
// byte is a safetensors header, the rest the text.
#include <algorithm>
#include <cstdlib>

#include "runtime/artifact/layout.h"
#include "runtime/artifact/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  const std::string_view header_text = input.substr(0, end);
  const std::string_view text = end < size ? input.substr(end + 1) : std::string_view();
  const auto refuses = [](auto&& call) {
    try {
      call();
    } catch (const laconic::Error& error) {
      if (error.kind() == laconic::ErrorKind::internal) std::abort();
    }
  };
  refuses([&] {
    const laconic::ArtifactMetadata metadata = laconic::ArtifactMetadata::parse(text, "fuzz");
    // What is accepted is written again in the same words.
    if (laconic::ArtifactMetadata::parse(metadata.text(), "fuzz").text() != metadata.text()) std::abort();
    laconic::SafetensorsHeader header;
    header.data_start = 64;
    std::uint64_t offset = 0;
    for (const auto& [name, tensor] : metadata.tensors) {
      for (const laconic::FieldEntry& field : tensor.fields) {
        const std::uint64_t bytes = laconic::padded_to_alignment(field.bytes);
        header.entries.push_back({name + "." + field.name,
                                  field.dtype,
                                  {static_cast<std::int64_t>(bytes / laconic::size_of(field.dtype))},
                                  offset,
                                  offset + bytes});
        offset += bytes;
      }
    }
    metadata.check_entries(header, "fuzz");
  });
  refuses([&] { laconic::Manifest::parse(text, "fuzz"); });
  refuses([&] {
    laconic::ByteWriter file;
    file.u64(header_text.size());
    file.append(laconic::as_byte_span(header_text));
    const auto header = laconic::SafetensorsHeader::parse(file.span(), file.size(), "fuzz");
    const auto found = header.metadata.find(std::string(laconic::artifact_metadata_key));
    if (found != header.metadata.end()) {
      laconic::ArtifactMetadata::parse(found->second, "fuzz").check_entries(header, "fuzz");
    }
  });
  return 0;
}
