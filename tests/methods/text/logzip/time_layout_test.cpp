#include "methods/text/logzip/time_layout.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

std::optional<std::int64_t> read_one(const Stamp& stamp, std::string_view text) {
  return stamp.read({&text, 1});
}

std::string write_one(const Stamp& stamp, std::int64_t value) {
  std::string text;
  stamp.write(value, {&text, 1});
  return text;
}

TEST(TimeLayout, KnownMoments) {
  EXPECT_EQ(days_since_1970(1970, 1, 1), 0);
  EXPECT_EQ(days_since_1970(2000, 3, 1), 11017);
  EXPECT_EQ(days_since_1970(1969, 12, 31), -1);
  const Stamp stamp({TimeLayout("%Y-%m-%d %H:%M:%S,%3")});
  EXPECT_EQ(stamp.unit(), 1000000);
  EXPECT_EQ(read_one(stamp, "2001-09-09 01:46:40,007"), 1000000000007);
  EXPECT_EQ(write_one(stamp, 1000000000007), "2001-09-09 01:46:40,007");
  EXPECT_EQ(read_one(Stamp({TimeLayout("%s")}), "1117838570"), 1117838570);
  EXPECT_EQ(read_one(Stamp({TimeLayout("%Y.%m.%d")}), "1970.01.11"), 10);
}

TEST(TimeLayout, ReadsExactlyWhatItWrites) {
  for (const char* layout :
       {"%Y-%m-%dT%H:%M:%S.%6", "%y%m%d %H%M%S", "%b %e %H:%M:%S", "%b %D %K:%N:%T", "%a %b %d %H:%M:%S %Y",
        "%d/%b/%Y:%H:%M:%S", "%m-%d %H:%M:%S.%3", "%Y%m%d-%K:%N:%T:%f"}) {
    const Stamp stamp({TimeLayout(layout)});
    const std::int64_t per_day = 86400ll * 1000000000 / stamp.unit();
    for (std::int64_t day = 0; day < 36000; day += 17) {
      // Without a year only the year of the default comes back.
      const bool year = std::string_view(layout).find("%Y") != std::string_view::npos ||
                        std::string_view(layout).find("%y") != std::string_view::npos;
      const std::int64_t value =
          (year ? day - 300 : 730 + day % 366) * per_day + (day * 7919 + 12345) % per_day;
      const std::string text = write_one(stamp, value);
      ASSERT_EQ(read_one(stamp, text), value) << layout << ' ' << text;
    }
  }
}

TEST(TimeLayout, OtherFormsAreRefused) {
  const Stamp stamp({TimeLayout("%Y-%m-%d %H:%M:%S")});
  for (const char* text :
       {"2023-02-29 00:00:00", "2023-13-01 00:00:00", "2023-1-01 00:00:00", "2023-01-01 24:00:00",
        "2023-01-01 00:60:00", "2023-01-01 00:00:60", "2023-01-01 00:00:00 ", "", "1023-01-01 00:00:00"})
    EXPECT_FALSE(read_one(stamp, text)) << text;
  EXPECT_TRUE(read_one(stamp, "2024-02-29 23:59:59"));
  const Stamp week({TimeLayout("%a %b %d %H:%M:%S %Y")});
  EXPECT_TRUE(read_one(week, "Thu Jan 01 00:00:00 1970"));
  EXPECT_FALSE(read_one(week, "Fri Jan 01 00:00:00 1970"));
  const Stamp padded({TimeLayout("%b %e")}), unpadded({TimeLayout("%b %D")});
  EXPECT_TRUE(read_one(padded, "Nov  9"));
  EXPECT_FALSE(read_one(padded, "Nov 9"));
  EXPECT_TRUE(read_one(unpadded, "Nov 9"));
  EXPECT_FALSE(read_one(unpadded, "Nov 09"));
}

TEST(TimeLayout, BadLayoutsAndBadMomentsAreErrors) {
  EXPECT_THROW(TimeLayout("%Q"), Error);
  EXPECT_THROW(TimeLayout("%Y %y"), Error);
  EXPECT_THROW(TimeLayout("literal"), Error);
  EXPECT_THROW(TimeLayout("%a %H"), Error);
  EXPECT_THROW(TimeLayout("%"), Error);
  EXPECT_THROW(Stamp({TimeLayout("%Y"), TimeLayout("%Y-%m")}), Error);
  EXPECT_THROW(Stamp({TimeLayout("%s"), TimeLayout("%Y")}), Error);
  for (const char* layout : {"%Y-%m-%d", "%s", "%H:%M:%S.%9"}) {
    const Stamp stamp({TimeLayout(layout)});
    EXPECT_THROW(write_one(stamp, INT64_MAX), Error) << layout;
    EXPECT_THROW(write_one(stamp, INT64_MIN), Error) << layout;
  }
}

TEST(TimeLayout, LayoutsAreFoundFromSamples) {
  const auto found = [](std::vector<std::string_view> samples) {
    const auto layout = layout_of(samples);
    return layout ? layout->text() : std::string();
  };
  EXPECT_EQ(found({"2016-09-28", "2016-09-29"}), "%Y-%m-%d");
  EXPECT_EQ(found({"081109", "081110"}), "%y%m%d");
  EXPECT_EQ(found({"23:10:11,999", "00:00:00,000"}), "%H:%M:%S,%3");
  EXPECT_EQ(found({"1117838570"}), "%s");
  EXPECT_EQ(found({"Dec"}), "%b");
  EXPECT_EQ(found({"2023-05-01T10:00:00.123456Z"}), "%Y-%m-%dT%H:%M:%S.%6Z");
  EXPECT_EQ(found({"2023-05-01T10:00:00+02:00"}), "%Y-%m-%dT%H:%M:%S+02:00");
  EXPECT_EQ(found({"17/May/2015:10:05:03"}), "%d/%b/%Y:%H:%M:%S");
  EXPECT_EQ(found({"not a time"}), "");
  EXPECT_EQ(found({}), "");
}

}  // namespace
}  // namespace laconic::logzip
