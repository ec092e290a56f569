/// The registry: many readers and writers at once, calls in flight, providers that stay.
#include "counting_allocator.h"
#include "dray/module.h"
#include "dray/spi/loader.h"
#include "testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int setup(void **state)
{
    dray_context *context;
    dray_error error;
    assert_int_equal(dray_context_create(NULL, &context, &error), DRAY_OK);
    *state = context;
    return 0;
}

static int teardown(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static int give_handle(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)arguments;
    (void)count;
    *result = dray_any_int((int64_t)(intptr_t)handle);
    return 0;
}

static dray_function_object *function_of(dray_context *context, intptr_t value)
{
    dray_function_object *function;
    dray_error error;
    assert_int_equal(
        dray_function_create(context, give_handle, (void *)value, NULL, &function, &error), DRAY_OK);
    return function;
}

static dray_status set(dray_context *context, const char *name, intptr_t value, uint32_t flags,
                       dray_error *error)
{
    dray_function_object *function = function_of(context, value);
    dray_status status = dray_global_set(context, name, function, NULL, flags, error);
    dray_object_release(&function->head);
    return status;
}

/// -1: no such name.
static int64_t call(dray_context *context, const char *name)
{
    dray_global_hold hold = dray_global_borrow(context, name);
    if (!hold.function)
        return -1;
    dray_any result = dray_any_none();
    int code = hold.function->call(hold.function, NULL, 0, &result);
    dray_global_give_back(&hold);
    return code == 0 ? result.as.i64 : -2;
}

static void a_duplicate_is_an_error_unless_replacing_is_asked_for(void **state)
{
    dray_error error;
    assert_int_equal(set(*state, "f", 1, 0, &error), DRAY_OK);
    assert_int_equal(set(*state, "f", 2, 0, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "global \"f\" is registered already");
    assert_int_equal(call(*state, "f"), 1);
    assert_int_equal(set(*state, "f", 2, DRAY_GLOBAL_REPLACE, &error), DRAY_OK);
    assert_int_equal(call(*state, "f"), 2);
}

static void a_name_that_was_removed_is_free_again(void **state)
{
    dray_error error;
    assert_int_equal(dray_global_remove(*state, "f", -1, &error), DRAY_E_NOTFOUND);
    assert_string_equal(error.message, "global \"f\" is not registered");
    assert_int_equal(set(*state, "f", 1, 0, &error), DRAY_OK);
    assert_int_equal(dray_global_remove(*state, "f", -1, &error), DRAY_OK);
    assert_int_equal(call(*state, "f"), -1);
    dray_function_object *function;
    assert_int_equal(dray_global_get(*state, "f", &function, &error), DRAY_E_NOTFOUND);
    assert_int_equal(set(*state, "f", 3, 0, &error), DRAY_OK);
    assert_int_equal(call(*state, "f"), 3);
    assert_int_equal(set(*state, "", 3, 0, &error), DRAY_E_INVALID);
    char longer[300];
    memset(longer, 'x', sizeof(longer));
    longer[256] = '\0';
    assert_int_equal(set(*state, longer, 3, 0, &error), DRAY_E_INVALID);
    longer[255] = '\0';
    assert_int_equal(set(*state, longer, 4, 0, &error), DRAY_OK);
    assert_int_equal(call(*state, longer), 4);
}

static void collect(void *self, const char *name)
{
    char *text = self; // of 256 bytes
    size_t used = strlen(text);
    snprintf(text + used, 256 - used, "%s ", name);
}

static void the_list_is_sorted_and_has_what_stands_there(void **state)
{
    dray_error error;
    set(*state, "test.b", 1, 0, &error);
    set(*state, "test.c", 1, 0, &error);
    set(*state, "test.a", 1, 0, &error);
    dray_global_remove(*state, "test.b", -1, &error);
    char text[256] = "";
    assert_int_equal(dray_global_list(*state, "test.", collect, text, &error), DRAY_OK);
    assert_string_equal(text, "test.a test.c ");
}

static void thousands_of_names_are_found(void **state)
{
    char name[32];
    dray_error error;
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "name.%d", i);
        assert_int_equal(set(*state, name, i, 0, &error), DRAY_OK);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "name.%d", i);
        assert_int_equal(call(*state, name), i);
    }
}

// --- calls in flight ------------------------------------------------------------------------------------

static void a_reference_outlives_its_entry(void **state)
{
    dray_error error;
    set(*state, "f", 7, 0, &error);
    dray_function_object *function;
    assert_int_equal(dray_global_get(*state, "f", &function, &error), DRAY_OK);
    assert_int_equal(dray_global_remove(*state, "f", -1, &error), DRAY_OK);
    dray_any result;
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_OK);
    assert_int_equal(result.as.i64, 7);
    dray_object_release(&function->head);
}

static void count_end(void *self)
{
    atomic_fetch_add((_Atomic int *)self, 1);
}

static void removing_tells_of_calls_in_flight_and_the_last_one_ends_the_function(void **state)
{
    _Atomic int ends = 0;
    dray_error error;
    dray_function_object *function;
    dray_function_create(*state, give_handle, &ends, count_end, &function, &error);
    assert_int_equal(dray_global_set(*state, "f", function, NULL, 0, &error), DRAY_OK);
    dray_object_release(&function->head);
    dray_global_hold hold = dray_global_borrow(*state, "f");
    assert_int_equal(dray_global_remove(*state, "f", 1000000, &error), DRAY_E_BUSY);
    assert_string_equal(error.message, "global \"f\": calls are still in flight after 1 ms");
    assert_int_equal(call(*state, "f"), -1); // gone all the same
    assert_int_equal(ends, 0);
    dray_any result;
    assert_int_equal(hold.function->call(hold.function, NULL, 0, &result), 0);
    dray_global_give_back(&hold);
    assert_int_equal(ends, 1);
}

typedef struct sleeper {
    dray_context *context;
    _Atomic int inside, left;
} sleeper;

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static int sleep_inside(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    sleeper *self = handle;
    (void)arguments;
    (void)count;
    (void)result;
    atomic_store(&self->inside, 1);
    pause_ms(50);
    atomic_store(&self->left, 1);
    return 0;
}

static void *call_sleeper(void *self)
{
    call(((sleeper *)self)->context, "sleeper");
    return NULL;
}

static void removing_waits_for_calls_of_other_threads(void **state)
{
    sleeper self = {.context = *state};
    dray_error error;
    dray_function_object *function;
    dray_function_create(*state, sleep_inside, &self, NULL, &function, &error);
    dray_global_set(*state, "sleeper", function, NULL, 0, &error);
    dray_object_release(&function->head);
    pthread_t thread;
    pthread_create(&thread, NULL, call_sleeper, &self);
    while (!atomic_load(&self.inside))
        pause_ms(1);
    assert_int_equal(dray_global_remove(*state, "sleeper", -1, &error), DRAY_OK);
    assert_int_equal(atomic_load(&self.left), 1);
    pthread_join(thread, NULL);
}

/// The original held its registry's lock while it loaded, so a loader that asked it for anything hung.
static int registers_and_looks_up(void *handle, const dray_any *arguments, int32_t count,
                                  dray_any *result)
{
    dray_context *context = handle;
    dray_error error;
    (void)arguments;
    (void)count;
    if (set(context, "made.inside", 5, DRAY_GLOBAL_REPLACE, &error) != DRAY_OK)
        return -1;
    *result = dray_any_int(call(context, "made.inside"));
    return dray_global_remove(context, "made.inside", -1, &error) == DRAY_OK ? 0 : -1;
}

static void functions_may_use_the_registry_that_calls_them(void **state)
{
    dray_error error;
    dray_function_object *function;
    dray_function_create(*state, registers_and_looks_up, *state, NULL, &function, &error);
    dray_global_set(*state, "outer", function, NULL, 0, &error);
    dray_object_release(&function->head);
    assert_int_equal(call(*state, "outer"), 5);
}

/// Replaces itself from inside its own call, which went on forever if replacing waited.
static int replaces_itself(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    dray_context *context = handle;
    dray_error error;
    (void)arguments;
    (void)count;
    *result = dray_any_int(1);
    return set(context, "itself", 2, DRAY_GLOBAL_REPLACE, &error) == DRAY_OK ? 0 : -1;
}

static void a_function_may_replace_itself(void **state)
{
    dray_error error;
    dray_function_object *function;
    dray_function_create(*state, replaces_itself, *state, NULL, &function, &error);
    dray_global_set(*state, "itself", function, NULL, 0, &error);
    dray_object_release(&function->head);
    assert_int_equal(call(*state, "itself"), 1);
    assert_int_equal(call(*state, "itself"), 2);
}

// --- providers --------------------------------------------------------------------------------------------

static void an_entry_keeps_its_provider(void **state)
{
    _Atomic int ends = 0;
    const dray_static_table table = {
        .struct_bytes = sizeof(table), .release = count_end, .self = &ends};
    dray_module *provider;
    dray_error error;
    assert_int_equal(dray_module_create_static(*state, &table, &provider, &error), DRAY_OK);
    dray_function_object *function = function_of(*state, 9);
    assert_int_equal(dray_global_set(*state, "f", function, provider, 0, &error), DRAY_OK);
    dray_object_release(&function->head);
    dray_module_release(provider);
    assert_int_equal(ends, 0);
    assert_int_equal(call(*state, "f"), 9);
    assert_int_equal(dray_global_remove(*state, "f", -1, &error), DRAY_OK);
    assert_int_equal(ends, 1);
}

// --- the race of the original -----------------------------------------------------------------------------

typedef struct registry_race {
    dray_context *context;
    _Atomic int stop, wrong;
    _Atomic uint64_t reads;
} registry_race;

static void *race_write(void *self)
{
    registry_race *race = self;
    dray_error error;
    for (int i = 0; i < 400; i++) {
        char name[32];
        if (set(race->context, "steady", 1, DRAY_GLOBAL_REPLACE, &error) != DRAY_OK)
            atomic_fetch_add(&race->wrong, 1);
        snprintf(name, sizeof(name), "passing.%p.%d", (void *)&name, i);
        if (set(race->context, name, 2, 0, &error) != DRAY_OK ||
            dray_global_remove(race->context, name, -1, &error) != DRAY_OK)
            atomic_fetch_add(&race->wrong, 1);
    }
    return NULL;
}

static void *race_read(void *self)
{
    registry_race *race = self;
    dray_error error;
    do {
        dray_function_object *function;
        if (call(race->context, "steady") != 1) // a name that is always there is always found
            atomic_fetch_add(&race->wrong, 1);
        if (dray_global_get(race->context, "steady", &function, &error) == DRAY_OK)
            dray_object_release(&function->head);
        else
            atomic_fetch_add(&race->wrong, 1);
        atomic_fetch_add(&race->reads, 1);
    } while (!atomic_load(&race->stop));
    return NULL;
}

static void two_writers_and_two_readers_never_lose_a_name(void **state)
{
    registry_race race = {.context = *state};
    dray_error error;
    set(*state, "steady", 1, 0, &error);
    pthread_t writers[2], readers[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, race_read, &race);
    for (int i = 0; i < 2; i++)
        pthread_create(&writers[i], NULL, race_write, &race);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&race.stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(race.wrong, 0);
    assert_true(race.reads > 0);
}

// --- loaders ------------------------------------------------------------------------------------------------

struct dray_part {
    int unused;
};

static void part_destroy(dray_part *part)
{
    free(part);
}

static dray_status part_function(dray_part *part, const char *name, dray_part_function *out,
                                 dray_error *error)
{
    (void)part;
    (void)name;
    (void)out;
    (void)error;
    return DRAY_E_NOTFOUND;
}

static const dray_part_ops part_ops = {
    .abi = DRAY_LOADER_ABI, .destroy = part_destroy, .function = part_function};

static dray_status empty_load(const dray_load_request *request, dray_loaded_part *out,
                              dray_error *error)
{
    (void)request;
    (void)error;
    *out = (dray_loaded_part){.part = calloc(1, sizeof(dray_part)), .ops = &part_ops};
    return DRAY_OK;
}

static dray_status unregistering_load(const dray_load_request *request, dray_loaded_part *out,
                                      dray_error *error)
{
    dray_status status = dray_loader_unregister(request->context, request->loader, -1, error);
    return status == DRAY_E_BUSY ? empty_load(request, out, error)
                                 : dray_fail(error, DRAY_E_INTERNAL, "it did not notice");
}

static _Atomic int slow_inside, slow_left;

static dray_status slow_load(const dray_load_request *request, dray_loaded_part *out,
                             dray_error *error)
{
    atomic_store(&slow_inside, 1);
    pause_ms(50);
    atomic_store(&slow_left, 1);
    return empty_load(request, out, error);
}

static const dray_loader_ops empty_loader = {
    .abi = DRAY_LOADER_ABI, .flags = DRAY_LOADER_RAW, .kind = "empty", .load = empty_load};
static const dray_loader_ops other_empty_loader = {
    .abi = DRAY_LOADER_ABI, .flags = DRAY_LOADER_RAW, .kind = "empty", .load = empty_load};
static const dray_loader_ops unregistering_loader = {
    .abi = DRAY_LOADER_ABI, .flags = DRAY_LOADER_RAW, .kind = "leaves", .load = unregistering_load};
static const dray_loader_ops slow_loader = {
    .abi = DRAY_LOADER_ABI, .flags = DRAY_LOADER_RAW, .kind = "slow", .load = slow_load};

static void a_loader_is_registered_once_or_replaced(void **state)
{
    dray_error error;
    assert_int_equal(dray_loader_register(*state, &empty_loader, NULL, 0, &error), DRAY_OK);
    assert_int_equal(dray_loader_register(*state, &other_empty_loader, NULL, 0, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.message, "global \"ffi.Module.create.empty\" is registered already");
    assert_int_equal(
        dray_loader_register(*state, &other_empty_loader, NULL, DRAY_GLOBAL_REPLACE, &error),
        DRAY_OK);
    assert_int_equal(dray_loader_unregister(*state, &empty_loader, -1, &error), DRAY_E_NOTFOUND);
    assert_int_equal(dray_loader_unregister(*state, &other_empty_loader, -1, &error), DRAY_OK);
    dray_module *module;
    assert_int_equal(dray_module_load_bytes(*state, "empty", "", 0, NULL, &module, &error),
                     DRAY_E_NOTFOUND);
}

static void modules_outlive_the_loader_that_made_them(void **state)
{
    _Atomic int ends = 0;
    const dray_static_table table = {
        .struct_bytes = sizeof(table), .release = count_end, .self = &ends};
    dray_module *provider, *module;
    dray_error error;
    dray_module_create_static(*state, &table, &provider, &error);
    assert_int_equal(dray_loader_register(*state, &empty_loader, provider, 0, &error), DRAY_OK);
    dray_module_release(provider);
    assert_int_equal(dray_module_load_bytes(*state, "empty", "", 0, NULL, &module, &error), DRAY_OK);
    assert_int_equal(dray_loader_unregister(*state, &empty_loader, -1, &error), DRAY_OK);
    assert_int_equal(ends, 0); // the module's code is the provider's
    dray_module_release(module);
    assert_int_equal(ends, 1);
}

static void a_loader_that_unregisters_itself_is_told_that_it_is_in_use(void **state)
{
    dray_error error;
    dray_module *module;
    assert_int_equal(dray_loader_register(*state, &unregistering_loader, NULL, 0, &error), DRAY_OK);
    assert_int_equal(dray_module_load_bytes(*state, "leaves", "", 0, NULL, &module, &error),
                     DRAY_OK);
    dray_module_release(module);
    assert_int_equal(dray_module_load_bytes(*state, "leaves", "", 0, NULL, &module, &error),
                     DRAY_E_NOTFOUND);
}

static void *load_slowly(void *context)
{
    dray_module *module;
    dray_error error;
    if (dray_module_load_bytes(context, "slow", "", 0, NULL, &module, &error) == DRAY_OK)
        dray_module_release(module);
    return NULL;
}

static void unregistering_waits_for_loads_in_flight(void **state)
{
    dray_error error;
    atomic_store(&slow_inside, 0);
    atomic_store(&slow_left, 0);
    assert_int_equal(dray_loader_register(*state, &slow_loader, NULL, 0, &error), DRAY_OK);
    pthread_t thread;
    pthread_create(&thread, NULL, load_slowly, *state);
    while (!atomic_load(&slow_inside))
        pause_ms(1);
    assert_int_equal(dray_loader_unregister(*state, &slow_loader, -1, &error), DRAY_OK);
    assert_int_equal(atomic_load(&slow_left), 1);
    pthread_join(thread, NULL);
}

static void unsound_tables_are_refused(void **state)
{
    dray_error error;
    dray_loader_ops ops = empty_loader;
    ops.abi = 99;
    assert_int_equal(dray_loader_register(*state, &ops, NULL, 0, &error), DRAY_E_INVALID);
    ops = empty_loader;
    ops.kind = "Not A Kind";
    assert_int_equal(dray_loader_register(*state, &ops, NULL, 0, &error), DRAY_E_INVALID);
    ops.kind = "auto";
    assert_int_equal(dray_loader_register(*state, &ops, NULL, 0, &error), DRAY_E_INVALID);
    ops = empty_loader;
    ops.flags = 0;
    assert_int_equal(dray_loader_register(*state, &ops, NULL, 0, &error), DRAY_E_INVALID);
    ops = empty_loader;
    ops.load = NULL;
    assert_int_equal(dray_loader_register(*state, &ops, NULL, 0, &error), DRAY_E_INVALID);
}

static void every_allocation_of_a_change_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, n);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        dray_error error = {0};
        if (dray_context_create(&options, &context, &error) == DRAY_OK) {
            dray_function_object *function = NULL;
            dray_status status =
                dray_function_create(context, give_handle, NULL, NULL, &function, &error);
            for (int i = 0; status == DRAY_OK && i < 100; i++) { // the table grows in between
                char name[16];
                snprintf(name, sizeof(name), "f%d", i);
                status = dray_global_set(context, name, function, NULL, 0, &error);
            }
            if (status == DRAY_OK)
                status = dray_global_set(context, "f1", function, NULL, DRAY_GLOBAL_REPLACE, &error);
            if (status == DRAY_OK)
                status = dray_global_remove(context, "f2", -1, &error);
            if (status != DRAY_OK) {
                assert_int_equal(status, DRAY_E_NOMEM);
                assert_int_not_equal(error.message[0], 0);
                assert_int_equal(set(context, "usable", 1, 0, &error), DRAY_OK);
                assert_int_equal(call(context, "usable"), 1);
            }
            if (function)
                dray_object_release(&function->head);
            dray_context_destroy(context);
        }
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter))
            break;
    }
}

int main(void)
{
#define GLOBAL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        GLOBAL_TEST(a_duplicate_is_an_error_unless_replacing_is_asked_for),
        GLOBAL_TEST(a_name_that_was_removed_is_free_again),
        GLOBAL_TEST(the_list_is_sorted_and_has_what_stands_there),
        GLOBAL_TEST(thousands_of_names_are_found),
        GLOBAL_TEST(a_reference_outlives_its_entry),
        GLOBAL_TEST(removing_tells_of_calls_in_flight_and_the_last_one_ends_the_function),
        GLOBAL_TEST(removing_waits_for_calls_of_other_threads),
        GLOBAL_TEST(functions_may_use_the_registry_that_calls_them),
        GLOBAL_TEST(a_function_may_replace_itself),
        GLOBAL_TEST(an_entry_keeps_its_provider),
        GLOBAL_TEST(two_writers_and_two_readers_never_lose_a_name),
        GLOBAL_TEST(a_loader_is_registered_once_or_replaced),
        GLOBAL_TEST(modules_outlive_the_loader_that_made_them),
        GLOBAL_TEST(a_loader_that_unregisters_itself_is_told_that_it_is_in_use),
        GLOBAL_TEST(unregistering_waits_for_loads_in_flight),
        GLOBAL_TEST(unsound_tables_are_refused),
        cmocka_unit_test(every_allocation_of_a_change_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
