/// dray/base.h: what every other header stands on: status, error, allocator, log sink.
///
/// Every function that can fail returns a dray_status and takes a dray_error as its last parameter.
/// The error is owned by the caller, may be NULL, is written only on failure, and never needs to be
/// freed. There is no "last error" anywhere: work that runs later carries its own dray_error.
#ifndef DRAY_BASE_H
#define DRAY_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DRAY_API __attribute__((visibility("default")))
#define DRAY_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define DRAY_API
#define DRAY_PRINTF(format_at, first_at)
#endif

#define DRAY_VERSION_MAJOR 0
#define DRAY_VERSION_MINOR 1
#define DRAY_VERSION_PATCH 0

/// "0.1.0": the version of the library that runs, as opposed to the header that compiled.
DRAY_API const char *dray_version(void);

/// One value per thing a caller would do differently. Values never change; new ones are appended.
typedef enum dray_status {
    DRAY_OK = 0,
    DRAY_E_INVALID = 1,     ///< the caller's arguments contradict each other or the object's state
    DRAY_E_NOMEM = 2,       ///< memory, or the right to lock it, ran out
    DRAY_E_NOSPACE = 3,     ///< a disk, a pool or a budget is full
    DRAY_E_NOTFOUND = 4,    ///< no such file, tensor, component
    DRAY_E_FORMAT = 5,      ///< bytes break the rules of their format (error.rule, error.offset)
    DRAY_E_UNSUPPORTED = 6, ///< valid, but this build, kernel or device cannot do it
    DRAY_E_IO = 7,      ///< the operating system failed a read or write (error.native_code = errno)
    DRAY_E_BUSY = 8,    ///< in use; try again when it is not
    DRAY_E_TIMEOUT = 9, ///< the deadline passed
    DRAY_E_CANCELLED = 10, ///< the caller asked for it to stop
    DRAY_E_DEVICE = 11,   ///< a device or its driver failed (error.native_code = the driver's code)
    DRAY_E_CORRUPT = 12,  ///< bytes are not the ones that were promised (checksum, truncation)
    DRAY_E_INTERNAL = 13, ///< a bug of ours; please report it
    DRAY_E_FAILED = 14    ///< a function of a module, or a plug-in's, reported a failure of its own
} dray_status;

/// "ok", "invalid", "nomem", ...: stable words, used in JSON output. Unknown values give "unknown".
DRAY_API const char *dray_status_name(dray_status status);

/// No offset or index is known: the value of dray_error.offset and .index when they say nothing.
#define DRAY_UNKNOWN UINT64_MAX

/// What happened, with numbers. 512 bytes, so that it lives on the stack or inside an operation.
/// `message` reads from where to what: "open shard 2 of 4: pread m.gguf: wanted 8 at 812, file ends
/// at 816". When it grows too long the middle of the *where* is dropped, never the cause.
typedef struct dray_error {
    dray_status status;
    int32_t native_code; ///< errno or the driver's code; 0: none
    const char *origin; ///< static string: the system or driver call that failed ("pread"); or NULL
    const char *rule; ///< static string: id of the format rule that was broken ("gguf.kv.type"); or NULL
    uint64_t offset;   ///< byte offset in the file or buffer, or DRAY_UNKNOWN
    uint64_t index;    ///< index of the copy, tensor or entry, or DRAY_UNKNOWN
    char message[384]; ///< always terminated
    uint8_t reserved[88];
} dray_error;

/// Writes `error` (may be NULL) with the given cause and returns `status`. For plug-ins too.
DRAY_API dray_status dray_fail(dray_error *error, dray_status status, const char *format, ...)
    DRAY_PRINTF(3, 4);

/// The same, for a broken rule of a format at a byte offset (DRAY_UNKNOWN when there is none).
DRAY_API dray_status dray_fail_rule(dray_error *error, dray_status status, const char *rule,
                                    uint64_t offset, const char *format, ...) DRAY_PRINTF(5, 6);

/// The same, for a failed system call: `native_code` is the positive errno, `origin` the call's name
/// (static string). The status follows from the errno, and ": <strerror>" is appended to the message.
DRAY_API dray_status dray_fail_os(dray_error *error, int native_code, const char *origin,
                                  const char *format, ...) DRAY_PRINTF(4, 5);

/// Prepends "<where>: " to an error already written, and returns `status`. NULL error: only returns.
DRAY_API dray_status dray_fail_within(dray_error *error, dray_status status, const char *format,
                                      ...) DRAY_PRINTF(3, 4);

/// Bookkeeping memory (never the bytes of models). Copied by value into the context.
/// `alloc` returns memory aligned as malloc's, or NULL; `free` gets the bytes that were asked for.
/// Threads: both may be called from any thread of the context's pool.
typedef struct dray_allocator {
    void *(*alloc)(void *self, size_t bytes);
    void (*free)(void *self, void *pointer, size_t bytes);
    void *self;
} dray_allocator;

typedef enum dray_log_level {
    DRAY_LOG_ERROR = 1,
    DRAY_LOG_WARNING = 2,
    DRAY_LOG_INFO = 3,
    DRAY_LOG_DEBUG = 4
} dray_log_level;

/// Where messages go that belong to no failing call. The library itself prints nothing.
/// `message` is one line without newline, valid during the call. Threads: any.
typedef struct dray_log_sink {
    void (*write)(void *self, dray_log_level level, const char *message);
    void *self;
} dray_log_sink;

/// Counted text that need not be terminated: names and strings inside a model file.
typedef struct dray_text {
    const char *bytes;
    uint64_t length;
} dray_text;

#ifdef __cplusplus
}
#endif
#endif
