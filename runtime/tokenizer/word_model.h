// The part of a tokenizer that turns one word into ids, and the vocabulary it does it with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace laconic {

// Pieces by id and ids by piece. Ids may have holes: such ids have an empty piece.
class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  // `entries`: how many will be added; ids may reach twice as many and a little more.
  void reserve(std::size_t entries);
  // Throws Error(input) for a negative or absurd id and for an id that comes twice.
  void add(std::string piece, std::int64_t id, std::string_view where);
  // Call once after the last add. Throws Error(input) for a piece that has two ids.
  void index(std::string_view where);

  std::size_t size() const { return pieces_.size(); }  // greatest id + 1
  const std::string& piece(std::int32_t id) const { return pieces_[static_cast<std::size_t>(id)]; }
  bool has(std::int64_t id) const {
    return id >= 0 && id < static_cast<std::int64_t>(pieces_.size()) &&
           !pieces_[static_cast<std::size_t>(id)].empty();
  }
  std::optional<std::int32_t> find(std::string_view piece) const {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? std::nullopt : std::optional<std::int32_t>(found->second);
  }

 private:
  std::int64_t id_limit_ = 65536;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, std::int32_t> ids_;
};

class WordModel {
 public:
  virtual ~WordModel() = default;
  virtual const Vocabulary& vocabulary() const = 0;
  // Appends the ids of one word of valid UTF-8.
  virtual void encode(std::string_view word, std::vector<std::int32_t>& ids) const = 0;
};

}  // namespace laconic
