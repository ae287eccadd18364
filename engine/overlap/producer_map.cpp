#include "engine/overlap/producer_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/math/vector_sum.h"
#include "engine/transport/communication_thread.h"

namespace laconic {
namespace {

using Holds = ChunkTracker::Holds;

// Weight of the newest tile in the moving average of tile times.
constexpr double newest_tile = 0.2;
// The same for times between arrivals.
constexpr double newest_arrival = 0.25;
// Where nothing is asked for but the timeout.
constexpr double longest_sleep = 0.02;

std::uint64_t bytes_of_numbers(std::int64_t numbers) {
  return static_cast<std::uint64_t>(numbers) * sizeof(float);
}

float* frame_numbers(Bytes& frame) { return reinterpret_cast<float*>(frame.data() + sub_chunk_header_bytes); }

// A rectangle of numbers into another, rows `to_stride` and `from_stride` apart.
void store_tile(const TileArea& area, const float* from, std::int64_t from_stride, float* to,
                std::int64_t to_stride) {
  for (std::int64_t i = 0; i < area.rows; ++i) {
    std::memcpy(to + i * to_stride, from + i * from_stride,
                static_cast<std::size_t>(area.columns) * sizeof(float));
  }
}

// to = first + second, tile by tile.
void sum_tile(const TileArea& area, const float* first, std::int64_t first_stride, const float* second,
              std::int64_t second_stride, float* to, std::int64_t to_stride) {
  for (std::int64_t i = 0; i < area.rows; ++i)
    vector_sum(first + i * first_stride, second + i * second_stride, area.columns, to + i * to_stride);
}

}  // namespace

MemoryTraffic operator+(const MemoryTraffic& a, const MemoryTraffic& b) {
  return {a.gemm_reads + b.gemm_reads, a.gemm_writes + b.gemm_writes, a.remote_writes + b.remote_writes,
          a.reads + b.reads, a.updates + b.updates};
}

ProducerMap::ProducerMap(const ChunkLayout& layout, OutputMap map, std::span<float> output,
                         const ProducerMapOptions& options)
    : layout_(layout),
      map_((check_output_map(map, layout), std::move(map))),
      output_(output),
      options_(options),
      entries_(static_cast<std::size_t>(map_.ranks)),
      tracker_(layout_, map_),
      frames_(layout_.sub_chunks().size()),
      parked_(layout_.sub_chunks().size()),
      arrived_tiles_(layout_.tiles().size()),
      held_frames_(layout_.sub_chunks().size()) {
  const std::string where = fmt::format("output map of rank {} of {}", map_.rank, map_.ranks);
  if (reinterpret_cast<std::uintptr_t>(output.data()) % 64 != 0)
    fail(ErrorKind::usage, "the output is not aligned to 64 bytes", where);
  if (output.size() != static_cast<std::size_t>(layout.rows() * layout.columns()))
    fail(ErrorKind::usage, "the output has not the size of the layout", where);
  for (const ChunkEntry& entry : map_.entries) {
    entries_[static_cast<std::size_t>(entry.chunk)] = &entry;
    for (int sub = 0; sub < layout_.subs_of(entry.chunk); ++sub) {
      const ChunkLayout::SubChunk& part = layout_.sub_chunk(entry.chunk, sub);
      for (int i = 0; i < part.tiles; ++i) order_.push_back(part.first_tile + i);
    }
  }
  reset();
}

void ProducerMap::reset() {
  tracker_.reset();
  queue_.clear();
  taken_ = 0;
  done_ = 0;
  arrivals_.clear();
  awaited_.assign(static_cast<std::size_t>(map_.ranks), 0);
  arrived_.assign(layout_.sub_chunks().size() * static_cast<std::size_t>(map_.ranks), 0);
  to_fire_ = static_cast<int>(layout_.sub_chunks().size());
  to_apply_ = 0;
  for (const ChunkEntry& entry : map_.entries) {
    const int subs = layout_.subs_of(entry.chunk);
    for (const int source : entry.sources) awaited_[static_cast<std::size_t>(source)] += subs;
    to_apply_ += subs * static_cast<int>(entry.sources.size());
  }
  counts_.gemm_writes = counts_.remote_writes = counts_.reads = counts_.updates = 0;
  cancelled_ = false;
  failure_ = nullptr;
  tile_seconds_ = 0;
  undisturbed_seconds_ = 0;
  hold_since_ = -1;
  longest_hold_ = 0;
  last_arrival_ = 0;
  arrival_interval_ = 0;
  prepare_frames();
}

// Frames of chunks that are stored remotely exist before the first tile is done.
void ProducerMap::prepare_frames() {
  for (const ChunkEntry& entry : map_.entries) {
    for (int sub = 0; sub < layout_.subs_of(entry.chunk); ++sub) {
      const auto index = static_cast<std::size_t>(layout_.index_of(entry.chunk, sub));
      if (entry.sources.size() > 1) parked_[index].assign(entry.sources.size(), {});
      if (entry.route != ChunkRoute::remote) continue;
      const std::size_t size =
          sub_chunk_header_bytes + bytes_of_numbers(layout_.sub_chunk(entry.chunk, sub).numbers);
      if (frames_[index].size() != size) frames_[index] = frame_of(size);
      write_sub_chunk_header(entry.chunk, sub, frames_[index]);
    }
  }
}

Bytes ProducerMap::frame_of(std::size_t size) {
  Bytes frame;
  if (!spare_frames_.empty()) {
    frame = std::move(spare_frames_.back());
    spare_frames_.pop_back();
  }
  frame.resize(size);
  return frame;
}

const ChunkEntry& ProducerMap::entry_of(int chunk) const {
  return *entries_[static_cast<std::size_t>(chunk)];
}

float* ProducerMap::place_of(const ChunkLayout::Tile& tile) {
  return output_.data() + tile.area.row * layout_.columns() + tile.area.column;
}

int ProducerMap::next_tile() {
  if (cancelled_.load(std::memory_order_relaxed)) return -1;
  const int at = taken_.fetch_add(1, std::memory_order_relaxed);
  return at < static_cast<int>(order_.size()) ? order_[static_cast<std::size_t>(at)] : -1;
}

void ProducerMap::tile_done(int index, const float* values, std::int64_t stride, double seconds) {
  const ChunkLayout::Tile& tile = layout_.tiles()[static_cast<std::size_t>(index)];
  const ChunkEntry& entry = entry_of(tile.chunk);
  const int sub = layout_.index_of(tile.chunk, tile.sub);
  const std::uint64_t bytes = bytes_of_numbers(tile.area.rows * tile.area.columns);
  if (entry.route == ChunkRoute::remote) {
    float* frame = frame_numbers(frames_[static_cast<std::size_t>(sub)]) + tile.offset;
    store_tile(tile.area, values, stride, frame, tile.area.columns);
    counts_.remote_writes.fetch_add(bytes, std::memory_order_relaxed);
  } else {
    float* place = place_of(tile);
    if (entry.sources.size() != 1) {
      store_tile(tile.area, values, stride, place, layout_.columns());
    } else if (tracker_.claim_first(index, Holds::own)) {
      store_tile(tile.area, values, stride, place, layout_.columns());
      tracker_.publish(index, Holds::own);
    } else {
      sum_tile(tile.area, arrived_tiles_[static_cast<std::size_t>(index)], tile.area.columns, values, stride,
               place, layout_.columns());
      tracker_.publish(index, Holds::sum);
    }
    counts_.gemm_writes.fetch_add(bytes, std::memory_order_relaxed);
  }
  if (seconds > 0) {
    const double average = tile_seconds_.load(std::memory_order_relaxed);
    tile_seconds_.store(average == 0 ? seconds : average + newest_tile * (seconds - average),
                        std::memory_order_relaxed);
  }
  if (tracker_.own_tile_done(sub)) completed(sub);
  done_.fetch_add(1, std::memory_order_release);
}

void ProducerMap::completed(int sub) {
  const ChunkLayout::SubChunk& part = layout_.sub_chunks()[static_cast<std::size_t>(sub)];
  queue_.push({entry_of(part.chunk).step, part.chunk, part.sub});
}

void ProducerMap::cancel(std::exception_ptr why) {
  {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::move(why);
  }
  cancelled_ = true;
  queue_.wake();
}

void ProducerMap::throw_if_cancelled() {
  if (!cancelled_) return;
  const std::lock_guard lock(failure_mutex_);
  std::rethrow_exception(failure_);
}

void ProducerMap::communicate(Communicator& communicator) {
  require(communicator.rank() == map_.rank && communicator.size() == map_.ranks,
          "the map was made for this rank");
  const Communicator::Counting counting(communicator, Exchange::reduce_scatter);
  struct Listening {
    TriggerQueue& queue;
    ~Listening() { queue.listen({}); }
  };
  const Listening listening{queue_};
  queue_.listen([&communicator] { communicator.wake(); });
  try {
    const std::uint32_t tag = communicator.next_collective_tag();
    double last_progress = steady_seconds();
    while (to_fire_ > 0 || to_apply_ > 0) {
      throw_if_cancelled();
      bool progress = false;
      while (const auto trigger = queue_.try_pop()) {
        fire(*trigger, communicator, tag);
        progress = true;
      }
      progress = receive_one(communicator, tag) || progress;
      progress = apply_some() || progress;
      if (progress) {
        last_progress = steady_seconds();
        continue;
      }
      const bool waits_for_peers =
          arrivals_.empty() && done_.load(std::memory_order_acquire) == static_cast<int>(order_.size());
      if (!waits_for_peers) {
        last_progress = steady_seconds();  // of the producers
      } else if (communicator.timeout() > 0 && steady_seconds() - last_progress > communicator.timeout()) {
        fail(ErrorKind::io, fmt::format("nothing arrived for {:g} s", communicator.timeout()),
             fmt::format("rank {}", map_.rank),
             "are all ranks still running, and do they multiply the same sizes?");
      }
      // Held additions are looked at again; a carrier that does not notify is asked.
      communicator.wait(communicator.notifies() && arrivals_.empty() ? longest_sleep : poll_seconds());
    }
  } catch (...) {
    cancel(std::current_exception());
    throw;
  }
}

void ProducerMap::fire(const Trigger& trigger, Communicator& communicator, std::uint32_t tag) {
  const ChunkEntry& entry = entry_of(trigger.chunk);
  const int sub = layout_.index_of(trigger.chunk, trigger.sub);
  --to_fire_;
  if (entry.route == ChunkRoute::remote) {
    send_sub(entry, trigger.sub, std::move(frames_[static_cast<std::size_t>(sub)]), communicator, tag);
    frames_[static_cast<std::size_t>(sub)] = {};
    return;
  }
  if (entry.sources.size() > 1) fold_parked(entry, sub);
  if (entry.sources.size() == 1)
    spare_frames_.push_back(std::exchange(held_frames_[static_cast<std::size_t>(sub)], {}));
  if (entry.route == ChunkRoute::local) return;
  const ChunkLayout::SubChunk& part = layout_.sub_chunks()[static_cast<std::size_t>(sub)];
  Bytes frame = frame_of(sub_chunk_header_bytes + bytes_of_numbers(part.numbers));
  write_sub_chunk_header(trigger.chunk, trigger.sub, frame);
  for (int i = 0; i < part.tiles; ++i) {
    const ChunkLayout::Tile& tile = layout_.tiles()[static_cast<std::size_t>(part.first_tile + i)];
    store_tile(tile.area, place_of(tile), layout_.columns(), frame_numbers(frame) + tile.offset,
               tile.area.columns);
  }
  counts_.reads.fetch_add(bytes_of_numbers(part.numbers), std::memory_order_relaxed);
  send_sub(entry, trigger.sub, std::move(frame), communicator, tag);
}

void ProducerMap::send_sub(const ChunkEntry& entry, int sub, Bytes frame, Communicator& communicator,
                           std::uint32_t tag) {
  if (options_.codec) {
    const auto numbers = static_cast<std::size_t>(layout_.sub_chunk(entry.chunk, sub).numbers);
    const Bytes coded = options_.codec.encode({frame_numbers(frame), numbers});
    spare_frames_.push_back(std::move(frame));
    frame.resize(sub_chunk_header_bytes + coded.size());
    write_sub_chunk_header(entry.chunk, sub, frame);
    if (!coded.empty()) std::memcpy(frame.data() + sub_chunk_header_bytes, coded.data(), coded.size());
  }
  communicator.send(entry.target, tag, std::move(frame));
}

// The sum in the order of the sources, own numbers last.
void ProducerMap::fold_parked(const ChunkEntry& entry, int sub) {
  const ChunkLayout::SubChunk& part = layout_.sub_chunks()[static_cast<std::size_t>(sub)];
  auto& parked = parked_[static_cast<std::size_t>(sub)];
  float* sum = frame_numbers(parked.front());
  for (std::size_t source = 1; source < entry.sources.size(); ++source)
    vector_sum(sum, frame_numbers(parked[source]), part.numbers, sum);
  for (int i = 0; i < part.tiles; ++i) {
    const ChunkLayout::Tile& tile = layout_.tiles()[static_cast<std::size_t>(part.first_tile + i)];
    float* place = place_of(tile);
    sum_tile(tile.area, sum + tile.offset, tile.area.columns, place, layout_.columns(), place,
             layout_.columns());
  }
  counts_.reads.fetch_add(bytes_of_numbers(part.numbers) * (entry.sources.size() + 1),
                          std::memory_order_relaxed);
  counts_.updates.fetch_add(bytes_of_numbers(part.numbers), std::memory_order_relaxed);
  for (Bytes& frame : parked) spare_frames_.push_back(std::move(frame));
}

bool ProducerMap::receive_one(Communicator& communicator, std::uint32_t tag) {
  bool any = false;
  for (int source = 0; source < map_.ranks; ++source) {
    int& awaited = awaited_[static_cast<std::size_t>(source)];
    if (awaited == 0 || !communicator.ready(source, tag)) continue;
    Arrival arrival;
    arrival.frame = communicator.receive(source, tag);
    --awaited;
    any = true;
    const double now = steady_seconds();
    if (last_arrival_ > 0) arrival_interval_ += newest_arrival * (now - last_arrival_ - arrival_interval_);
    last_arrival_ = now;
    if (undisturbed_seconds_ == 0) undisturbed_seconds_ = tile_seconds_.load(std::memory_order_relaxed);
    const SubChunkFrame frame =
        read_sub_chunk_frame(arrival.frame, layout_, !options_.codec, fmt::format("from rank {}", source));
    const ChunkEntry& entry = entry_of(frame.chunk);
    const auto at = std::find(entry.sources.begin(), entry.sources.end(), source);
    const int sub = layout_.index_of(frame.chunk, frame.sub);
    char& seen = arrived_[static_cast<std::size_t>(sub) * static_cast<std::size_t>(map_.ranks) +
                          static_cast<std::size_t>(source)];
    if (at == entry.sources.end() || seen != 0) {
      fail(ErrorKind::corrupt,
           fmt::format("sub-chunk {} of chunk {} arrived where it is not awaited", frame.sub, frame.chunk),
           fmt::format("from rank {}", source), "do all ranks run the same collective?");
    }
    seen = 1;
    arrival.chunk = frame.chunk;
    arrival.sub = frame.sub;
    const auto numbers = static_cast<std::size_t>(layout_.sub_chunk(frame.chunk, frame.sub).numbers);
    if (options_.codec) {
      Bytes plain = frame_of(sub_chunk_header_bytes + numbers * sizeof(float));
      options_.codec.decode(frame.payload, {frame_numbers(plain), numbers});
      arrival.frame = std::move(plain);
    }
    if (entry.sources.size() > 1) {
      parked_[static_cast<std::size_t>(sub)][static_cast<std::size_t>(at - entry.sources.begin())] =
          std::move(arrival.frame);
      counts_.updates.fetch_add(numbers * sizeof(float), std::memory_order_relaxed);
      --to_apply_;
      if (tracker_.contribution_done(sub)) completed(sub);
    } else {
      arrivals_.push_back(std::move(arrival));
    }
  }
  return any;
}

double ProducerMap::poll_seconds() const {
  return std::clamp(arrival_interval_ / 8, options_.least_poll,
                    std::max(options_.least_poll, options_.most_poll));
}

bool ProducerMap::must_hold() {
  const double average = tile_seconds_.load(std::memory_order_relaxed);
  const bool producing = done_.load(std::memory_order_relaxed) < static_cast<int>(order_.size());
  if (!options_.compute_first.enabled || !producing || undisturbed_seconds_ == 0 ||
      average <= options_.compute_first.slowdown * undisturbed_seconds_) {
    hold_since_ = -1;
    return false;
  }
  const double now = steady_seconds();
  if (hold_since_ < 0) hold_since_ = now;
  longest_hold_ = std::max(longest_hold_, now - hold_since_);
  if (now - hold_since_ < options_.compute_first.starvation_limit) return true;
  hold_since_ = -1;
  return false;
}

// Of what has arrived: all tiles whose own numbers are not there yet, and additions of one quantum at most.
bool ProducerMap::apply_some() {
  const std::int64_t quantum = std::max<std::int64_t>(1, options_.compute_first.quantum);
  std::int64_t added = 0;
  bool any = false;
  while (!arrivals_.empty()) {
    Arrival& arrival = arrivals_.front();
    const ChunkLayout::SubChunk& part = layout_.sub_chunk(arrival.chunk, arrival.sub);
    const int index = part.first_tile + arrival.next_tile;
    if (tracker_.touched(index) && (added >= quantum || (added == 0 && must_hold()))) break;
    const ChunkLayout::Tile& tile = layout_.tiles()[static_cast<std::size_t>(index)];
    const float* values = frame_numbers(arrival.frame) + tile.offset;
    const std::uint64_t bytes = bytes_of_numbers(tile.area.rows * tile.area.columns);
    if (tracker_.claim_first(index, Holds::arrived)) {
      arrived_tiles_[static_cast<std::size_t>(index)] = values;  // the carrier has stored it
      tracker_.publish(index, Holds::arrived);
    } else {
      float* place = place_of(tile);
      sum_tile(tile.area, values, tile.area.columns, place, layout_.columns(), place, layout_.columns());
      tracker_.publish(index, Holds::sum);
      added += static_cast<std::int64_t>(bytes);
    }
    counts_.updates.fetch_add(bytes, std::memory_order_relaxed);
    any = true;
    if (++arrival.next_tile == part.tiles) {
      const int sub = layout_.index_of(arrival.chunk, arrival.sub);
      held_frames_[static_cast<std::size_t>(sub)] = std::move(arrival.frame);
      arrivals_.pop_front();
      --to_apply_;
      if (tracker_.contribution_done(sub)) completed(sub);
    }
  }
  return any;
}

MemoryTraffic ProducerMap::traffic() const {
  MemoryTraffic traffic;
  traffic.gemm_writes = counts_.gemm_writes;
  traffic.remote_writes = counts_.remote_writes;
  traffic.reads = counts_.reads;
  traffic.updates = counts_.updates;
  return traffic;
}

}  // namespace laconic
