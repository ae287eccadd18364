// Damaged parts of coded blocks of log, also read with the format of another log: refused, or lines within
// the bounds of a block. Every block is also read line by line.
#include <cstdlib>
#include <cstring>

#include "engine/base/error.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/lines.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;
using namespace laconic::logzip;

struct LogSubject {
  HeaderFormat format;
  KnownTemplates known{1};
  CodedBlock block;
};

const std::vector<LogSubject>& log_subjects() {
  static const std::vector<LogSubject> all = [] {
    std::vector<LogSubject> made;
    for (const char* format : {"<Content>", "<Date=%Y-%m-%d> <Time=%H:%M:%S> <Level!> <Pid> <Content>"})
      for (const LogMode mode : {LogMode::fast, LogMode::best, LogMode::maximum})
        for (const bool lossy : {false, true}) {
          LogSubject subject{
              HeaderFormat(format), KnownTemplates(template_segments(HeaderFormat(format))), {}};
          const std::string before = "2024-01-01 10:00:00 INFO 1 job 5 begins\n";
          subject.known.add(encode_block(before + before + before, subject.format, subject.known).fresh);
          std::string text;
          for (int i = 0; i < 40; ++i)
            text += "2024-01-0" + std::to_string(1 + i / 9) + " 10:00:0" + std::to_string(i % 9) + " INFO " +
                    std::to_string(i % 7) + " job " + std::to_string(i * i) +
                    (i % 3 == 0 ? " done at 10.0.0.7\n" : " begins\r\n");
          BlockOptions options;
          options.mode = mode;
          options.lossy = lossy;
          options.one_part_bytes = mode == LogMode::fast ? 0 : options.one_part_bytes;
          subject.block = encode_block(text, subject.format, subject.known, options);
          made.push_back(std::move(subject));
        }
    return made;
  }();
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const LogSubject& subject = log_subjects()[data[0] % log_subjects().size()];
  const std::size_t reader_format = data[1] % 16 == 15 ? data[0] / 2 : data[0];
  const HeaderFormat& format = log_subjects()[reader_format % log_subjects().size()].format;
  Bytes templates = subject.block.part_0, streams = subject.block.part_1;
  Bytes& target = data[1] % 3 == 0 || streams.empty() ? templates : streams;
  if (data[1] % 8 < 2) {  // any bytes at all
    target.resize(size - 2);
    if (size > 2) std::memcpy(target.data(), data + 2, size - 2);
  } else {
    apply_edits({data + 2, size - 2}, target);
  }
  try {
    const std::vector<Template> fresh = decode_templates(templates, subject.known.table().segments(), "fuzz");
    BlockReader reader(templates, streams, format, subject.known.table().templates(), fresh, "fuzz");
    const std::string text = reader.text();
    if (text.size() > 4 * block_bytes + longest_template) std::abort();
    std::string lines;
    for (std::size_t i = 0; i < reader.line_count() && i < 100; ++i) lines += reader.lines(i, i + 1);
    if (text.compare(0, lines.size(), lines) != 0) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
  return 0;
}
