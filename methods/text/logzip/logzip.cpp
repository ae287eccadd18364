// Logzip: log lines as templates and columns. A line's header fields are found by a format (header_format.h),
// its content becomes a skeleton (skeleton.h), skeletons become templates by iterative structure extraction
// (template_choice.h), and what the templates leave open becomes typed columns (engine/column) for a byte
// coder (block_codec.h). `laconic logs` keeps such blocks in an archive.
//
// Departures from the card: lines with equal skeletons are one before they are clustered, and clusters are
// made of skeletons by their lines; slots that a joining byte separates are one value, so that addresses and
// UUIDs stay whole; a space beyond the first belongs to a field instead of a sub-field; slots with values in
// common share a column, where the paper maps values to ids of one global dictionary; times are numbers.
#include "methods/method.h"
#include "methods/text/logzip/reproduce.h"

namespace laconic {

MethodDescription describe_logzip() {
  MethodDescription method;
  method.slug = "logzip";
  method.card = 34;
  method.title = "Logzip: Extracting Hidden Structures via Iterative Clustering for Log Compression";
  method.paper = "Liu, Zhu, He, He, Zheng, Lyu, ASE 2019, arXiv 1910.00409";
  method.subject = "text";
  method.summary = "log lines as templates and typed columns";
  method.reproduce = logzip::reproduce;
  return method;
}

}  // namespace laconic
