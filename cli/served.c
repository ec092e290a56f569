/// See served.h.
#include "served.h"

#include "location.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// --- command line --------------------------------------------------------------------------------

static bool place_parse(const char *text, share *out, option_problem *problem)
{
    if (strncmp(text, "disk:", 5) == 0 && text[5]) {
        out->storage = DRAY_STORAGE_DISK;
        out->path = text + 5;
        return true;
    }
    bool pinned = strncmp(text, "pinned:", 7) == 0;
    if (!pinned && strncmp(text, "system:", 7) != 0)
        return option_wrong(problem, "wanted NAME=disk:PATH, NAME=system:SIZE or NAME=pinned:SIZE");
    out->storage = pinned ? DRAY_STORAGE_PINNED : DRAY_STORAGE_SYSTEM;
    if (!out->writable)
        return option_wrong(problem, "fresh memory that nobody may write is of no use: "
                                     "--share-writable");
    return option_bytes(text + 7, &out->bytes, problem);
}

static bool one_more(const char *text, share_list *shares, bool writable, option_problem *problem)
{
    if (shares->count == SHARES_MAX)
        return option_wrong(problem, "at most %d regions can be shared", SHARES_MAX);
    share *fresh = &shares->items[shares->count];
    *fresh = (share){.writable = writable};
    size_t length = strcspn(text, "=");
    if (length == 0 || length >= SHARE_NAME_BYTES || !text[length])
        return option_wrong(problem,
                            "wanted NAME=disk:PATH, NAME=system:SIZE or NAME=pinned:SIZE, with a "
                            "name of at most %d bytes",
                            SHARE_NAME_BYTES - 1);
    memcpy(fresh->name, text, length);
    for (uint32_t i = 0; i < shares->count; i++) {
        if (strcmp(shares->items[i].name, fresh->name) == 0)
            return option_wrong(problem, "there are two of the name %s", fresh->name);
    }
    if (!place_parse(text + length + 1, fresh, problem))
        return false;
    shares->count++;
    return true;
}

bool share_parse(const char *text, void *field, option_problem *problem)
{
    return one_more(text, field, false, problem);
}

bool share_parse_writable(const char *text, void *field, option_problem *problem)
{
    return one_more(text, field, true, problem);
}

// --- regions -------------------------------------------------------------------------------------

static void mapping_release(void *self, void *pointer, uint64_t bytes)
{
    (void)self;
    munmap(pointer, bytes);
}

static dray_status file_map(share *of, int fd, dray_context *context, dray_error *error)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0)
        return dray_fail_os(error, errno, "fstat", "look at %s", of->path);
    if (!S_ISREG(facts.st_mode) || facts.st_size == 0)
        return dray_fail(error, DRAY_E_INVALID, "%s is %s: it cannot be shared", of->path,
                         S_ISREG(facts.st_mode) ? "empty" : "no regular file");
    of->bytes = (uint64_t)facts.st_size;
    void *at =
        mmap(NULL, of->bytes, of->writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return dray_fail_os(error, errno, "mmap", "map %s", of->path);
    dray_status status = dray_region_wrap(context, DRAY_STORAGE_SYSTEM, at, of->bytes,
                                          mapping_release, NULL, &of->region, error);
    if (status != DRAY_OK)
        munmap(at, of->bytes);
    return status;
}

static dray_status share_open(share *of, dray_context *context, dray_error *error)
{
    if (of->storage != DRAY_STORAGE_DISK) {
        dray_region_options options = {
            .struct_bytes = sizeof(options), .storage = of->storage, .bytes = of->bytes};
        return dray_region_create(context, &options, &of->region, error);
    }
    int fd = open(of->path, (of->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dray_fail_os(error, errno, "open", "open %s", of->path);
    dray_status status = file_map(of, fd, context, error);
    close(fd); // the mapping stays
    return status;
}

dray_status shares_open(share_list *shares, dray_context *context, dray_error *error)
{
    for (uint32_t i = 0; i < shares->count; i++) {
        dray_status status = share_open(&shares->items[i], context, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "share %s", shares->items[i].name);
    }
    return DRAY_OK;
}

dray_status shares_register(const share_list *shares, dray_agent *agent, dray_error *error)
{
    for (uint32_t i = 0; i < shares->count; i++) {
        const share *each = &shares->items[i];
        dray_register_options options = {
            .struct_bytes = sizeof(options), .name = each->name, .writable = each->writable};
        dray_descriptor descriptor;
        dray_status status = dray_agent_register(agent, each->region, &options, &descriptor, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "share %s", each->name);
    }
    return DRAY_OK;
}

dray_status shares_sync(const share_list *shares, dray_error *error)
{
    for (uint32_t i = 0; i < shares->count; i++) {
        const share *each = &shares->items[i];
        bool file = each->storage == DRAY_STORAGE_DISK && each->writable && each->region;
        if (file && msync(dray_region_pointer(each->region), each->bytes, MS_SYNC) != 0)
            return dray_fail_os(error, errno, "msync", "share %s: write %s to its disk", each->name,
                                each->path);
    }
    return DRAY_OK;
}

void shares_close(share_list *shares)
{
    for (uint32_t i = 0; i < shares->count; i++)
        dray_region_release(shares->items[i].region);
    shares->count = 0;
}
