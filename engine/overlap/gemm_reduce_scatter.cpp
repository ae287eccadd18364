#include "engine/overlap/gemm_reduce_scatter.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/overlap/pipelined_ring.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

LayoutOptions layout_of(const OverlapPlan& plan) {
  LayoutOptions options = plan.layout;
  if (plan.form == OverlapForm::whole_chunks) options.sub_chunks = 1;
  return options;
}

}  // namespace

GemmReduceScatter::GemmReduceScatter(int rank, int ranks, std::int64_t rows, std::int64_t columns,
                                     OverlapPlan plan)
    : rank_(rank),
      ranks_(ranks),
      plan_(std::move(plan)),
      layout_(rows, columns, ranks, layout_of(plan_)),
      output_(DType::f32, {rows, columns}) {
  if (plan_.workers < 1) fail(ErrorKind::usage, "a product needs a worker", "workers");
  if (plan_.route == ReduceScatterRoute::direct && plan_.form == OverlapForm::sequential)
    fail(ErrorKind::unsupported, "the direct route has no sequential form", "overlap");
  for (int i = 0; i < plan_.workers; ++i) scratch_.emplace_back(plan_.layout.tile);
  if (plan_.form == OverlapForm::sequential) return;
  OutputMap map = plan_.route == ReduceScatterRoute::ring
                      ? ring_reduce_scatter_map(rank, ranks, plan_.staggered)
                      : direct_reduce_scatter_map(rank, ranks, plan_.staggered);
  map_ = std::make_unique<ProducerMap>(layout_, std::move(map), output_.f32(), plan_.options);
}

GemmReduceScatter::~GemmReduceScatter() = default;

int GemmReduceScatter::own_chunk() const { return ring_part_of(rank_, ranks_); }

std::span<const float> GemmReduceScatter::own_rows() const {
  const std::int64_t begin = layout_.row_bounds()[static_cast<std::size_t>(own_chunk())];
  return output_.f32().subspan(static_cast<std::size_t>(begin * layout_.columns()),
                               static_cast<std::size_t>(layout_.chunk_numbers(own_chunk())));
}

// Workers take tiles until there is none. The first fault stops all and is thrown.
void GemmReduceScatter::make_tiles(const float* a, std::int64_t a_stride, const PackedColumns& b,
                                   const std::function<int()>& next_tile, const TileDone& done) {
  std::mutex failure_mutex;
  std::exception_ptr failure;
  std::atomic<bool> failed{false};
  const auto work = [&](std::size_t worker) {
    try {
      TileScratch& scratch = scratch_[worker];
      for (int tile; !failed && (tile = next_tile()) >= 0;) {
        const double begin = steady_seconds();
        const auto values =
            multiply_tile(a, a_stride, b, layout_.tiles()[static_cast<std::size_t>(tile)].area, scratch);
        done(tile, values.data(), scratch.stride(), steady_seconds() - begin);
      }
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
      failed = true;
    }
  };
  std::vector<std::thread> others;
  for (std::size_t worker = 1; worker < scratch_.size(); ++worker) others.emplace_back(work, worker);
  work(0);
  for (std::thread& thread : others) thread.join();
  if (failure) std::rethrow_exception(failure);
}

// The product alone, into the output.
void GemmReduceScatter::make_product(const float* a, std::int64_t a_stride, const PackedColumns& b) {
  std::atomic<int> next{0};
  const int count = static_cast<int>(layout_.tiles().size());
  float* output = output_.f32().data();
  make_tiles(
      a, a_stride, b,
      [&] {
        const int tile = next.fetch_add(1, std::memory_order_relaxed);
        return tile < count ? tile : -1;
      },
      [&](int tile, const float* values, std::int64_t stride, double) {
        const TileArea& area = layout_.tiles()[static_cast<std::size_t>(tile)].area;
        float* to = output + area.row * layout_.columns() + area.column;
        for (std::int64_t i = 0; i < area.rows; ++i) {
          std::memcpy(to + i * layout_.columns(), values + i * stride,
                      static_cast<std::size_t>(area.columns) * sizeof(float));
        }
      });
}

double GemmReduceScatter::product_seconds(const float* a, std::int64_t a_stride, const PackedColumns& b) {
  const double begin = steady_seconds();
  make_product(a, a_stride, b);
  return steady_seconds() - begin;
}

OverlapTimes GemmReduceScatter::run(const float* a, std::int64_t a_stride, const PackedColumns& b,
                                    CommunicationThread& thread) {
  require(b.columns() == layout_.columns(), "the product has the columns of the layout");
  require(thread.rank() == rank_ && thread.size() == ranks_, "the thread is this rank's");
  if (map_ && used_) map_->reset();
  used_ = true;
  OverlapTimes times;
  const double begin = steady_seconds();
  if (plan_.form == OverlapForm::sequential) {
    make_product(a, a_stride, b);
    times.product = steady_seconds() - begin;
    traffic_ = {};
    thread.run("reduce-scatter", [&](Communicator& communicator) {
      traffic_ = pipelined_ring_reduce_scatter(communicator, layout_, output_.f32(), plan_.options.codec,
                                               spare_frames_);
    });
    traffic_.gemm_writes = static_cast<std::uint64_t>(layout_.rows() * layout_.columns()) * sizeof(float);
  } else {
    CommunicationThread::Handle exchange =
        thread.submit("overlapped reduce-scatter", [&](Communicator& c) { map_->communicate(c); });
    try {
      make_tiles(
          a, a_stride, b, [&] { return map_->next_tile(); },
          [&](int tile, const float* values, std::int64_t stride, double seconds) {
            map_->tile_done(tile, values, stride, seconds);
          });
    } catch (...) {
      map_->cancel(std::current_exception());
    }
    times.product = steady_seconds() - begin;
    exchange.wait();
    traffic_ = map_->traffic();
  }
  times.total = steady_seconds() - begin;
  for (const ChunkLayout::Tile& tile : layout_.tiles())
    traffic_.gemm_reads += tile_read_bytes(tile.area, b.depth());
  return times;
}

}  // namespace laconic
