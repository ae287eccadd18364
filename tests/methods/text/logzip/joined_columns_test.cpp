#include "methods/text/logzip/joined_columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace laconic::logzip {
namespace {

using ::testing::ElementsAre;

// Slots of different templates whose lines alternate.
std::vector<std::uint32_t> joined(const std::vector<std::vector<std::string>>& columns,
                                  bool one_template = false) {
  std::vector<SlotSample> slots(columns.size());
  std::uint32_t place = 0;
  for (std::size_t row = 0; row < columns[0].size(); ++row)
    for (std::size_t slot = 0; slot < columns.size(); ++slot) {
      slots[slot].group = one_template ? 0 : static_cast<std::uint32_t>(slot);
      slots[slot].values.push_back(columns[slot][row]);
      slots[slot].places.push_back(place++);
    }
  return join_slots(slots);
}

std::vector<std::string> sequence(int count, const std::function<std::string(int)>& value) {
  std::vector<std::string> values;
  for (int i = 0; i < count; ++i) values.push_back(value(i));
  return values;
}

TEST(JoinedColumns, TheSameIdsInTwoTemplates) {
  const auto ids = [](int i) { return "7e7cc42f-3cb9-" + std::to_string(i * 7919 % 10007); };
  EXPECT_THAT(joined({sequence(40, ids), sequence(40, ids)}), ElementsAre(0, 0));
}

TEST(JoinedColumns, NothingInCommonStaysApart) {
  EXPECT_THAT(joined({sequence(40, [](int i) { return "a" + std::to_string(i); }),
                      sequence(40, [](int i) { return "b" + std::to_string(i); })}),
              ElementsAre(0, 1));
}

TEST(JoinedColumns, ConstantsAndSmallIndependentNumbersStayApart) {
  EXPECT_THAT(joined({sequence(40, [](int) { return "5"; }), sequence(40, [](int) { return "5"; })}),
              ElementsAre(0, 1));
  EXPECT_THAT(joined({sequence(400, [](int i) { return std::to_string(i * 7919 % 13); }),
                      sequence(400, [](int i) { return std::to_string(i * 104729 % 17); })}),
              ElementsAre(0, 1));
}

TEST(JoinedColumns, EqualSlotsOfOneTemplateAreLeftToTheirColumns) {
  const auto ids = [](int i) { return "blk_" + std::to_string(i * 7919 % 10007); };
  EXPECT_THAT(joined({sequence(40, ids), sequence(40, ids)}, true), ElementsAre(0, 1));
}

}  // namespace
}  // namespace laconic::logzip
