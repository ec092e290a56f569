#include "loopback_remote.h"

#include "dray/spi/remote.h"
#include "memory/region.h"
#include "testing.h"

#include <stdlib.h>

typedef struct loopback {
    const dray_backend_ops *ops;
    dray_backend *backend;
    dray_region *memory;
    dray_remote *remote;
    dray_remote_link link;
} loopback;

static void loopback_free(void *self, void *pointer, uint64_t bytes)
{
    (void)pointer;
    (void)bytes;
    loopback *made = self;
    made->ops->remote->region_close(made->backend, made->link.at);
    made->ops->remote->disconnect(made->backend, made->remote);
    made->ops->detach(made->backend, made->memory);
    dray_region_release(made->memory);
    free(made);
}

static void good(dray_status status, const dray_error *error)
{
    if (status != DRAY_OK)
        fail_msg("%s", error->message);
}

dray_region *loopback_remote_open(backend_rig *rig, void *memory, uint64_t bytes)
{
    const dray_remote_ops *remote = rig->ops->remote;
    loopback *made = calloc(1, sizeof(*made));
    assert_non_null(made);
    *made = (loopback){.ops = rig->ops, .backend = rig->backend, .link.backend = rig->backend};
    dray_error error;
    const void *address, *key;
    uint32_t address_bytes, key_bytes;
    good(dray_region_wrap(rig->context, DRAY_STORAGE_SYSTEM, memory, bytes, NULL, NULL,
                          &made->memory, &error),
         &error);
    good(rig->ops->attach(rig->backend, made->memory, &error), &error);
    good(remote->key(rig->backend, made->memory, &key, &key_bytes, &error), &error);
    good(remote->address(rig->backend, &address, &address_bytes, &error), &error);
    good(remote->connect(rig->backend, "itself", address, address_bytes, &made->remote, &error),
         &error);
    const dray_remote_key wanted = {.address = (uint64_t)(uintptr_t)memory,
                                    .bytes = bytes,
                                    .key = key,
                                    .key_bytes = key_bytes,
                                    .name = "itself/memory"};
    good(remote->region_open(rig->backend, made->remote, &wanted, &made->link.at, &error), &error);
    dray_region *region;
    good(drayi_region_new(drayi_env_of(rig->context), DRAY_STORAGE_REMOTE, bytes, "itself/memory",
                          &region, &error),
         &error);
    region->native.file_offset = wanted.address;
    region->native.writable = 1;
    region->native.remote = &made->link;
    region->release = loopback_free;
    region->release_self = made;
    return region;
}
