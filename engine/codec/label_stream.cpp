#include "engine/codec/label_stream.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "engine/base/error.h"
#include "engine/coding/bit_stream.h"
#include "engine/coding/frequency_table.h"
#include "engine/coding/huffman.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/rans_symbols.h"

namespace laconic {
namespace {

constexpr int rice_widest = 24, rice_width = 5;

int bits_below(std::uint64_t count) { return count <= 1 ? 0 : static_cast<int>(std::bit_width(count - 1)); }

std::vector<std::uint64_t> label_counts(std::span<const std::uint8_t> elements, int labels) {
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(labels), 0);
  for (const std::uint8_t label : elements) {
    require(label < labels, "every element has one of the labels");
    ++counts[label];
  }
  return counts;
}

std::uint8_t implied_label(const std::vector<std::uint64_t>& counts) {
  return static_cast<std::uint8_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
}

// By label; none for the implied one.
std::vector<std::vector<std::uint64_t>> positions_by_label(std::span<const std::uint8_t> elements, int labels,
                                                           std::uint8_t implied) {
  std::vector<std::vector<std::uint64_t>> positions(static_cast<std::size_t>(labels));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (elements[i] != implied) positions[elements[i]].push_back(i);
  }
  return positions;
}

// Distances, the first from -1: at least 1.
std::vector<std::uint64_t> distances_of(const std::vector<std::uint64_t>& positions) {
  std::vector<std::uint64_t> distances;
  distances.reserve(positions.size());
  std::uint64_t before = 0;  // position + 1
  for (const std::uint64_t position : positions) {
    distances.push_back(position + 1 - before);
    before = position + 1;
  }
  return distances;
}

// A label of the rice form: those above the implied one move down.
std::uint8_t without_implied(std::uint8_t label, std::uint8_t implied) {
  return static_cast<std::uint8_t>(label > implied ? label - 1 : label);
}

Bytes body_of(std::span<const std::uint8_t> elements, int labels, std::uint8_t implied,
              const std::vector<std::uint64_t>& counts, LabelForm form) {
  if (form == LabelForm::huffman) return huffman_compress(std::as_bytes(elements));
  if (form == LabelForm::rans) {
    ByteWriter writer;
    if (elements.empty()) return writer.take();
    std::vector<std::uint64_t> used = counts;
    while (used.back() == 0) used.pop_back();
    const FittedFrequencies fitted = fit_frequencies(used);
    const FrequencyTable table(fitted.frequencies);
    const std::vector<std::uint16_t> symbols(elements.begin(), elements.end());
    writer.varint(fitted.stored.size());
    writer.append(fitted.stored);
    writer.append(rans_encode_symbols(symbols, std::span(&table, 1), {}));
    return writer.take();
  }
  BitWriter writer;
  const auto positions = positions_by_label(elements, labels, implied);
  if (form == LabelForm::rice) {
    std::vector<std::uint64_t> all;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      if (elements[i] != implied) all.push_back(i);
    }
    std::vector<std::uint64_t> gaps = distances_of(all);
    for (std::uint64_t& gap : gaps) --gap;
    const RiceChoice rice = best_golomb_rice(gaps, rice_widest);
    put_elias_gamma(writer, all.size() + 1);
    writer.put(static_cast<std::uint64_t>(rice.parameter), rice_width);
    for (const std::uint64_t gap : gaps) put_golomb_rice(writer, gap, rice.parameter);
    const int width = bits_below(static_cast<std::uint64_t>(std::max(labels - 1, 1)));
    for (const std::uint64_t position : all)
      writer.put(without_implied(elements[static_cast<std::size_t>(position)], implied), width);
    return writer.take();
  }
  const int width = bits_below(elements.size());
  for (int label = 0; label < labels; ++label) {
    if (label == implied) continue;
    const auto& own = positions[static_cast<std::size_t>(label)];
    put_elias_gamma(writer, own.size() + 1);
    if (form == LabelForm::positions) {
      for (const std::uint64_t position : own) writer.put(position, width);
    } else {
      for (const std::uint64_t distance : distances_of(own)) put_elias_gamma(writer, distance);
    }
  }
  return writer.take();
}

Bytes stream_of(LabelForm form, std::uint8_t implied, const Bytes& body) {
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(form));
  writer.u8(implied);
  writer.append(body);
  return writer.take();
}

// Every code takes at least `least` bits: a lying count is refused before anything is done for it.
std::uint64_t read_count(BitReader& reader, std::size_t elements, std::uint64_t least) {
  const std::uint64_t count = read_elias_gamma(reader, elements + 1) - 1;
  if (count * least > reader.remaining()) reader.corrupt("too few bits for the stated count of positions");
  return count;
}

}  // namespace

std::string_view name_of(LabelForm form) {
  constexpr std::array<std::string_view, label_forms> names = {"huffman", "positions", "gaps", "rice",
                                                               "rans"};
  return names[static_cast<std::size_t>(form)];
}

Bytes encode_labels(std::span<const std::uint8_t> elements, int labels, LabelForm form) {
  require(labels >= 1 && labels <= most_labels, "1 to 16 labels");
  const std::vector<std::uint64_t> counts = label_counts(elements, labels);
  const std::uint8_t implied = implied_label(counts);
  return stream_of(form, implied, body_of(elements, labels, implied, counts, form));
}

Bytes encode_labels(std::span<const std::uint8_t> elements, int labels) {
  Bytes best;
  for (std::size_t form = 0; form < label_forms; ++form) {
    Bytes stream = encode_labels(elements, labels, static_cast<LabelForm>(form));
    if (form == 0 || stream.size() < best.size()) best = std::move(stream);
  }
  return best;
}

std::vector<std::uint8_t> decode_labels(ByteSpan stream, std::size_t elements, int labels,
                                        std::string_view where) {
  ByteReader head(stream, std::string(where));
  const std::uint8_t form_code = head.u8(), implied = head.u8();
  if (form_code >= label_forms) head.corrupt("an unknown form of labels");
  if (implied >= labels) head.corrupt("an implied label that is not there");
  const auto form = static_cast<LabelForm>(form_code);
  if (form == LabelForm::huffman) {
    std::vector<std::uint8_t> result(elements);
    huffman_expand(head.take(head.remaining()), std::as_writable_bytes(std::span(result)), where);
    for (const std::uint8_t label : result) {
      if (label >= labels) head.corrupt("a label that is not there");
    }
    return result;
  }
  if (form == LabelForm::rans) {
    if (elements == 0) {
      head.expect_end();
      return {};
    }
    const ByteSpan stored = head.take(head.length(head.remaining()));
    BitReader table_reader(stored, where);
    const FrequencyTable table(read_frequencies(table_reader, static_cast<std::size_t>(labels)));
    table_reader.expect_end();
    std::vector<std::uint16_t> symbols(elements);
    rans_decode_symbols(head.take(head.remaining()), std::span(&table, 1), {}, symbols, where);
    std::vector<std::uint8_t> result(elements);
    for (std::size_t i = 0; i < elements; ++i) result[i] = static_cast<std::uint8_t>(symbols[i]);
    return result;
  }

  std::vector<std::uint8_t> result(elements, implied);
  BitReader reader(head.take(head.remaining()), where);
  if (form == LabelForm::rice) {
    const std::uint64_t count = read_count(reader, elements, 1);
    const int parameter = static_cast<int>(reader.read(rice_width));
    if (parameter > rice_widest) reader.corrupt("a Rice parameter over 24");
    std::vector<std::size_t> positions;
    std::uint64_t next = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t position = next + read_golomb_rice(reader, parameter, elements);
      if (position >= elements) reader.corrupt("a position beyond the elements");
      positions.push_back(static_cast<std::size_t>(position));
      next = position + 1;
    }
    const int width = bits_below(static_cast<std::uint64_t>(std::max(labels - 1, 1)));
    for (const std::size_t position : positions) {
      const std::uint64_t code = reader.read(width);
      const std::uint64_t label = code >= implied ? code + 1 : code;
      if (label >= static_cast<std::uint64_t>(labels)) reader.corrupt("a label that is not there");
      result[position] = static_cast<std::uint8_t>(label);
    }
    reader.expect_end();
    return result;
  }
  const int width = bits_below(elements);
  for (int label = 0; label < labels; ++label) {
    if (label == implied) continue;
    const bool gaps = form == LabelForm::gaps;
    const std::uint64_t count =
        read_count(reader, elements, gaps ? 1 : static_cast<std::uint64_t>(std::max(width, 0)));
    std::uint64_t next = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t position =
          gaps ? next + read_elias_gamma(reader, std::max<std::uint64_t>(elements, 1)) - 1
               : reader.read(width);
      if (position < next || position >= elements)
        reader.corrupt("positions are out of order or out of range");
      if (result[static_cast<std::size_t>(position)] != implied) reader.corrupt("two labels at one position");
      result[static_cast<std::size_t>(position)] = static_cast<std::uint8_t>(label);
      next = position + 1;
    }
  }
  reader.expect_end();
  return result;
}

PaperLabelBits paper_label_bits(std::span<const std::uint8_t> elements, int labels) {
  const std::vector<std::uint64_t> counts = label_counts(elements, labels);
  const std::vector<std::uint8_t> lengths = huffman_lengths(counts);
  const std::uint8_t implied = implied_label(counts);
  PaperLabelBits bits;
  for (std::size_t label = 0; label < counts.size(); ++label) bits.huffman += counts[label] * lengths[label];
  for (const auto& positions : positions_by_label(elements, labels, implied)) {
    bits.positions += 27 * positions.size();
    for (std::size_t i = 0; i < positions.size(); ++i) {
      const std::uint64_t gap = i == 0 ? positions[0] : positions[i] - positions[i - 1];
      bits.gaps += static_cast<std::uint64_t>(std::bit_width(std::max<std::uint64_t>(gap, 1)));
    }
  }
  return bits;
}

}  // namespace laconic
