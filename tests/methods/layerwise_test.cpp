// A layer-wise run that ends while it writes.
#include "methods/weights/layerwise.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <string>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/progress.h"
#include "methods/method.h"
#include "small_language_model.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

std::map<std::string, ino_t> inodes(const fs::path& folder) {
  std::map<std::string, ino_t> result;
  for (const auto& item : fs::recursive_directory_iterator(folder)) {
    struct stat information {};
    if (item.path().extension() == ".safetensors" && ::stat(item.path().c_str(), &information) == 0) {
      result[item.path().string()] = information.st_ino;
    }
  }
  return result;
}

TEST(Layerwise, ARunThatEndsWhileItWritesEncodesNothingAgain) {
  const SmallLanguageModel small;
  CompressionRequest request;
  request.model = small.model();
  request.output = small.root() / "out";
  request.parameters = Parameters(method_named("rtn").parameters);
  request.progress = [](const ProgressReport& report) {
    if (report.activity == "writing") request_interrupt();
  };
  try {
    method_named("rtn").compress(request);
    FAIL() << "not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::interrupted);
  }
  clear_interrupt();
  ASSERT_FALSE(fs::exists(request.output));
  const fs::path work = small.root() / "out.partial" / ".units" / "work";
  const auto encoded = inodes(work);
  ASSERT_EQ(encoded.size(), 14u);  // seven linear layers in each of two blocks

  bool same = false;
  request.progress = [&](const ProgressReport& report) {
    if (report.activity == "writing") same = inodes(work) == encoded;
  };
  method_named("rtn").compress(request);
  EXPECT_TRUE(same);
  EXPECT_FALSE(fs::exists(small.root() / "out.partial"));
  EXPECT_FALSE(fs::exists(request.output / ".units"));
  request.output = small.root() / "whole";
  request.progress = {};
  method_named("rtn").compress(request);
  EXPECT_EQ(read_text_file(small.root() / "out" / "model.safetensors"),
            read_text_file(small.root() / "whole" / "model.safetensors"));
}

TEST(Layerwise, UnfinishedWorkOfAnotherVersionIsNotContinued) {
  const Parameters parameters(method_named("gptq").parameters);
  EXPECT_EQ(settings_text("gptq", parameters),
            "gptq version " + std::to_string(method_named("gptq").version));
  EXPECT_EQ(settings_text("pipeline", parameters), "pipeline version 0");
}

}  // namespace
}  // namespace laconic
