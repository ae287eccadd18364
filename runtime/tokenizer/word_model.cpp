#include "runtime/tokenizer/word_model.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

void Vocabulary::reserve(std::size_t entries) {
  constexpr std::size_t most_entries = std::size_t{1} << 24;
  pieces_.reserve(std::min(entries, most_entries));
  id_limit_ = static_cast<std::int64_t>(2 * std::min(entries, most_entries) + 65536);
}

void Vocabulary::add(std::string piece, std::int64_t id, std::string_view where) {
  if (id < 0 || id >= id_limit_) {
    fail(ErrorKind::input, "the piece \"" + piece + "\" has the absurd id " + std::to_string(id), where);
  }
  const auto slot = static_cast<std::size_t>(id);
  if (slot >= pieces_.size()) pieces_.resize(slot + 1);
  if (!pieces_[slot].empty()) {
    fail(ErrorKind::input,
         "the pieces \"" + pieces_[slot] + "\" and \"" + piece + "\" have the same id " + std::to_string(id),
         where);
  }
  pieces_[slot] = std::move(piece);
}

void Vocabulary::index(std::string_view where) {
  ids_.reserve(pieces_.size());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (!pieces_[i].empty() && !ids_.emplace(pieces_[i], static_cast<std::int32_t>(i)).second) {
      fail(ErrorKind::input, "the piece \"" + pieces_[i] + "\" stands twice in the vocabulary", where);
    }
  }
}

}  // namespace laconic
