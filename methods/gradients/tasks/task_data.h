// The data behind a training task's name: one of the known sets of the data directory, a generated set, or a
// file of the user's, with a part to train on and a part that is held out.
//
//   sets of C15      the parts that came: a9a, ijcnn1, mushrooms, reuters, mnist, fashion-mnist, cifar10;
//                    w8a and phishing have one part, of which every tenth example is held out;
//                    ml-100k by time, the last tenth held out; tinyshakespeare its last tenth;
//                    wikitext-2: validation is trained on, test held out; tinystories; dickens
//   synthetic-*      engine/dataset/synthetic.h
//   the user's       LIBSVM text (every tenth example held out; or FILE and FILE.t), a directory or one file
//   of
//                    IDX pictures, plain text (the last tenth held out)
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "engine/dataset/images.h"
#include "engine/dataset/libsvm.h"
#include "engine/dataset/ratings.h"
#include "methods/gradients/tasks/task_options.h"

namespace laconic {

struct SparseData {
  SparseExamples train, test;
};
struct ImageData {
  ImageExamples train, test;
};
struct TextData {
  std::string train, test;
};
struct RatingData {
  Ratings train, test;
};

struct TaskData {
  std::string name;
  std::variant<SparseData, ImageData, TextData, RatingData> parts;
  std::string usual_model;
  std::string hash;  // of everything in `parts`

  // Throws Error(usage) naming the model that cannot use them when the parts are of another kind.
  template <class Parts>
  const Parts& as(std::string_view model) const {
    const Parts* found = std::get_if<Parts>(&parts);
    if (found == nullptr) refuse(model);
    return *found;
  }
  [[noreturn]] void refuse(std::string_view model) const;
};

// Takes the options of the data ("examples", "test-examples"; of generated sets also "classes", "side",
// "columns", "spread"), not those of models. Throws Error(usage) with the names that there are.
TaskData load_task_data(const TaskRequest& request, TaskOptions& options);

std::vector<std::string> known_datasets();

}  // namespace laconic
