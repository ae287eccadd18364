#include "engine/overlap/pipelined_ring.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/math/vector_sum.h"

namespace laconic {
namespace {

class PipelinedRing {
 public:
  PipelinedRing(Communicator& communicator, const ChunkLayout& layout, std::span<float> output,
                const SubChunkCodec& codec, std::vector<Bytes>& spare)
      : communicator_(communicator), layout_(layout), output_(output), codec_(codec), spare_(spare) {}

  MemoryTraffic run() {
    const int ranks = communicator_.size(), rank = communicator_.rank();
    tag_ = communicator_.next_collective_tag();
    if (ranks == 1) return {};
    for (int sub = 0; sub < layout_.subs_of(rank); ++sub) send_own(rank, sub);
    for (int step = 1; step < ranks; ++step) {
      const int chunk = (rank - step + ranks) % ranks;
      for (int sub = 0; sub < layout_.subs_of(chunk); ++sub) pass_on(chunk, sub, step + 1 == ranks);
    }
    return traffic_;
  }

 private:
  static float* numbers_of(Bytes& frame) {
    return reinterpret_cast<float*>(frame.data() + sub_chunk_header_bytes);
  }
  std::uint64_t bytes_of(const ChunkLayout::SubChunk& part) const {
    return static_cast<std::uint64_t>(part.numbers) * sizeof(float);
  }
  float* place_of(const ChunkLayout::Tile& tile) const {
    return output_.data() + tile.area.row * layout_.columns() + tile.area.column;
  }
  template <class Row>
  void for_rows(const ChunkLayout::SubChunk& part, float* numbers, const Row& row) const {
    for (int i = 0; i < part.tiles; ++i) {
      const ChunkLayout::Tile& tile = layout_.tiles()[static_cast<std::size_t>(part.first_tile + i)];
      for (std::int64_t r = 0; r < tile.area.rows; ++r) {
        row(place_of(tile) + r * layout_.columns(), numbers + tile.offset + r * tile.area.columns,
            tile.area.columns);
      }
    }
  }
  Bytes frame_for(const ChunkLayout::SubChunk& part) {
    Bytes frame;
    if (!spare_.empty()) {
      frame = std::move(spare_.back());
      spare_.pop_back();
    }
    frame.resize(sub_chunk_header_bytes + bytes_of(part));
    write_sub_chunk_header(part.chunk, part.sub, frame);
    return frame;
  }
  void send(const ChunkLayout::SubChunk& part, Bytes frame) {
    if (codec_) {
      const Bytes coded = codec_.encode({numbers_of(frame), static_cast<std::size_t>(part.numbers)});
      spare_.push_back(std::move(frame));
      frame.resize(sub_chunk_header_bytes + coded.size());
      write_sub_chunk_header(part.chunk, part.sub, frame);
      if (!coded.empty()) std::memcpy(frame.data() + sub_chunk_header_bytes, coded.data(), coded.size());
    }
    communicator_.send((communicator_.rank() + 1) % communicator_.size(), tag_, std::move(frame));
  }
  void send_own(int chunk, int sub) {
    const ChunkLayout::SubChunk& part = layout_.sub_chunk(chunk, sub);
    Bytes frame = frame_for(part);
    for_rows(part, numbers_of(frame), [](const float* own, float* numbers, std::int64_t columns) {
      std::memcpy(numbers, own, static_cast<std::size_t>(columns) * sizeof(float));
    });
    traffic_.reads += bytes_of(part);
    send(part, std::move(frame));
  }
  void pass_on(int chunk, int sub, bool last) {
    const ChunkLayout::SubChunk& part = layout_.sub_chunk(chunk, sub);
    const int before = (communicator_.rank() - 1 + communicator_.size()) % communicator_.size();
    Bytes frame = communicator_.receive(before, tag_);
    const std::string where = fmt::format("from rank {}", before);
    const SubChunkFrame arrived = read_sub_chunk_frame(frame, layout_, !codec_, where);
    if (arrived.chunk != chunk || arrived.sub != sub) {
      fail(ErrorKind::corrupt,
           fmt::format("sub-chunk {} of chunk {} arrived where {} of {} is awaited", arrived.sub,
                       arrived.chunk, sub, chunk),
           where, "do all ranks run the same collective?");
    }
    if (codec_) {
      Bytes plain = frame_for(part);
      codec_.decode(arrived.payload, {numbers_of(plain), static_cast<std::size_t>(part.numbers)});
      frame = std::move(plain);
    }
    traffic_.updates += bytes_of(part);
    traffic_.reads += 2 * bytes_of(part);
    for_rows(part, numbers_of(frame), [&](float* own, float* numbers, std::int64_t columns) {
      vector_sum(numbers, own, columns, last ? own : numbers);
    });
    if (!last) {
      send(part, std::move(frame));
      return;
    }
    traffic_.updates += bytes_of(part);
    spare_.push_back(std::move(frame));
  }

  Communicator& communicator_;
  const ChunkLayout& layout_;
  std::span<float> output_;
  const SubChunkCodec& codec_;
  std::vector<Bytes>& spare_;
  std::uint32_t tag_ = 0;
  MemoryTraffic traffic_;
};

}  // namespace

MemoryTraffic pipelined_ring_reduce_scatter(Communicator& communicator, const ChunkLayout& layout,
                                            std::span<float> output, const SubChunkCodec& codec,
                                            std::vector<Bytes>& spare) {
  require(layout.chunks() == communicator.size(), "there is one chunk for each rank");
  require(output.size() == static_cast<std::size_t>(layout.rows() * layout.columns()),
          "the output has the size of the layout");
  const Communicator::Counting counting(communicator, Exchange::reduce_scatter);
  return PipelinedRing(communicator, layout, output, codec, spare).run();
}

}  // namespace laconic
