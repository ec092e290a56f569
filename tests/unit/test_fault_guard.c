/// The fault guard: no SIGBUS leaves a guarded read, and none of anybody else's is swallowed.
#include "dray/model_data.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_context(void **state)
{
    return dray_context_create(NULL, (dray_context **)state, NULL) != DRAY_OK;
}

static int close_context(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static dray_model_data *open_mapped(dray_context *context, const char *path)
{
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .backing = DRAY_BACKING_MAPPED};
    dray_model_data *data = NULL;
    assert_int_equal(dray_model_data_open(context, path, &options, &data, NULL), DRAY_OK);
    return data;
}

typedef struct read_job {
    const uint8_t *at;
    uint64_t bytes;
    uint64_t sum;
} read_job;

static dray_status sum_bytes(void *self, dray_error *error)
{
    (void)error;
    read_job *job = self;
    for (uint64_t i = 0; i < job->bytes; i++)
        job->sum += ((const volatile uint8_t *)job->at)[i];
    return DRAY_OK;
}

static void without_installation_nothing_is_guarded(void **state)
{
    const char *path = test_file_make("not-installed", 5000);
    dray_model_data *data = open_mapped(*state, path);
    read_job job = {dray_model_data_bytes(data), 5000, 0};
    dray_error error;
    assert_int_equal(dray_model_data_guarded(data, sum_bytes, &job, &error), DRAY_E_INVALID);
    assert_string_equal(error.message,
                        "the fault guard is not installed: call dray_fault_guard_install() first");
    assert_int_equal(job.sum, 0);
    dray_model_data_close(data);
    unlink(path);
}

static void a_truncated_mapping_is_an_error_with_file_and_offset(void **state)
{
    const char *path = test_file_make("truncated", 20000);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_model_data *data = open_mapped(*state, path);
    assert_int_equal(truncate(path, 4096), 0);
    for (int round = 0; round < 3; round++) { // the guard survives its own use
        read_job job = {dray_model_data_bytes(data), 20000, 0};
        dray_error error;
        assert_int_equal(dray_model_data_guarded(data, sum_bytes, &job, &error), DRAY_E_IO);
        assert_int_equal(error.offset, 4096);
        assert_non_null(strstr(error.message, path));
        assert_non_null(
            strstr(error.message,
                   "no byte at 4096: the file now ends at 4096, at open it had 20000 bytes"));
    }
    dray_model_data_close(data);
    dray_fault_guard_remove();
    unlink(path);
}

static void zeros_behind_a_new_end_are_no_success(void **state)
{
    const char *path = test_file_make("zeros", 4096);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_model_data *data = open_mapped(*state, path);
    assert_int_equal(truncate(path, 1000), 0); // no signal: the rest of the page reads as zeros
    read_job job = {dray_model_data_bytes(data), 4096, 0};
    dray_error error;
    assert_int_equal(dray_model_data_guarded(data, sum_bytes, &job, &error), DRAY_E_IO);
    assert_int_equal(error.offset, 1000);
    dray_model_data_close(data);
    dray_fault_guard_remove();
    unlink(path);
}

static dray_status fail_by_itself(void *self, dray_error *error)
{
    (void)self;
    return dray_fail(error, DRAY_E_FORMAT, "not what I hoped for");
}

static void the_bodys_own_result_passes(void **state)
{
    const char *path = test_file_make("whole", 5000);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_model_data *data = open_mapped(*state, path);
    read_job job = {dray_model_data_bytes(data), 5000, 0};
    assert_int_equal(dray_model_data_guarded(data, sum_bytes, &job, NULL), DRAY_OK);
    assert_true(job.sum > 0);
    dray_error error;
    assert_int_equal(dray_model_data_guarded(data, fail_by_itself, NULL, &error), DRAY_E_FORMAT);
    assert_string_equal(error.message, "not what I hoped for");
    dray_model_data_close(data);
    dray_fault_guard_remove();
    unlink(path);
}

typedef struct nested_job {
    dray_model_data *inner;
    read_job inner_read, outer_read; // what the inner body reads: first inner's bytes, then outer's
    dray_status inner_status;
    bool came_back;
} nested_job;

static dray_status read_both(void *self, dray_error *error)
{
    nested_job *job = self;
    sum_bytes(&job->inner_read, error);
    return sum_bytes(&job->outer_read, error);
}

static dray_status guard_inner(void *self, dray_error *error)
{
    nested_job *job = self;
    job->inner_status = dray_model_data_guarded(job->inner, read_both, self, error);
    job->came_back = true;
    return job->inner_status;
}

static void a_fault_ends_the_section_that_owns_the_bytes(void **state)
{
    const char *good_path = test_file_make("good", 10000), *bad_path = test_file_make("bad", 10000);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_model_data *good = open_mapped(*state, good_path), *bad = open_mapped(*state, bad_path);
    assert_int_equal(truncate(bad_path, 0), 0);
    read_job good_read = {dray_model_data_bytes(good), 10000, 0},
             bad_read = {dray_model_data_bytes(bad), 10000, 0};

    nested_job inner_fails = {.inner = bad, .inner_read = bad_read, .outer_read = good_read};
    assert_int_equal(dray_model_data_guarded(good, guard_inner, &inner_fails, NULL), DRAY_E_IO);
    assert_true(inner_fails.came_back);
    assert_int_equal(inner_fails.inner_status, DRAY_E_IO);

    nested_job outer_fails = {.inner = good, .inner_read = good_read, .outer_read = bad_read};
    dray_error error;
    assert_int_equal(dray_model_data_guarded(bad, guard_inner, &outer_fails, &error), DRAY_E_IO);
    assert_false(
        outer_fails.came_back); // the fault was the outer section's: the inner one ended with it
    assert_non_null(strstr(error.message, bad_path));

    assert_int_equal(dray_model_data_guarded(good, sum_bytes, &good_read, NULL),
                     DRAY_OK); // the chain is whole
    dray_model_data_close(good);
    dray_model_data_close(bad);
    dray_fault_guard_remove();
    unlink(good_path);
    unlink(bad_path);
}

// --- foreign faults ------------------------------------------------------------------------------

static sigjmp_buf foreign_jump;
static volatile sig_atomic_t foreign_calls;

static void foreign_handler(int signal_number, siginfo_t *info, void *machine)
{
    (void)signal_number;
    (void)machine;
    foreign_calls++;
    if (info->si_code > 0) // from an instruction: somebody has to jump
        siglongjmp(foreign_jump, 1);
}

static void plain_foreign_handler(int signal_number)
{
    (void)signal_number;
    foreign_calls++;
    siglongjmp(foreign_jump, 1);
}

static dray_status touch_unguarded(void *self, dray_error *error)
{
    (void)error;
    if (sigsetjmp(foreign_jump, 1) == 0)
        return sum_bytes(self, NULL);
    return DRAY_OK;
}

static void install_foreign(void (*handler)(int, siginfo_t *, void *), void (*plain)(int),
                            int flags, struct sigaction *out_before)
{
    struct sigaction action = {.sa_flags = flags};
    sigemptyset(&action.sa_mask);
    if (handler) {
        action.sa_sigaction = handler;
        action.sa_flags |= SA_SIGINFO;
    } else {
        action.sa_handler = plain;
    }
    assert_int_equal(sigaction(SIGBUS, &action, out_before), 0);
    foreign_calls = 0;
}

static void a_foreign_fault_reaches_the_handler_that_was_there(void **state)
{
    const char *good_path = test_file_make("mine", 10000),
               *bad_path = test_file_make("theirs", 10000);
    dray_model_data *good = open_mapped(*state, good_path), *bad = open_mapped(*state, bad_path);
    assert_int_equal(truncate(bad_path, 0), 0);
    read_job bad_read = {dray_model_data_bytes(bad), 10000, 0};
    for (int plain = 0; plain <= 1; plain++) {
        struct sigaction before, after;
        install_foreign(plain ? NULL : foreign_handler, plain_foreign_handler, 0, &before);
        assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
        touch_unguarded(&bad_read, NULL); // outside of any section
        assert_int_equal(foreign_calls, 1);
        assert_int_equal(dray_model_data_guarded(good, touch_unguarded, &bad_read, NULL),
                         DRAY_OK); // inside another's
        assert_int_equal(foreign_calls, 2);
        assert_int_equal(dray_model_data_guarded(bad, sum_bytes, &bad_read, NULL),
                         DRAY_E_IO); // ours
        assert_int_equal(foreign_calls, 2);
        dray_fault_guard_remove();
        assert_int_equal(sigaction(SIGBUS, &before, &after), 0);
        if (plain)
            assert_true(after.sa_handler == plain_foreign_handler);
        else
            assert_true(after.sa_sigaction == foreign_handler);
    }
    dray_model_data_close(good);
    dray_model_data_close(bad);
    unlink(good_path);
    unlink(bad_path);
}

static dray_status raise_bus(void *self, dray_error *error)
{
    (void)self;
    (void)error;
    raise(SIGBUS);
    return DRAY_OK;
}

static void a_signal_that_was_sent_is_not_a_fault(void **state)
{
    const char *path = test_file_make("sent", 10000);
    dray_model_data *data = open_mapped(*state, path);
    struct sigaction before;
    install_foreign(foreign_handler, NULL, 0, &before);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    assert_int_equal(dray_model_data_guarded(data, raise_bus, NULL, NULL), DRAY_OK);
    assert_int_equal(foreign_calls, 1);
    dray_fault_guard_remove();
    sigaction(SIGBUS, &before, NULL);
    dray_model_data_close(data);
    unlink(path);
}

/// How a child ends that faults outside of every section, with `handler` installed before the guard.
static int fate_of_child(dray_context *context, void (*handler)(int), int flags)
{
    const char *path = test_file_make("fate", 10000);
    dray_model_data *data = open_mapped(context, path);
    assert_int_equal(truncate(path, 0), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct sigaction before;
        install_foreign(NULL, handler, flags, &before);
        dray_fault_guard_install(NULL);
        read_job job = {dray_model_data_bytes(data), 10000, 0};
        sum_bytes(&job, NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    dray_model_data_close(data);
    unlink(path);
    return status;
}

static void only_returns(int signal_number)
{
    (void)signal_number;
}

static void an_unguarded_fault_still_kills_as_before(void **state)
{
    int status = fate_of_child(*state, SIG_DFL, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = fate_of_child(*state, SIG_IGN, 0); // the kernel kills for a fault that is ignored
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = fate_of_child(*state, only_returns,
                           (int)SA_RESETHAND); // crash reporters return and count on it
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

static void installing_is_counted(void **state)
{
    (void)state;
    struct sigaction before, during, after;
    assert_int_equal(sigaction(SIGBUS, NULL, &before), 0);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_fault_guard_remove();
    assert_int_equal(sigaction(SIGBUS, NULL, &during), 0);
    assert_true(during.sa_sigaction != before.sa_sigaction);
    dray_fault_guard_remove();
    dray_fault_guard_remove(); // once too often does no harm
    assert_int_equal(sigaction(SIGBUS, NULL, &after), 0);
    assert_true(after.sa_sigaction == before.sa_sigaction);
}

static void a_handler_on_top_of_ours_is_left_alone(void **state)
{
    (void)state;
    struct sigaction ours, now;
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    install_foreign(foreign_handler, NULL, 0, &ours);
    dray_error error;
    assert_int_equal(dray_fault_guard_install(&error), DRAY_E_BUSY);
    dray_fault_guard_remove();
    assert_int_equal(sigaction(SIGBUS, NULL, &now), 0);
    assert_true(now.sa_sigaction == foreign_handler);
    assert_int_equal(dray_fault_guard_install(&error),
                     DRAY_E_BUSY); // a second time would chain in a circle
    assert_int_equal(sigaction(SIGBUS, &ours, NULL), 0);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_fault_guard_remove();
}

// --- threads -------------------------------------------------------------------------------------

typedef struct thread_job {
    pthread_t thread;
    dray_model_data *data;
    bool is_bad;
    int wrong;
} thread_job;

static void *read_in_thread(void *argument)
{
    thread_job *job = argument;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all,
                    NULL); // a worker that blocks everything: SIGBUS would kill it unguarded
    for (int i = 0; i < 200; i++) {
        read_job read = {dray_model_data_bytes(job->data), 10000, 0};
        dray_status status = dray_model_data_guarded(job->data, sum_bytes, &read, NULL);
        job->wrong += status != (job->is_bad ? DRAY_E_IO : DRAY_OK);
    }
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    job->wrong += sigismember(&mask, SIGBUS) != 1; // as it was before
    return NULL;
}

static void threads_fault_apart(void **state)
{
    const char *good_path = test_file_make("thread-good", 10000),
               *bad_path = test_file_make("thread-bad", 10000);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    dray_model_data *good = open_mapped(*state, good_path), *bad = open_mapped(*state, bad_path);
    assert_int_equal(truncate(bad_path, 0), 0);
    thread_job jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (thread_job){.data = i % 2 ? bad : good, .is_bad = i % 2};
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, read_in_thread, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(jobs[i].thread, NULL);
        assert_int_equal(jobs[i].wrong, 0);
    }
    dray_model_data_close(good);
    dray_model_data_close(bad);
    dray_fault_guard_remove();
    unlink(good_path);
    unlink(bad_path);
}

static void reading_borrowed_bytes_is_guarded(void **state)
{
    const char *path = test_file_make("borrowed", 10000);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, 10000, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    dray_model_data *data;
    assert_int_equal(dray_model_data_from_memory(*state, at, 10000, DRAY_BACKING_BORROWED, NULL,
                                                 NULL, &data, NULL),
                     DRAY_OK);
    assert_int_equal(dray_fault_guard_install(NULL), DRAY_OK);
    assert_int_equal(ftruncate(fd, 0), 0);
    uint8_t out[10000];
    dray_error error;
    assert_int_equal(dray_model_data_read(data, 0, out, sizeof(out), &error), DRAY_E_IO);
    assert_non_null(strstr(error.message, "guarded read of memory: bus error at byte "));
    dray_fault_guard_remove();
    dray_model_data_close(data);
    munmap(at, 10000);
    close(fd);
    unlink(path);
}

int main(void)
{
#define case_of(name) cmocka_unit_test_setup_teardown(name, open_context, close_context)
    const struct CMUnitTest tests[] = {
        case_of(without_installation_nothing_is_guarded),
        case_of(a_truncated_mapping_is_an_error_with_file_and_offset),
        case_of(zeros_behind_a_new_end_are_no_success),
        case_of(the_bodys_own_result_passes),
        case_of(a_fault_ends_the_section_that_owns_the_bytes),
        case_of(a_foreign_fault_reaches_the_handler_that_was_there),
        case_of(a_signal_that_was_sent_is_not_a_fault),
        case_of(an_unguarded_fault_still_kills_as_before),
        case_of(installing_is_counted),
        case_of(a_handler_on_top_of_ours_is_left_alone),
        case_of(threads_fault_apart),
        case_of(reading_borrowed_bytes_is_guarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
