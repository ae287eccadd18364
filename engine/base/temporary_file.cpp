#include "engine/base/temporary_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "engine/base/error.h"

namespace laconic {
namespace fs = std::filesystem;
namespace {

constexpr unsigned all_bits = 0777, group_bits = 0070;

// The bits that are left to a group that was not meant: those of everybody.
unsigned without_group(unsigned mode) { return ~group_bits | ((mode << 3) & group_bits); }

std::string system_fault() { return std::strerror(errno); }

// Whoever made the file still writes it.
bool in_use(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool locked = ::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(descriptor);
  return locked;
}

// 0, or -1 and errno. Where the system cannot rename without replacing, a second name can be given.
int rename_to_free_name(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  if (::link(from.c_str(), to.c_str()) == 0) return ::unlink(from.c_str());
  if (errno == EEXIST) return -1;
  struct stat there {};
  if (::lstat(to.c_str(), &there) == 0) {
    errno = EEXIST;
    return -1;
  }
  return ::rename(from.c_str(), to.c_str());
}

}  // namespace

std::optional<FileAccess> access_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return FileAccess{status.st_mode & all_bits, status.st_gid};
}

FileAccess shared_access(const FileAccess& a, const FileAccess& b) {
  FileAccess both{a.mode & b.mode, a.group};
  if (a.group == b.group) return both;
  // Of two groups none may do more than everybody may.
  both.mode &= without_group(both.mode);
  both.group.reset();
  return both;
}

void give_access(int descriptor, const FileAccess& access) {
  unsigned mode = access.mode & all_bits;
  struct stat status {};
  const bool other_group =
      access.group && (::fstat(descriptor, &status) != 0 || status.st_gid != *access.group);
  if (other_group && ::fchown(descriptor, static_cast<uid_t>(-1), *access.group) != 0)
    mode &= without_group(mode);
  // A file system without permission bits refuses, and gives those that it has.
  if (::fchmod(descriptor, mode) != 0) errno = 0;
}

fs::path temporary_name(const fs::path& path) {
  fs::path temporary = path;
  temporary += ".tmp." + std::to_string(::getpid());
  return temporary;
}

int create_temporary(const fs::path& path, unsigned mode) {
  const fs::path temporary = temporary_name(path);
  const auto create = [&] {
    return ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  };
  int descriptor = create();
  if (descriptor < 0 && errno == EEXIST) {
    if (in_use(temporary))
      fail(ErrorKind::io, "is being written by another program", path.string(), "wait until that one ends");
    ::unlink(temporary.c_str());
    descriptor = create();
  }
  if (descriptor < 0) {
    fail(ErrorKind::io, "cannot be written: " + system_fault(), path.string(),
         "check that the folder exists and is writable");
  }
  ::flock(descriptor, LOCK_EX | LOCK_NB);  // one that is new is free
  return descriptor;
}

TemporaryFile::TemporaryFile(fs::path path, const TemporaryFileOptions& options)
    : path_(std::move(path)),
      temporary_(temporary_name(path_)),
      options_(options),
      descriptor_(create_temporary(path_, options.access ? 0600 : 0644)) {}

void TemporaryFile::write(ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(descriptor_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      fail(ErrorKind::io, "cannot be written: " + system_fault(), path_.string(),
           errno == ENOSPC ? "free some disk space and run again" : "");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

TemporaryFile::~TemporaryFile() {
  if (descriptor_ < 0) return;
  if (!in_place_) ::unlink(temporary_.c_str());
  ::close(descriptor_);
}

void TemporaryFile::put_in_place() {
  require(!in_place_, "a file gets its name once");
  if (options_.access) give_access(descriptor_, *options_.access);
  if (::fsync(descriptor_) != 0)
    fail(ErrorKind::io, "cannot be completed: " + system_fault(), path_.string());
  const int renamed =
      options_.replace ? ::rename(temporary_.c_str(), path_.c_str()) : rename_to_free_name(temporary_, path_);
  if (renamed != 0 && errno == EEXIST && !options_.replace)
    fail(ErrorKind::usage, "already exists", path_.string(),
         "choose another name, or replace it with --force");
  if (renamed != 0) fail(ErrorKind::io, "cannot be completed: " + system_fault(), path_.string());
  in_place_ = true;
  flush_folder_of(path_);
}

void flush_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace laconic
