/// The stand-in for libcufile.so.0: see standin_cufile.h for what it is and what it is not.
///
/// One lock around the tables, none around reads and writes. Device memory belongs to the stand-in for
/// libcuda.so.1, which is asked to copy, and which notices when no context is current.
#include "backend/cufile_calls.h"
#include "device/cuda/cuda_calls.h"
#include "standin_cufile.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

// declared from the library's own list: what is defined below has exactly those prototypes
#define PROTOTYPE(member, symbol, result, parameters) EXPORT result symbol parameters;
DRAYI_CUFILE_CALLS(PROTOTYPE)
EXPORT void standin_cufile_set(const standin_cufile_config *wanted);
EXPORT void standin_cufile_get(standin_cufile_counts *out);

enum { ENTRIES = 64 };

typedef struct file_entry {
    bool used;
    int fd;
} file_entry;

typedef struct buffer_entry {
    const char *base; // NULL: free
    size_t bytes;
} buffer_entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// all of these are guarded by lock
static standin_cufile_config config;
static standin_cufile_counts counts;
static uint64_t fault_seen;
static file_entry files[ENTRIES];
static buffer_entry buffers[ENTRIES];

static void misuse(const char *what)
{
    counts.misuse++;
    snprintf(counts.last_misuse, sizeof(counts.last_misuse), "%s", what);
}

/// What every call does first, under the lock.
static bool fault_hits(const char *name)
{
    counts.calls++;
    if (counts.opens == 0 && strcmp(name, "cuFileDriverOpen") != 0)
        misuse("a call before cuFileDriverOpen");
    if (!config.call || (config.call[0] && strcmp(config.call, name) != 0))
        return false;
    uint64_t last = config.at + (config.repeat ? config.repeat : 1) - 1;
    if (++fault_seen < config.at || fault_seen > last)
        return false;
    counts.hits++;
    snprintf(counts.last_hit, sizeof(counts.last_hit), "%s", name);
    return true;
}

static CUfileError_t code_of(int code)
{
    return (CUfileError_t){.err = code, .cu_err = code == 5011 ? 999 : 0};
}

EXPORT CUfileError_t cuFileDriverOpen(void)
{
    pthread_mutex_lock(&lock);
    int code = 0;
    if (fault_hits("cuFileDriverOpen") && config.code)
        code = config.code;
    else
        counts.opens++;
    pthread_mutex_unlock(&lock);
    return code_of(code);
}

EXPORT CUfileError_t cuFileDriverClose_v2(void)
{
    pthread_mutex_lock(&lock);
    bool hit = fault_hits("cuFileDriverClose_v2");
    if (counts.opens == 1 && counts.handles + counts.buffers > 0)
        misuse("cuFileDriverClose with files or buffers registered");
    if (counts.opens > 0)
        counts.opens--; // given back even when it fails: an injected fault is never itself the leak
    pthread_mutex_unlock(&lock);
    return code_of(hit ? config.code : 0);
}

EXPORT CUfileError_t cuFileHandleRegister(CUfileHandle_t *handle, CUfileDescr_t *description)
{
    pthread_mutex_lock(&lock);
    int code = 0;
    int flags = description->type == DRAYI_CUFILE_FD ? fcntl(description->handle.fd, F_GETFL) : -1;
    file_entry *entry = NULL;
    for (int i = 0; i < ENTRIES; i++) {
        if (files[i].used && files[i].fd == description->handle.fd)
            code = 5028;
        else if (!files[i].used)
            entry = &files[i];
    }
    if (fault_hits("cuFileHandleRegister")) {
        code = config.code;
        entry = NULL;
    } else if (flags < 0 || description->fs_ops) {
        misuse("cuFileHandleRegister: no file, or operations of somebody else");
        code = 5022;
    } else if (code == 5028) {
        misuse("cuFileHandleRegister twice");
    } else if (!(flags & O_DIRECT)) {
        code = DRAYI_CUFILE_INVALID_FILE_OPEN_FLAG;
    }
    if (code == 0 && entry) {
        *entry = (file_entry){.used = true, .fd = description->handle.fd};
        counts.handles++;
        *handle = entry;
    }
    pthread_mutex_unlock(&lock);
    return code_of(code);
}

EXPORT void cuFileHandleDeregister(CUfileHandle_t handle)
{
    pthread_mutex_lock(&lock);
    fault_hits("cuFileHandleDeregister");
    file_entry *entry = handle;
    if (entry < files || entry >= files + ENTRIES || !entry->used) {
        misuse("cuFileHandleDeregister of what was not registered");
    } else {
        entry->used = false;
        counts.handles--;
    }
    pthread_mutex_unlock(&lock);
}

static buffer_entry *buffer_find(const void *base)
{
    for (int i = 0; i < ENTRIES; i++) {
        if (buffers[i].base == base)
            return &buffers[i];
    }
    return NULL;
}

EXPORT CUfileError_t cuFileBufRegister(const void *base, size_t bytes, int flags)
{
    pthread_mutex_lock(&lock);
    int code = 0;
    if (fault_hits("cuFileBufRegister"))
        code = config.code ? config.code : 5030; // a lie here would hide from nobody but us
    else if (!base || !bytes || flags)
        misuse("cuFileBufRegister");
    else if (buffer_find(base))
        code = DRAYI_CUFILE_MEMORY_ALREADY_REGISTERED;
    buffer_entry *entry = code ? NULL : buffer_find(NULL);
    if (entry) {
        *entry = (buffer_entry){.base = base, .bytes = bytes};
        counts.buffers++;
    }
    pthread_mutex_unlock(&lock);
    return code_of(code);
}

EXPORT CUfileError_t cuFileBufDeregister(const void *base)
{
    pthread_mutex_lock(&lock);
    bool hit = fault_hits("cuFileBufDeregister");
    buffer_entry *entry = base ? buffer_find(base) : NULL;
    if (!entry) {
        misuse("cuFileBufDeregister of what was not registered");
    } else {
        entry->base = NULL;
        counts.buffers--;
    }
    pthread_mutex_unlock(&lock);
    return code_of(hit ? config.code : 0);
}

// --- reading and writing ---------------------------------------------------------------------------------

/// The stand-in of the driver, which the tests have loaded before; NULL: it is not there.
static void *cuda_call(const char *name)
{
    const char *path = getenv("DRAY_STANDIN_CUDA");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;
    return library ? dlsym(library, name) : NULL;
}

#define CUDA_CALL(variable, symbol)                   \
    do {                                              \
        void *found_ = cuda_call(#symbol);            \
        memcpy(&(variable), &found_, sizeof(found_)); \
    } while (0)

/// Made-up addresses of the driver's stand-in begin here.
static bool on_device(uint64_t address)
{
    return address >> 40 == 0x70;
}

static CUresult device_copy(uint64_t address, void *host, size_t bytes, bool to_device)
{
    drayi_cuda_calls cuda = {0};
    CUDA_CALL(cuda.stream_create, cuStreamCreate);
    CUDA_CALL(cuda.stream_wait, cuStreamSynchronize);
    CUDA_CALL(cuda.stream_destroy, cuStreamDestroy_v2);
    CUDA_CALL(cuda.copy_to_device, cuMemcpyHtoDAsync_v2);
    CUDA_CALL(cuda.copy_to_host, cuMemcpyDtoHAsync_v2);
    if (!cuda.stream_create || !cuda.copy_to_host)
        return 999;
    CUstream stream;
    CUresult code = cuda.stream_create(&stream, 1);
    if (code != 0)
        return code;
    code = to_device ? cuda.copy_to_device(address, host, bytes, stream)
                     : cuda.copy_to_host(host, address, bytes, stream);
    CUresult waited = cuda.stream_wait(stream);
    cuda.stream_destroy(stream);
    return code ? code : waited;
}

/// Moves bytes between the file and memory, but only `some` of them when that is not 0; the bytes moved, -1
/// with errno, or a negated code. The file is always met in whole blocks.
static ssize_t move(int fd, uint64_t address, size_t bytes, size_t some, off_t offset, bool read)
{
    void *buffer = NULL;
    if (posix_memalign(&buffer, 4096, bytes) != 0)
        return -DRAYI_CUFILE_NOMEM;
    ssize_t got = (ssize_t)bytes;
    CUresult code = 0;
    if (read)
        got = pread(fd, buffer, bytes, offset);
    if (some && got > (ssize_t)some)
        got = (ssize_t)some;
    if (got > 0 && on_device(address))
        code = device_copy(address, buffer, (size_t)got, read);
    else if (got > 0 && read)
        memcpy((void *)(uintptr_t)address, buffer, (size_t)got);
    else if (got > 0)
        memcpy(buffer, (const void *)(uintptr_t)address, (size_t)got);
    if (!read && code == 0) {
        ssize_t wrote = pwrite(fd, buffer, some ? some - some % 4096 : bytes, offset);
        got = wrote < 0 ? wrote : got;
    }
    int saved = errno;
    free(buffer);
    errno = saved;
    return code ? -5012 : got;
}

/// Looks everything up under the lock; true: `*out` is the answer.
static bool answered(const char *name, const file_entry *entry, const char *base, size_t bytes,
                     off_t offset, int *out_fd, size_t *out_some, ssize_t *out)
{
    bool hit = fault_hits(name);
    *(strcmp(name, "cuFileRead") == 0 ? &counts.reads : &counts.writes) += 1;
    if (entry < files || entry >= files + ENTRIES || !entry->used) {
        misuse("reading or writing through what was not registered");
        *out = -5027;
        return true;
    }
    *out_fd = entry->fd;
    const buffer_entry *buffer = buffer_find(base);
    if (buffer) {
        counts.registered_io++;
        if (offset < 0 || (size_t)offset > buffer->bytes || bytes > buffer->bytes - (size_t)offset) {
            misuse("reading or writing outside the registered buffer");
            *out = -5014;
            return true;
        }
    }
    if (!hit) {
        *out_some = config.short_bytes < bytes ? config.short_bytes : 0;
        return false;
    }
    *out = config.more                       ? (ssize_t)bytes + 1
           : config.code > DRAYI_CUFILE_BASE ? -config.code
           : config.code                     ? -1
                                             : (ssize_t)bytes;
    errno = config.code;
    return true;
}

EXPORT ssize_t cuFileRead(CUfileHandle_t handle, void *base, size_t bytes, off_t file_offset,
                          off_t offset)
{
    ssize_t result;
    int fd;
    size_t some;
    pthread_mutex_lock(&lock);
    bool is = answered("cuFileRead", handle, base, bytes, offset, &fd, &some, &result);
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return is ? result
              : move(fd, (uint64_t)(uintptr_t)base + (uint64_t)offset, bytes, some, file_offset,
                     true);
}

EXPORT ssize_t cuFileWrite(CUfileHandle_t handle, const void *base, size_t bytes, off_t file_offset,
                           off_t offset)
{
    ssize_t result;
    int fd;
    size_t some;
    pthread_mutex_lock(&lock);
    bool is = answered("cuFileWrite", handle, base, bytes, offset, &fd, &some, &result);
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return is ? result
              : move(fd, (uint64_t)(uintptr_t)base + (uint64_t)offset, bytes, some, file_offset,
                     false);
}

// --- the inside door -----------------------------------------------------------------------------------------

EXPORT void standin_cufile_set(const standin_cufile_config *wanted)
{
    pthread_mutex_lock(&lock);
    config = *wanted;
    fault_seen = 0;
    if (config.fresh) {
        memset(files, 0, sizeof(files));
        memset(buffers, 0, sizeof(buffers));
        counts = (standin_cufile_counts){0};
    }
    counts = (standin_cufile_counts){
        .opens = counts.opens, .handles = counts.handles, .buffers = counts.buffers};
    pthread_mutex_unlock(&lock);
}

EXPORT void standin_cufile_get(standin_cufile_counts *out)
{
    pthread_mutex_lock(&lock);
    *out = counts;
    pthread_mutex_unlock(&lock);
}
