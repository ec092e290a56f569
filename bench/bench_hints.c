/// Hints: what planning costs, and how fast a cold file range becomes resident, beside plain reads of the
/// same bytes. All cases of a round run one after the other on the same cold file.
///
/// The baselines leave out work and never add any: reads go to a small buffer that stays in the cache of
/// the processor, or past the page cache into memory that is there before the clock runs.
#include "bench.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ranges_planned = 100000, range_bytes = 64 << 10, buffer_bytes = 1 << 20, readers = 2 };

// --- planning ----------------------------------------------------------------------------------------

typedef enum plan_order { ORDER_APART = 0, ORDER_TOUCHING = 1, ORDER_SHUFFLED = 2 } plan_order;

static const char *const order_names[] = {"apart, in order", "touching", "apart, shuffled"};

/// The place of range `i`.
static uint64_t place_of(plan_order order, uint64_t i)
{
    if (order == ORDER_SHUFFLED)
        i = i * 48271 % ranges_planned; // a unit modulo 100,000: every place once
    return (1 + i) * (order == ORDER_TOUCHING ? range_bytes : 2 * range_bytes);
}

static dray_status plan_once(dray_context *context, const dray_hint_abilities *abilities,
                             plan_order order, double *out_seconds, double *out_cpu,
                             uint64_t *out_calls, dray_error *error)
{
    dray_hint_plan *plan;
    dray_hint_lowering *lowering = NULL;
    const dray_hint_call *calls;
    double begin = bench_now(), cpu = bench_cpu();
    dray_status status = dray_hint_plan_create(context, &plan, error);
    if (status != DRAY_OK)
        return status;
    for (uint64_t i = 0; i < ranges_planned; i++) {
        dray_hint_range range = {.pointer = (void *)(uintptr_t)place_of(order, i),
                                 .bytes = range_bytes};
        dray_hint_plan_prefetch(plan, range, dray_hint_at_device(0));
    }
    status = dray_hint_plan_lower(plan, abilities, NULL, &lowering, error);
    if (status == DRAY_OK)
        *out_calls = dray_hint_lowering_calls(lowering, &calls);
    dray_hint_lowering_destroy(lowering);
    dray_hint_plan_destroy(plan);
    *out_seconds = bench_now() - begin;
    *out_cpu = bench_cpu() - cpu;
    return status;
}

static dray_status bench_planning(dray_context *context, uint32_t rounds, FILE *out,
                                  dray_error *error)
{
    dray_hint_abilities abilities;
    dray_status status = dray_hint_assume("cuda", 1, &abilities, error);
    for (int order = 0; order < 3 && status == DRAY_OK; order++) {
        double seconds[bench_rounds_max], cpu[bench_rounds_max];
        uint64_t calls = 0;
        status =
            plan_once(context, &abilities, (plan_order)order, &seconds[0], &cpu[0], &calls, error);
        for (uint32_t round = 0; round < rounds && status == DRAY_OK; round++) {
            status = plan_once(context, &abilities, (plan_order)order, &seconds[round], &cpu[round],
                               &calls, error);
            seconds[round] *= 1e3;
            cpu[round] *= 1e3;
        }
        if (status != DRAY_OK)
            return status;
        fprintf(
            out,
            "{\"bench\":\"hints\",\"case\":\"plan %d ranges\",\"order\":\"%s\",\"calls\":%" PRIu64,
            (int)ranges_planned, order_names[order], calls);
        bench_print_spread(out, "milliseconds", bench_spread_of(seconds, rounds));
        bench_print_spread(out, "cpu_milliseconds", bench_spread_of(cpu, rounds));
        fprintf(out, "}\n");
    }
    return status;
}

// --- a cold file range -------------------------------------------------------------------------------

enum {
    case_hint,
    case_hint_unmapped,
    case_pread,
    case_pread_two,
    case_ring,
    case_one_willneed,
    case_count
};
static const char *const case_names[case_count] = {
    "dray: prefetch hint, mapped", "dray: prefetch hint, not mapped",  "pread into one buffer",
    "pread, two threads",          "io_uring, O_DIRECT, memory ready", "one madvise(WILLNEED)"};

typedef struct cold_state {
    dray_context *context;
    dray_hints *hints;
    dray_error *error;
    char path[512];
    uint64_t bytes;
    double rates[case_count][bench_rounds_max], resident[case_count][bench_rounds_max];
    char ring_missing[96]; // why there is no io_uring here; empty: there is
} cold_state;

/// How much of the file is in the page cache now, without touching it.
static double resident_share(const cold_state *state)
{
    unsigned char *pages;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (state->bytes + page - 1) / page, there = 0;
    int fd = open(state->path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, state->bytes, PROT_READ, MAP_SHARED, fd, 0);
    pages = malloc(count);
    if (at != MAP_FAILED && pages && mincore(at, state->bytes, pages) == 0) {
        for (size_t i = 0; i < count; i++)
            there += pages[i] & 1;
    }
    if (at != MAP_FAILED)
        munmap(at, state->bytes);
    if (fd >= 0)
        close(fd);
    free(pages);
    return (double)there / (double)count;
}

static bool hint_region(cold_state *state, dray_region *region, bench_run *run)
{
    dray_hint_range range;
    dray_hint_result result = {0};
    double begin = bench_now(), cpu = bench_cpu();
    bool good = dray_hint_range_region(region, &range, state->error) == DRAY_OK &&
                dray_hints_prefetch(state->hints, &range, dray_hint_at_host(), &result,
                                    state->error) == DRAY_OK;
    run->seconds = bench_now() - begin;
    run->cpu_seconds = bench_cpu() - cpu;
    return good && result.outcome == DRAY_HINT_VERIFIED;
}

static bool run_hint(cold_state *state, bench_run *run)
{
    dray_model_data_options options = {
        .struct_bytes = sizeof(options), .backing = DRAY_BACKING_MAPPED, .keep_compressed = 1};
    dray_model_data *data;
    if (dray_model_data_open(state->context, state->path, &options, &data, state->error) != DRAY_OK)
        return false;
    bool good = hint_region(state, dray_model_data_region(data), run);
    dray_model_data_close(data);
    return good;
}

static bool run_hint_unmapped(cold_state *state, bench_run *run)
{
    dray_region *region;
    if (dray_region_open(state->context, state->path, NULL, &region, state->error) != DRAY_OK)
        return false;
    bool good = hint_region(state, region, run);
    dray_region_release(region);
    return good;
}

typedef struct pread_part {
    const char *path;
    uint64_t first, end;
    bool good;
} pread_part;

static void *pread_part_run(void *self)
{
    pread_part *part = self;
    char *buffer = malloc(buffer_bytes);
    int fd = open(part->path, O_RDONLY | O_CLOEXEC);
    part->good = buffer && fd >= 0;
    if (part->good)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (uint64_t at = part->first; part->good && at < part->end;) {
        uint64_t left = part->end - at;
        ssize_t got = pread(fd, buffer, left < buffer_bytes ? left : buffer_bytes, (off_t)at);
        part->good = got > 0;
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    free(buffer);
    return NULL;
}

static bool run_pread(cold_state *state, unsigned threads, bench_run *run)
{
    pread_part parts[readers];
    pthread_t ids[readers];
    double begin = bench_now(), cpu = bench_cpu();
    bool good = true;
    for (unsigned i = 0; i < threads; i++) {
        parts[i] =
            (pread_part){.path = state->path,
                         .first = state->bytes / threads * i,
                         .end = i + 1 == threads ? state->bytes : state->bytes / threads * (i + 1)};
        if (i + 1 < threads && pthread_create(&ids[i], NULL, pread_part_run, &parts[i]) != 0)
            abort(); // a benchmark has no way on without its threads
    }
    pread_part_run(&parts[threads - 1]);
    for (unsigned i = 0; i + 1 < threads; i++)
        pthread_join(ids[i], NULL);
    for (unsigned i = 0; i < threads; i++)
        good &= parts[i].good;
    run->seconds = bench_now() - begin;
    run->cpu_seconds = bench_cpu() - cpu;
    return good;
}

static bool run_one_willneed(cold_state *state, bench_run *run)
{
    int fd = open(state->path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, state->bytes, PROT_READ, MAP_SHARED, fd, 0);
    double begin = bench_now();
    bool good = at != MAP_FAILED && madvise(at, state->bytes, MADV_WILLNEED) == 0;
    run->seconds = bench_now() - begin;
    sleep(1); // what it has started may end
    if (at != MAP_FAILED)
        munmap(at, state->bytes);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool run_case(cold_state *state, int which, bench_run *run)
{
    switch (which) {
    case case_hint:
        return run_hint(state, run);
    case case_hint_unmapped:
        return run_hint_unmapped(state, run);
    case case_pread:
        return run_pread(state, 1, run);
    case case_pread_two:
        return run_pread(state, readers, run);
    case case_ring:
        return bench_ring_direct(state->path, run);
    default:
        return run_one_willneed(state, run);
    }
}

static bool file_write(const cold_state *state)
{
    uint64_t *block = malloc(buffer_bytes), number = 88172645463325252u;
    int fd = open(state->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = block && fd >= 0;
    for (uint64_t at = 0; good && at < state->bytes; at += buffer_bytes) {
        for (size_t i = 0; i < buffer_bytes / sizeof(*block); i++) {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            block[i] = number;
        }
        good = write(fd, block, buffer_bytes) == buffer_bytes;
    }
    good = good && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(block);
    return good;
}

static void print_cold(const cold_state *state, uint32_t rounds, FILE *out)
{
    for (int which = 0; which < case_count; which++) {
        if (which == case_ring && state->ring_missing[0]) {
            fprintf(
                out,
                "{\"bench\":\"hints\",\"case\":\"cold file range\",\"way\":\"%s\",\"skipped\":\"%s\"}\n",
                case_names[which], state->ring_missing);
            continue;
        }
        double values[bench_rounds_max], ratios[bench_rounds_max], shares[bench_rounds_max];
        for (uint32_t round = 0; round < rounds; round++) {
            double best = 0;
            for (int i = case_pread; i <= case_ring; i++)
                best = state->rates[i][round] > best ? state->rates[i][round] : best;
            values[round] = state->rates[which][round];
            ratios[round] = values[round] / best;
            shares[round] = state->resident[which][round];
        }
        fprintf(
            out,
            "{\"bench\":\"hints\",\"case\":\"cold file range\",\"way\":\"%s\",\"bytes\":%" PRIu64,
            case_names[which], state->bytes);
        if (which != case_one_willneed) { // which returns before it has read anything
            bench_print_spread(out, "gigabytes_per_second", bench_spread_of(values, rounds));
            bench_print_spread(out, "ratio_to_best_read", bench_spread_of(ratios, rounds));
        }
        bench_print_spread(out, "share_resident_afterwards", bench_spread_of(shares, rounds));
        fprintf(out, "}\n");
    }
}

static dray_status cold_rounds(cold_state *state, uint32_t rounds, FILE *out)
{
    for (uint32_t round = 0; round <= rounds; round++) { // the first one warms up
        for (int turn = 0; turn < case_count; turn++) {
            int which = (turn + (int)round) % case_count; // nobody is always behind the same one
            uint32_t at = round ? round - 1 : 0;
            bench_run run = {0};
            if (!bench_evict(state->path))
                return dray_fail(state->error, DRAY_E_UNSUPPORTED,
                                 "%s: its page cache cannot be emptied here", state->path);
            if (which == case_ring && state->ring_missing[0])
                continue;
            if (!run_case(state, which, &run)) {
                if (which == case_ring &&
                    run.note[0]) { // not built in, not allowed, not on this disk
                    memcpy(state->ring_missing, run.note, sizeof(run.note));
                    continue;
                }
                return dray_fail(state->error, DRAY_E_IO, "%s: %s did not work", state->path,
                                 case_names[which]);
            }
            state->rates[which][at] = (double)state->bytes / 1e9 / run.seconds;
            state->resident[which][at] = resident_share(state);
        }
    }
    print_cold(state, rounds, out);
    return DRAY_OK;
}

static dray_status bench_cold(dray_context *context, const bench_hints_options *options, FILE *out,
                              dray_error *error)
{
    cold_state *state = calloc(1, sizeof(*state));
    if (!state)
        return dray_fail(error, DRAY_E_NOMEM, "bench hints: out of memory");
    state->context = context;
    state->error = error;
    state->bytes = options->file_bytes / buffer_bytes * buffer_bytes;
    snprintf(state->path, sizeof(state->path), "%s/dray-bench-hints-%ld", options->scratch,
             (long)getpid());
    dray_status status = dray_hints_open(context, NULL, &state->hints, error);
    if (status == DRAY_OK && !file_write(state))
        status = dray_fail(error, DRAY_E_IO, "write %s", state->path);
    if (status == DRAY_OK)
        status = cold_rounds(state, options->rounds, out);
    unlink(state->path);
    dray_hints_close(state->hints);
    free(state);
    return status;
}

dray_status bench_hints(dray_context *context, const bench_hints_options *options, FILE *out,
                        dray_error *error)
{
    dray_status status = bench_planning(context, options->rounds, out, error);
    if (status == DRAY_OK)
        status = bench_simulate(context, options->rounds, out, error);
    if (status == DRAY_OK && options->device)
        status = bench_hint_device(context, options->device, options->rounds, out, error);
    return status == DRAY_OK && options->file_bytes >= buffer_bytes
               ? bench_cold(context, options, out, error)
               : status;
}
