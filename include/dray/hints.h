/// dray/hints.h: where memory should live, said once for CUDA, OpenCL and Linux, and what became of it.
///
///     dray_hints_open(context, device, &hints, &error);           // NULL device: Linux host memory
///     dray_hint_plan_create(context, &plan, &error);
///     dray_hint_plan_policy(plan, range, policy);                  // chainable; the first mistake is kept
///     dray_hint_plan_prefetch(plan, range, dray_hint_at_device(0));
///     dray_hint_run_create(hints, plan, NULL, &run, &error);       // checked and lowered; no call made yet
///     dray_hint_run_start(run, &error);                            // the driver's calls
///     dray_hint_run_wait(run, &error);                             // their end, and the reading back
///     dray_hint_run_result(run, 0)->outcome                        // what became of entry 0
///     dray_hint_run_undo(run, &undone, &error);                    // as it was before, where that is possible
///
/// The words:
///
/// - a **policy** has three independent axes: read-mostly; a preferred location; the set of processors
///   that access the bytes often. A policy speaks of the axes it names and leaves the others as they are;
///   `reset` unsets whatever is set, and with `reset` in front a policy means exactly what it says.
/// - a **plan** is a list of entries, {range, what}. It is pure: making, checking, lowering and printing
///   one touches no driver and no byte. Entries are carried out in the order in which they were added.
/// - **lowering** turns a plan into the calls of one backend, given its abilities. What is printed is
///   what is executed: they are one list.
/// - a **run** is a plan under way on a backend: results per entry, a completion, and a journal for undo.
///
/// A *wrong* hint (no bytes, past the end, unknown device, memory that is not managed) is an error before
/// any call. A hint that this machine *cannot* follow is no error: its outcome says "skipped" and why.
/// Nothing is reported as done that was not seen to be done.
///
/// Threads: one at a time per object; a `dray_hints` may serve several runs one after the other.
#ifndef DRAY_HINTS_H
#define DRAY_HINTS_H

#include "dray/memory.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// --- location ---------------------------------------------------------------------------------------

/// Values are the driver's own (CUmemLocationType).
typedef enum dray_hint_place {
    DRAY_HINT_NOWHERE = 0,     ///< none; `index` is 0
    DRAY_HINT_DEVICE = 1,      ///< device `index` of the backend's family
    DRAY_HINT_HOST = 2,        ///< `index` is 0
    DRAY_HINT_HOST_NUMA = 3,   ///< NUMA node `index` of the host
    DRAY_HINT_CURRENT_NUMA = 4 ///< the node of the processor that makes the call; `index` is 0
} dray_hint_place;

/// Always both fields: a bare number never says whether it is a device, a node, or "the host is -1".
typedef struct dray_hint_location {
    dray_hint_place place;
    uint32_t index;
} dray_hint_location;

static inline dray_hint_location dray_hint_at_device(uint32_t ordinal)
{
    dray_hint_location at = {DRAY_HINT_DEVICE, ordinal};
    return at;
}
static inline dray_hint_location dray_hint_at_host(void)
{
    dray_hint_location at = {DRAY_HINT_HOST, 0};
    return at;
}
static inline dray_hint_location dray_hint_at_numa(uint32_t node)
{
    dray_hint_location at = {DRAY_HINT_HOST_NUMA, node};
    return at;
}

#define DRAY_HINT_DEVICES_MAX 64u ///< devices are 0 to 63
#define DRAY_HINT_NODES_MAX 1024u ///< NUMA nodes are 0 to 1023
#define DRAY_HINT_TEXT_BYTES 320  ///< enough for any policy, location or state in words

/// "device:2", "host", "numa:1", "numa:current", "none". Writes and returns `out`.
DRAY_API const char *dray_hint_location_print(dray_hint_location location,
                                              char out[DRAY_HINT_TEXT_BYTES]);
/// The same words. DRAY_E_INVALID: what is accepted.
DRAY_API dray_status dray_hint_location_parse(const char *text, dray_hint_location *out_location,
                                              dray_error *error);

// --- policy -----------------------------------------------------------------------------------------

/// Which processors access the bytes often.
typedef struct dray_hint_processors {
    uint64_t devices; ///< bit n: device n
    uint32_t host;    ///< 1: the host, too
    uint32_t reserved;
} dray_hint_processors;

/// Zeroed it is `default`: no advice at all.
typedef struct dray_hint_policy {
    uint32_t reset;       ///< 1: axes that are not named below are unset, as far as they are set
    uint32_t read_mostly; ///< 1: copies may be made where it is read; writing collapses them
    dray_hint_location preferred;     ///< DRAY_HINT_NOWHERE: not named
    dray_hint_processors accessed_by; ///< empty: not named
} dray_hint_policy;

// The classic ones.
DRAY_API dray_hint_policy dray_hint_default(void);
DRAY_API dray_hint_policy dray_hint_read_mostly(void);
DRAY_API dray_hint_policy dray_hint_prefer_device(uint32_t ordinal);
DRAY_API dray_hint_policy dray_hint_prefer_host(void);
DRAY_API dray_hint_policy dray_hint_reset(void);

/// Names nothing and resets nothing: succeeds on every machine without a call.
DRAY_API bool dray_hint_policy_is_default(const dray_hint_policy *policy);
DRAY_API bool dray_hint_policy_equal(const dray_hint_policy *left, const dray_hint_policy *right);
/// DRAY_E_INVALID: a device or node number beyond the limits, a place that is none, host with a number.
DRAY_API dray_status dray_hint_policy_check(const dray_hint_policy *policy, dray_error *error);

/// "default", "reset", "read-mostly+accessed-by:0,1", "reset+prefer-device:2", "prefer-host",
/// "prefer-numa:1", "prefer-numa:current", "accessed-by:0,host". Writes and returns `out`.
DRAY_API const char *dray_hint_policy_print(const dray_hint_policy *policy,
                                            char out[DRAY_HINT_TEXT_BYTES]);
/// The same words, each axis at most once, in any order; numbers without sign or leading zeros.
/// DRAY_E_FORMAT with the position (error.offset) and what is accepted there.
DRAY_API dray_status dray_hint_policy_parse(const char *text, dray_hint_policy *out_policy,
                                            dray_error *error);

/// Values are the driver's own (CUmem_advise).
typedef enum dray_hint_advice_kind {
    DRAY_HINT_SET_READ_MOSTLY = 1,
    DRAY_HINT_UNSET_READ_MOSTLY = 2,
    DRAY_HINT_SET_PREFERRED = 3,
    DRAY_HINT_UNSET_PREFERRED = 4,
    DRAY_HINT_SET_ACCESSED_BY = 5,
    DRAY_HINT_UNSET_ACCESSED_BY = 6
} dray_hint_advice_kind;

/// One axis, set or unset. READ_MOSTLY and UNSET_PREFERRED need no location (DRAY_HINT_NOWHERE);
/// ACCESSED_BY takes a device or the host.
typedef struct dray_hint_advice {
    dray_hint_advice_kind kind;
    dray_hint_location location;
} dray_hint_advice;

#define DRAY_HINT_ADVICE_MAX (2u + DRAY_HINT_DEVICES_MAX + 1u)

/// The settings of a policy as advice: read-mostly, then preferred, then accessed-by in the order of the
/// devices, the host last. Returns how many (at most DRAY_HINT_ADVICE_MAX), also where `out` is NULL.
/// What `reset` unsets depends on what is set, so it adds nothing here.
DRAY_API uint32_t dray_hint_policy_advice(const dray_hint_policy *policy, dray_hint_advice *out);

// --- range ------------------------------------------------------------------------------------------

/// Bytes that a hint is about. Make it with the functions below: they check it.
typedef struct dray_hint_range {
    void *pointer;       ///< first byte; NULL: bytes of a file that is not mapped
    uint64_t bytes;      ///< > 0
    dray_region *region; ///< borrowed until the plan, or the run made from it, is gone; NULL: raw memory
    uint64_t offset; ///< of the first byte in the region
} dray_hint_range;

/// Raw memory. DRAY_E_INVALID: NULL, no bytes, or pointer + bytes overflows.
DRAY_API dray_status dray_hint_range_raw(void *pointer, uint64_t bytes, dray_hint_range *out_range,
                                         dray_error *error);
/// A whole region, or a span of one (a tensor, a layer, a block). DRAY_E_INVALID: no bytes, or the span
/// leaves its region. DRAY_E_UNSUPPORTED: memory that has no address here (kinds DEVICE, REMOTE, NULL).
DRAY_API dray_status dray_hint_range_region(dray_region *region, dray_hint_range *out_range,
                                            dray_error *error);
DRAY_API dray_status dray_hint_range_span(const dray_span *span, dray_hint_range *out_range,
                                          dray_error *error);
/// [offset, offset + bytes) of a range. DRAY_E_INVALID: no bytes, overflow, past the end.
DRAY_API dray_status dray_hint_range_part(const dray_hint_range *range, uint64_t offset,
                                          uint64_t bytes, dray_hint_range *out_part,
                                          dray_error *error);

// --- plan -------------------------------------------------------------------------------------------

typedef enum dray_hint_kind {
    DRAY_HINT_POLICY = 1,
    DRAY_HINT_ADVICE = 2, ///< one axis, set or unset
    DRAY_HINT_PREFETCH = 3,
    DRAY_HINT_RELEASE = 4,
    DRAY_HINT_HUGE_PAGES = 5 ///< host: asked for, and collapsed now
} dray_hint_kind;

/// How far bytes are let go. Rounds *inwards*: a page that holds somebody else's byte stays.
typedef enum dray_hint_release {
    DRAY_HINT_COLD = 1,   ///< first to go when memory is short; nothing happens now
    DRAY_HINT_OUT = 2,    ///< out of memory now, contents kept: the file has them, or swap
    DRAY_HINT_DISCARD = 3 ///< contents of memory are lost; files lose nothing
} dray_hint_release;

typedef struct dray_hint_entry {
    dray_hint_kind kind;
    dray_hint_release release; ///< RELEASE
    dray_hint_range range;
    union {
        dray_hint_policy policy;     ///< POLICY
        dray_hint_advice advice;     ///< ADVICE
        dray_hint_location location; ///< PREFETCH
    };
} dray_hint_entry;

/// Owns: its list of entries; the ranges' regions are borrowed.
typedef struct dray_hint_plan dray_hint_plan;

DRAY_API dray_status dray_hint_plan_create(dray_context *context, dray_hint_plan **out_plan,
                                           dray_error *error);
/// NULL is accepted. Runs made from it may go on: they have what they need.
DRAY_API void dray_hint_plan_destroy(dray_hint_plan *plan);

/// Each adds one entry and returns `plan`. A wrong entry is not added; the first mistake is kept, later
/// adds change nothing, and check, lower and run_create report it with the entry's number.
DRAY_API dray_hint_plan *dray_hint_plan_add(dray_hint_plan *plan, const dray_hint_entry *entry);
DRAY_API dray_hint_plan *dray_hint_plan_policy(dray_hint_plan *plan, dray_hint_range range,
                                               dray_hint_policy policy);
DRAY_API dray_hint_plan *dray_hint_plan_advice(dray_hint_plan *plan, dray_hint_range range,
                                               dray_hint_advice advice);
DRAY_API dray_hint_plan *dray_hint_plan_prefetch(dray_hint_plan *plan, dray_hint_range range,
                                                 dray_hint_location location);
DRAY_API dray_hint_plan *dray_hint_plan_release(dray_hint_plan *plan, dray_hint_range range,
                                                dray_hint_release release);
DRAY_API dray_hint_plan *dray_hint_plan_huge_pages(dray_hint_plan *plan, dray_hint_range range);

DRAY_API uint64_t dray_hint_plan_length(const dray_hint_plan *plan);
DRAY_API bool dray_hint_plan_is_empty(const dray_hint_plan *plan);
/// index >= length gives NULL. Valid until the next add.
DRAY_API const dray_hint_entry *dray_hint_plan_at(const dray_hint_plan *plan, uint64_t index);

/// Is the plan sound? DRAY_E_INVALID, with the entries' numbers and a suggestion:
/// - the first mistake of an add;
/// - two entries of one kind over the same bytes;
/// - two that contradict each other on one *page*: the driver widens hints to whole pages, so tensors
///   that share a page share its fate (give both one policy, align them to pages, or leave out the
///   page they share).
/// Entries of different kinds over the same bytes are fine: they run in their order.
DRAY_API dray_status dray_hint_plan_check(const dray_hint_plan *plan, dray_error *error);

// --- what a backend can do ----------------------------------------------------------------------------

/// Calls that a backend has, as a mask.
typedef enum dray_hint_feature {
    DRAY_HINT_HAS_ADVISE = 1 << 0,         ///< CUDA: cuMemAdvise (device or host, no node)
    DRAY_HINT_HAS_ADVISE_V2 = 1 << 1,      ///< CUDA >= 12.2: any location
    DRAY_HINT_HAS_PREFETCH = 1 << 2,       ///< CUDA: cuMemPrefetchAsync
    DRAY_HINT_HAS_PREFETCH_V2 = 1 << 3,    ///< CUDA >= 12.2
    DRAY_HINT_HAS_PREFETCH_BATCH = 1 << 4, ///< CUDA >= 13.0
    DRAY_HINT_HAS_DISCARD_BATCH = 1 << 5,  ///< CUDA >= 13.0
    DRAY_HINT_HAS_RANGE_STATE = 1 << 6,    ///< CUDA: range attributes 1 to 4
    DRAY_HINT_HAS_RANGE_NODES = 1 << 7,    ///< CUDA >= 12.2: range attributes 5 to 8
    DRAY_HINT_HAS_SVM_MIGRATE = 1 << 8,    ///< OpenCL >= 2.1: clEnqueueSVMMigrateMem
    DRAY_HINT_HAS_USM = 1 << 9,            ///< OpenCL: cl_intel_unified_shared_memory
    DRAY_HINT_HAS_POPULATE = 1 << 10,      ///< Linux 5.14: MADV_POPULATE_READ and _WRITE
    DRAY_HINT_HAS_COLD = 1 << 11,          ///< Linux 5.4: MADV_COLD and MADV_PAGEOUT
    DRAY_HINT_HAS_COLLAPSE = 1 << 12,      ///< Linux 6.1: MADV_COLLAPSE
    DRAY_HINT_HAS_CACHESTAT = 1 << 13,     ///< Linux 6.5
    DRAY_HINT_HAS_NUMA = 1 << 14           ///< Linux: mbind, get_mempolicy, move_pages are allowed
} dray_hint_feature;

/// "cuMemAdvise_v2", "MADV_POPULATE_READ", ... for one bit; NULL for none.
DRAY_API const char *dray_hint_feature_name(uint32_t feature);

/// One device of the family, as far as hints care.
typedef struct dray_hint_device {
    uint32_t managed; ///< 1: it has managed memory
    uint32_t concurrent_managed; ///< 1: host and device may touch managed memory at one time; 0: hints are skipped
    uint32_t pageable;         ///< 1: ordinary host memory may be hinted, too
    uint32_t host_page_tables; ///< 1: it walks the host's page tables: accessed-by says nothing new
    uint32_t integrated;
    int32_t numa_node;    ///< of the host, near it; -1: not known
    uint64_t total_bytes; ///< DRAY_UNKNOWN: not told
    uint64_t free_bytes; ///< DRAY_UNKNOWN: not told; then admission does not count on this location
    /// Why moving does nothing here although the calls succeed ("PoCL's CPU devices share the host's
    /// memory"); "": it does something, or nobody knows.
    char no_effect[96];
} dray_hint_device;

/// Everything lowering depends on. Found once, when hints are opened; printable (`dray hints probe`).
typedef struct dray_hint_abilities {
    const char *family;       ///< "host", "cuda", "opencl", "sim"
    uint32_t features;        ///< dray_hint_feature
    uint32_t driver_version;  ///< CUDA: 13000; OpenCL: 300; otherwise 0
    uint32_t ordinal;         ///< of the device whose stream makes the calls
    uint32_t device_count;    ///< of the family
    uint64_t page_bytes;      ///< of the host: what a driver widens hints to
    uint64_t huge_page_bytes; ///< 0: transparent huge pages are off
    uint64_t lockable_bytes;  ///< UINT64_MAX: no limit
    uint64_t host_free_bytes; ///< DRAY_UNKNOWN: not known
    uint32_t node_count;      ///< NUMA nodes 0 to node_count - 1 exist; at least 1
    uint32_t current_node;
    dray_hint_device devices[DRAY_HINT_DEVICES_MAX];
} dray_hint_abilities;

/// What the newest driver with `device_count` full devices could do ("cuda", "opencl"), or this kernel's
/// own calls with one node and 4 KiB pages ("host"): for explaining without a driver.
/// DRAY_E_NOTFOUND: no such family.
DRAY_API dray_status dray_hint_assume(const char *family, uint32_t device_count,
                                      dray_hint_abilities *out_abilities, dray_error *error);

// --- lowering -----------------------------------------------------------------------------------------

/// The calls that backends make. "cuMemAdvise_v2", "madvise", ... in words.
typedef enum dray_hint_function {
    DRAY_HINT_CU_ADVISE = 1,    ///< cuMemAdvise: the location goes as a device number, -1 the host
    DRAY_HINT_CU_ADVISE_V2 = 2, ///< cuMemAdvise_v2
    DRAY_HINT_CU_PREFETCH = 3,  ///< cuMemPrefetchAsync: as CU_ADVISE
    DRAY_HINT_CU_PREFETCH_V2 = 4,    ///< cuMemPrefetchAsync_v2
    DRAY_HINT_CU_PREFETCH_BATCH = 5, ///< cuMemPrefetchBatchAsync
    DRAY_HINT_CU_DISCARD_BATCH = 6,  ///< cuMemDiscardBatchAsync
    DRAY_HINT_CL_SVM_MIGRATE = 20,   ///< clEnqueueSVMMigrateMem; advice: the flags
    DRAY_HINT_CL_USM_MIGRATE = 21,   ///< clEnqueueMigrateMemINTEL; advice: the flags
    DRAY_HINT_MADVISE = 40,          ///< madvise; advice: MADV_...
    DRAY_HINT_MLOCK = 41,
    DRAY_HINT_MUNLOCK = 42,
    DRAY_HINT_MBIND = 43,      ///< mbind; advice: MPOL_...; location: the node
    DRAY_HINT_MOVE_PAGES = 44, ///< move_pages; location: the node
    DRAY_HINT_FADVISE = 45     ///< posix_fadvise; advice: POSIX_FADV_...
} dray_hint_function;

DRAY_API const char *dray_hint_function_name(dray_hint_function function);
/// "CU_MEM_ADVISE_SET_READ_MOSTLY", "MADV_COLD", "MPOL_PREFERRED", ...; NULL: the call takes none.
DRAY_API const char *dray_hint_advice_name(dray_hint_function function, uint32_t advice);

/// "none", "device", "host", "host_numa", "host_numa_current": for JSON.
DRAY_API const char *dray_hint_place_name(dray_hint_place place);

/// Consecutive entries that lie side by side in memory and want the same: one range of a call.
typedef struct dray_hint_call_range {
    dray_hint_range range;
    dray_hint_location location; ///< batches may have several
    uint64_t entry;              ///< the first one it came from
    uint64_t entry_count;        ///< how many, from there on
} dray_hint_call_range;

/// One call of a backend. Its ranges are ranges[first_range .. first_range + range_count) of the lowering;
/// more than one only in calls that take a list.
typedef struct dray_hint_call {
    dray_hint_function function;
    uint32_t advice;             ///< the number that the call gets; 0 where it takes none
    dray_hint_location location; ///< that the call gets; of a batch: of its first range
    uint32_t is_restore;         ///< 1: part of an undo
    uint32_t reserved;
    uint64_t first_range, range_count;
    uint64_t nodes; ///< MBIND: a mask of NUMA nodes 0 to 63
    uint64_t bytes; ///< of all its ranges
    uint64_t step_bytes; ///< > 0: made once for every so many bytes, the next step's read-ahead started first
} dray_hint_call;

/// The number that the call gets for its location: the index, and -1 for the host in the oldest calls of CUDA.
DRAY_API int64_t dray_hint_call_location_id(const dray_hint_call *call);

/// Why entries get no call, or another one than they asked for.
typedef struct dray_hint_remark {
    uint64_t entry, entry_count;
    uint32_t is_skip; ///< 1: nothing is called for (this part of) the entry; 0: degraded, or known to do nothing
    uint32_t is_no_effect; ///< 1: accepted and known to do nothing
    const char *text;      ///< valid as long as the lowering
} dray_hint_remark;

/// The exact calls that a plan becomes on a backend, in their order. Owns: its lists.
typedef struct dray_hint_lowering dray_hint_lowering;

typedef struct dray_hint_lower_options {
    size_t struct_bytes;
    uint64_t headroom_bytes; ///< of every location stays free; 0: 1/16 of its free memory, 1 GiB at most
    uint32_t no_headroom; ///< 1: none
    uint32_t oversubscribe; ///< 1: admit more than fits (then prefetches run one by one, in the plan's order)
} dray_hint_lower_options;

/// Pure. DRAY_E_INVALID: the plan is not sound (dray_hint_plan_check); an unknown device or node.
/// DRAY_E_NOSPACE: prefetched or preferred bytes exceed what a location has free, less the headroom; with
/// the numbers. `options` may be NULL; `abilities` is kept by reference. What `reset` unsets is not known here: all axes it could unset are listed.
DRAY_API dray_status dray_hint_plan_lower(const dray_hint_plan *plan,
                                          const dray_hint_abilities *abilities,
                                          const dray_hint_lower_options *options,
                                          dray_hint_lowering **out_lowering, dray_error *error);
DRAY_API void dray_hint_lowering_destroy(dray_hint_lowering *lowering);
DRAY_API uint64_t dray_hint_lowering_calls(const dray_hint_lowering *lowering,
                                           const dray_hint_call **out_calls);
DRAY_API uint64_t dray_hint_lowering_ranges(const dray_hint_lowering *lowering,
                                            const dray_hint_call_range **out_ranges);
DRAY_API uint64_t dray_hint_lowering_remarks(const dray_hint_lowering *lowering,
                                             const dray_hint_remark **out_remarks);

typedef void (*dray_hint_write_fn)(void *self, const char *text, size_t bytes);
/// A line per call and per remark, whole lines each time.
DRAY_API void dray_hint_lowering_print(const dray_hint_lowering *lowering, dray_hint_write_fn write,
                                       void *self);
/// {"calls": [{"function", "bytes", "advice", "location": {"type", "id"}}, ...], "remarks": [...]}
DRAY_API void dray_hint_lowering_print_json(const dray_hint_lowering *lowering,
                                            dray_hint_write_fn write, void *self);

// --- outcomes -----------------------------------------------------------------------------------------

/// Ordered: the larger, the worse. An entry has the worst of its calls'.
typedef enum dray_hint_outcome {
    DRAY_HINT_PENDING = 0,  ///< not carried out yet, or still under way
    DRAY_HINT_VERIFIED = 1, ///< read back, or measured: it is so
    DRAY_HINT_ACCEPTED = 2, ///< the driver said yes, and offers no way to look
    DRAY_HINT_DEGRADED = 3, ///< something weaker was done, or less than asked for; `note` says what
    DRAY_HINT_NO_EFFECT = 4, ///< accepted, and known to do nothing here
    DRAY_HINT_SKIPPED = 5,   ///< no call was made; `note` says why
    DRAY_HINT_FAILED = 6     ///< `status`, `code` and `code_name` say how
} dray_hint_outcome;

/// "verified", "accepted", "no-effect", ...
DRAY_API const char *dray_hint_outcome_name(dray_hint_outcome outcome);

/// What became of one entry. Valid as long as the run.
typedef struct dray_hint_result {
    dray_hint_outcome outcome;
    uint32_t enqueued;      ///< 1: the driver took all its calls
    dray_status status;     ///< FAILED: as an error would say it
    int32_t code;           ///< FAILED: the driver's or the system's
    const char *code_name;  ///< "CUDA_ERROR_INVALID_DEVICE", "ENOMEM"; or NULL
    const char *note;       ///< a clause for people, or NULL
    uint64_t bytes_covered; ///< after rounding to pages
    uint64_t bytes_done;    ///< measured: resident, moved, freed; DRAY_UNKNOWN: nobody can tell
} dray_hint_result;

// --- a backend, opened -----------------------------------------------------------------------------------

/// Owns: a reference to its device, and what it found out about it.
typedef struct dray_hints dray_hints;

/// `device` NULL: Linux host memory. DRAY_E_UNSUPPORTED: the device's family has no hints, or the driver
/// lacks the calls; with which.
DRAY_API dray_status dray_hints_open(dray_context *context, struct dray_device *device,
                                     dray_hints **out_hints, dray_error *error);
/// Its runs must be gone. NULL is accepted.
DRAY_API void dray_hints_close(dray_hints *hints);
DRAY_API const dray_hint_abilities *dray_hints_abilities(const dray_hints *hints);
/// Free memory changes: asks for it again.
DRAY_API dray_status dray_hints_refresh(dray_hints *hints, dray_error *error);

/// What a range of memory has set now.
typedef struct dray_hint_state {
    uint32_t known;               ///< DRAY_HINT_KNOWS_...: which of the fields could be read
    uint32_t read_mostly;         ///< 1: all of it
    dray_hint_location preferred; ///< NOWHERE: none, or not the same on all of it
    dray_hint_processors accessed_by;
    dray_hint_location last_prefetch; ///< what was last asked for, not where the bytes are
    uint32_t may_be_mixed;            ///< 1: "not set" may also mean "not on all of it"
    uint32_t reserved;
    uint64_t own[6]; ///< the backend's own, for restoring
} dray_hint_state;

enum {
    DRAY_HINT_KNOWS_READ_MOSTLY = 1,
    DRAY_HINT_KNOWS_PREFERRED = 2,
    DRAY_HINT_KNOWS_ACCESSED_BY = 4,
    DRAY_HINT_KNOWS_LAST_PREFETCH = 8,
    DRAY_HINT_KNOWS_OWN = 16
};

/// DRAY_E_UNSUPPORTED: this backend has nothing to read back.
DRAY_API dray_status dray_hints_state(dray_hints *hints, const dray_hint_range *range,
                                      dray_hint_state *out_state, dray_error *error);

// One hint at once, waited for: a plan of one entry. The status is that of the calls; *out_result (may be
// NULL) says what became of it: its texts live as long as `hints`.
DRAY_API dray_status dray_hints_apply(dray_hints *hints, const dray_hint_range *range,
                                      const dray_hint_policy *policy, dray_hint_result *out_result,
                                      dray_error *error);
DRAY_API dray_status dray_hints_set_read_mostly(dray_hints *hints, const dray_hint_range *range,
                                                bool on, dray_hint_result *out_result,
                                                dray_error *error);
/// DRAY_HINT_NOWHERE unsets.
DRAY_API dray_status dray_hints_set_preferred(dray_hints *hints, const dray_hint_range *range,
                                              dray_hint_location location,
                                              dray_hint_result *out_result, dray_error *error);
DRAY_API dray_status dray_hints_set_accessed_by(dray_hints *hints, const dray_hint_range *range,
                                                dray_hint_location processor, bool on,
                                                dray_hint_result *out_result, dray_error *error);
DRAY_API dray_status dray_hints_prefetch(dray_hints *hints, const dray_hint_range *range,
                                         dray_hint_location location, dray_hint_result *out_result,
                                         dray_error *error);
/// [offset, offset + bytes) of `range`.
DRAY_API dray_status dray_hints_prefetch_part(dray_hints *hints, const dray_hint_range *range,
                                              uint64_t offset, uint64_t bytes,
                                              dray_hint_location location,
                                              dray_hint_result *out_result, dray_error *error);

// --- run ----------------------------------------------------------------------------------------------

/// A plan on a backend. Owns: the lowered calls, results, journal. Needs its `hints` and the memory.
typedef struct dray_hint_run dray_hint_run;

typedef struct dray_hint_run_options {
    size_t struct_bytes;
    dray_hint_lower_options lower; ///< its struct_bytes may be 0
    uint32_t go_on;                ///< 1: entries behind a failed one are carried out all the same
    uint32_t no_journal;           ///< 1: nothing is read before; no undo
    uint32_t no_verify; ///< 1: nothing is read afterwards: what could be VERIFIED is ACCEPTED
    uint32_t journal_pieces_max; ///< before a change, a range is read whole and in up to so many pieces, in case
                                 ///< they differ; 0: 16, and 1 in runs of more than 256 entries
} dray_hint_run_options;

/// Checks, looks at the memory (managed? inside its allocation?), reads what `reset` has to unset, and
/// lowers. No hint is given yet. Errors as dray_hint_plan_lower(); also DRAY_E_INVALID: a range that is no
/// managed memory and that the device may not touch either, with what it is.
DRAY_API dray_status dray_hint_run_create(dray_hints *hints, const dray_hint_plan *plan,
                                          const dray_hint_run_options *options,
                                          dray_hint_run **out_run, dray_error *error);
/// Waits first for what is under way. NULL is accepted. Nothing is undone.
DRAY_API void dray_hint_run_destroy(dray_hint_run *run);
DRAY_API const dray_hint_lowering *dray_hint_run_lowering(const dray_hint_run *run);

/// Makes the calls, in their order. The first failure is returned, and its entry stands in error.index;
/// without `go_on` the calls behind it are not made. Called again it *resumes*: with the first entry that
/// was not enqueued whole; calls that were accepted are not repeated. DRAY_OK when none is left.
DRAY_API dray_status dray_hint_run_start(dray_hint_run *run, dray_error *error);
/// Never blocks. *out_done true: nothing is under way any more. A failing status: what was under way has
/// ended badly, for reasons that may come from earlier work on the device; all that was in flight is FAILED.
DRAY_API dray_status dray_hint_run_query(dray_hint_run *run, bool *out_done, dray_error *error);
/// Blocks until nothing is under way, then reads back. Status as dray_hint_run_query().
DRAY_API dray_status dray_hint_run_wait(dray_hint_run *run, dray_error *error);

DRAY_API uint64_t dray_hint_run_length(const dray_hint_run *run); ///< entries
/// index >= length gives NULL.
DRAY_API const dray_hint_result *dray_hint_run_result(const dray_hint_run *run, uint64_t index);
/// The worst outcome of all entries; of none: VERIFIED.
DRAY_API dray_hint_outcome dray_hint_run_worst(const dray_hint_run *run);

typedef struct dray_hint_undo_report {
    uint64_t entries;  ///< of the run that had done anything
    uint64_t restored; ///< read back as they were before
    uint64_t accepted; ///< put back, but nobody can look
    uint64_t inexact; ///< put back as far as possible: mixed settings, UNSET_READ_MOSTLY, pages that moved
    uint64_t impossible; ///< prefetched, released, discarded: bytes that moved stay where they are
    uint64_t failed;
    const char *why; ///< of the first that is inexact or impossible; static; or NULL
} dray_hint_undo_report;

/// Puts back what was set before, last entry first; also after a start that failed in the middle.
/// Goes on after a failure and returns the first. DRAY_E_INVALID: the run has no journal.
DRAY_API dray_status dray_hint_run_undo(dray_hint_run *run, dray_hint_undo_report *out_report,
                                        dray_error *error);
/// What undo had to say about entry `index`: NULL, or why it is not as it was before. Static.
DRAY_API const char *dray_hint_run_undo_note(const dray_hint_run *run, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
