#include "methods/cache/pipeline.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::string canonical(const std::string& text) { return canonical_text(parse_cache_pipeline(text)); }

std::string fault(const std::string& text) {
  try {
    parse_cache_pipeline(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    return error.what();
  }
  return "";
}

TEST(CachePipeline, PrintsCanonicallyAndParsesWhatItPrints) {
  EXPECT_EQ(canonical(" kivi ( bits = 2 , group=32 ) "), "kivi(bits=2)");
  EXPECT_EQ(canonical("kivi"), "kivi");
  for (const std::string text : {"f16", "kivi(bits=2,group=64)", "per-token(bits=4,joint=true)"})
    EXPECT_EQ(canonical(canonical(text)), canonical(text));
}

TEST(CachePipeline, SaysWhatIsWrong) {
  EXPECT_NE(fault("kiwi").find("kivi"), std::string::npos);
  EXPECT_NE(fault("kivi(bit=2)").find("bits"), std::string::npos);
  EXPECT_NE(fault("kivi(bits=99)").find("99"), std::string::npos);
  EXPECT_NE(fault("kivi(bits=2").find("closing"), std::string::npos);
  EXPECT_NE(fault("kivi + ").find("empty"), std::string::npos);
  EXPECT_NE(fault("").find("empty"), std::string::npos);
  EXPECT_NE(fault("kivi + f16").find("both decide about bits"), std::string::npos);
  EXPECT_NE(fault("decoupleq").find("no cache method"), std::string::npos);
}

// The table that users read is what the parser does.
TEST(CachePipeline, TheTableOfCompositionsIsWhatParses) {
  const auto table = cache_composition_table();
  ASSERT_GT(table.size(), 2u);
  for (std::size_t row = 1; row < table.size(); ++row) {
    ASSERT_EQ(table[row].size(), table.size());
    for (std::size_t column = 1; column < table.size(); ++column) {
      EXPECT_EQ(table[row][column], table[column][row]);
      if (row == column) continue;
      const std::string error = fault(table[row][0] + " + " + table[0][column]);
      if (table[row][column].starts_with("yes")) {
        EXPECT_EQ(error, "") << table[row][0] << " + " << table[0][column];
      } else {
        EXPECT_NE(error.find(table[row][column]), std::string::npos) << error;
      }
    }
  }
}

}  // namespace
}  // namespace laconic
