/// Shared objects from memory and from files, to functions and back: each crash of other loaders is a
/// test here.
#include "dray/module.h"
#include "fault_os.h"
#include "test_module.h"
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const dray_policy allow = {.struct_bytes = sizeof(dray_policy), .trust = DRAY_TRUST_ALLOW};

static dray_status load_with(void **state, const dray_policy *policy,
                             const dray_module_source *source, dray_module **out, dray_error *error)
{
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = policy};
    *out = NULL;
    return dray_module_load(*state, "elf", source, &options, out, error);
}

static dray_module_source memory(const test_bytes *file)
{
    return (dray_module_source){.struct_bytes = sizeof(dray_module_source),
                                .bytes = file->bytes,
                                .byte_count = file->count};
}

static dray_module_source at_path(const char *name)
{
    return (dray_module_source){.struct_bytes = sizeof(dray_module_source),
                                .path = test_module_path(name)};
}

/// From memory.
static dray_module *load(void **state, const char *name)
{
    test_bytes file = test_module_read(name);
    dray_module_source source = memory(&file);
    dray_module *module;
    dray_error error;
    if (load_with(state, &allow, &source, &module, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    test_bytes_free(&file); // the module has its own
    return module;
}

static int64_t call_int(void **state, dray_module *module, const char *name,
                        const dray_any *argument)
{
    dray_function_object *function;
    dray_any result;
    dray_error error;
    int64_t value = -1;
    if (dray_module_get_function(module, name, false, &function, &error) != DRAY_OK)
        fail_msg("%s: %s", name, error.message);
    if (dray_function_call(*state, function, argument, argument ? 1 : 0, &result, &error) != DRAY_OK)
        fail_msg("%s: %s", name, error.message);
    assert_true(dray_any_get_int(&result, &value));
    dray_object_release(&function->head);
    return value;
}

static void bytes_in_memory_become_functions(void **state)
{
    dray_module *module = load(state, "answers");
    const dray_any argument = dray_any_int(41);
    assert_string_equal(dray_module_kind(module), "elf");
    assert_int_equal(call_int(state, module, "add_one", &argument), 42);
    assert_int_equal(dray_module_function_count(module), 7);
    assert_string_equal(dray_module_function_name(module, 0), "add_one");
    assert_string_equal(dray_module_function_name(module, 6), "nonsense");
    assert_null(dray_module_function_name(module, 7));
    dray_function_object *function;
    dray_error error;
    assert_int_equal(dray_module_get_function(module, "add_two", true, &function, &error),
                     DRAY_E_NOTFOUND);
    assert_int_equal(dray_module_get_function(module, "_doc_add_one", true, &function, &error),
                     DRAY_E_NOTFOUND);
    dray_module_release(module);
}

static void documentation_and_metadata_come_with_it(void **state)
{
    dray_module *module = load(state, "answers");
    dray_any text;
    dray_byte_array bytes;
    assert_int_equal(dray_module_function_doc(module, "add_one", &text, NULL), DRAY_OK);
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "the int that follows");
    dray_any_release(&text);
    assert_int_equal(dray_module_function_metadata(module, "add_one", &text, NULL), DRAY_OK);
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "{\"pure\": true}");
    dray_any_release(&text);
    assert_int_equal(dray_module_function_doc(module, "half", &text, NULL), DRAY_OK);
    assert_int_equal(text.type_index, DRAY_TYPE_NONE);
    dray_module_release(module);
}

static void a_file_is_loaded_where_it_is(void **state)
{
    dray_module *module;
    dray_module_source source = at_path("answers");
    const dray_any argument = dray_any_int(1);
    assert_int_equal(load_with(state, &allow, &source, &module, NULL), DRAY_OK);
    assert_int_equal(call_int(state, module, "add_one", &argument), 2);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    bool mapped = false;
    while (fgets(line, sizeof(line), maps))
        mapped |= strstr(line, "/modules/answers.so") != NULL;
    fclose(maps);
    assert_true(mapped); // no copy was made
    dray_module_release(module);
}

static void the_same_file_twice_is_two_modules(void **state)
{
    dray_module *one, *two;
    dray_module_source source = at_path("answers");
    assert_int_equal(load_with(state, &allow, &source, &one, NULL), DRAY_OK);
    assert_int_equal(load_with(state, &allow, &source, &two, NULL), DRAY_OK);
    assert_int_equal(call_int(state, one, "calls", NULL), 1);
    assert_int_equal(call_int(state, one, "calls", NULL), 2);
    assert_int_equal(call_int(state, two, "calls", NULL), 1); // its own memory
    dray_module_release(one);
    assert_int_equal(call_int(state, two, "calls", NULL), 2);
    dray_module_release(two);
}

static int sealed_memfd(const char *name)
{
    test_bytes file = test_module_read(name);
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && write(fd, file.bytes, file.count) == (ssize_t)file.count);
    assert_int_equal(
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    test_bytes_free(&file);
    return fd;
}

/// The linker knows a library by its path, here /proc/self/fd/<number>, and opens the one again that had
/// the number before.
static void a_reused_descriptor_never_gives_a_stale_library(void **state)
{
    dray_module *modules[4];
    for (int i = 0; i < 4; i++) {
        int fd = sealed_memfd(i % 2 ? "one_name_too" : "one_name");
        dray_module_source source = {.struct_bytes = sizeof(source), .use_fd = 1, .fd = fd};
        assert_int_equal(load_with(state, &allow, &source, &modules[i], NULL), DRAY_OK);
        close(fd); // the next one gets this number
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(call_int(state, modules[i], "who", NULL), i % 2 ? 2 : 1);
    for (int i = 0; i < 4; i++)
        dray_module_release(modules[i]);
}

/// Somebody else's library stands under the path that our descriptor has now.
static void a_library_that_somebody_else_left_behind_is_not_taken_for_ours(void **state)
{
    // libdl's own way: opened through a descriptor that is closed again while the library stays
    const dray_policy policy = allow;
    test_bytes file = test_module_read("unique"); // never unloads
    dray_module_source source = memory(&file);
    dray_module *stays, *module;
    assert_int_equal(load_with(state, &policy, &source, &stays, NULL), DRAY_OK);
    assert_int_equal(call_int(state, stays, "number", NULL), 7);
    dray_module_release(stays);
    module = load(state, "one_name");
    assert_int_equal(call_int(state, module, "who", NULL), 1);
    dray_module_release(module);
    test_bytes_free(&file);
}

static void two_modules_of_one_soname_stay_apart(void **state)
{
    dray_module *one = load(state, "one_name"), *two = load(state, "one_name_too");
    assert_int_equal(call_int(state, one, "who", NULL), 1);
    assert_int_equal(call_int(state, two, "who", NULL), 2);
    dray_module_release(one);
    assert_int_equal(call_int(state, two, "who", NULL), 2);
    dray_module_release(two);
}

static void the_context_of_a_library_is_set_and_its_own(void **state)
{
    dray_module *one, *two;
    dray_module_source source = at_path("one_name");
    assert_int_equal(load_with(state, &allow, &source, &one, NULL), DRAY_OK);
    assert_int_equal(load_with(state, &allow, &source, &two, NULL), DRAY_OK);
    assert_int_equal(call_int(state, one, "context_set", NULL), 1);
    dray_module_release(one); // clears its own and nobody else's
    assert_int_equal(call_int(state, two, "context_set", NULL), 1);
    dray_module_release(two);
}

static void failures_arrive_with_their_words(void **state)
{
    dray_module *module = load(state, "answers");
    dray_function_object *function;
    dray_any result;
    dray_error error;
    assert_int_equal(dray_module_get_function(module, "add_one", false, &function, NULL), DRAY_OK);
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_E_FAILED);
    assert_non_null(strstr(error.message, "TypeError: add_one wants one int"));
    dray_object_release(&function->head);
    assert_int_equal(dray_module_get_function(module, "fail_silently", false, &function, NULL),
                     DRAY_OK);
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, &error), DRAY_E_FAILED);
    assert_true(error.message[0] != '\0');
    assert_int_equal(result.type_index, DRAY_TYPE_NONE);
    dray_object_release(&function->head);
    dray_module_release(module);
}

static void a_nonsense_type_index_harms_nobody(void **state)
{
    dray_module *module = load(state, "answers");
    dray_function_object *function;
    dray_any result, odd = {.type_index = 4711};
    dray_error error;
    assert_int_equal(dray_module_get_function(module, "nonsense", false, &function, NULL), DRAY_OK);
    dray_status status = dray_function_call(*state, function, NULL, 0, &result, &error);
    assert_true(status == DRAY_OK || status == DRAY_E_FAILED);
    dray_any_release(&result);
    dray_object_release(&function->head);
    assert_int_equal(dray_module_get_function(module, "add_one", false, &function, NULL), DRAY_OK);
    assert_int_equal(dray_function_call(*state, function, &odd, 1, &result, &error),
                     DRAY_E_INVALID); // before anybody sees it
    assert_non_null(strstr(error.message, "4711"));
    dray_object_release(&function->head);
    dray_module_release(module);
}

static void an_object_outlives_its_module(void **state)
{
    dray_module *module = load(state, "answers");
    dray_function_object *function;
    dray_any text;
    dray_byte_array bytes;
    char why[256];
    assert_int_equal(dray_module_get_function(module, "make_text", false, &function, NULL), DRAY_OK);
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &text, NULL), DRAY_OK);
    dray_object_release(&function->head);
    assert_non_null(dray_module_pinned(module, why, sizeof(why)));
    dray_module_release(module);
    assert_true(dray_any_get_text(&text, &bytes));
    assert_string_equal(bytes.data, "longer than seven bytes");
    assert_int_equal(dray_module_collect(*state), 1);
    dray_any_release(&text); // its end is code of the module
    assert_int_equal(dray_module_collect(*state), 0);
}

static void a_function_keeps_its_module(void **state)
{
    dray_module *module = load(state, "answers");
    dray_function_object *function;
    dray_any result;
    assert_int_equal(dray_module_get_function(module, "calls", false, &function, NULL), DRAY_OK);
    dray_module_release(module);
    assert_int_equal(dray_function_call(*state, function, NULL, 0, &result, NULL), DRAY_OK);
    assert_int_equal(result.as.i64, 1);
    dray_object_release(&function->head);
    assert_int_equal(dray_module_collect(*state), 0);
}

static void a_library_that_cannot_be_unloaded_says_why(void **state)
{
    dray_module *module = load(state, "unique");
    char why[256];
    assert_non_null(dray_module_pinned(module, why, sizeof(why)));
    assert_non_null(strstr(why, "unique_number"));
    dray_module_release(module);
    module = load(state, "answers");
    assert_null(dray_module_pinned(module, why, sizeof(why)));
    dray_module_release(module);
}

static void every_cut_is_refused_before_the_linker_sees_it(void **state)
{
    test_bytes file = test_module_read("answers");
    for (uint64_t count = 0; count < file.count; count += count < 4096 ? 1 : 61) {
        dray_module_source source = memory(&file);
        dray_module *module;
        dray_error error;
        source.byte_count = count;
        dray_status status = load_with(state, &allow, &source, &module, &error);
        assert_int_equal(status, DRAY_E_FORMAT);
        assert_null(module);
    }
    test_bytes_free(&file);
}

static void what_the_linker_refuses_is_an_error(void **state)
{
    test_bytes file = test_module_read("missing");
    dray_module_source source = memory(&file);
    dray_module *module;
    dray_error error;
    assert_int_equal(load_with(state, &allow, &source, &module, &error), DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "nobody_has_this")); // at load, not at the call
    test_bytes_free(&file);
}

static void without_a_decision_nothing_is_loaded(void **state)
{
    test_bytes file = test_module_read("answers");
    dray_module_source source = memory(&file);
    dray_module *module;
    dray_error error;
    assert_int_equal(load_with(state, NULL, &source, &module, &error), DRAY_E_INVALID);
    assert_string_equal(error.rule, "module.trust");
    assert_int_equal(dray_module_load(*state, "elf", &source, NULL, &module, &error),
                     DRAY_E_INVALID);
    test_bytes_free(&file);
}

/// Code for devices runs, too.
static void no_kind_of_code_is_loaded_without_a_decision(void **state)
{
    static const char *const kinds[] = {"opencl-source", "ptx"};
    static const char *const texts[] = {"__kernel void f(__global int *a) { *a = 1; }",
                                        ".version 8.0\n.target sm_80\n.entry f() { ret; }"};
    for (size_t i = 0; i < 2; i++) {
        dray_module *module;
        dray_error error;
        assert_int_equal(dray_module_load_bytes(*state, kinds[i], texts[i], strlen(texts[i]), NULL,
                                                &module, &error),
                         DRAY_E_INVALID);
        assert_string_equal(error.rule, "module.trust");
    }
}

static void rules_of_a_policy_are_kept(void **state)
{
    static const struct {
        uint32_t rules;
        const char *words;
    } steps[] = {
        {0, "allow-rpath"},
        {DRAY_POLICY_ALLOW_RPATH, "executable stacks"},
        {DRAY_POLICY_ALLOW_RPATH | DRAY_POLICY_ALLOW_WX, "libm.so.6"},
    };
    static const char *const only_libc[] = {"libc.so.6", NULL};
    test_bytes file = test_module_read("facts");
    dray_module_source source = memory(&file);
    dray_module *module;
    dray_error error;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        dray_policy policy = allow;
        policy.rules = steps[i].rules;
        policy.needed = only_libc;
        assert_int_equal(load_with(state, &policy, &source, &module, &error), DRAY_E_INVALID);
        assert_string_equal(error.rule, "module.trust");
        assert_non_null(strstr(error.message, steps[i].words));
    }
    test_bytes_free(&file);
}

/// A library of this process, with its own soname.
static void the_name_of_a_library_that_is_there_is_not_given_away(void **state)
{
    test_bytes file = test_module_read("libc_name");
    dray_module_source source = memory(&file);
    dray_module *module;
    dray_error error;
    assert_int_equal(load_with(state, &allow, &source, &module, &error), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "libc.so.6"));
    dray_policy policy = allow;
    policy.rules = DRAY_POLICY_ALLOW_SONAME;
    assert_int_equal(load_with(state, &policy, &source, &module, &error), DRAY_OK);
    dray_module_release(module);
    test_bytes_free(&file);
}

static void a_trial_finds_what_crashes_at_load(void **state)
{
    dray_policy policy = allow;
    policy.rules = DRAY_POLICY_TRIAL;
    test_bytes file = test_module_read("crash");
    dray_module_source source = memory(&file);
    dray_module *module;
    dray_error error;
    assert_int_equal(load_with(state, &policy, &source, &module, &error), DRAY_E_INVALID);
    assert_string_equal(error.rule, "module.trust");
    assert_non_null(strstr(error.message, "signal"));
    test_bytes_free(&file);
    file = test_module_read("answers");
    source = memory(&file);
    assert_int_equal(load_with(state, &policy, &source, &module, &error), DRAY_OK);
    dray_module_release(module);
    test_bytes_free(&file);
}

static void what_was_loaded_is_saved_as_it_was(void **state)
{
    test_bytes file = test_module_read("answers");
    dray_module *module = load(state, "answers");
    dray_any saved;
    dray_byte_array bytes;
    assert_int_equal(dray_module_save(module, &saved, NULL), DRAY_OK);
    assert_true(dray_any_get_bytes(&saved, &bytes));
    assert_int_equal(bytes.size, file.count);
    assert_memory_equal(bytes.data, file.bytes, file.count);
    dray_any_release(&saved);
    dray_module_release(module);
    test_bytes_free(&file);
}

typedef struct worker {
    pthread_t thread;
    void **state;
    int number;
} worker;

/// Loads its own of two libraries of one name, again and again, and never gets the other.
static void *worker_run(void *self)
{
    worker *own = self;
    const char *names[] = {"one_name", "one_name_too"};
    for (int i = 0; i < 30; i++) {
        int which = (own->number + i) % 2;
        dray_module *module = load(own->state, names[which]);
        assert_int_equal(call_int(own->state, module, "who", NULL), which + 1);
        dray_module_release(module);
    }
    return NULL;
}

static void threads_load_and_end_modules_at_once(void **state)
{
    worker workers[4];
#if defined(__SANITIZE_THREAD__)
    skip(); // it does not see the dynamic linker's lock, and takes its bookkeeping for a race
#endif
    for (int i = 0; i < 4; i++) {
        workers[i] = (worker){.state = state, .number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(workers[i].thread, NULL);
    assert_int_equal(dray_module_collect(*state), 0);
}

static void nothing_is_left_open(void **state)
{
    dray_module_release(load(state, "answers")); // what is opened once for all is open now
    int before = fault_os_open_fds();
    for (int i = 0; i < 20; i++)
        dray_module_release(load(state, i % 2 ? "answers" : "one_name"));
    assert_int_equal(fault_os_open_fds(), before);
}

static void any_call_may_fail(void **state)
{
    test_bytes file = test_module_read("answers");
    dray_module_release(load(state, "answers"));
    for (int way = 0; way < 2; way++) {
        for (uint64_t n = 1;; n++) {
            dray_module_source source = way ? at_path("answers") : memory(&file);
            dray_module *module;
            dray_error error = {.status = DRAY_OK};
            int before = fault_os_open_fds();
            fault_os_inject(&(fault_plan){.at = n, .code = -EIO});
            dray_status status = load_with(state, &allow, &source, &module, &error);
            uint64_t hits = fault_os_hits();
            fault_os_inject(&(fault_plan){.at = 0});
            if (status == DRAY_OK) {
                const dray_any argument = dray_any_int(1);
                assert_int_equal(call_int(state, module, "add_one", &argument), 2);
                dray_module_release(module);
            } else {
                assert_true(error.message[0] != '\0');
            }
            assert_int_equal(fault_os_open_fds(), before);
            if (hits == 0)
                break;
        }
    }
    test_bytes_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_in_memory_become_functions),
        cmocka_unit_test(documentation_and_metadata_come_with_it),
        cmocka_unit_test(a_file_is_loaded_where_it_is),
        cmocka_unit_test(the_same_file_twice_is_two_modules),
        cmocka_unit_test(a_reused_descriptor_never_gives_a_stale_library),
        cmocka_unit_test(a_library_that_somebody_else_left_behind_is_not_taken_for_ours),
        cmocka_unit_test(two_modules_of_one_soname_stay_apart),
        cmocka_unit_test(the_context_of_a_library_is_set_and_its_own),
        cmocka_unit_test(failures_arrive_with_their_words),
        cmocka_unit_test(a_nonsense_type_index_harms_nobody),
        cmocka_unit_test(an_object_outlives_its_module),
        cmocka_unit_test(a_function_keeps_its_module),
        cmocka_unit_test(a_library_that_cannot_be_unloaded_says_why),
        cmocka_unit_test(every_cut_is_refused_before_the_linker_sees_it),
        cmocka_unit_test(what_the_linker_refuses_is_an_error),
        cmocka_unit_test(without_a_decision_nothing_is_loaded),
        cmocka_unit_test(no_kind_of_code_is_loaded_without_a_decision),
        cmocka_unit_test(rules_of_a_policy_are_kept),
        cmocka_unit_test(the_name_of_a_library_that_is_there_is_not_given_away),
        cmocka_unit_test(a_trial_finds_what_crashes_at_load),
        cmocka_unit_test(what_was_loaded_is_saved_as_it_was),
        cmocka_unit_test(threads_load_and_end_modules_at_once),
        cmocka_unit_test(nothing_is_left_open),
        cmocka_unit_test(any_call_may_fail),
    };
    return cmocka_run_group_tests(tests, fault_os_context, fault_os_context_end);
}
