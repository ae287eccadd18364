#include "engine/base/error.h"

namespace laconic {
namespace {

std::string compose(std::string_view what, std::string_view where, std::string_view advice) {
  std::string text;
  if (!where.empty()) text.append(where).append(": ");
  text.append(what);
  if (!advice.empty()) text.append(" (").append(advice).append(")");
  return text;
}

}  // namespace

Error::Error(ErrorKind kind, std::string_view what, std::string_view where, std::string_view advice)
    : std::runtime_error(compose(what, where, advice)), kind_(kind) {}

int Error::exit_code() const {
  switch (kind_) {
    case ErrorKind::corrupt:
      return 3;
    case ErrorKind::interrupted:
      return 130;
    case ErrorKind::internal:
      return 70;
    default:
      return 2;
  }
}

void fail(ErrorKind kind, std::string_view what, std::string_view where, std::string_view advice) {
  throw Error(kind, what, where, advice);
}

}  // namespace laconic
