#include "methods/cache/cachegen/profile.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

constexpr std::string_view profile_magic = "LKVP";
constexpr std::uint8_t profile_version = 1;
constexpr std::uint64_t most_profile_layers = 4096, most_profile_columns = std::uint64_t{1} << 20;

std::string_view name_of_reference(CodedRowForm::Reference reference) {
  switch (reference) {
    case CodedRowForm::Reference::automatic:
      return "auto";
    case CodedRowForm::Reference::yes:
      return "yes";
    case CodedRowForm::Reference::no:
      return "no";
  }
  return "";
}

}  // namespace

CodingProfile::CodingProfile(std::string settings, Hash128 model, std::int64_t layers, std::int64_t columns,
                             std::vector<Side> sides)
    : settings_(std::move(settings)),
      model_(model),
      layers_(layers),
      columns_(columns),
      sides_(std::move(sides)) {
  require(static_cast<std::int64_t>(sides_.size()) == 2 * layers_, "a profile has two sides per layer");
  ByteWriter writer;
  writer.append(as_byte_span(profile_magic));
  writer.u8(profile_version);
  writer.text(settings_);
  writer.append(std::as_bytes(std::span(model_)));
  writer.varint(static_cast<std::uint64_t>(layers_));
  writer.varint(static_cast<std::uint64_t>(columns_));
  for (const Side& side : sides_) {
    writer.u8(static_cast<std::uint8_t>(side.form));
    side.tables.write(writer);
  }
  fingerprint_ = xxh3_64(writer.span());
  writer.u64(fingerprint_);
  bytes_ = writer.take();
}

CodingProfile CodingProfile::load(const std::filesystem::path& file) {
  constexpr std::size_t largest = std::size_t{1} << 30;
  return read(read_file(file, largest), file.string());
}

CodingProfile CodingProfile::read(ByteSpan bytes, const std::string& where) {
  ByteReader reader(bytes, where);
  if (bytes.size() < profile_magic.size() + 8 || as_text(reader.take(profile_magic.size())) != profile_magic)
    reader.corrupt("is no profile of a cache coder");
  std::uint64_t stored = 0;
  std::memcpy(&stored, bytes.data() + bytes.size() - 8, 8);
  if (stored != xxh3_64(bytes.first(bytes.size() - 8))) reader.corrupt("the checksum does not fit");
  if (reader.u8() != profile_version) reader.corrupt("a version that this program does not know");
  std::string settings = reader.text(4096);
  Hash128 model;
  const ByteSpan hash = reader.take(model.size());
  std::transform(hash.begin(), hash.end(), model.begin(),
                 [](std::byte b) { return static_cast<std::uint8_t>(b); });
  const auto layers = static_cast<std::int64_t>(reader.length(most_profile_layers));
  const auto columns = static_cast<std::int64_t>(reader.length(most_profile_columns));
  std::vector<Side> sides;
  for (std::int64_t i = 0; i < 2 * layers; ++i) {
    const std::uint8_t form = reader.u8();
    if (form > static_cast<std::uint8_t>(RowSymbols::Form::channel_bins))
      reader.corrupt("numbers in an unknown form");
    sides.push_back({static_cast<RowSymbols::Form>(form), ColumnTables::read(reader, columns)});
  }
  reader.take(8);
  reader.expect_end();
  return CodingProfile(std::move(settings), model, layers, columns, std::move(sides));
}

const CodingProfile::Side& CodingProfile::side(std::int64_t layer, KvSide side) const {
  return sides_.at(static_cast<std::size_t>(2 * layer + (side == KvSide::keys ? 0 : 1)));
}

std::string profile_settings(const CodedRowForm& form) {
  if (form.mode == CodedRowForm::Mode::direct) {
    return fmt::format("direct,level={},bins={},scale={}", form.level,
                       form.unscaled_bins                 ? "unscaled"
                       : form.bins == BinTable::layers_80 ? "70b"
                                                          : "7b",
                       form.channel_scale ? "channel" : "token");
  }
  return fmt::format("delta,level={},group={},delta_k={},delta_v={},turn={},steps={}", form.level, form.group,
                     name_of_reference(form.delta_keys), name_of_reference(form.delta_values),
                     form.turned_mean, form.layer_steps ? "layers" : "equal");
}

}  // namespace laconic
