#include "engine/transport/collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "engine/base/error.h"
#include "engine/base/hash.h"

namespace laconic {
namespace {

Bytes copy_of(ByteSpan bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

std::vector<Bytes> all_gather(Communicator& communicator, ByteSpan own) {
  const Communicator::Counting counting(communicator, Exchange::all_gather);
  const int size = communicator.size(), rank = communicator.rank();
  const std::uint32_t tag = communicator.next_collective_tag();
  for (int step = 1; step < size; ++step) communicator.send((rank + step) % size, tag, copy_of(own));
  std::vector<Bytes> all(static_cast<std::size_t>(size));
  all[static_cast<std::size_t>(rank)] = copy_of(own);
  for (int step = 1; step < size; ++step) {
    const int from = (rank - step + size) % size;
    all[static_cast<std::size_t>(from)] = communicator.receive(from, tag);
  }
  return all;
}

std::vector<Bytes> all_to_all(Communicator& communicator, std::vector<Bytes> parts) {
  const Communicator::Counting counting(communicator, Exchange::all_to_all);
  const int size = communicator.size(), rank = communicator.rank();
  require(parts.size() == static_cast<std::size_t>(size), "an all-to-all has one part per rank");
  const std::uint32_t tag = communicator.next_collective_tag();
  for (int step = 1; step < size; ++step) {
    const int to = (rank + step) % size;
    communicator.send(to, tag, std::move(parts[static_cast<std::size_t>(to)]));
  }
  for (int step = 1; step < size; ++step) {
    const int from = (rank - step + size) % size;
    parts[static_cast<std::size_t>(from)] = communicator.receive(from, tag);
  }
  return parts;
}

Bytes broadcast(Communicator& communicator, int root, Bytes bytes) {
  const Communicator::Counting counting(communicator, Exchange::broadcast);
  const int size = communicator.size();
  require(root >= 0 && root < size, "the root is a rank");
  const std::uint32_t tag = communicator.next_collective_tag();
  // Numbered from the root: the parent of v is v without its lowest set bit.
  const int own = (communicator.rank() - root + size) % size;
  int reach = 1;  // children lie at own + 1, own + 2, own + 4, .. below this
  if (own == 0) {
    while (reach < size) reach *= 2;
  } else {
    reach = own & -own;
    bytes = communicator.receive(((own & (own - 1)) + root) % size, tag);
  }
  for (int step = reach / 2; step >= 1; step /= 2) {
    if (own + step < size) communicator.send((own + step + root) % size, tag, copy_of(bytes));
  }
  return bytes;
}

void barrier(Communicator& communicator) {
  const Communicator::Counting counting(communicator, Exchange::barrier);
  const int size = communicator.size(), rank = communicator.rank();
  const std::uint32_t tag = communicator.next_collective_tag();
  for (int step = 1; step < size; step *= 2) {
    communicator.send((rank + step) % size, tag, {});
    communicator.receive((rank - step + size) % size, tag);
  }
}

Agreement agree(Communicator& communicator, std::uint64_t own) {
  ByteWriter writer;
  writer.u64(own);
  const std::vector<Bytes> all = all_gather(communicator, writer.span());
  Agreement result{own, own, communicator.rank(), communicator.rank()};
  for (std::size_t rank = all.size(); rank-- > 0;) {
    ByteReader reader(all[rank], "agreement of rank " + std::to_string(rank));
    const std::uint64_t value = reader.u64();
    reader.expect_end();
    if (value <= result.least) result.least = value, result.least_rank = static_cast<int>(rank);
    if (value >= result.most) result.most = value, result.most_rank = static_cast<int>(rank);
  }
  return result;
}

void require_equal_everywhere(Communicator& communicator, std::string_view own, std::string_view what) {
  // Hashes first: the texts travel only when they differ.
  const std::uint64_t hash = xxh3_64(own);
  const Agreement agreement = agree(communicator, hash);
  if (agreement.least == agreement.most) return;
  const std::vector<Bytes> all = all_gather(communicator, as_byte_span(own));
  const std::string_view first = as_text(all.front());
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    const std::string_view other = as_text(all[rank]);
    if (other == first) continue;
    const auto at = static_cast<std::size_t>(
        std::mismatch(first.begin(),
                      first.begin() + static_cast<std::ptrdiff_t>(std::min(first.size(), other.size())),
                      other.begin())
            .first -
        first.begin());
    // The line in which they part.
    const auto line = [&](std::string_view text) {
      const std::size_t begin = at == 0 ? 0 : text.rfind('\n', std::min(at, text.size()) - 1) + 1;
      const std::size_t end = text.find('\n', std::min(at, text.size()));
      return std::string(text.substr(begin, std::min<std::size_t>(end - begin, 200)));
    };
    fail(ErrorKind::usage,
         fmt::format("rank 0 and rank {} differ in {}: \"{}\" and \"{}\"", rank, what, line(first),
                     line(other)),
         fmt::format("rank {}", communicator.rank()), "start all ranks with the same settings and data");
  }
  fail(ErrorKind::internal, "hashes differ and texts do not");
}

}  // namespace laconic
