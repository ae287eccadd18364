// C = sum over ranks of A_r B_r, each rank with its share of the depth, left in chunks of rows: rank r ends
// with chunk (r + 1) mod W. How the product and the exchange stand in time is a choice; the bits are not.
//
// Time, with G seconds of product and s of one step of the ring (T3, section 3):
//   after the product: G + (W - 1) s        overlapped: max(G, G / W + (W - 1) s)
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/overlap/producer_map.h"
#include "engine/tensor/tensor.h"
#include "engine/transport/communication_thread.h"

namespace laconic {

enum class OverlapForm {
  sequential,    // the product, then pipelined_ring_reduce_scatter
  whole_chunks,  // one product per chunk; a chunk travels as one message when its product is done
  triggered      // sub-chunks of tiles (producer_map.h)
};
enum class ReduceScatterRoute { ring, direct };

struct OverlapPlan {
  OverlapForm form = OverlapForm::triggered;
  ReduceScatterRoute route = ReduceScatterRoute::ring;  // direct: triggered only
  bool staggered = true;
  LayoutOptions layout = {};
  ProducerMapOptions options = {};
  int workers = 1;  // threads that make tiles, the caller included
};

struct OverlapTimes {
  double product = 0;  // until the last tile was done
  double total = 0;    // until this rank's chunk was complete
};

class GemmReduceScatter {
 public:
  GemmReduceScatter(int rank, int ranks, std::int64_t rows, std::int64_t columns, OverlapPlan plan = {});
  ~GemmReduceScatter();

  // All ranks call it. a [rows, depth of b]; the communication thread is idle when it begins.
  OverlapTimes run(const float* a, std::int64_t a_stride, const PackedColumns& b,
                   CommunicationThread& thread);
  // The product alone: what G is measured with.
  double product_seconds(const float* a, std::int64_t a_stride, const PackedColumns& b);

  const ChunkLayout& layout() const { return layout_; }
  const OverlapPlan& plan() const { return plan_; }
  int own_chunk() const;
  // Rows layout().row_bounds()[own_chunk()] and on.
  std::span<const float> own_rows() const;
  // Of the last run.
  const MemoryTraffic& traffic() const { return traffic_; }
  const ProducerMap* map() const { return map_.get(); }  // null for the sequential form

 private:
  using TileDone = std::function<void(int tile, const float* values, std::int64_t stride, double seconds)>;
  void make_tiles(const float* a, std::int64_t a_stride, const PackedColumns& b,
                  const std::function<int()>& next_tile, const TileDone& done);
  void make_product(const float* a, std::int64_t a_stride, const PackedColumns& b);

  int rank_, ranks_;
  OverlapPlan plan_;
  ChunkLayout layout_;
  Tensor output_;
  std::unique_ptr<ProducerMap> map_;
  bool used_ = false;
  std::vector<TileScratch> scratch_;  // by worker
  std::vector<Bytes> spare_frames_;
  MemoryTraffic traffic_;
};

}  // namespace laconic
