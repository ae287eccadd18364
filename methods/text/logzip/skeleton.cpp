#include "methods/text/logzip/skeleton.h"

#include <array>
#include <cstring>

#include "methods/text/logzip/varied_paths.h"

namespace laconic::logzip {
namespace {

constexpr std::array<ByteClass, 256> byte_classes = [] {
  std::array<ByteClass, 256> classes{};
  for (std::size_t c = 0; c < 256; ++c) {
    if (c >= '0' && c <= '9') classes[c] = ByteClass::digit;
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80) classes[c] = ByteClass::letter;
  }
  return classes;
}();

// Calls run(token, letters_only) for the runs of letters and digits, and other(byte) for other bytes.
template <class Run, class Other>
void walk_tokens(std::string_view text, const Run& run, const Other& other) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    ByteClass kind = byte_class(*at);
    if (kind == ByteClass::separator) {
      other(*at);
      ++at;
      continue;
    }
    const char* const begin = at;
    bool letters = true;
    do {
      letters = letters && kind == ByteClass::letter;
      ++at;
    } while (at != end && (kind = byte_class(*at)) != ByteClass::separator);
    run(std::string_view(begin, static_cast<std::size_t>(at - begin)), letters);
  }
}

}  // namespace

ByteClass byte_class(char c) { return byte_classes[static_cast<unsigned char>(c)]; }

// As in 10.0.0.1:80, 7e7cc42f-3cb9, 12:04, attempt_14_0001.
bool joins_slots(char c) { return c == '.' || c == '-' || c == ':' || c == '_' || c == '/' || c == '+'; }

std::uint64_t WordSet::hash_of(std::string_view word) {
  std::uint64_t hash = word.size() * 0x9E3779B97F4A7C15u;
  std::size_t left = word.size();
  const char* at = word.data();
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t piece;
    std::memcpy(&piece, at, 8);
    hash = (hash ^ piece) * 0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
  }
  std::uint64_t piece = 0;
  if (left > 0) std::memcpy(&piece, at, left);
  hash = (hash ^ piece) * 0xD6E8FEB86659FD93u;
  return (hash ^ hash >> 29) | 1;
}

void WordSet::add_hash(std::uint64_t hash) {
  if ((count_ + 1) * 2 > cells_.size()) {
    std::vector<std::uint64_t> old(cells_.size() * 2);
    old.swap(cells_);
    count_ = 0;
    for (const std::uint64_t cell : old)
      if (cell != 0) add_hash(cell);
  }
  const std::size_t mask = cells_.size() - 1;
  std::size_t at = hash >> 8 & mask;
  while (cells_[at] != 0 && cells_[at] != hash) at = (at + 1) & mask;
  if (cells_[at] == 0) {
    cells_[at] = hash;
    ++count_;
  }
}

bool WordSet::contains(std::uint64_t hash) const {
  const std::size_t mask = cells_.size() - 1;
  std::size_t at = hash >> 8 & mask;
  while (cells_[at] != 0 && cells_[at] != hash) at = (at + 1) & mask;
  return cells_[at] != 0;
}

void WordCounts::grow() {
  std::vector<Cell> old(cells_.size() * 2);
  old.swap(cells_);
  const std::size_t mask = cells_.size() - 1;
  for (const Cell& cell : old) {
    if (cell.hash == 0) continue;
    std::size_t at = cell.hash >> 8 & mask;
    while (cells_[at].hash != 0) at = (at + 1) & mask;
    cells_[at] = cell;
  }
}

void WordCounts::add(std::string_view text) {
  const auto count = [this](std::string_view token, bool letters) {
    if (!letters || token.size() < 2) return;
    if ((used_ + 1) * 2 > cells_.size()) grow();
    const std::uint64_t hash = WordSet::hash_of(token);
    const std::size_t mask = cells_.size() - 1;
    std::size_t at = hash >> 8 & mask;
    while (cells_[at].hash != 0 && cells_[at].hash != hash) at = (at + 1) & mask;
    if (cells_[at].hash == 0) {
      cells_[at].hash = hash;
      ++used_;
    }
    ++cells_[at].count;
  };
  walk_tokens(text, count, [](char) {});
}

void WordCounts::keep(std::uint32_t times, WordSet& words) const {
  for (const Cell& cell : cells_)
    if (cell.hash != 0 && cell.count >= times) words.add_hash(cell.hash);
}

namespace {

class SkeletonWriter {
 public:
  SkeletonWriter(std::string_view text, std::uint32_t offset, const WordSet& words, std::string& key,
                 std::vector<Slot>& slots)
      : text_(text), offset_(offset), words_(words), key_(key), slots_(slots), start_(key.size()) {
    key.resize(start_ + text.size());  // a skeleton is never longer than its text
    out_ = key.data() + start_;
  }
  void run(std::string_view token, bool letters) {
    if (letters && token.size() >= 2 && words_.contains(WordSet::hash_of(token))) {
      std::memcpy(out_, token.data(), token.size());
      out_ += token.size();
      return;
    }
    add_slot(token.data(), token.data() + token.size());
  }
  void other(const char& c) {
    if (c == '\0') {
      add_slot(&c, &c + 1);
    } else {
      *out_++ = c;
    }
  }
  void whole(std::string_view path) {
    slots_.push_back({offset_ + static_cast<std::uint32_t>(path.data() - text_.data()),
                      static_cast<std::uint32_t>(path.size())});
    *out_++ = slot_mark;
    last_end_ = nullptr;  // what follows is no part of it
  }
  void finish() { key_.resize(static_cast<std::size_t>(out_ - key_.data())); }

 private:
  void add_slot(const char* begin, const char* end) {
    const char* const first = key_.data() + start_;
    const bool digit = byte_class(*begin) == ByteClass::digit;
    if (out_ - first >= 2 && out_[-2] == slot_mark && last_end_ != nullptr && last_end_ + 1 == begin &&
        joins_slots(begin[-1])) {
      --out_;
      slots_.back().length += static_cast<std::uint32_t>(end - last_end_);
      last_end_ = end;
      return;
    }
    if (digit && out_ != first && out_[-1] == '-' &&
        (out_ - first == 1 || byte_class(begin[-2]) == ByteClass::separator)) {
      --out_;
      --begin;
    }
    slots_.push_back({offset_ + static_cast<std::uint32_t>(begin - text_.data()),
                      static_cast<std::uint32_t>(end - begin)});
    *out_++ = slot_mark;
    last_end_ = end;
  }

  std::string_view text_;
  std::uint32_t offset_;
  const WordSet& words_;
  std::string& key_;
  std::vector<Slot>& slots_;
  std::size_t start_;
  char* out_;
  const char* last_end_ = nullptr;  // of the last slot
};

}  // namespace

void append_skeleton(std::string_view text, std::uint32_t offset, const WordSet& words, std::string& key,
                     std::vector<Slot>& slots) {
  SkeletonWriter writer(text, offset, words, key, slots);
  std::size_t done = 0;
  const auto walk_to = [&](std::size_t end) {
    walk_tokens(
        text.substr(done, end - done),
        [&](std::string_view token, bool letters) { writer.run(token, letters); },
        [&](const char& c) { writer.other(c); });
    done = end;
  };
  if (words.has_paths()) {
    std::size_t behind = 0;
    for (std::string_view path = next_path(text, 0); !path.empty(); path = next_path(text, behind)) {
      const auto begin = static_cast<std::size_t>(path.data() - text.data());
      behind = begin + path.size();
      if (!words.contains(path_shape(path))) continue;
      walk_to(begin);
      writer.whole(path);
      done = behind;
    }
  }
  walk_to(text.size());
  writer.finish();
}

}  // namespace laconic::logzip
