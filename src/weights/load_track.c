#include "weights/load_track.h"

#include <assert.h>

// --- hashing, in the pool ------------------------------------------------------------------------

static void check_run(drayi_job *job)
{
    drayi_check *check = (drayi_check *)job;
    drayi_track *track = check->track;
    drayi_hash found = drayi_hash_of(check->bytes, track->load->units[check->unit].bytes);
    check->matches = drayi_hash_equal(found, check->expected);
    pthread_mutex_lock(&track->lock);
    check->next = track->ended;
    track->ended = check;
    pthread_mutex_unlock(&track->lock);
    drayi_latch_done(&track->latch);
}

static void check_prepare(drayi_track *track, uint32_t unit, const uint8_t *base)
{
    const drayi_load *load = track->load;
    track->checks[unit] = (drayi_check){
        .job = {.run = check_run},
        .track = track,
        .bytes = base + load->placement.placed[unit].target_offset,
        .expected = drayi_load_expected(load, unit),
        .unit = unit,
    };
}

// --- in the loading thread -----------------------------------------------------------------------

static void unit_complete(drayi_track *track, uint32_t unit)
{
    uint32_t tensor = track->load->units[unit].tensor;
    assert(track->tensor_left[tensor] > 0);
    if (--track->tensor_left[tensor] == 0)
        drayi_load_tensor_done(track->load, tensor);
}

static void unit_arrived(drayi_track *track, uint32_t unit)
{
    bool empty = track->load->units[unit].bytes == 0;
    if (empty || (!track->checks && !track->checked_elsewhere)) {
        unit_complete(track, unit);
    } else if (track->checks) {
        drayi_latch_add(&track->latch, 1);
        drayi_pool_run(track->load->env->pool, &track->checks[unit].job);
    }
}

void drayi_track_unit_checked(drayi_track *track, uint32_t unit)
{
    track->verified++;
    unit_complete(track, unit);
}

static dray_status arrays_build(drayi_track *track, const uint8_t *base, dray_error *error)
{
    drayi_load *load = track->load;
    track->unit_left = drayi_alloc_array(load->env, load->unit_count, sizeof(uint32_t), error);
    track->tensor_left = drayi_alloc_array(load->env, load->tensor_count, sizeof(uint32_t), error);
    if (!track->unit_left || !track->tensor_left)
        return DRAY_E_NOMEM;
    track->checked_elsewhere = load->manifest && !base;
    if (load->manifest && base) {
        track->checks =
            drayi_alloc_array(load->env, load->unit_count, sizeof(*track->checks), error);
        if (!track->checks)
            return DRAY_E_NOMEM;
    }
    return DRAY_OK;
}

dray_status drayi_track_init(drayi_track *track, drayi_load *load, const uint8_t *base,
                             dray_error *error)
{
    *track = (drayi_track){.load = load};
    drayi_latch_init(&track->latch);
    pthread_mutex_init(&track->lock, NULL);
    DRAY_TRY(arrays_build(track, base, error));
    for (uint64_t i = 0; i < load->unit_count; i++) {
        track->unit_left[i] = (uint32_t)load->placement.placed[i].piece_count;
        track->tensor_left[load->units[i].tensor]++;
        if (track->checks && load->units[i].bytes > 0)
            check_prepare(track, (uint32_t)i, base);
    }
    for (uint64_t i = 0; i < load->unit_count; i++) {
        if (track->unit_left[i] == 0)
            unit_arrived(track, (uint32_t)i);
    }
    return DRAY_OK;
}

void drayi_track_piece_done(drayi_track *track, uint64_t piece)
{
    const drayi_piece *done = &track->load->placement.pieces[piece];
    for (uint64_t i = done->first_range; i < done->first_range + done->range_count; i++) {
        if (track->unit_left[i] > 0 &&
            --track->unit_left[i] == 0) // an empty one between others has none
            unit_arrived(track, (uint32_t)i);
    }
}

dray_status drayi_track_drain(drayi_track *track, dray_error *error)
{
    if (!track->checks)
        return DRAY_OK;
    pthread_mutex_lock(&track->lock);
    drayi_check *ended = track->ended;
    track->ended = NULL;
    pthread_mutex_unlock(&track->lock);
    for (drayi_check *check = ended; check; check = check->next) {
        if (check->matches)
            drayi_track_unit_checked(track, check->unit);
        else if (!track->bad || check->unit < track->bad->unit)
            track->bad = check;
    }
    return track->bad ? drayi_load_mismatch(track->load, track->bad->unit, error) : DRAY_OK;
}

dray_status drayi_track_finish(drayi_track *track, dray_error *error)
{
    drayi_latch_wait(&track->latch);
    return drayi_track_drain(track, error);
}

void drayi_track_free(drayi_track *track)
{
    if (!track->load)
        return;
    drayi_env *env = track->load->env;
    drayi_latch_wait(&track->latch);
    drayi_latch_free(&track->latch);
    pthread_mutex_destroy(&track->lock);
    drayi_free(env, track->unit_left, (size_t)track->load->unit_count * sizeof(uint32_t));
    drayi_free(env, track->tensor_left, (size_t)track->load->tensor_count * sizeof(uint32_t));
    drayi_free(env, track->checks, (size_t)track->load->unit_count * sizeof(*track->checks));
    *track = (drayi_track){0};
}
