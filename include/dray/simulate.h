/// dray/simulate.h: what a placement policy would do to managed memory, tried on a trace of accesses,
/// without a GPU and before touching one.
///
///     dray_trace_read(context, "decode.trace", &trace, &error);
///     dray_simulate(trace, &policy, &options, &simulation, &error);
///     dray_simulation_report_of(simulation)->device_faults ...
///
/// Everything here is *simulated*: counts of a model, never measurements. The model is what NVIDIA
/// publishes of its driver: blocks of 2 MiB that are moved in pieces of 64 KiB, when a processor touches
/// what it has no mapping of (a fault); 51 % of a part of a block bring the rest; three independent
/// axes of policy; a full device evicts the block that was serviced longest ago to the host; blocks that
/// go back and forth (3 moves less than 500 us apart) are throttled for 500 us, pinned for 150 ms after
/// 10 throttles, and free again after 1 s of peace, 4 times at most. The times of the trace stand: a
/// throttled access is counted, and does not delay those behind it. docs/design/hints.md says where the
/// model is simpler than a driver.
///
/// Threads: one at a time per object; several simulations may read one trace.
#ifndef DRAY_SIMULATE_H
#define DRAY_SIMULATE_H

#include "dray/hints.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_SIMULATED_BLOCK_BYTES (UINT64_C(2) << 20)
#define DRAY_SIMULATED_DEVICES_MAX 8u ///< devices are 0 to 7

// --- trace -----------------------------------------------------------------------------------------

#define DRAY_ACCESS_HOST 0xffffu
#define DRAY_ACCESS_BYTES_MAX (UINT32_C(1) << 30)
#define DRAY_ACCESS_END_MAX (UINT64_C(4) << 40) ///< offset + bytes, at most

/// One access to managed memory.
typedef struct dray_access {
    uint64_t time_ns;   ///< never less than that of the access before
    uint64_t offset;    ///< of the first byte in the managed memory
    uint32_t bytes;     ///< 1 to DRAY_ACCESS_BYTES_MAX
    uint16_t processor; ///< DRAY_ACCESS_HOST, or the number of a device
    uint16_t write;     ///< 0: a read, 1: a write
} dray_access;

/// A list of accesses. Owns: its memory, 24 bytes per access.
typedef struct dray_trace dray_trace;

DRAY_API dray_status dray_trace_create(dray_context *context, dray_trace **out_trace,
                                       dray_error *error);
/// NULL is accepted.
DRAY_API void dray_trace_destroy(dray_trace *trace);

/// DRAY_E_INVALID: a number beyond its limit, or a time that goes back; the trace stays as it was.
DRAY_API dray_status dray_trace_add(dray_trace *trace, const dray_access *access, dray_error *error);

/// Reads text, one access a line: `time_ns processor offset bytes r|w`, with blanks or tabs between;
/// processor is `host` or the number of a device; numbers are decimal, or hexadecimal after 0x. Empty
/// lines are passed over, and so is what follows a `#`. Lines have at most 1024 bytes.
/// DRAY_E_FORMAT: with the line in the message, a rule "trace.*" and the byte offset.
DRAY_API dray_status dray_trace_parse(dray_context *context, const char *text, uint64_t bytes,
                                      dray_trace **out_trace, dray_error *error);
/// The same from a file or a pipe, which is read in small parts.
DRAY_API dray_status dray_trace_read(dray_context *context, const char *path,
                                     dray_trace **out_trace, dray_error *error);

/// All accesses in their order; valid until the next dray_trace_add().
DRAY_API uint64_t dray_trace_accesses(const dray_trace *trace, const dray_access **out_accesses);
/// Highest offset + bytes; 0: no access.
DRAY_API uint64_t dray_trace_end(const dray_trace *trace);
/// Highest number of a device, plus one.
DRAY_API uint32_t dray_trace_devices(const dray_trace *trace);

// --- simulation ------------------------------------------------------------------------------------

typedef struct dray_simulate_options {
    size_t struct_bytes;
    uint64_t capacity_bytes; ///< memory of each device, at least one block; 0: enough for everything
    uint32_t devices;        ///< 0: as many as trace and policy name, at least one
    uint32_t timeline_points; ///< not more than that many, at most 4096; 0: 240
    uint32_t host_reaches_devices; ///< 1: the host touches devices' memory without moving it (NVLink-C2C)
    uint32_t devices_reach_each_other; ///< 1: peer access
} dray_simulate_options;

/// All of it simulated. Bytes that moved are counted once, in the first three numbers; what they were
/// moved for is said by the others.
typedef struct dray_simulation_report {
    dray_hint_policy policy;
    const char *note; ///< what the model took the policy for, where it knows less; NULL: nothing to say
    uint64_t accesses, managed_bytes, capacity_bytes;
    uint32_t devices, reserved;
    uint64_t host_faults, device_faults; ///< by who touched; one per access and block
    uint64_t write_faults;               ///< of both
    uint64_t to_devices_bytes, to_host_bytes, between_devices_bytes;
    uint64_t evictions;        ///< blocks that a full device gave up
    uint64_t evicted_bytes;    ///< of to_host_bytes
    uint64_t duplicated_bytes; ///< moved as copies: the original stayed (read-mostly)
    uint64_t dropped_bytes;    ///< copies that a write made worthless
    uint64_t populated_bytes; ///< touched for the first time: made where they were touched, not moved
    uint64_t remote_accesses, remote_bytes; ///< over the link, without moving anything
    uint64_t thrashing_blocks;              ///< that ever went back and forth
    uint64_t thrash_events;                 ///< moves of blocks while they did
    uint64_t throttles, pins, resets;       ///< what the protection did about it
    uint64_t throttled_ns;                  ///< naps of processors, all of them together
    uint64_t peak_device_bytes;             ///< most that any device held, in whole blocks
} dray_simulation_report;

/// A stretch of the trace's time.
typedef struct dray_simulation_point {
    uint64_t begin_ns; ///< from there to the next point
    uint64_t faults, to_devices_bytes, to_host_bytes, between_devices_bytes;
    uint64_t remote_bytes, thrash_events;
    uint64_t device_bytes; ///< held by all devices at the end of the stretch, in whole blocks
} dray_simulation_point;

/// The result of one policy. Owns: its numbers; does not need the trace any more.
typedef struct dray_simulation dray_simulation;

/// Replays the trace with `policy` on all of the memory. Nothing is anywhere before the first access.
/// DRAY_E_INVALID: an empty trace, a policy or an option out of range, more devices named than there are.
DRAY_API dray_status dray_simulate(const dray_trace *trace, const dray_hint_policy *policy,
                                   const dray_simulate_options *options,
                                   dray_simulation **out_simulation, dray_error *error);
/// NULL is accepted.
DRAY_API void dray_simulation_destroy(dray_simulation *simulation);
/// Both are valid as long as the simulation.
DRAY_API const dray_simulation_report *dray_simulation_report_of(const dray_simulation *simulation);
DRAY_API uint32_t dray_simulation_timeline(const dray_simulation *simulation,
                                           const dray_simulation_point **out_points);

/// An SVG drawing of up to 8 simulations of one trace, one below the other: faults and bytes moved over
/// time, labelled "simulated". The same simulations give the same bytes. `title` may be anybody's text
/// in UTF-8. DRAY_E_INVALID: no simulation, or too many, or of different traces' times.
DRAY_API dray_status dray_simulation_plot(dray_simulation *const *simulations, uint32_t count,
                                          const char *title, dray_hint_write_fn write, void *self,
                                          dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
