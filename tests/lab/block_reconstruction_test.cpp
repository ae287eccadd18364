// Card 50 part D on a miniature block whose weights were rounded to two bits.
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/codec/uniform_payload.h"
#include "engine/tensor/safetensors.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

class BlockReconstructionTest : public testing::Test {
 protected:
  static constexpr std::int64_t layer_ = 1, group_ = 10;  // 24 and 40 columns: a short last group, and none

  BlockReconstructionTest() {
    reference::write_model(directory(), description_, reference::random_weights(description_, 3, DType::f32),
                           DType::f32, "");
    const Transformer model = Transformer::load(directory());
    request_.model = directory();
    request_.layer = layer_;
    request_.learning_rate = 1e-3;
    request_.epochs = 6;
    request_.threads = 1;
    for (std::uint64_t sequence = 0; sequence < 6; ++sequence) {
      const std::vector<std::int32_t> tokens = random_tokens(description_.vocabulary, 20, sequence);
      std::vector<float> hidden = model.embed(tokens);
      for (std::int64_t layer = 0; layer < layer_; ++layer) {
        model.run_block(layer, hidden.data(), 20, nullptr);
      }
      request_.inputs.push_back(hidden);
      model.run_block(layer_, hidden.data(), 20, nullptr);
      request_.targets.push_back(hidden);
    }
    const SafetensorsDirectory tensors(directory());
    for (int i = 0; i < linear_slots; ++i) {
      const auto slot = static_cast<LinearSlot>(i);
      const TensorView view = tensors.tensor(linear_name(layer_, slot));
      request_.grids.push_back(rounded(slot, view.to_f32(), view.shape[0], view.shape[1]));
    }
  }
  fs::path directory() const { return folder_.path() / "model"; }

  static BlockLinearGrid rounded(LinearSlot slot, const std::vector<float>& weights, std::int64_t rows,
                                 std::int64_t columns) {
    BlockLinearGrid grid;
    grid.slot = slot;
    grid.rows = rows;
    grid.columns = columns;
    grid.group = group_;
    UniformMatrix matrix;
    matrix.parameters = fit_grid(weights.data(), rows, columns, {GridKind::affine_min, 2, group_});
    matrix.codes = quantize(weights.data(), matrix.parameters);
    for (const auto code : matrix.codes) grid.codes.push_back(static_cast<std::int8_t>(code));
    grid.step = matrix.parameters.step;
    grid.offset = matrix.parameters.offset;
    return grid;
  }

  TemporaryFolder folder_;
  reference::Description description_;
  BlockReconstructionRequest request_;
};

TEST_F(BlockReconstructionTest, LowersTheErrorAndLeavesCodesUnchanged) {
  const BlockReconstructionResult result = load_lab().block_reconstruction(request_);
  EXPECT_GT(result.error_before, 0);
  EXPECT_LT(result.error_after, 0.8 * result.error_before);
  ASSERT_EQ(result.grids.size(), request_.grids.size());
  bool steps_moved = false;
  for (std::size_t i = 0; i < result.grids.size(); ++i) {
    EXPECT_EQ(result.grids[i].codes, request_.grids[i].codes);
    steps_moved |= result.grids[i].step != request_.grids[i].step;
  }
  EXPECT_TRUE(steps_moved);
  EXPECT_NE(result.input_norm, std::vector<float>(result.input_norm.size(), 1.0f));
}

// The error that is reported is that of a block put together from the result.
TEST_F(BlockReconstructionTest, ReportsTheErrorOfTheRuntimesBlock) {
  const BlockReconstructionResult result = load_lab().block_reconstruction(request_);
  Transformer model = Transformer::load(directory());
  for (const BlockLinearGrid& grid : result.grids) {
    const std::int64_t groups = (grid.columns + grid.group - 1) / grid.group;
    std::vector<float> weights;
    for (std::int64_t row = 0; row < grid.rows; ++row) {
      for (std::int64_t column = 0; column < grid.columns; ++column) {
        const auto parameter = static_cast<std::size_t>(row * groups + column / grid.group);
        const auto code = grid.codes[static_cast<std::size_t>(row * grid.columns + column)];
        weights.push_back(static_cast<float>(code) * grid.step[parameter] + grid.offset[parameter]);
      }
    }
    auto tensor = std::make_shared<Tensor>(Tensor::from_f32({grid.rows, grid.columns}, weights, DType::f32));
    model.set_linear(layer_, grid.slot, make_dense_linear(tensor->view(), tensor));
  }
  model.set_norms(layer_, result.input_norm, result.post_attention_norm);
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < request_.inputs.size(); ++i) {
    std::vector<float> hidden = request_.inputs[i];
    model.run_block(layer_, hidden.data(), 20, nullptr);
    for (std::size_t k = 0; k < hidden.size(); ++k) {
      const double error = static_cast<double>(hidden[k]) - request_.targets[i][k];
      sum += error * error;
      count += 1;
    }
  }
  EXPECT_NEAR(sum / count, result.error_after, 1e-4 * result.error_after);
}

TEST_F(BlockReconstructionTest, KeepsTheStartWhenTrainingMakesItWorse) {
  request_.learning_rate = 1e3;
  const BlockReconstructionResult result = load_lab().block_reconstruction(request_);
  EXPECT_EQ(result.error_after, result.error_before);
  for (std::size_t i = 0; i < result.grids.size(); ++i) {
    EXPECT_EQ(result.grids[i].step, request_.grids[i].step);
    EXPECT_EQ(result.grids[i].offset, request_.grids[i].offset);
  }
}

TEST_F(BlockReconstructionTest, RepeatsForTheSameSeed) {
  const BlockReconstructionResult a = load_lab().block_reconstruction(request_);
  const BlockReconstructionResult b = load_lab().block_reconstruction(request_);
  for (std::size_t i = 0; i < a.grids.size(); ++i) EXPECT_EQ(a.grids[i].step, b.grids[i].step);
  EXPECT_EQ(a.error_after, b.error_after);
}

TEST_F(BlockReconstructionTest, RefusesWhatDoesNotFit) {
  BlockReconstructionRequest wrong = request_;
  wrong.layer = description_.layers;
  EXPECT_THROW(load_lab().block_reconstruction(wrong), Error);
  wrong = request_;
  wrong.targets.pop_back();
  EXPECT_THROW(load_lab().block_reconstruction(wrong), Error);
  wrong = request_;
  wrong.grids[0].step.pop_back();
  EXPECT_THROW(load_lab().block_reconstruction(wrong), Error);
  wrong = request_;
  wrong.inputs[0][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(load_lab().block_reconstruction(wrong), Error);
  wrong = request_;
  wrong.input_norm = {1, 2};
  EXPECT_THROW(load_lab().block_reconstruction(wrong), Error);
}

}  // namespace
}  // namespace laconic
