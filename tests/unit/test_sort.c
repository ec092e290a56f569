/// The merge sort: right, stable, and without memory of its own, for every small count.
#include "base/sort.h"
#include "support/sequence.h"
#include "support/testing.h"
#include "transfer/planner.h"

#include <stdlib.h>

typedef struct card {
    uint32_t value, place;
} card;

static int by_value(const void *left, const void *right, const void *self)
{
    uint64_t *calls = (uint64_t *)(uintptr_t)self;
    (*calls)++;
    const card *a = left, *b = right;
    return (a->value > b->value) - (a->value < b->value);
}

static void any_order_comes_out_sorted_and_stable(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (uint32_t count = 0; count < 300; count++) {
        card cards[300], scratch[300];
        for (uint32_t i = 0; i < count; i++) {
            random = random * 1664525 + 1013904223;
            cards[i] = (card){random >> 26, i};
        }
        uint64_t calls = 0;
        drayi_sort(cards, scratch, count, sizeof(card), by_value, &calls);
        for (uint32_t i = 1; i < count; i++) {
            assert_true(cards[i - 1].value <= cards[i].value);
            if (cards[i - 1].value == cards[i].value)
                assert_true(cards[i - 1].place < cards[i].place);
        }
    }
}

static void what_is_in_order_costs_one_look(void **state)
{
    (void)state;
    card cards[1000], scratch[1000];
    for (uint32_t i = 0; i < 1000; i++)
        cards[i] = (card){i / 3, i};
    uint64_t calls = 0;
    drayi_sort(cards, scratch, 1000, sizeof(card), by_value, &calls);
    assert_int_equal(calls, 999);
    assert_int_equal(cards[999].place, 999);
}

static void the_worst_order_costs_n_log_n(void **state)
{
    (void)state;
    enum { count = 1 << 14 };
    card *cards = malloc(count * sizeof(card)), *scratch = malloc(count * sizeof(card));
    assert_non_null(cards);
    assert_non_null(scratch);
    for (uint32_t i = 0; i < count; i++)
        cards[i] = (card){count - i, i};
    uint64_t calls = 0;
    drayi_sort(cards, scratch, count, sizeof(card), by_value, &calls);
    assert_true(calls <= (uint64_t)count * 15);
    assert_int_equal(cards[0].value, 1);
    free(cards);
    free(scratch);
}

/// The planner's own sort goes by digits; few and many entries, near and far apart, in one group or several.
static void extents_come_out_by_group_and_start_and_stable(void **state)
{
    (void)state;
    enum { most = 1000 };
    static drayi_extent extents[most], scratch[most];
    random_sequence random = {.state = 7};
    for (uint32_t round = 0; round < 300; round++) {
        uint64_t count = sequence_below(&random, most + 1);
        uint32_t groups = 1 + (uint32_t)sequence_below(&random, 400);
        uint32_t shift = (uint32_t)sequence_below(&random, 64);
        for (uint32_t i = 0; i < count; i++)
            extents[i] = (drayi_extent){.start = sequence_next(&random) >> shift,
                                        .move = i,
                                        .group = sequence_below(&random, groups) & 0x7fffffffu};
        drayi_extents_sort(extents, scratch, count);
        for (uint32_t i = 1; i < count; i++) {
            const drayi_extent *a = &extents[i - 1], *b = &extents[i];
            assert_true(a->group <= b->group);
            if (a->group == b->group)
                assert_true(a->start <= b->start);
            if (a->group == b->group && a->start == b->start)
                assert_true(a->move < b->move);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_comes_out_sorted_and_stable),
        cmocka_unit_test(what_is_in_order_costs_one_look),
        cmocka_unit_test(the_worst_order_costs_n_log_n),
        cmocka_unit_test(extents_come_out_by_group_and_start_and_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
