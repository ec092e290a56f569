/// Trust: what a policy asks for is asked of the very bytes that are loaded.
#include "base/sha256.h"
#include "dray/module.h"
#include "fault_os.h"
#include "test_module.h"
#include "testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { full_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static dray_status load(void **state, const dray_policy *policy, const dray_module_source *source,
                        const uint8_t *expected, uint64_t expected_bytes, dray_error *error)
{
    const dray_module_options options = {.struct_bytes = sizeof(options),
                                         .policy = policy,
                                         .expected_sha256 = expected,
                                         .expected_bytes = expected_bytes};
    dray_module *module = NULL;
    dray_status status = dray_module_load(*state, "elf", source, &options, &module, error);
    dray_module_release(module);
    return status;
}

static dray_module_source memory(const test_bytes *file)
{
    return (dray_module_source){.struct_bytes = sizeof(dray_module_source),
                                .bytes = file->bytes,
                                .byte_count = file->count};
}

static void need_crypto(void)
{
    if (!drayi_has_crypto())
        skip();
}

static void a_listed_digest_lets_in_and_any_other_does_not(void **state)
{
    need_crypto();
    test_bytes file = test_module_read("answers");
    dray_module_source source = memory(&file);
    uint8_t digests[2][32] = {{0}};
    dray_error error;
    assert_int_equal(drayi_sha256(file.bytes, file.count, digests[1], NULL), DRAY_OK);
    dray_policy policy = {.struct_bytes = sizeof(policy),
                          .trust = DRAY_TRUST_LISTED,
                          .sha256 = (const uint8_t(*)[32])digests,
                          .sha256_count = 2};
    assert_int_equal(load(state, &policy, &source, NULL, 0, NULL), DRAY_OK);
    policy.sha256_count = 1;
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    assert_string_equal(error.rule, "module.trust");
    policy.trust = DRAY_TRUST_ALLOW; // a list that is given counts all the same
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    policy = (dray_policy){.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_LISTED};
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "neither a digest nor a key"));
    test_bytes_free(&file);
}

static void one_bit_is_noticed(void **state)
{
    need_crypto();
    test_bytes file = test_module_read("answers");
    dray_module_source source = memory(&file);
    uint8_t digest[1][32];
    assert_int_equal(drayi_sha256(file.bytes, file.count, digest[0], NULL), DRAY_OK);
    const dray_policy policy = {.struct_bytes = sizeof(policy),
                                .trust = DRAY_TRUST_LISTED,
                                .sha256 = (const uint8_t(*)[32])digest,
                                .sha256_count = 1};
    for (uint64_t at = 0; at < file.count; at += 1009) {
        file.bytes[at] ^= 1;
        assert_int_equal(load(state, &policy, &source, NULL, 0, NULL), DRAY_E_INVALID);
        file.bytes[at] ^= 1;
    }
    assert_int_equal(load(state, &policy, &source, NULL, 0, NULL), DRAY_OK);
    test_bytes_free(&file);
}

static void what_the_caller_expects_is_checked(void **state)
{
    test_bytes file = test_module_read("answers");
    dray_module_source source = memory(&file);
    const dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
    uint8_t digest[32] = {0};
    dray_error error;
    assert_int_equal(load(state, &policy, &source, NULL, file.count, NULL), DRAY_OK);
    assert_int_equal(load(state, &policy, &source, NULL, file.count - 1, &error), DRAY_E_CORRUPT);
    if (drayi_has_crypto()) {
        assert_int_equal(load(state, &policy, &source, digest, 0, &error), DRAY_E_CORRUPT);
        assert_int_equal(drayi_sha256(file.bytes, file.count, digest, NULL), DRAY_OK);
        assert_int_equal(load(state, &policy, &source, digest, 0, NULL), DRAY_OK);
    } else {
        assert_int_equal(load(state, &policy, &source, digest, 0, &error), DRAY_E_UNSUPPORTED);
    }
    test_bytes_free(&file);
}

static void kinds_and_sizes_have_limits(void **state)
{
    static const char *const others[] = {"bundle", "ptx", NULL};
    static const char *const right[] = {"bundle", "elf", NULL};
    test_bytes file = test_module_read("answers");
    dray_module_source source = memory(&file);
    dray_policy policy = {
        .struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW, .kinds = others};
    dray_error error;
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    policy.kinds = right;
    assert_int_equal(load(state, &policy, &source, NULL, 0, NULL), DRAY_OK);
    policy.bytes_max = file.count;
    assert_int_equal(load(state, &policy, &source, NULL, 0, NULL), DRAY_OK);
    policy.bytes_max = file.count - 1;
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    test_bytes_free(&file);
}

static void seals_are_the_callers_own(void **state)
{
    test_bytes file = test_module_read("answers");
    const dray_policy policy = {.struct_bytes = sizeof(policy),
                                .trust = DRAY_TRUST_ALLOW,
                                .rules = DRAY_POLICY_REQUIRE_SEALS};
    dray_module_source source = memory(&file);
    dray_error error;
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && write(fd, file.bytes, file.count) == (ssize_t)file.count);
    source = (dray_module_source){.struct_bytes = sizeof(source), .use_fd = 1, .fd = fd};
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, full_seals & ~F_SEAL_WRITE & ~F_SEAL_SEAL), 0);
    assert_int_equal(load(state, &policy, &source, NULL, 0, &error), DRAY_E_INVALID);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    assert_int_equal(load(state, &policy, &source, NULL, 0, NULL), DRAY_OK);
    close(fd);
    test_bytes_free(&file);
}

/// A file that was checked by its digest is not the file that is mapped: somebody may write into it.
static void what_was_hashed_is_what_is_loaded(void **state)
{
    need_crypto();
    test_bytes file = test_module_read("answers");
    uint8_t digest[32];
    assert_int_equal(drayi_sha256(file.bytes, file.count, digest, NULL), DRAY_OK);
    const dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
    const dray_module_options options = {
        .struct_bytes = sizeof(options), .policy = &policy, .expected_sha256 = digest};
    const dray_module_source source = {.struct_bytes = sizeof(source),
                                       .path = test_module_path("answers")};
    dray_module *module;
    assert_int_equal(dray_module_load(*state, "elf", &source, &options, &module, NULL), DRAY_OK);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    bool in_memory = false, in_file = false;
    while (fgets(line, sizeof(line), maps)) {
        in_memory |= strstr(line, "/memfd:dray:") != NULL;
        in_file |= strstr(line, "/modules/answers.so") != NULL;
    }
    fclose(maps);
    assert_true(in_memory && !in_file);
    dray_module_release(module);
    test_bytes_free(&file);
}

/// The first vector of RFC 8032, section 7.1: an empty message.
static void signatures_are_those_of_ed25519(void **state)
{
    (void)state;
    need_crypto();
    static const uint8_t key[32] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7,
                                    0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
                                    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25,
                                    0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
    uint8_t signature[64] = {0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72, 0x90, 0x86, 0xe2,
                             0xcc, 0x80, 0x6e, 0x82, 0x8a, 0x84, 0x87, 0x7f, 0x1e, 0xb8, 0xe5,
                             0xd9, 0x74, 0xd8, 0x73, 0xe0, 0x65, 0x22, 0x49, 0x01, 0x55, 0x5f,
                             0xb8, 0x82, 0x15, 0x90, 0xa3, 0x3b, 0xac, 0xc6, 0x1e, 0x39, 0x70,
                             0x1c, 0xf9, 0xb4, 0x6b, 0xd2, 0x5b, 0xf5, 0xf0, 0x59, 0x5b, 0xbe,
                             0x24, 0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b};
    bool valid = false;
    assert_int_equal(drayi_ed25519_verify(key, signature, "", 0, &valid, NULL), DRAY_OK);
    assert_true(valid);
    assert_int_equal(drayi_ed25519_verify(key, signature, "x", 1, &valid, NULL), DRAY_OK);
    assert_false(valid);
    signature[0] ^= 1;
    assert_int_equal(drayi_ed25519_verify(key, signature, "", 0, &valid, NULL), DRAY_OK);
    assert_false(valid);
}

static int answer(void *self, char *out_why, size_t why_bytes)
{
    snprintf(out_why, why_bytes, "as it was told");
    return *(const int *)self;
}

static int hang(void *self, char *out_why, size_t why_bytes)
{
    (void)self, (void)out_why;
    while (why_bytes > 0) // NOLINT(bugprone-infinite-loop): hanging is what is tested
        pause();
    return 0;
}

static int die(void *self, char *out_why, size_t why_bytes)
{
    (void)self, (void)out_why, (void)why_bytes;
    raise(SIGKILL);
    return 0;
}

static void a_trial_tells_how_it_ended(void **state)
{
    (void)state;
    drayi_trial trial;
    int told = -7;
    assert_int_equal(drayi_os_linux.trial(answer, &told, INT64_C(5000000000), &trial), 0);
    assert_int_equal(trial.code, -7);
    assert_string_equal(trial.why, "as it was told");
    assert_true(trial.signal == 0 && !trial.timed_out);
    assert_int_equal(drayi_os_linux.trial(die, NULL, INT64_C(5000000000), &trial), 0);
    assert_int_equal(trial.signal, SIGKILL);
    assert_false(trial.timed_out);
    assert_int_equal(drayi_os_linux.trial(hang, NULL, INT64_C(100000000), &trial), 0);
    assert_true(trial.timed_out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listed_digest_lets_in_and_any_other_does_not),
        cmocka_unit_test(one_bit_is_noticed),
        cmocka_unit_test(what_the_caller_expects_is_checked),
        cmocka_unit_test(kinds_and_sizes_have_limits),
        cmocka_unit_test(seals_are_the_callers_own),
        cmocka_unit_test(what_was_hashed_is_what_is_loaded),
        cmocka_unit_test(signatures_are_those_of_ed25519),
        cmocka_unit_test(a_trial_tells_how_it_ended),
    };
    return cmocka_run_group_tests(tests, fault_os_context, fault_os_context_end);
}
