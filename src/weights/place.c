#include "weights/place.h"

#include "base/checked.h"

#include <assert.h>
#include <inttypes.h>

/// Ranges [first, end) of one file that are read as one.
typedef struct stretch {
    uint64_t first, end;
    uint64_t file_offset, bytes;
    uint64_t target_offset;
} stretch;

/// The run that begins with range `first`: as far as the gaps stay small.
static stretch stretch_from(const drayi_range *ranges, uint64_t range_count, uint64_t first,
                            uint64_t gap_most)
{
    stretch found = {.first = first,
                     .end = first + 1,
                     .file_offset = ranges[first].offset,
                     .bytes = ranges[first].bytes};
    for (; found.end < range_count; found.end++) {
        const drayi_range *next = &ranges[found.end];
        uint64_t end = found.file_offset + found.bytes;
        if (next->file != ranges[first].file)
            break;
        assert(next->offset >= end); // in order, not overlapping: our callers' promise
        if (next->offset - end > gap_most)
            break;
        found.bytes = next->offset + next->bytes - found.file_offset;
    }
    return found;
}

/// The first offset at or behind `end` that mirrors `file_offset`.
static bool mirror(uint64_t end, uint64_t phase, uint64_t file_offset, uint64_t alignment,
                   uint64_t *out)
{
    uint64_t skip = (file_offset - phase - end) & (alignment - 1);
    return drayi_add(end, skip, out);
}

static dray_status piece_add(drayi_placement *placement, const drayi_piece *piece, dray_error *error)
{
    DRAY_TRY(drayi_grow(placement->env, (void **)&placement->pieces, &placement->piece_room,
                        placement->piece_count + 1, sizeof(*placement->pieces), error));
    placement->pieces[placement->piece_count++] = *piece;
    placement->read_bytes += piece->bytes;
    return DRAY_OK;
}

/// Cuts the run where the file is aligned to whole pieces.
static dray_status stretch_cut(drayi_placement *placement, const stretch *run, uint32_t file,
                               uint64_t piece_bytes, dray_error *error)
{
    for (uint64_t done = 0, bytes; done < run->bytes; done += bytes) {
        uint64_t at = run->file_offset + done;
        bytes = drayi_min(piece_bytes - (at & (piece_bytes - 1)), run->bytes - done);
        drayi_piece piece = {.file_offset = at,
                             .target_offset = run->target_offset + done,
                             .bytes = bytes,
                             .file = file};
        DRAY_TRY(piece_add(placement, &piece, error));
    }
    return DRAY_OK;
}

/// Joins the run's ranges with its pieces; both stand in the order of the file.
static void stretch_join(drayi_placement *placement, const drayi_range *ranges, const stretch *run,
                         uint64_t first_piece)
{
    uint64_t at = first_piece;
    for (uint64_t i = run->first; i < run->end; i++) {
        const drayi_range *range = &ranges[i];
        drayi_placed *placed = &placement->placed[i];
        placed->target_offset = run->target_offset + (range->offset - run->file_offset);
        placed->first_piece = at;
        if (range->bytes == 0)
            continue;
        while (placement->pieces[at].file_offset + placement->pieces[at].bytes <= range->offset)
            at++;
        placed->first_piece = at;
        for (uint64_t piece = at; piece < placement->piece_count; piece++) {
            drayi_piece *each = &placement->pieces[piece];
            if (each->file_offset >= range->offset + range->bytes)
                break;
            if (each->range_count == 0)
                each->first_range = i;
            each->range_count = (uint32_t)(i - each->first_range + 1);
            placed->piece_count++;
        }
    }
}

static dray_status stretch_place(drayi_placement *placement, const drayi_range *ranges,
                                 stretch *run, const drayi_place_options *options, dray_error *error)
{
    uint64_t end;
    if (!mirror(placement->bytes, placement->phase, run->file_offset, options->alignment,
                &run->target_offset) ||
        !drayi_add(run->target_offset, run->bytes, &end))
        return dray_fail(error, DRAY_E_NOSPACE,
                         "the destination's size overflows behind %" PRIu64 " bytes",
                         placement->bytes);
    uint64_t first_piece = placement->piece_count;
    DRAY_TRY(stretch_cut(placement, run, ranges[run->first].file, options->piece_bytes, error));
    stretch_join(placement, ranges, run, first_piece);
    placement->bytes = end;
    return DRAY_OK;
}

static dray_status place_all(drayi_placement *placement, const drayi_range *ranges,
                             const drayi_place_options *options, dray_error *error)
{
    placement->placed = drayi_alloc_array(placement->env, placement->range_count,
                                          sizeof(*placement->placed), error);
    if (!placement->placed)
        return DRAY_E_NOMEM;
    for (uint64_t at = 0; at < placement->range_count;) {
        stretch next = stretch_from(ranges, placement->range_count, at, options->gap_most);
        DRAY_TRY(stretch_place(placement, ranges, &next, options, error));
        at = next.end;
    }
    for (uint64_t i = 0; i < placement->range_count; i++)
        placement->wanted_bytes +=
            ranges[i].bytes; // at most placement->bytes, which did not overflow
    return DRAY_OK;
}

dray_status drayi_place(drayi_env *env, const drayi_range *ranges, uint64_t range_count,
                        const drayi_place_options *options, drayi_placement *out, dray_error *error)
{
    assert(drayi_is_power_of_two(options->alignment) && drayi_is_power_of_two(options->piece_bytes));
    assert(options->piece_bytes >= options->alignment);
    *out = (drayi_placement){.env = env, .range_count = range_count};
    if (range_count > 0)
        out->phase = ranges[0].offset & (options->alignment - 1);
    dray_status status = place_all(out, ranges, options, error);
    if (status != DRAY_OK)
        drayi_placement_free(out);
    return status;
}

void drayi_placement_free(drayi_placement *placement)
{
    if (!placement->env)
        return;
    drayi_free(placement->env, placement->pieces,
               (size_t)placement->piece_room * sizeof(*placement->pieces));
    drayi_free(placement->env, placement->placed,
               (size_t)placement->range_count * sizeof(*placement->placed));
    *placement = (drayi_placement){0};
}
