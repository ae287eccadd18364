#include "methods/gradients/t3/simulation.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include "engine/base/error.h"

namespace laconic::t3 {
namespace {

// The device at work. Blocks are numbered in the order in which it makes them: chunk after chunk, beginning
// with the one that its successor wants first.
class Simulation {
 public:
  Simulation(const SimulatedProduct& product, const Device& device, MemoryPolicy policy, bool triggered)
      : product_(product),
        device_(device),
        triggered_(triggered && product.devices > 1),
        memory_(clock_, device, policy),
        parts_left_(static_cast<std::size_t>(product.blocks()), 2),
        tracked_(static_cast<std::size_t>(product.blocks()), 0),
        free_entries_(device.tracker_entries) {
    device.check();
    require(product.blocks_per_chunk >= 1 && product.blocks_per_stage >= 1 && product.slices >= 1,
            "a product has blocks and slices");
    if (triggered_ && product.blocks_per_stage * product.tiles_per_block > device.tracker_entries) {
      fail(ErrorKind::usage, "a stage has more tiles than the tracker has entries", "simulated device");
    }
  }

  SimulatedRun run() {
    begin_stage();
    clock_.run();
    for (int purpose = 0; purpose < purposes; ++purpose)
      run_.bytes[static_cast<std::size_t>(purpose)] = memory_.bytes(static_cast<Purpose>(purpose));
    run_.longest_wait = memory_.longest_wait();
    require(next_block_ == product_.blocks(), "the whole product was made");
    if (triggered_) {
      require(completed_ == product_.blocks() - product_.blocks_per_chunk &&
                  free_entries_ == device_.tracker_entries,
              "every tracked block was completed");
    } else {
      run_.seconds = run_.product_seconds;
    }
    return run_;
  }

 private:
  bool is_remote(std::int64_t block) const { return block < product_.blocks_per_chunk; }
  bool is_last_chunk(std::int64_t block) const {
    return block >= product_.blocks() - product_.blocks_per_chunk;
  }

  // --- the product
  void begin_stage() {
    if (next_block_ == product_.blocks()) return;
    stage_first_ = next_block_;
    stage_end_ = std::min(product_.blocks(), next_block_ + product_.blocks_per_stage);
    if (triggered_ && !track_stage()) {
      ++run_.tracker_stalls;
      stage_waits_ = true;
      return;
    }
    slice_ = -1;
    loads_left_ = 0;
    computing_ = false;
    load_slice(0);
  }

  // Entries for the blocks of the stage that have none yet; all or none.
  bool track_stage() {
    int needed = 0;
    for (std::int64_t block = stage_first_; block < stage_end_; ++block)
      needed +=
          !is_remote(block) && tracked_[static_cast<std::size_t>(block)] == 0 ? product_.tiles_per_block : 0;
    if (needed > free_entries_) return false;
    for (std::int64_t block = stage_first_; block < stage_end_; ++block) {
      if (!is_remote(block)) track(block);
    }
    return true;
  }
  bool track(std::int64_t block) {
    char& tracked = tracked_[static_cast<std::size_t>(block)];
    if (tracked != 0) return true;
    if (free_entries_ < product_.tiles_per_block) return false;
    tracked = 1;
    free_entries_ -= product_.tiles_per_block;
    run_.tracker_peak = std::max(run_.tracker_peak, device_.tracker_entries - free_entries_);
    return true;
  }

  double share_of_stage() const {
    return static_cast<double>(stage_end_ - stage_first_) / static_cast<double>(product_.blocks_per_stage);
  }

  void load_slice(std::int64_t slice) {
    const auto stage = static_cast<std::size_t>(stage_first_ / product_.blocks_per_stage);
    const double bytes = stage < product_.stage_reads.size()
                             ? product_.stage_reads[stage] / static_cast<double>(product_.slices)
                             : 0;
    loaded_ = slice;
    const auto requests = static_cast<int>(std::ceil(bytes / device_.request_bytes));
    loads_left_ = requests;
    for (int i = 0; i < requests; ++i) {
      memory_.request(Purpose::gemm_read, bytes / requests, 1, [this] {
        --loads_left_;
        compute_if_ready();
      });
    }
    write_back_some();
    if (requests == 0) compute_if_ready();
  }

  // Of a plain product: cached outputs of earlier stages leave the cache while slices pass.
  void write_back_some() {
    if (dirty_blocks_ == 0) return;
    const std::int64_t count =
        std::min(dirty_blocks_, (product_.blocks_per_stage + product_.slices - 1) / product_.slices);
    for (std::int64_t i = 0; i < count; ++i)
      memory_.request(Purpose::gemm_write, product_.block_bytes, 1, {});
    dirty_blocks_ -= count;
  }

  void compute_if_ready() {
    if (computing_ || loads_left_ > 0 || loaded_ == slice_) return;
    computing_ = true;
    slice_ = loaded_;
    const double seconds = product_.stage_seconds * share_of_stage() / static_cast<double>(product_.slices);
    const bool last = slice_ + 1 == product_.slices;
    clock_.after(seconds, [this, last] {
      computing_ = false;
      if (last) {
        end_stage();
      } else {
        compute_if_ready();
      }
    });
    if (!last) load_slice(slice_ + 1);
  }

  void end_stage() {
    run_.product_seconds = clock_.now();
    for (std::int64_t block = stage_first_; block < stage_end_; ++block) {
      if (!triggered_) {
        ++dirty_blocks_;
      } else if (is_remote(block)) {
        send(block);
      } else {
        memory_.request(Purpose::gemm_write, product_.block_bytes, device_.update_cost,
                        [this, block] { contribution(block); });
      }
    }
    next_block_ = stage_end_;
    if (next_block_ < product_.blocks()) {
      begin_stage();
    } else {
      for (; dirty_blocks_ > 0; --dirty_blocks_)
        memory_.request(Purpose::gemm_write, product_.block_bytes, 1, {});
    }
  }

  // --- the exchange
  void send(std::int64_t block) {
    ++run_.triggers;
    link_free_ = std::max(link_free_, clock_.now()) + product_.block_bytes / device_.link_bandwidth;
    run_.link_bytes += product_.block_bytes;
    clock_.at(link_free_ + device_.link_latency, [this, block] {
      run_.arrived_bytes += product_.block_bytes;
      waiting_arrivals_.push_back(
          block + product_.blocks_per_chunk);  // the predecessor's chunk is this device's next
      if (!take_arrivals()) ++run_.tracker_stalls;
    });
  }

  // False while one waits for an entry of the tracker.
  bool take_arrivals() {
    while (!waiting_arrivals_.empty()) {
      const std::int64_t block = waiting_arrivals_.front();
      if (!track(block)) return false;
      waiting_arrivals_.pop_front();
      memory_.request(Purpose::exchange_update, product_.block_bytes, device_.update_cost,
                      [this, block] { contribution(block); });
    }
    return true;
  }

  void contribution(std::int64_t block) {
    if (--parts_left_[static_cast<std::size_t>(block)] > 0) return;
    ++completed_;
    free_entries_ += product_.tiles_per_block;
    if (is_last_chunk(block)) {
      run_.seconds = clock_.now();
    } else {
      memory_.request(Purpose::exchange_read, product_.block_bytes, 1, [this, block] { send(block); });
    }
    // The stage goes first: what arrives for later blocks must not take the entries it waits for.
    if (stage_waits_ && track_stage()) {
      stage_waits_ = false;
      slice_ = -1;
      load_slice(0);
    }
    if (!stage_waits_) take_arrivals();
  }

  const SimulatedProduct& product_;
  const Device& device_;
  bool triggered_;
  EventClock clock_;
  MemoryServer memory_;
  SimulatedRun run_;

  std::int64_t next_block_ = 0, stage_first_ = 0, stage_end_ = 0;
  std::int64_t slice_ = -1, loaded_ = -1;
  int loads_left_ = 0;
  bool computing_ = false, stage_waits_ = false;
  std::int64_t dirty_blocks_ = 0;

  std::vector<int> parts_left_;
  std::vector<char> tracked_;
  int free_entries_;
  std::deque<std::int64_t> waiting_arrivals_;
  double link_free_ = 0;
  std::int64_t completed_ = 0;
};

// Bytes that the product has read when so many of its blocks are made. Blocks do not end where tiles do.
double reads_before(const ProductReads& reads, const Device& device, std::int64_t block,
                    std::int64_t blocks) {
  const double tiles =
      static_cast<double>(reads.tiles) * static_cast<double>(block) / static_cast<double>(blocks);
  double bytes = 0;
  for (std::size_t stage = 0; stage < reads.stage_bytes.size(); ++stage) {
    const double first = static_cast<double>(stage) * device.compute_units,
                 count = std::min<double>(device.compute_units, static_cast<double>(reads.tiles) - first);
    bytes += reads.stage_bytes[stage] * std::clamp((tiles - first) / count, 0.0, 1.0);
  }
  return bytes;
}

}  // namespace

SimulatedProduct simulated_product(const Workload& workload, const Device& device, bool outputs_cached) {
  device.check();
  SimulatedProduct product;
  product.devices = workload.devices;
  const ProductReads reads = reads_of_product(workload, device, outputs_cached);
  product.slices = reads.slices;
  const double chunk = workload.output_bytes() / workload.devices;
  product.blocks_per_chunk = static_cast<std::int64_t>(std::ceil(chunk / device.request_bytes));
  product.block_bytes = chunk / static_cast<double>(product.blocks_per_chunk);
  const double tile_bytes = 2.0 * simulated_tile * simulated_tile;
  product.tiles_per_block = std::max(1, static_cast<int>(std::lround(product.block_bytes / tile_bytes)));
  product.blocks_per_stage =
      std::max<std::int64_t>(1, std::llround(device.compute_units * tile_bytes / product.block_bytes));
  for (std::int64_t block = 0; block < product.blocks(); block += product.blocks_per_stage) {
    const std::int64_t end = std::min(product.blocks(), block + product.blocks_per_stage);
    product.stage_reads.push_back(reads_before(reads, device, end, product.blocks()) -
                                  reads_before(reads, device, block, product.blocks()));
  }
  const double operations_of_block = workload.operations() / static_cast<double>(product.blocks());
  product.stage_seconds = operations_of_block * static_cast<double>(product.blocks_per_stage) /
                          (device.peak() * device.efficiency);
  return product;
}

SimulatedRun simulate_product(const SimulatedProduct& product, const Device& device) {
  return Simulation(product, device, MemoryPolicy::first_come, false).run();
}

SimulatedRun simulate_triggered(const SimulatedProduct& product, const Device& device, MemoryPolicy policy) {
  return Simulation(product, device, policy, true).run();
}

}  // namespace laconic::t3
