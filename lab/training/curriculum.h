// Windows of running text mixed with retrieval documents (runtime/corpus/retrieval.h), longer from stage to
// stage: short windows are dense in questions and teach a model to look things up; long ones stretch the
// distance.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lab/training/windows.h"
#include "methods/lab_plugin.h"
#include "runtime/corpus/haystack.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic::lab {

class CurriculumSource final : public ExampleSource {
 public:
  // `texts`: documents of each source. A source is drawn from in proportion to the root of its tokens, so
  // that small ones are not lost among large ones.
  CurriculumSource(const TrainLanguageModelRequest& request, const Tokenizer& tokenizer,
                   std::vector<std::vector<std::string>> texts);
  std::vector<TrainingExample> examples(std::int64_t step) override;
  std::int64_t tokens(std::int64_t step) override;

  const CurriculumStage& stage(std::int64_t step) const;
  // A hash of the tokens of all texts.
  std::string text_hash() const;

 private:
  struct Text {
    std::vector<std::int32_t> tokens;  // documents with EOS behind each
    std::vector<std::size_t> starts;   // of documents
    Haystack haystack;
  };
  struct WeightedWindow {
    Window tokens;
    std::vector<float> weights;  // of tokens 1, 2, ...
  };
  const Text& draw_text(RandomStream& random) const;
  void fill_with_text(WeightedWindow& window, std::size_t length, RandomStream& random) const;
  // `drawn` in [0, 1) chooses among the kinds of documents of the stage.
  void fill_with_documents(WeightedWindow& window, const CurriculumStage& stage, double drawn,
                           RandomStream& random, std::uint64_t first_index) const;

  const TrainLanguageModelRequest& request_;
  const Tokenizer& tokenizer_;
  std::int32_t bos_, eos_;
  std::vector<Text> texts_;
  std::vector<double> shares_;           // running sum, ends at 1
  std::vector<std::int64_t> last_;       // step behind each stage
  std::vector<WeightedWindow> windows_;  // of the last examples()
};

}  // namespace laconic::lab
