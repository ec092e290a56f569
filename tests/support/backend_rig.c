/// Drives one backend through its table.
// cmocka wants these four in front of it
#include "backend_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

dray_status backend_rig_open(backend_rig *rig, const dray_backend_ops *ops, const drayi_os *os,
                             const dray_allocator *allocator, uint32_t threads, dray_error *error)
{
    *rig = (backend_rig){.ops = ops, .os = os};
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = threads};
    if (allocator)
        options.allocator = *allocator;
    dray_status status = drayi_context_create_with(&options, os, &rig->context, error);
    if (status != DRAY_OK)
        return status;
    status = ops->open(drayi_env_of(rig->context), &rig->backend, error);
    if (status == DRAY_OK && ops->remote) {
        const dray_remote_setup setup = {.agent = "rig", .epoch = 1};
        status = ops->remote->start(rig->backend, &setup, error);
        if (status != DRAY_OK)
            ops->close(rig->backend);
    }
    if (status != DRAY_OK)
        dray_context_destroy(rig->context);
    return status;
}

void backend_rig_close(backend_rig *rig)
{
    rig->ops->close(rig->backend);
    dray_context_destroy(rig->context);
}

/// Sleeps until poll has news.
static void wait_for_news(backend_rig *rig)
{
    int fd = -1;
    dray_error error;
    dray_status status = rig->ops->arm(rig->backend, &fd, &error);
    if (status == DRAY_E_BUSY || status == DRAY_E_UNSUPPORTED)
        return;
    assert_int_equal(status, DRAY_OK);
    assert_int_equal(drayi_os_linux.wait_fd(fd, INT64_C(10000000000)), 1);
}

static void book_returned(dray_op *ops, uint32_t count, dray_op *op, bool *returned)
{
    assert_in_range((uintptr_t)op, (uintptr_t)ops, (uintptr_t)(ops + count - 1));
    ptrdiff_t index = op - ops;
    assert_false(returned[index]);
    returned[index] = true;
}

void backend_rig_run(backend_rig *rig, dray_op *ops, uint32_t count)
{
    bool *returned = calloc(count, sizeof(*returned));
    dray_op **pending = calloc(count, sizeof(dray_op *));
    assert_true(returned && pending);
    for (uint32_t i = 0; i < count; i++)
        pending[i] = &ops[i];
    uint32_t submitted = 0, ended = 0;
    while (ended < count) {
        submitted += rig->ops->submit(rig->backend, pending + submitted, count - submitted);
        dray_op *back[8];
        uint32_t back_count = rig->ops->poll(rig->backend, back, 8);
        for (uint32_t i = 0; i < back_count; i++)
            book_returned(ops, count, back[i], returned);
        ended += back_count;
        if (back_count == 0)
            wait_for_news(rig);
    }
    free(returned);
    free(pending);
}

dray_edge backend_rig_edge(backend_rig *rig, dray_storage from, dray_storage to, uint32_t flags)
{
    dray_edge edges[64];
    uint32_t count = rig->ops->edges(rig->backend, edges, 64);
    assert_in_range(count, 1, 64);
    for (uint32_t i = 0; i < count; i++) {
        if (edges[i].from == from && edges[i].to == to && edges[i].flags == flags)
            return edges[i];
    }
    fail_msg("%s has no edge from %s to %s with flags %u", rig->ops->name, dray_storage_name(from),
             dray_storage_name(to), flags);
    return (dray_edge){0};
}

static uint8_t byte_at(uint64_t position)
{
    uint64_t mixed = (position / 8 + 1) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint8_t)(mixed >> (8 * (position % 8)));
}

void backend_rig_fill(uint8_t *bytes, uint64_t count, uint64_t position)
{
    for (uint64_t i = 0; i < count; i++)
        bytes[i] = byte_at(position + i);
}

uint64_t backend_rig_first_wrong(const uint8_t *bytes, uint64_t count, uint64_t position)
{
    for (uint64_t i = 0; i < count; i++) {
        if (bytes[i] != byte_at(position + i))
            return i;
    }
    return DRAY_UNKNOWN;
}

void backend_rig_file(const char *folder, uint64_t count, char *out_path)
{
    if (!folder)
        folder = getenv("TMPDIR");
    snprintf(out_path, 256, "%s/backend-XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(out_path);
    assert_true(fd >= 0);
    uint8_t *bytes = malloc(count ? count : 1);
    assert_non_null(bytes);
    backend_rig_fill(bytes, count, 0);
    assert_int_equal(write(fd, bytes, count), count);
    assert_int_equal(fsync(fd), 0);
    free(bytes);
    close(fd);
}
