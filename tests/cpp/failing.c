// Loaded before all others (LD_PRELOAD): makes the n-th allocation, or the n-th call of the system, fail once.
// Allocations count that this core, its C++ library and numpy ask for; calls count that the arming thread makes of files.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { kNothing, kAllocations, kCalls };
enum { kSmallest = 128 };  // bytes; pybind11 ends the process where it cannot note down an instance, in some 50
static atomic_int armed = kNothing;
static atomic_long n_until_failure, n_seen;
static __thread int mine;
static struct {
  uintptr_t begin, end;
} ranges[16];
static int n_ranges;

static int add_range(struct dl_phdr_info* info, size_t size, void* unused) {
  (void)size, (void)unused;
  if (!strstr(info->dlpi_name, "/_core.") && !strstr(info->dlpi_name, "libstdc++") &&
      !strstr(info->dlpi_name, "_multiarray_umath"))
    return 0;
  for (int i = 0; i < info->dlpi_phnum && n_ranges < 16; ++i) {
    const ElfW(Phdr)* part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    ranges[n_ranges].begin = info->dlpi_addr + part->p_vaddr;
    ranges[n_ranges++].end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
  }
  return 0;
}

void fail_arm(int what, long nth) {
  if (!n_ranges) dl_iterate_phdr(add_range, NULL);
  n_seen = 0;
  n_until_failure = nth;
  mine = 1;
  armed = what;
}

long fail_disarm(void) {
  armed = kNothing;
  mine = 0;
  return n_seen;
}

static int fails(void) {
  ++n_seen;
  return --n_until_failure == 0;
}

static int allocation_fails(void* caller, size_t size) {
  if (armed != kAllocations || size < kSmallest) return 0;
  for (int i = 0; i < n_ranges; ++i)
    if ((uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end) return fails();
  return 0;
}

static int call_fails(int number) {
  if (armed != kCalls || !mine || !fails()) return 0;
  errno = number;
  return 1;
}

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

#define MEMORY(size, call) (allocation_fails(__builtin_return_address(0), size) ? (errno = ENOMEM, (void*)NULL) : (call))
void* malloc(size_t size) { return MEMORY(size, __libc_malloc(size)); }
void* calloc(size_t n, size_t size) { return MEMORY(n * size, __libc_calloc(n, size)); }
void* realloc(void* data, size_t size) { return MEMORY(size, __libc_realloc(data, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return MEMORY(size, __libc_memalign(alignment, size)); }

#define CALL(type, name, error, failed, parameters, types, arguments) \
  type name parameters {                                              \
    static type(*next) types;                                         \
    if (!next) *(void**)&next = dlsym(RTLD_NEXT, #name);              \
    return call_fails(error) ? failed : next arguments;               \
  }
CALL(ssize_t, read, EIO, -1, (int fd, void* data, size_t n), (int, void*, size_t), (fd, data, n))
CALL(ssize_t, write, ENOSPC, -1, (int fd, const void* data, size_t n), (int, const void*, size_t), (fd, data, n))
CALL(ssize_t, pread64, EIO, -1, (int fd, void* data, size_t n, off64_t at), (int, void*, size_t, off64_t), (fd, data, n, at))
CALL(ssize_t, pwrite64, EIO, -1, (int fd, const void* data, size_t n, off64_t at), (int, const void*, size_t, off64_t),
     (fd, data, n, at))
CALL(int, fsync, EIO, -1, (int fd), (int), (fd))
CALL(int, rename, EIO, -1, (const char* from, const char* to), (const char*, const char*), (from, to))
CALL(int, unlink, EIO, -1, (const char* path), (const char*), (path))
CALL(int, mkdir, EROFS, -1, (const char* path, mode_t mode), (const char*, mode_t), (path, mode))
CALL(int, flock, ENOLCK, -1, (int fd, int how), (int, int), (fd, how))
CALL(int, ftruncate64, EIO, -1, (int fd, off64_t size), (int, off64_t), (fd, size))
CALL(off64_t, lseek64, EIO, -1, (int fd, off64_t at, int from), (int, off64_t, int), (fd, at, from))
CALL(int, fstat64, EIO, -1, (int fd, struct stat64* found), (int, struct stat64*), (fd, found))
CALL(int, stat64, EIO, -1, (const char* path, struct stat64* found), (const char*, struct stat64*), (path, found))
CALL(DIR*, opendir, EMFILE, NULL, (const char* path), (const char*), (path))

int open64(const char* path, int flags, ...) {
  static int (*next)(const char*, int, ...);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (!next) *(void**)&next = dlsym(RTLD_NEXT, "open64");
  return call_fails(EMFILE) ? -1 : next(path, flags, mode);
}

void* mmap64(void* at, size_t size, int protection, int flags, int fd, off64_t offset) {
  static void* (*next)(void*, size_t, int, int, int, off64_t);
  if (!next) *(void**)&next = dlsym(RTLD_NEXT, "mmap64");
  return fd >= 0 && call_fails(ENOMEM) ? MAP_FAILED : next(at, size, protection, flags, fd, offset);
}
