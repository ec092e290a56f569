/// The small things under everything: checked sums, size-first options, growing arrays, arenas, the
/// bounded reader, UTF-8, queues, the pool.
#include "base/arena.h"
#include "base/checked.h"
#include "base/queue.h"
#include "base/reader.h"
#include "core/context.h"
#include "os/pool.h"
#include "support/testing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static int context_setup(void **state)
{
    dray_context *context = NULL;
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = 3};
    dray_status status = dray_context_create(&options, &context, NULL);
    *state = context;
    return status == DRAY_OK ? 0 : -1;
}

static int context_teardown(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static void overflow_is_seen_and_leaves_the_result_alone(void **state)
{
    (void)state;
    uint64_t out = 7;
    assert_false(drayi_add(UINT64_MAX, 1, &out));
    assert_false(drayi_mul(UINT64_C(1) << 62, 4, &out));
    assert_false(drayi_round_up(UINT64_MAX - 2, 4096, &out));
    assert_int_equal(out, 7);
    assert_true(drayi_round_up(4097, 4096, &out));
    assert_int_equal(out, 8192);
    assert_true(drayi_inside(10, 0, 10));
    assert_false(drayi_inside(11, 0, 10));
    assert_false(drayi_inside(4, UINT64_MAX, 10));
}

struct options_v1 {
    size_t struct_bytes;
    uint64_t old;
};
struct options_v2 {
    size_t struct_bytes;
    uint64_t old, newer;
};

static void older_callers_get_zeros_for_what_they_do_not_know(void **state)
{
    (void)state;
    struct options_v1 given = {sizeof(given), 5};
    struct options_v2 out;
    memset(&out, 0xAA, sizeof(out));
    assert_int_equal(drayi_options(&out, sizeof(out), &given, "o", NULL), DRAY_OK);
    assert_int_equal(out.old, 5);
    assert_int_equal(out.newer, 0);
}

static void newer_callers_may_not_ask_for_what_we_do_not_know(void **state)
{
    (void)state;
    struct options_v2 given = {sizeof(given), 5, 0};
    struct options_v1 out;
    dray_error error;
    assert_int_equal(drayi_options(&out, sizeof(out), &given, "o", &error), DRAY_OK);
    given.newer = 1;
    assert_int_equal(drayi_options(&out, sizeof(out), &given, "o", &error), DRAY_E_UNSUPPORTED);
    given.struct_bytes = 0;
    assert_int_equal(drayi_options(&out, sizeof(out), &given, "o", &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "o: struct_bytes is 0; set it to sizeof the struct");
}

static void an_allocator_must_be_whole(void **state)
{
    (void)state;
    dray_context *context = NULL;
    dray_error error;
    dray_context_options options = {.struct_bytes = sizeof(options)};
    options.allocator.free = (void (*)(void *, void *, size_t))abort;
    assert_int_equal(dray_context_create(&options, &context, &error), DRAY_E_INVALID);
    assert_null(context);
}

static void arrays_grow_and_keep_their_entries(void **state)
{
    drayi_env *env = drayi_env_of(*state);
    uint32_t *array = NULL;
    uint64_t capacity = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(drayi_grow(env, (void **)&array, &capacity, i + 1, sizeof(*array), NULL),
                         DRAY_OK);
        assert_int_equal(array[i], 0);
        array[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(array[i], i);
    assert_int_equal(drayi_grow(env, (void **)&array, &capacity, UINT64_MAX, sizeof(*array), NULL),
                     DRAY_E_NOMEM);
    drayi_free(env, array, capacity * sizeof(*array));
}

static void an_arena_hands_out_aligned_zeros_and_text(void **state)
{
    drayi_arena arena = {.env = drayi_env_of(*state)};
    for (uint64_t bytes = 0; bytes < 20000; bytes += 777) {
        uint8_t *at = drayi_arena_alloc(&arena, bytes, NULL);
        assert_non_null(at);
        assert_int_equal((uintptr_t)at % 16, 0);
        for (uint64_t i = 0; i < bytes; i++)
            assert_int_equal(at[i], 0);
        memset(at, 0xFF, bytes);
    }
    assert_string_equal(drayi_arena_text(&arena, "tensor-name", 6, NULL), "tensor");
    assert_null(drayi_arena_alloc(&arena, UINT64_MAX, NULL));
    drayi_arena_free(&arena);
    assert_null(arena.newest);
}

static void the_reader_stops_at_the_end_with_numbers(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 0, 0, 0, 2};
    drayi_reader reader = {.bytes = bytes, .available = 5, .limit = 5};
    uint32_t value;
    dray_error error;
    assert_int_equal(drayi_read_u32(&reader, &value, "r", "count", &error), DRAY_OK);
    assert_int_equal(value, 1);
    assert_int_equal(drayi_read_u32(&reader, &value, "r", "size", &error), DRAY_E_FORMAT);
    assert_string_equal(error.message, "size: wanted 4 bytes at 4, file ends at 5");
    assert_int_equal(error.offset, 4);
    reader.position = 0;
    reader.big_endian = true;
    assert_int_equal(drayi_read_u32(&reader, &value, "r", "count", &error), DRAY_OK);
    assert_int_equal(value, 0x01000000);
}

static void utf8_is_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {{"", true},
                 {"plain ascii text of some length", true},
                 {"gr\xC3\xBC\xC3\x9F", true},
                 {"\xE2\x82\xAC", true},
                 {"\xF0\x9F\x98\x80", true},
                 {"12345678\xC3", false},     // cut
                 {"\xC0\xAF", false},         // overlong
                 {"\xE0\x80\x80", false},     // overlong
                 {"\xF0\x80\x80\x80", false}, // overlong
                 {"\xED\xA0\x80", false},     // surrogate
                 {"\xF4\x90\x80\x80", false}, // above U+10FFFF
                 {"\xFF", false},
                 {"\x80", false},
                 {"\xE2\x28\xA1", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(drayi_is_utf8((const uint8_t *)cases[i].text, strlen(cases[i].text)),
                         cases[i].good);
}

static void a_queue_keeps_the_order_and_fills_again_after_it_ran_empty(void **state)
{
    (void)state;
    struct thing {
        drayi_link link;
    } things[3];
    drayi_queue queue = {0};
    assert_null(drayi_queue_pop(&queue));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            drayi_queue_push(&queue, &things[i].link);
        for (int i = 0; i < 3; i++) {
            assert_ptr_equal(drayi_queue_first(&queue), &things[i]);
            assert_ptr_equal(drayi_queue_pop(&queue), &things[i]);
        }
        assert_null(drayi_queue_first(&queue));
        assert_null(drayi_queue_pop(&queue));
    }
}

typedef struct counted_job {
    drayi_job job;
    atomic_uint *ran;
    drayi_latch *latch;
} counted_job;

static void job_count(drayi_job *job)
{
    counted_job *mine = (counted_job *)job;
    atomic_fetch_add(mine->ran, 1);
    drayi_latch_done(mine->latch);
}

static void jobs_run_once(drayi_pool *pool)
{
    enum { count = 500 };
    counted_job *jobs = calloc(count, sizeof(*jobs));
    atomic_uint ran = 0;
    drayi_latch latch;
    drayi_latch_init(&latch);
    drayi_latch_add(&latch, count);
    for (int i = 0; i < count; i++) {
        jobs[i] = (counted_job){.job.run = job_count, .ran = &ran, .latch = &latch};
        drayi_pool_run(pool, &jobs[i].job);
    }
    drayi_latch_wait(&latch);
    assert_int_equal(atomic_load(&ran), count);
    drayi_latch_free(&latch);
    free(jobs);
}

static void every_job_runs_once_with_threads_and_without(void **state)
{
    drayi_env *env = drayi_env_of(*state);
    assert_int_equal(drayi_pool_threads(env->pool), 3);
    jobs_run_once(env->pool);
    assert_int_equal(drayi_pool_threads(NULL), 0);
    jobs_run_once(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overflow_is_seen_and_leaves_the_result_alone),
        cmocka_unit_test(older_callers_get_zeros_for_what_they_do_not_know),
        cmocka_unit_test(newer_callers_may_not_ask_for_what_we_do_not_know),
        cmocka_unit_test(an_allocator_must_be_whole),
        cmocka_unit_test(arrays_grow_and_keep_their_entries),
        cmocka_unit_test(an_arena_hands_out_aligned_zeros_and_text),
        cmocka_unit_test(the_reader_stops_at_the_end_with_numbers),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(a_queue_keeps_the_order_and_fills_again_after_it_ran_empty),
        cmocka_unit_test(every_job_runs_once_with_threads_and_without),
    };
    return cmocka_run_group_tests(tests, context_setup, context_teardown);
}
