#include "methods/cache/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::size_t longest_pipeline = 4096;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\n'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\n'))
    text.remove_suffix(1);
  return text;
}

std::vector<std::string> cache_slugs() {
  std::vector<std::string> slugs;
  for (const MethodDescription& method : method_registry()) {
    if (method.cache) slugs.push_back(method.slug);
  }
  return slugs;
}

const MethodDescription& cache_method_named(std::string_view slug) {
  for (const MethodDescription& method : method_registry()) {
    if (method.cache && method.slug == slug) return method;
  }
  const std::string nearest = nearest_name(slug, cache_slugs());
  fail(ErrorKind::usage, fmt::format("there is no cache method \"{}\"", slug), "--cache",
       (nearest.empty() ? "" : "did you mean " + nearest + "? ") +
           fmt::format("known are {}", fmt::join(cache_slugs(), ", ")));
}

// "name" or "name(key=value,...)"; a value may be a list, so an item without "=" goes on with the one before.
CacheStageText parse_stage(std::string_view text) {
  text = trimmed(text);
  if (text.empty()) fail(ErrorKind::usage, "an empty stage", "--cache", "write methods with + between them");
  const std::size_t open = text.find('(');
  CacheStageText stage;
  stage.method = &cache_method_named(trimmed(text.substr(0, open)));
  stage.parameters = Parameters(stage.method->parameters);
  if (open == std::string_view::npos) return stage;
  if (text.back() != ')')
    fail(ErrorKind::usage, fmt::format("\"{}\" has no closing parenthesis", text), "--cache");
  std::string_view inside = trimmed(text.substr(open + 1, text.size() - open - 2));
  std::vector<std::pair<std::string, std::string>> items;
  while (!inside.empty()) {
    const std::size_t comma = std::min(inside.find(','), inside.size());
    const std::string_view item = trimmed(inside.substr(0, comma));
    const std::size_t equals = item.find('=');
    if (equals != std::string_view::npos) {
      items.emplace_back(trimmed(item.substr(0, equals)), trimmed(item.substr(equals + 1)));
    } else if (!items.empty() && !item.empty()) {
      items.back().second += "," + std::string(item);
    } else {
      fail(ErrorKind::usage, fmt::format("\"{}\" is no parameter", item), "--cache", "write name=value");
    }
    inside = comma < inside.size() ? inside.substr(comma + 1) : std::string_view{};
  }
  for (const auto& [key, value] : items) stage.parameters.set(key, value);
  return stage;
}

// The axis that both decide about, if any.
std::optional<CacheAxis> shared_axis(const std::vector<CacheAxis>& a, const std::vector<CacheAxis>& b) {
  for (const CacheAxis axis : a) {
    if (std::find(b.begin(), b.end(), axis) != b.end()) return axis;
  }
  return std::nullopt;
}

bool has_axis(const CacheMethod& method, CacheAxis axis) {
  return std::find(method.axes.begin(), method.axes.end(), axis) != method.axes.end();
}

}  // namespace

std::vector<CacheAxis> axes_of(const CacheStageText& stage) {
  const CacheMethod& cache = *stage.method->cache;
  return cache.axes_with ? cache.axes_with(stage.parameters) : cache.axes;
}

std::string_view name_of(CacheAxis axis) {
  switch (axis) {
    case CacheAxis::tokens:
      return "tokens";
    case CacheAxis::features:
      return "features";
    case CacheAxis::bits:
      return "bits";
  }
  return "";
}

std::vector<Parameters> sizes_by(const Parameters& parameters, std::string_view name,
                                 const std::vector<std::string>& values) {
  if (parameters.is_set(name)) return {parameters};
  std::vector<Parameters> sizes;
  for (const std::string& value : values) {
    sizes.push_back(parameters);
    sizes.back().set(name, value);
  }
  return sizes;
}

std::string composition_condition(const MethodDescription& first, const MethodDescription& second) {
  const auto stored_anew = [](const CacheMethod& x, const CacheMethod& y) {
    return x.rewrites_rows && has_axis(y, CacheAxis::bits) && !y.rows_stand_alone;
  };
  return stored_anew(*first.cache, *second.cache) || stored_anew(*second.cache, *first.cache)
             ? "with later=kept"
             : "";
}

std::string incompatible(const MethodDescription& first, const MethodDescription& second) {
  const CacheMethod &a = *first.cache, &b = *second.cache;
  if (const auto axis = shared_axis(a.axes, b.axes))
    return fmt::format("both decide about {}", name_of(*axis));
  const auto clash = [&](const CacheMethod& x, const CacheMethod& y) -> std::string {
    if (x.rewrites_rows && has_axis(y, CacheAxis::features))
      return "merged tokens would have to be projected again";
    if (x.whole_rows_only && has_axis(y, CacheAxis::features)) return "it codes keys and values, not latents";
    return {};
  };
  const std::string reason = clash(a, b);
  return reason.empty() ? clash(b, a) : reason;
}

std::vector<CacheStageText> parse_cache_pipeline(std::string_view text) {
  if (text.size() > longest_pipeline) fail(ErrorKind::usage, "the pipeline is too long", "--cache");
  std::vector<CacheStageText> stages;
  int depth = 0;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : '+';
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (c != '+' || (depth > 0 && i < text.size())) continue;
    stages.push_back(parse_stage(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  // Stages act in the order of the axes, however they were written.
  std::stable_sort(stages.begin(), stages.end(), [](const CacheStageText& a, const CacheStageText& b) {
    return a.method->cache->axes.front() < b.method->cache->axes.front();
  });
  for (std::size_t i = 0; i < stages.size(); ++i) {
    for (std::size_t j = i + 1; j < stages.size(); ++j) {
      std::string reason = incompatible(*stages[i].method, *stages[j].method);
      if (reason.empty()) {
        const auto axis = shared_axis(axes_of(stages[i]), axes_of(stages[j]));
        if (!axis) continue;
        reason = fmt::format("with these parameters both decide about {}", name_of(*axis));
      }
      fail(ErrorKind::usage,
           fmt::format("{} and {} do not go together: {}", stages[i].method->slug, stages[j].method->slug,
                       reason),
           "--cache", "keep one of them; docs/kv-cache.md has the table of what can be combined");
    }
  }
  return stages;
}

std::string canonical_text(const std::vector<CacheStageText>& stages) {
  std::string text;
  for (const CacheStageText& stage : stages)
    text += (text.empty() ? "" : " + ") + stage.parameters.canonical(stage.method->slug);
  return text;
}

std::vector<std::vector<std::string>> cache_composition_table() {
  std::vector<const MethodDescription*> methods;
  for (const MethodDescription& method : method_registry()) {
    if (method.cache) methods.push_back(&method);
  }
  std::vector<std::vector<std::string>> table = {{"with"}};
  for (const MethodDescription* method : methods) table.front().push_back(method->slug);
  for (const MethodDescription* row : methods) {
    table.push_back({row->slug});
    for (const MethodDescription* column : methods) {
      if (row == column) {
        table.back().push_back("-");
        continue;
      }
      const std::string reason = incompatible(*row, *column);
      const std::string condition = composition_condition(*row, *column);
      table.back().push_back(!reason.empty() ? reason : condition.empty() ? "yes" : "yes, " + condition);
    }
  }
  return table;
}

CacheFactory::CacheFactory(std::string_view pipeline, const CacheRequest& request)
    : CacheFactory(parse_cache_pipeline(pipeline), request) {}

CacheFactory::CacheFactory(const std::vector<CacheStageText>& stages, const CacheRequest& request)
    : shape_(request.shape) {
  canonical_ = canonical_text(stages);
  std::vector<CacheStageMaker> makers;
  for (const CacheStageText& stage : stages)
    makers.push_back(stage.method->cache->make(stage.parameters, request));
  for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
    KvStages made;
    made.canonical = canonical_;
    made.seed = request.seed;
    for (const CacheStageMaker& maker : makers) maker(layer, made);
    if (request.window) made.window.exact = *request.window;
    codecs_.push_back(make_stage_codec(shape_, layer, std::move(made)));
  }
}

}  // namespace laconic
