#include "runtime/resizable_model.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/pages.h"
#include "engine/codec/residual_chain.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/artifact/stack_artifact.h"
#include "runtime/sign_stack.h"

namespace laconic {
// One tensor at one size: its first blocks, and the product over them.
struct StackedTensor {
  std::vector<std::shared_ptr<const PackedSignBlock>> blocks;  // empty where a stage is not a sign block
  std::shared_ptr<const LinearOp> product;
};
struct StackTable {
  std::size_t prefix = 0;
  std::vector<StackedTensor> tensors;
};
using CurrentTable = std::atomic<std::shared_ptr<const StackTable>>;

namespace {

// Multiplies as the table of the moment says.
class TableLinear : public LinearOp {
 public:
  TableLinear(std::shared_ptr<const CurrentTable> current, std::size_t index, Shape shape)
      : current_(std::move(current)), index_(index), shape_(std::move(shape)) {}
  std::int64_t in_features() const override { return shape_[1]; }
  std::int64_t out_features() const override { return shape_[0]; }
  void multiply(const float* x, std::int64_t rows, float* y) const override {
    product()->multiply(x, rows, y);
  }
  void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const override {
    product()->expand_rows(begin, end, weights);
  }
  Tensor expand() const override { return product()->expand(); }
  std::uint64_t resident_bytes() const override { return product()->resident_bytes(); }

 private:
  std::shared_ptr<const LinearOp> product() const { return current_->load()->tensors[index_].product; }

  std::shared_ptr<const CurrentTable> current_;
  std::size_t index_;
  Shape shape_;
};

const StackArtifact& stack_of(const CompressedModel& files, const std::filesystem::path& directory) {
  if (files.stack() == nullptr) {
    fail(ErrorKind::usage, "is not a progressive model", directory.string(),
         "laconic compress -m bitstack makes models of which any part can be loaded");
  }
  return *files.stack();
}

}  // namespace

struct ResizableModel::State {
  std::filesystem::path directory;
  std::shared_ptr<const CompressedModel> files;
  const StackArtifact& stack;
  std::vector<std::string> names;                         // tensors of the stack
  std::map<std::string, std::size_t, std::less<>> index;  // name -> place in names and tables
  std::shared_ptr<CurrentTable> current = std::make_shared<CurrentTable>();
  std::size_t verified = 0;  // blocks that were compared with the manifest
  std::optional<Transformer> model;

  State(const std::filesystem::path& path, std::optional<std::uint64_t> size)
      : directory(path),
        files(std::make_shared<CompressedModel>(path, OpenOptions{true, size})),
        stack(stack_of(*files, path)),
        verified(files->open_blocks()) {
    for (const auto& [name, count] : stack.counts(files->open_blocks())) {
      index[name] = names.size();
      names.push_back(name);
    }
    StackTable empty;
    empty.tensors.resize(names.size());
    current->store(std::make_shared<const StackTable>(table_of(empty, files->open_blocks())));
  }

  // The table of another prefix over the blocks that `from` holds already.
  StackTable table_of(const StackTable& from, std::size_t prefix) const {
    StackTable table = from;
    table.prefix = prefix;
    for (const auto& [name, count] : stack.counts(prefix))
      resize_tensor(table.tensors[index.at(name)], name, count);
    return table;
  }

  void resize_tensor(StackedTensor& tensor, const std::string& name, std::int64_t count) const {
    const auto wanted = static_cast<std::size_t>(count);
    if (tensor.product != nullptr && tensor.blocks.size() == wanted) return;
    const PayloadSummary summary = stack.summary(name, count);
    bool signs = true;
    for (std::int64_t level = 0; level < count && signs; ++level) {
      signs = stack.form(name, level).codec.starts_with("sign(");
    }
    if (!signs) {
      tensor.product = make_linear(stack.payload(name, count));
      return;
    }
    tensor.blocks.resize(std::min(tensor.blocks.size(), wanted));
    while (tensor.blocks.size() < wanted) {
      tensor.blocks.push_back(std::make_shared<PackedSignBlock>(
          stack.block(name, static_cast<std::int64_t>(tensor.blocks.size()))));
    }
    tensor.product = make_sign_stack(summary.shape.at(0), summary.shape.at(1), tensor.blocks);
  }

  std::shared_ptr<const LinearOp> linear(const std::string& name) const {
    const auto found = index.find(name);
    if (found == index.end()) return nullptr;
    return std::make_shared<TableLinear>(current, found->second, stack.summary(name, 1).shape);
  }
};

ResizableModel::ResizableModel(const std::filesystem::path& directory, std::optional<std::uint64_t> size,
                               const std::function<void(std::string_view)>& notice)
    : state_(std::make_unique<State>(directory, size)) {
  LoadOptions options;
  options.notice = notice;
  options.compressed = state_->files;
  options.linear = [this](const std::string& name) { return state_->linear(name); };
  state_->model.emplace(Transformer::load(directory, options));
}

ResizableModel::~ResizableModel() = default;
ResizableModel::ResizableModel(ResizableModel&&) noexcept = default;

const Transformer& ResizableModel::model() const { return *state_->model; }

void ResizableModel::resize(std::uint64_t size) {
  State& state = *state_;
  const std::size_t prefix = state.stack.prefix_for(size);
  std::shared_ptr<const StackTable> before = state.current->load();
  if (prefix == before->prefix) return;
  if (prefix > state.verified) {
    state.stack.verify(state.verified, prefix);
    state.verified = prefix;
  }
  const bool shrinks = prefix < before->prefix;
  auto table = std::make_shared<const StackTable>(state.table_of(*before, prefix));
  state.current->store(std::move(table));
  before.reset();
  // The allocator keeps freed memory for itself; here the system is meant to have it.
  if (shrinks) return_freed_memory();
}

std::uint64_t ResizableModel::loaded_bytes() const { return state_->stack.loaded_bytes(blocks()); }
std::uint64_t ResizableModel::smallest_bytes() const {
  return state_->stack.loaded_bytes(state_->stack.least_prefix());
}
std::uint64_t ResizableModel::largest_bytes() const {
  return state_->stack.loaded_bytes(state_->stack.blocks().size());
}
std::size_t ResizableModel::blocks() const { return state_->current->load()->prefix; }

}  // namespace laconic
