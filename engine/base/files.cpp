#include "engine/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/temporary_file.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

std::string reason() { return std::strerror(errno); }

int open_for_reading(const fs::path& path, struct stat& status) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail(ErrorKind::input, "cannot be opened: " + reason(), path.string());
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    fail(ErrorKind::input, "is not a regular file", path.string());
  }
  return descriptor;
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  struct stat status {};
  const int descriptor = open_for_reading(path, status);
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ > 0) {
    void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
    if (mapping == MAP_FAILED) {
      const std::string why = reason();
      ::close(descriptor);
      fail(ErrorKind::io, "cannot be mapped into memory: " + why, path.string());
    }
    data_ = static_cast<const std::byte*>(mapping);
  }
  ::close(descriptor);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::release(std::size_t offset, std::size_t size) const {
  if (data_ == nullptr || offset >= size_) return;
  const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t begin = (offset + page - 1) / page * page;
  const std::size_t end = std::min(size_, offset + size) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Bytes read_file(const fs::path& path, std::size_t limit) {
  struct stat status {};
  const int descriptor = open_for_reading(path, status);
  const std::size_t size = static_cast<std::size_t>(status.st_size);
  if (size > limit) {
    ::close(descriptor);
    fail(ErrorKind::input,
         "has " + std::to_string(size) + " bytes, over the limit of " + std::to_string(limit), path.string());
  }
  Bytes bytes(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(descriptor, bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  ::close(descriptor);
  if (done != size) fail(ErrorKind::io, "ended early while being read", path.string());
  return bytes;
}

std::string read_text_file(const fs::path& path, std::size_t limit) {
  const Bytes bytes = read_file(path, limit);
  return std::string(as_text(bytes));
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  temporary_ = temporary_name(path_);
  descriptor_ = create_temporary(path_, 0644);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      fail(ErrorKind::io, "write failed after " + std::to_string(written_) + " bytes: " + reason(),
           path_.string(), errno == ENOSPC ? "free some disk space and run again" : "");
    }
    written_ += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void AtomicFile::commit() {
  const bool flushed = ::fsync(descriptor_) == 0;
  const std::string why = reason();
  const bool closed = ::close(descriptor_) == 0;
  descriptor_ = -1;
  if (!flushed || !closed || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const std::string last = flushed ? reason() : why;
    ::unlink(temporary_.c_str());
    fail(ErrorKind::io, "cannot be completed: " + last, path_.string());
  }
  flush_folder_of(path_);
}

void write_file(const fs::path& path, ByteSpan bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file(const fs::path& path, std::string_view text) { write_file(path, as_byte_span(text)); }

StagedDirectory::StagedDirectory(fs::path target, bool replace)
    : target_(std::move(target)), replace_(replace) {
  if (!target_.has_filename()) target_ = target_.parent_path();  // "out/" names the folder out
  partial_ = target_;
  partial_ += ".partial";
  std::error_code error;
  if (fs::exists(target_, error) && !replace_) {
    fail(ErrorKind::usage, "already exists", target_.string(), "choose another name or pass --force");
  }
  fs::create_directories(partial_, error);
  if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), partial_.string());
}

void StagedDirectory::commit() {
  std::error_code error;
  fs::path old;
  if (fs::exists(target_)) {
    // The old directory is moved aside first, so that a crash never leaves nothing under the name for long
    // and never a mixture.
    old = target_;
    old += ".old." + std::to_string(::getpid());
    fs::rename(target_, old, error);
    if (error) fail(ErrorKind::io, "cannot be replaced: " + error.message(), target_.string());
  }
  fs::rename(partial_, target_, error);
  if (error) {
    if (!old.empty()) fs::rename(old, target_);
    fail(ErrorKind::io, "cannot be completed: " + error.message(), target_.string());
  }
  if (!old.empty()) fs::remove_all(old, error);
}

void StagedDirectory::discard() {
  std::error_code error;
  fs::remove_all(partial_, error);
}

}  // namespace laconic
