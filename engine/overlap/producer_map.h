// A collective that begins while the product it exchanges is still being made (T3: Transparent Tracking and
// Triggering, Pati et al., ASPLOS 2024, arXiv 2401.16677), in software. Before the product begins, its output
// is mapped (output_map.h). The producer asks for tiles and says when one is done; sub-chunks whose
// contributions are all there trigger what the map says: they travel on, or are finished. Ring and direct
// reduce-scatter, and whatever else can be said as a map, stand on the same triggers.
//
// A round: any number of producers call next_tile() and tile_done() until there is none, while one thread
// that owns a communicator runs communicate(); when it has returned, what the map keeps here lies in
// `output`, the same bits whatever the timing. After a fault on either side both end: the output is then
// undefined.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/overlap/chunk_tracker.h"
#include "engine/overlap/sub_chunk_frame.h"
#include "engine/overlap/trigger_queue.h"
#include "engine/transport/communicator.h"

namespace laconic {

// Bytes between a rank and memory, by what asks for them. What travels is built and taken apart in frames: a
// frame that was built straight from a finished tile is a remote write, as it is the other rank's memory in
// the paper.
struct MemoryTraffic {
  std::uint64_t gemm_reads = 0;     // of A and B
  std::uint64_t gemm_writes = 0;    // finished tiles into this rank's memory
  std::uint64_t remote_writes = 0;  // finished tiles into what travels
  std::uint64_t reads = 0;          // by the collective
  std::uint64_t updates = 0;        // by the collective: stores, and stores that add
};
MemoryTraffic operator+(const MemoryTraffic& a, const MemoryTraffic& b);

// Who gives way when additions of arriving sums slow the product down (the paper's MCA arbitration,
// section 4.5): at most `quantum` bytes are added, then the time of tiles is looked at; while it is above
// that of undisturbed ones, additions wait, but not longer than `starvation_limit`.
struct ComputeFirst {
  bool enabled = true;
  std::int64_t quantum = 512 * 1024;
  double slowdown = 1.05;
  double starvation_limit = 2e-3;  // seconds
};

struct ProducerMapOptions {
  SubChunkCodec codec = {};
  ComputeFirst compute_first = {};
  // How long the communicating thread sleeps when there is nothing to do: an eighth of the time between
  // arrivals, between these bounds.
  double least_poll = 200e-6, most_poll = 2e-3;
};

class ProducerMap {
 public:
  // `output`: rows x columns of the layout, row-major, aligned to 64 bytes; it outlives the object.
  // Error(usage) for a map that does not fit (check_output_map) and an unaligned or short output.
  ProducerMap(const ChunkLayout& layout, OutputMap map, std::span<float> output,
              const ProducerMapOptions& options = {});

  const ChunkLayout& layout() const { return layout_; }
  const OutputMap& map() const { return map_; }

  // The next tile to make (an index into layout().tiles()); -1 when all are taken or the round has failed.
  int next_tile();
  // The tile's numbers, rows `stride` apart; they are not needed any more when it returns. `seconds`: that
  // making it took, for compute_first.
  void tile_done(int tile, const float* values, std::int64_t stride, double seconds = 0);

  // Returns when everything that the map sends is sent and everything it keeps is complete. What it throws, a
  // lost peer say, has ended the round for producers, too.
  void communicate(Communicator& communicator);

  // Ends the round: communicate() throws `why`, next_tile() returns -1.
  void cancel(std::exception_ptr why);
  // For another round.
  void reset();

  MemoryTraffic traffic() const;  // of the round, gemm_reads left to the producer
  // Times that the sub-chunk (numbered through) triggered in the round.
  int triggers(int sub) const { return tracker_.completions(sub); }
  // The longest that additions waited for the product, seconds.
  double longest_hold() const { return longest_hold_; }

 private:
  struct Arrival {
    Bytes frame;
    int chunk = 0, sub = 0;
    int next_tile = 0;  // of the sub-chunk
  };
  struct Counts {
    std::atomic<std::uint64_t> gemm_writes{0}, remote_writes{0}, reads{0}, updates{0};
  };

  const ChunkEntry& entry_of(int chunk) const;
  float* place_of(const ChunkLayout::Tile& tile);
  void prepare_frames();
  void completed(int sub);
  void fire(const Trigger& trigger, Communicator& communicator, std::uint32_t tag);
  void send_sub(const ChunkEntry& entry, int sub, Bytes frame, Communicator& communicator, std::uint32_t tag);
  void fold_parked(const ChunkEntry& entry, int sub);
  bool receive_one(Communicator& communicator, std::uint32_t tag);
  bool apply_some();
  double poll_seconds() const;
  bool must_hold();
  void throw_if_cancelled();
  Bytes frame_of(std::size_t size);

  ChunkLayout layout_;
  OutputMap map_;
  std::span<float> output_;
  ProducerMapOptions options_;
  std::vector<const ChunkEntry*> entries_;  // by chunk
  std::vector<int> order_;                  // of tiles

  ChunkTracker tracker_;
  TriggerQueue queue_;
  std::atomic<int> taken_{0}, done_{0};
  std::vector<Bytes> frames_;               // of remote sub-chunks, while they are filled
  std::vector<Bytes> spare_frames_;         // memory of frames that were taken apart
  std::vector<std::vector<Bytes>> parked_;  // contributions by sub-chunk and source, where there are several
  std::deque<Arrival> arrivals_;
  // What arrived before the own tiles stays in its frame until they are added to it: by tile, and by
  // sub-chunk.
  std::vector<const float*> arrived_tiles_;
  std::vector<Bytes> held_frames_;
  std::vector<int> awaited_;   // frames by source
  std::vector<char> arrived_;  // by sub-chunk and source: a frame that comes twice is refused
  int to_fire_ = 0, to_apply_ = 0;
  Counts counts_;

  std::atomic<bool> cancelled_{false};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;

  std::atomic<double> tile_seconds_{0};  // moving average
  double undisturbed_seconds_ = 0;       // of tiles before the first arrival
  double hold_since_ = -1, longest_hold_ = 0;
  double last_arrival_ = 0, arrival_interval_ = 0;  // moving average
};

}  // namespace laconic
