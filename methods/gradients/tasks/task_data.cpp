#include "methods/gradients/tasks/task_data.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <span>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/hash.h"
#include "engine/dataset/gzip.h"
#include "engine/dataset/idx.h"
#include "engine/dataset/picture_sheets.h"
#include "engine/dataset/synthetic.h"
#include "engine/dataset/text_windows.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t all_examples = std::numeric_limits<std::int64_t>::max();
constexpr double held_out_share = 0.1;

// How many examples of each part are kept.
struct Kept {
  std::int64_t train = all_examples, test = all_examples;
};

Kept take_kept(TaskOptions& options) {
  const auto take = [&](const char* name) {
    const std::int64_t count = options.take_count(name, 0, 0, std::int64_t{1} << 40);
    return count == 0 ? all_examples : count;
  };
  Kept kept;
  kept.train = take("examples");
  kept.test = take("test-examples");
  return kept;
}

void keep_first(SparseExamples& examples, std::int64_t count) {
  if (count >= examples.rows()) return;
  const auto rows = static_cast<std::size_t>(count);
  examples.label.resize(rows);
  examples.row_start.resize(rows + 1);
  examples.column.resize(examples.row_start.back());
  examples.value.resize(examples.row_start.back());
}

void keep_first(ImageExamples& examples, std::int64_t count) {
  if (count >= examples.count()) return;
  examples.labels.resize(static_cast<std::size_t>(count));
  examples.pixels.resize(static_cast<std::size_t>(count) * examples.numbers());
}

void keep_first(Ratings& ratings, std::int64_t count) {
  if (count < static_cast<std::int64_t>(ratings.ratings.size()))
    ratings.ratings.resize(static_cast<std::size_t>(count));
}

template <class Parts>
Parts kept_parts(Parts parts, const Kept& kept) {
  keep_first(parts.train, kept.train);
  keep_first(parts.test, kept.test);
  return parts;
}

// Every tenth example goes to the held-out part.
SparseData hold_out_every_tenth(const SparseExamples& examples) {
  SparseData data;
  for (std::int64_t i = 0; i < examples.rows(); ++i) {
    const SparseRow row = examples.row(i);
    SparseExamples& part = i % 10 == 9 ? data.test : data.train;
    part.append(examples.label[static_cast<std::size_t>(i)], row.columns, row.values);
  }
  data.train.columns = data.test.columns = examples.columns;
  return data;
}

// Both parts get the larger width.
SparseData read_sparse_pair(const fs::path& train, const fs::path& test) {
  SparseData data{read_libsvm(train), read_libsvm(test)};
  data.train.columns = data.test.columns = std::max(data.train.columns, data.test.columns);
  return data;
}

ImageData image_pair(ImageExamples train, ImageExamples test, const fs::path& where) {
  if (train.numbers() != test.numbers() || train.channels != test.channels || train.width != test.width)
    fail(ErrorKind::input, "pictures to train and to test differ in size", where.string());
  train.classes = test.classes = std::max(train.classes, test.classes);
  return {std::move(train), std::move(test)};
}

ImageData hold_out_every_tenth(const ImageExamples& examples) {
  ImageData data;
  for (ImageExamples* part : {&data.train, &data.test}) {
    part->channels = examples.channels;
    part->height = examples.height;
    part->width = examples.width;
    part->classes = examples.classes;
  }
  for (std::int64_t i = 0; i < examples.count(); ++i) {
    ImageExamples& part = i % 10 == 9 ? data.test : data.train;
    const auto picture = examples.picture(i);
    part.pixels.insert(part.pixels.end(), picture.begin(), picture.end());
    part.labels.push_back(examples.labels[static_cast<std::size_t>(i)]);
  }
  return data;
}

TextData hold_out_end(const std::string& text) {
  const std::size_t end = held_out_begin(text, held_out_share);
  return {text.substr(0, end), text.substr(end)};
}

RatingData hold_out_latest(Ratings ratings) {
  RatingData data;
  data.test.users = ratings.users;
  data.test.items = ratings.items;
  const auto first =
      static_cast<std::ptrdiff_t>(static_cast<double>(ratings.ratings.size()) * (1 - held_out_share));
  data.test.ratings.assign(ratings.ratings.begin() + first, ratings.ratings.end());
  ratings.ratings.erase(ratings.ratings.begin() + first, ratings.ratings.end());
  data.train = std::move(ratings);
  return data;
}

ImageData read_cifar10(const fs::path& folder) {
  const std::array<fs::path, 3> train{folder / "train_sheet_0.png", folder / "train_sheet_1.png",
                                      folder / "train_sheet_2.png"};
  const std::array<fs::path, 2> test{folder / "test_jpeg_sheet_0.png", folder / "test_jpeg_sheet_1.png"};
  return image_pair(read_picture_sheets(train, folder / "train_labels.txt", 32),
                    read_picture_sheets(test, folder / "test_jpeg_labels.txt", 32), folder);
}

struct KnownSet {
  std::string_view name, folder, usual_model;
  // Reads the parts from the folder of the data directory.
  std::function<decltype(TaskData::parts)(const fs::path& folder)> read;
};

const std::vector<KnownSet>& known_sets() {
  static const auto pair = [](const char* train, const char* test) {
    return [=](const fs::path& folder) { return read_sparse_pair(folder / train, folder / test); };
  };
  static const auto one = [](const char* file) {
    return [=](const fs::path& folder) { return hold_out_every_tenth(read_libsvm(folder / file)); };
  };
  static const std::vector<KnownSet> sets{
      {"a9a", "convex/a9a", "logistic", pair("a9a", "a9a.t")},
      {"w8a", "convex/w8a", "logistic", one("w8a")},
      {"mushrooms", "convex/mushrooms", "logistic", pair("agaricus.txt.train", "agaricus.txt.test")},
      {"phishing", "convex/phishing", "logistic", one("phishing_first8404")},
      {"ijcnn1", "convex/ijcnn1", "logistic", pair("ijcnn1.train20k", "ijcnn1.test8k")},
      {"reuters", "convex/reuters", "logistic", pair("reuters.train4000", "reuters.test1000")},
      {"mnist", "vision/mnist", "mlp",
       [](const fs::path& folder) {
         return image_pair(
             read_idx_pair(folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"),
             read_idx_pair(folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"),
             folder);
       }},
      {"fashion-mnist", "vision/fashion-mnist", "mlp",
       [](const fs::path& folder) {
         // Classes go round, so thirds of the file have all of them: 600 to train, 300 held out.
         ImageExamples all = read_idx_pair(folder / "sprite900-images-idx3-ubyte.gz",
                                           folder / "sprite900-labels-idx1-ubyte.gz");
         const std::int64_t train = all.count() * 2 / 3;
         ImageExamples rest = all;
         rest.labels.erase(rest.labels.begin(), rest.labels.begin() + train);
         rest.pixels.erase(rest.pixels.begin(),
                           rest.pixels.begin() +
                               static_cast<std::ptrdiff_t>(static_cast<std::size_t>(train) * all.numbers()));
         keep_first(all, train);
         return image_pair(std::move(all), std::move(rest), folder);
       }},
      {"cifar10", "vision/cifar10", "resnet", read_cifar10},
      {"ml-100k", "ctr/ml-100k", "factorisation",
       [](const fs::path& folder) { return hold_out_latest(read_ratings(folder / "u.data")); }},
      {"tinyshakespeare", "text/tinyshakespeare", "lm",
       [](const fs::path& folder) {
         const std::string text = read_text_file(folder / "input.txt");
         const std::size_t train = std::min<std::size_t>(text.size(), 1'003'854);
         return TextData{text.substr(0, train), text.substr(train)};
       }},
      {"wikitext-2", "text/wikitext-2", "lm",
       [](const fs::path& folder) {
         return TextData{read_text_file(folder / "valid.txt"), read_text_file(folder / "test.txt")};
       }},
      {"tinystories", "text/tinystories", "lm",
       [](const fs::path& folder) {
         // 2000 stories to train, those behind them held out.
         const std::string text = read_text_file(folder / "tinystories_sample.txt");
         constexpr std::string_view separator = "<|endoftext|>";
         std::size_t end = 0;
         for (int story = 0; story < 2000; ++story) {
           const std::size_t next = text.find(separator, end);
           if (next == std::string::npos) return hold_out_end(text);
           end = next + separator.size();
         }
         return TextData{text.substr(0, end), text.substr(end)};
       }},
      {"dickens", "text/dickens", "lm",
       [](const fs::path& folder) {
         const std::string text = read_text_file(folder / "dickens");
         const std::size_t train = std::min<std::size_t>(text.size(), 9'173'201);
         return TextData{text.substr(0, train), text.substr(train)};
       }},
  };
  return sets;
}

constexpr std::array<std::string_view, 3> generated_sets{"synthetic-classes", "synthetic-logistic",
                                                         "synthetic-quadratic"};

TaskData generate(const TaskRequest& request, TaskOptions& options) {
  TaskData data;
  data.name = request.dataset;
  const auto count = [&](const char* name, std::int64_t standard) {
    const std::int64_t given = options.take_count(name, standard, 0, 1 << 24);
    return given == 0 ? standard : given;
  };
  if (request.dataset == "synthetic-classes") {
    SyntheticClasses settings;
    settings.examples = count("examples", 4000);
    settings.classes = static_cast<std::int32_t>(options.take_count("classes", 10, 2, 1000));
    settings.side = options.take_count("side", 8, 1, 64);
    settings.noise = options.take("noise", settings.noise, 0, 128);
    SyntheticClasses held_out = settings;
    held_out.examples = count("test-examples", 1000);
    data.parts = ImageData{synthetic_classes(settings, SetPart::train, request.seed),
                           synthetic_classes(held_out, SetPart::test, request.seed)};
    data.usual_model = "mlp";
  } else if (request.dataset == "synthetic-logistic") {
    const std::int64_t columns = options.take_count("columns", 100, 1, 1 << 16);
    data.parts =
        SparseData{synthetic_logistic(count("examples", 4000), columns, SetPart::train, request.seed),
                   synthetic_logistic(count("test-examples", 1000), columns, SetPart::test, request.seed)};
    data.usual_model = "logistic";
  } else {
    const std::int64_t columns = options.take_count("columns", 10, 1, 1 << 16);
    const double spread = options.take("spread", 1, 0, 10);
    SparseExamples rows = synthetic_quadratic(count("examples", 1000), columns, spread, request.seed);
    // Least squares have no other world to generalise to: the rows themselves are looked at.
    SparseExamples same = rows;
    keep_first(same, options.take_count("test-examples", rows.rows(), 1, 1 << 24));
    data.parts = SparseData{std::move(rows), std::move(same)};
    data.usual_model = "least-squares";
  }
  return data;
}

// Whether the first lines are those of LIBSVM text: tried by the parser itself.
bool looks_like_libsvm(std::string_view text) {
  std::size_t end = 0;
  for (int line = 0; line < 20 && end < text.size(); ++line)
    end = std::min(text.find('\n', end), text.size() - 1) + 1;
  try {
    return !parse_libsvm(text.substr(0, end), "").column.empty();
  } catch (const Error&) {
    return false;
  }
}

// "train-images-idx3-ubyte.gz" to "train-labels-idx1-ubyte.gz", in the file's name only.
fs::path labels_of(const fs::path& images) {
  std::string name = images.filename().string();
  const auto replace = [&](std::string_view from, std::string_view to) {
    const std::size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  };
  replace("images", "labels");
  replace("idx3", "idx1");
  const fs::path labels = images.parent_path() / name;
  if (labels == images || !fs::exists(labels))
    fail(ErrorKind::input, "the labels of these pictures were not found", images.string(),
         "put them beside as the same name with \"labels\" for \"images\"");
  return labels;
}

ImageData read_idx_folder(const fs::path& folder) {
  std::vector<fs::path> images;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().find("images") != std::string::npos) images.push_back(entry.path());
  }
  std::sort(images.begin(), images.end());
  const auto starts = [&](std::initializer_list<std::string_view> names) -> const fs::path* {
    for (const fs::path& path : images) {
      for (const std::string_view name : names) {
        if (path.filename().string().starts_with(name)) return &path;
      }
    }
    return nullptr;
  };
  const fs::path* train = starts({"train"});
  const fs::path* test = starts({"t10k", "test"});
  if (train != nullptr && test != nullptr)
    return image_pair(read_idx_pair(*train, labels_of(*train)), read_idx_pair(*test, labels_of(*test)),
                      folder);
  if (images.size() == 1) return hold_out_every_tenth(read_idx_pair(images[0], labels_of(images[0])));
  fail(ErrorKind::input, "holds no IDX pictures", folder.string(),
       "it needs train-images..., train-labels..., t10k-images... and t10k-labels..., or one such pair");
}

TaskData read_users_own(const fs::path& path) {
  TaskData data;
  data.name = path.filename().empty() ? path.parent_path().filename().string() : path.filename().string();
  if (fs::is_directory(path)) {
    data.parts = read_idx_folder(path);
    data.usual_model = "mlp";
    return data;
  }
  const Bytes bytes = read_plain_or_gzip(path);
  if (bytes.size() >= 4 && bytes[0] == std::byte{0} && bytes[1] == std::byte{0}) {
    data.parts = hold_out_every_tenth(read_idx_pair(path, labels_of(path)));
    data.usual_model = "mlp";
  } else if (looks_like_libsvm(as_text(bytes))) {
    fs::path test = path;
    test += ".t";
    data.parts = fs::exists(test) ? read_sparse_pair(path, test)
                                  : hold_out_every_tenth(parse_libsvm(as_text(bytes), path.string()));
    const std::vector<float>& labels = std::get<SparseData>(data.parts).train.label;
    std::vector<float> values(labels);
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    const bool whole = std::all_of(values.begin(), values.end(), [](float v) { return v == std::floor(v); });
    data.usual_model = values.size() <= 2               ? "logistic"
                       : whole && values.size() <= 1000 ? "softmax"
                                                        : "least-squares";
  } else {
    data.parts = hold_out_end(std::string(as_text(bytes)));
    data.usual_model = "lm";
  }
  return data;
}

template <class Number>
void hash_numbers(StreamingHash128& hash, const std::vector<Number>& numbers) {
  const std::uint64_t count = numbers.size();
  hash.update(std::as_bytes(std::span(&count, 1)));
  hash.update(std::as_bytes(std::span(numbers)));
}

void hash_part(StreamingHash128& hash, const SparseExamples& part) {
  hash_numbers(hash, std::vector<std::int64_t>{part.columns});
  hash_numbers(hash, part.row_start);
  hash_numbers(hash, part.column);
  hash_numbers(hash, part.value);
  hash_numbers(hash, part.label);
}
void hash_part(StreamingHash128& hash, const ImageExamples& part) {
  hash_numbers(hash, std::vector<std::int64_t>{part.channels, part.height, part.width, part.classes});
  hash_numbers(hash, part.pixels);
  hash_numbers(hash, part.labels);
}
void hash_part(StreamingHash128& hash, const std::string& part) {
  hash_numbers(hash, std::vector<std::uint64_t>{part.size()});
  hash.update(part);
}
void hash_part(StreamingHash128& hash, const Ratings& part) {
  hash_numbers(hash, std::vector<std::int32_t>{part.users, part.items});
  for (const Rating& rating : part.ratings) {  // field by field: there may be padding
    hash_numbers(hash, std::vector<std::int32_t>{rating.user, rating.item});
    hash_numbers(hash, std::vector<float>{rating.value});
    hash_numbers(hash, std::vector<std::int64_t>{rating.time});
  }
}

bool is_empty(const SparseExamples& part) { return part.rows() == 0; }
bool is_empty(const ImageExamples& part) { return part.count() == 0; }
bool is_empty(const std::string& part) { return part.empty(); }
bool is_empty(const Ratings& part) { return part.ratings.empty(); }

}  // namespace

void TaskData::refuse(std::string_view model) const {
  static constexpr std::array<std::string_view, 4> kinds{"sparse rows", "pictures", "text", "ratings"};
  fail(ErrorKind::usage, fmt::format("a {} model cannot use {}", model, kinds[parts.index()]), name,
       fmt::format("its usual model is {}", usual_model));
}

std::vector<std::string> known_datasets() {
  std::vector<std::string> names;
  for (const KnownSet& set : known_sets()) names.emplace_back(set.name);
  names.insert(names.end(), generated_sets.begin(), generated_sets.end());
  return names;
}

TaskData load_task_data(const TaskRequest& request, TaskOptions& options) {
  TaskData data;
  const auto& sets = known_sets();
  const auto known = std::find_if(sets.begin(), sets.end(),
                                  [&](const KnownSet& set) { return set.name == request.dataset; });
  if (std::find(generated_sets.begin(), generated_sets.end(), request.dataset) != generated_sets.end()) {
    data = generate(request, options);
  } else {
    if (known != sets.end()) {
      if (request.data.empty())
        fail(ErrorKind::input, "the data directory is not known", request.dataset,
             fmt::format("name the folder that holds {} with --data or LACONIC_DATA", known->folder));
      data.name = request.dataset;
      data.usual_model = known->usual_model;
      data.parts = known->read(request.data / known->folder);
    } else if (!request.dataset.empty() && fs::exists(request.dataset)) {
      data = read_users_own(request.dataset);
    } else {
      fail(ErrorKind::usage, "there is no such data set or file", request.dataset,
           fmt::format("there are {}; or name a file of LIBSVM text, IDX pictures or plain text",
                       fmt::join(known_datasets(), ", ")));
    }
    // Windows of text are counted by the language model.
    const Kept kept = std::holds_alternative<TextData>(data.parts) ? Kept{} : take_kept(options);
    if (auto* sparse = std::get_if<SparseData>(&data.parts)) *sparse = kept_parts(std::move(*sparse), kept);
    if (auto* images = std::get_if<ImageData>(&data.parts)) *images = kept_parts(std::move(*images), kept);
    if (auto* ratings = std::get_if<RatingData>(&data.parts))
      *ratings = kept_parts(std::move(*ratings), kept);
  }
  StreamingHash128 hash;
  std::visit(
      [&](const auto& parts) {
        if (is_empty(parts.train) || is_empty(parts.test))
          fail(ErrorKind::input, "there is nothing to train on or nothing to test on", data.name,
               "give more examples");
        hash_part(hash, parts.train);
        hash_part(hash, parts.test);
      },
      data.parts);
  data.hash = to_hex(hash.digest());
  return data;
}

}  // namespace laconic
