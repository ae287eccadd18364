#include "methods/text/logzip/json_skeleton.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/base/hash.h"

namespace laconic::logzip {
namespace {

std::uint64_t cell(JsonPath path) { return path | 1; }  // a set of words has no 0

std::uint64_t mixed(std::uint64_t hash, std::uint64_t next) {
  hash = (hash ^ next) * 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 29;
}

std::size_t distinct(std::span<const std::uint64_t> hashes) {
  return std::unordered_set<std::uint64_t>(hashes.begin(), hashes.end()).size();
}

}  // namespace

std::uint64_t JsonForm::frame_of(std::string_view skeleton) const {
  std::string frame;
  std::size_t at = 0;
  for (const TextRange text : texts) {
    frame.append(skeleton.substr(at, text.begin - at)) += '\n';
    at = text.end;
  }
  return xxh3_64(frame.append(skeleton.substr(at))) | 1;
}

JsonSkeletons::SampledLine JsonSkeletons::sampled_line(std::string_view line) const {
  SampledLine sampled;
  std::string skeleton;
  std::vector<Slot> slots;
  for (const JsonPiece& piece : scanner_.pieces()) {
    if (piece.part == JsonPart::key) sampled.keys.push_back(piece.path);
    if (piece.part != JsonPart::text) continue;
    skeleton.clear();
    slots.clear();
    append_skeleton(line.substr(piece.begin, piece.length), 0, *words_, skeleton, slots);
    sampled.texts.push_back({piece.path, xxh3_64(skeleton)});
  }
  return sampled;
}

void JsonSkeletons::learn(std::span<const std::string_view> lines, const WordSet& words) {
  require(lines.size() <= learning_lines, "a sample of lines is too large");
  words_ = &words;
  std::vector<SampledLine> sample;
  std::unordered_map<JsonPath, std::uint32_t> keys;
  for (const std::string_view line : lines) {
    if (!scanner_.scan(line)) continue;
    sample.push_back(sampled_line(line));
    for (const JsonPath path : sample.back().keys)
      if (++keys[path] == key_times) keys_.add_hash(cell(path));
  }
  learn_texts(sample);
}

void JsonSkeletons::learn_texts(std::span<const SampledLine> sample) {
  // The paths of texts that most lines have, by their first lines.
  std::unordered_map<JsonPath, std::uint32_t> lines_with;
  std::vector<JsonPath> paths;
  for (const SampledLine& line : sample)
    for (const SampledText& text : line.texts)
      if (++lines_with[text.path] == 1) paths.push_back(text.path);
  std::ranges::stable_sort(paths, std::greater{}, [&](JsonPath path) { return lines_with.at(path); });
  if (paths.size() > most_text_paths) paths.resize(most_text_paths);

  // Lines by what tells them apart as yet, then with the texts of one path more.
  std::vector<std::uint64_t> now(sample.size(), 1), least;
  for (std::size_t i = 0; i < sample.size(); ++i)
    for (const JsonPath key : sample[i].keys)
      if (keys_.contains(cell(key))) now[i] = mixed(now[i], key);
  const auto with = [&](JsonPath path) {
    std::vector<std::uint64_t> hashes = now;
    for (std::size_t i = 0; i < sample.size(); ++i)
      for (const SampledText& text : sample[i].texts)
        if (text.path == path) hashes[i] = mixed(hashes[i], text.skeleton);
    return hashes;
  };
  for (std::size_t before = distinct(now); !paths.empty();) {
    std::size_t fewest = SIZE_MAX, chosen = 0;
    for (std::size_t p = 0; p < paths.size(); ++p) {
      std::vector<std::uint64_t> hashes = with(paths[p]);
      const std::size_t skeletons = distinct(hashes);
      if (skeletons >= fewest) continue;
      fewest = skeletons;
      chosen = p;
      least = std::move(hashes);
    }
    if (fewest > std::max(2 * before, 64 + sample.size() / 8)) return;
    texts_.add_hash(cell(paths[chosen]));
    paths.erase(paths.begin() + static_cast<std::ptrdiff_t>(chosen));
    now.swap(least);
    before = fewest;
  }
}

bool JsonSkeletons::append(std::string_view line, std::span<const std::string_view> segments,
                           std::uint32_t offset, std::string& key, std::vector<Slot>& slots) {
  if (words_ == nullptr || !scanner_.scan(line)) return false;
  const std::size_t old_key = key.size(), old_slots = slots.size();
  form_.paths.clear();
  form_.texts.clear();
  auto piece = scanner_.pieces().begin();
  const auto end = scanner_.pieces().end();
  for (const std::string_view segment : segments) {
    const auto first = static_cast<std::size_t>(segment.data() - line.data()), last = first + segment.size();
    std::size_t at = first;  // everything before it is in the key
    while (piece != end && piece->begin < first && piece->begin + piece->length <= first) ++piece;
    for (; piece != end && piece->begin <= last; ++piece) {
      const std::size_t behind = piece->begin + piece->length;
      if (piece->begin < first || behind > last) {
        if (piece->begin == last) break;
        key.resize(old_key);
        slots.resize(old_slots);
        return false;
      }
      key.append(line.substr(at, piece->begin - at));
      append_piece(*piece, line, offset, key, slots);
      at = behind;
    }
    key.append(line.substr(at, last - at)) += '\n';
  }
  return true;
}

void JsonSkeletons::append_piece(const JsonPiece& piece, std::string_view line, std::uint32_t offset,
                                 std::string& key, std::vector<Slot>& slots) {
  const std::string_view text = line.substr(piece.begin, piece.length);
  const bool is_key = piece.part == JsonPart::key;
  if (is_key && keys_.contains(cell(piece.path))) {
    key += text;
  } else if (is_key || (piece.part == JsonPart::text && texts_.contains(cell(piece.path)))) {
    const auto begin = static_cast<std::uint32_t>(key.size());
    const std::size_t before = slots.size();
    append_skeleton(text, offset + piece.begin, *words_, key, slots);
    form_.paths.resize(form_.paths.size() + (slots.size() - before), 0);
    if (!is_key) form_.texts.push_back({begin, static_cast<std::uint32_t>(key.size())});
  } else {
    slots.push_back({offset + piece.begin, piece.length});
    form_.paths.push_back(piece.path);
    key += slot_mark;
  }
}

}  // namespace laconic::logzip
