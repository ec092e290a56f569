/// Managed memory of the stand-in: three settings per page, widened outwards to pages; prefetches and discards
/// that happen when their stream runs; refusals as the vendor's header and the field report them.
///
/// Known surprises are here on purpose: read-mostly with a location that is none succeeds and does nothing
/// (pg-strom #958); a device without concurrent access gives 101; the oldest forms take handles, the
/// newer ones numbers.
#include "standin_inside.h"

#include <stdlib.h>
#include <string.h>

EXPORT bool standin_page_at(const void *pointer, standin_page *out);

#define PAGE UINT64_C(4096)

enum {
    NONE = 0,
    DEVICE = 1,
    HOST = 2,
    NODE = 3,
    CURRENT = 4,
    INVALID_VALUE = 1,
    INVALID_DEVICE = 101
};

typedef struct page_entry {
    standin_page set;
    uint64_t moved; // when, in moves
} page_entry;

/// The pages of one managed allocation.
typedef struct managed {
    struct managed *next;
    uint64_t address, bytes; // of the allocation
    uint64_t first_page, page_count;
    page_entry pages[];
} managed;

static managed *all; // guarded by the library's lock
static uint64_t moves;

void managed_forget(uint64_t address)
{
    managed **at = &all;
    while (*at && (*at)->address != address)
        at = &(*at)->next;
    managed *gone = *at;
    if (gone)
        *at = gone->next;
    free(gone);
}

void managed_forget_all(void)
{
    while (all)
        managed_forget(all->address);
}

static managed *managed_new(const inside_allocation *allocation)
{
    uint64_t first = allocation->address / PAGE;
    uint64_t count = (allocation->address + allocation->bytes + PAGE - 1) / PAGE - first;
    managed *fresh = calloc(1, sizeof(*fresh) + count * sizeof(page_entry));
    if (!fresh)
        abort();
    fresh->address = allocation->address;
    fresh->bytes = allocation->bytes;
    fresh->first_page = first;
    fresh->page_count = count;
    for (uint64_t i = 0; i < count; i++)
        fresh->pages[i].set.at = -2;
    fresh->next = all;
    all = fresh;
    return fresh;
}

/// The allocation that an address belongs to, with its pages; NULL: none that is managed.
static managed *managed_find(uint64_t address)
{
    for (managed *each = all; each; each = each->next) {
        if (address >= each->address && address < each->address + each->bytes)
            return each;
    }
    inside_allocation found;
    return inside_find(address, &found) && found.kind == INSIDE_MANAGED ? managed_new(&found) : NULL;
}

typedef void page_visit(page_entry *page, void *self);

/// Every page that the range touches. False: a part of it is no managed memory; allocations that lie side by
/// side may be crossed.
static bool pages_visit(uint64_t address, uint64_t bytes, page_visit *visit, void *self)
{
    for (uint64_t at = address; at < address + bytes;) {
        managed *owner = managed_find(at);
        if (!owner)
            return false;
        uint64_t end = owner->address + owner->bytes;
        end = end < address + bytes ? end : address + bytes;
        for (uint64_t page = at / PAGE; page <= (end - 1) / PAGE && visit; page++)
            visit(&owner->pages[page - owner->first_page], self);
        at = end;
    }
    return bytes > 0;
}

EXPORT bool standin_page_at(const void *pointer, standin_page *out)
{
    managed *owner = managed_find((uintptr_t)pointer);
    if (owner)
        *out = owner->pages[(uintptr_t)pointer / PAGE - owner->first_page].set;
    return owner != NULL;
}

// --- who can ---------------------------------------------------------------------------------------

static bool is_concurrent(int device)
{
    return !inside_config.no_managed && !(inside_config.no_concurrent >> device & 1);
}

static bool all_concurrent(void)
{
    for (int i = 0; i < inside_device_count(); i++) {
        if (!is_concurrent(i))
            return false;
    }
    return true;
}

static bool any_pageable(void)
{
    return (inside_config.pageable & ((UINT32_C(1) << inside_device_count()) - 1)) != 0;
}

/// Managed, or memory of the host that devices reach by themselves.
static CUresult range_check(uint64_t address, uint64_t bytes)
{
    if (bytes == 0 || address + bytes < address)
        return INVALID_VALUE;
    if (pages_visit(address, bytes, NULL, NULL))
        return 0;
    inside_allocation found;
    bool known = inside_find(address, &found);
    return !known && any_pageable() ? 0 : INVALID_VALUE;
}

/// Is it a place? 101: a device that is none, or that cannot.
static CUresult location_check(CUmemLocation location)
{
    int nodes = inside_config.nodes ? inside_config.nodes : 1;
    switch ((int)location.type) {
    case DEVICE:
        return location.id >= 0 && location.id < inside_device_count() && is_concurrent(location.id)
                   ? 0
                   : INVALID_DEVICE;
    case HOST:
    case CURRENT:
        return 0;
    case NODE:
        return location.id >= 0 && location.id < nodes ? 0 : INVALID_VALUE;
    default:
        return INVALID_VALUE;
    }
}

static CUmemLocation location_of_handle(CUdevice device)
{
    CUmemLocation location = {.id = 0};
    location.type = device == -1 ? HOST : inside_ordinal(device) >= 0 ? DEVICE : NONE;
    if ((int)location.type == DEVICE)
        location.id = inside_ordinal(device);
    return location;
}

// --- advice ----------------------------------------------------------------------------------------

typedef struct advice_order {
    unsigned advice;
    CUmemLocation location;
} advice_order;

static void advice_visit(page_entry *page, void *self)
{
    const advice_order *order = self;
    standin_page *set = &page->set;
    const int type = (int)order->location.type;
    const uint32_t who = type == DEVICE ? UINT32_C(2) << order->location.id : 1;
    switch (order->advice) {
    case 1:
    case 2:
        set->read_mostly = order->advice == 1 ? 1 : 2;
        break;
    case 3:
        set->preferred_type = type == CURRENT ? NODE : type;
        set->preferred_id = type == CURRENT || type == HOST ? 0 : order->location.id;
        break;
    case 4:
        set->preferred_type = NONE;
        set->preferred_id = 0;
        break;
    case 5:
        set->accessed_by |= who;
        break;
    default:
        set->accessed_by &= ~who;
        break;
    }
}

static CUresult advise(uint64_t address, size_t bytes, unsigned advice, CUmemLocation location)
{
    if (advice < 1 || advice > 6)
        return inside_misuse(INVALID_VALUE, "cuMemAdvise advice");
    CUresult code = range_check(address, bytes);
    if (code)
        return code;
    const bool ignored = advice == 1 || advice == 2 || advice == 4;
    code = location_check(location);
    if (ignored && code == INVALID_VALUE)
        return 0; // the surprise: success, and nothing done
    if (!code && advice >= 5 && (int)location.type != DEVICE && (int)location.type != HOST)
        code = INVALID_VALUE;
    if (code)
        return code;
    advice_order order = {.advice = advice, .location = location};
    pages_visit(address, bytes, advice_visit, &order);
    inside_counts.advises++;
    return 0;
}

EXPORT CUresult cuMemAdvise_v2(CUdeviceptr address, size_t bytes, drayi_cuda_advice advice,
                               CUmemLocation location)
{
    CUresult code;
    if (inside_refused("cuMemAdvise_v2", true, &code))
        return code;
    return inside_done(advise(address, bytes, (unsigned)advice, location));
}

EXPORT CUresult cuMemAdvise(CUdeviceptr address, size_t bytes, drayi_cuda_advice advice,
                            CUdevice device)
{
    CUresult code;
    if (inside_refused("cuMemAdvise", true, &code))
        return code;
    return inside_done(advise(address, bytes, (unsigned)advice, location_of_handle(device)));
}

// --- moving ----------------------------------------------------------------------------------------

/// Finds the page that was moved to `device` longest ago, and counts those that are there.
static page_entry *oldest_on(int device, uint64_t *out_count)
{
    page_entry *oldest = NULL;
    *out_count = 0;
    for (managed *each = all; each; each = each->next) {
        for (uint64_t i = 0; i < each->page_count; i++) {
            page_entry *page = &each->pages[i];
            if (page->set.at != device)
                continue;
            (*out_count)++;
            if (!oldest || page->moved < oldest->moved)
                oldest = page;
        }
    }
    return oldest;
}

static void page_move(page_entry *page, int to)
{
    if (page->set.at == to)
        return;
    uint64_t there = 0;
    page_entry *oldest = to >= 0 ? oldest_on(to, &there) : NULL;
    if (oldest && (there + 1) * PAGE > inside_capacity()) {
        oldest->set.at = -1;
        inside_counts.evicted_pages++;
    }
    page->set.at = to;
    page->moved = ++moves;
}

/// What a stream does later.
typedef struct move_order {
    uint64_t address, bytes;
    CUmemLocation location;
    bool discard;
} move_order;

static void move_visit(page_entry *page, void *self)
{
    const move_order *order = self;
    if (order->discard)
        page->set.at = -2;
    else
        page_move(page, (int)order->location.type == DEVICE ? order->location.id : -1);
}

/// Memory that has been freed meanwhile is passed over; discarded bytes are not what they were.
static void move_act(void *self, bool dropped)
{
    move_order *order = self;
    if (!dropped && pages_visit(order->address, order->bytes, NULL, NULL)) {
        pages_visit(order->address, order->bytes, move_visit, order);
        if (order->discard)
            memset((void *)(uintptr_t)order->address, 0xdd, order->bytes);
    }
    free(order);
}

static void last_visit(page_entry *page, void *self)
{
    const CUmemLocation *location = self;
    const int type = (int)location->type;
    page->set.last_type = type == CURRENT ? NODE : type;
    page->set.last_id = type == DEVICE || type == NODE ? location->id : 0;
}

static CUresult move_queue(uint64_t address, size_t bytes, CUmemLocation location, bool discard,
                           CUstream stream)
{
    move_order *order = malloc(sizeof(*order));
    if (!order)
        abort();
    *order =
        (move_order){.address = address, .bytes = bytes, .location = location, .discard = discard};
    if (!inside_queue(stream, move_act, order)) {
        free(order);
        return inside_misuse(400, "a prefetch's stream");
    }
    if (!discard)
        pages_visit(address, bytes, last_visit, &location); // as asked for, not as done
    return 0;
}

static CUresult prefetch(uint64_t address, size_t bytes, CUmemLocation location, unsigned flags,
                         CUstream stream)
{
    const int device = inside_stream_device(stream);
    if (device < 0 || flags)
        return inside_misuse(INVALID_VALUE, "cuMemPrefetchAsync stream or flags");
    CUresult code = location_check(location);
    if (!code && !is_concurrent(device))
        code = INVALID_DEVICE;
    if (!code)
        code = range_check(address, bytes);
    if (!code)
        code = move_queue(address, bytes, location, false, stream);
    inside_counts.prefetches += code == 0;
    return code;
}

EXPORT CUresult cuMemPrefetchAsync_v2(CUdeviceptr address, size_t bytes, CUmemLocation location,
                                      unsigned flags, CUstream stream)
{
    CUresult code;
    if (inside_refused("cuMemPrefetchAsync_v2", true, &code))
        return code;
    return inside_done(prefetch(address, bytes, location, flags, stream));
}

EXPORT CUresult cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUdevice device,
                                   CUstream stream)
{
    CUresult code;
    if (inside_refused("cuMemPrefetchAsync", true, &code))
        return code;
    CUmemLocation location = location_of_handle(device);
    return inside_done((int)location.type == NONE ? INVALID_DEVICE
                                                  : prefetch(address, bytes, location, 0, stream));
}

/// All of it is checked before any of it is queued.
static CUresult batch_check(const CUdeviceptr *addresses, const size_t *bytes, size_t count,
                            unsigned long long flags, CUstream stream)
{
    if (count == 0 || flags || inside_stream_device(stream) < 0)
        return inside_misuse(INVALID_VALUE, "a batch's count, flags or stream");
    if (!all_concurrent())
        return INVALID_DEVICE;
    for (size_t i = 0; i < count; i++) {
        CUresult code = range_check(addresses[i], bytes[i]);
        if (code)
            return code;
    }
    return 0;
}

EXPORT CUresult cuMemPrefetchBatchAsync(CUdeviceptr *addresses, size_t *bytes, size_t count,
                                        CUmemLocation *locations, size_t *starts,
                                        size_t location_count, unsigned long long flags,
                                        CUstream stream)
{
    CUresult code;
    if (inside_refused("cuMemPrefetchBatchAsync", true, &code))
        return code;
    code = batch_check(addresses, bytes, count, flags, stream);
    if (!code && (location_count == 0 || location_count > count || starts[0] != 0))
        code = inside_misuse(INVALID_VALUE, "cuMemPrefetchBatchAsync locations");
    for (size_t i = 0; i < location_count && !code; i++) {
        if (starts[i] >= count || (i > 0 && starts[i] <= starts[i - 1]))
            code = inside_misuse(INVALID_VALUE, "cuMemPrefetchBatchAsync starts");
        else
            code = location_check(locations[i]);
    }
    for (size_t i = 0, at = 0; i < count && !code; i++) {
        while (at + 1 < location_count && starts[at + 1] <= i)
            at++;
        code = move_queue(addresses[i], bytes[i], locations[at], false, stream);
    }
    inside_counts.prefetch_batches += code == 0;
    return inside_done(code);
}

EXPORT CUresult cuMemDiscardBatchAsync(CUdeviceptr *addresses, size_t *bytes, size_t count,
                                       unsigned long long flags, CUstream stream)
{
    CUresult code;
    if (inside_refused("cuMemDiscardBatchAsync", true, &code))
        return code;
    code = batch_check(addresses, bytes, count, flags, stream);
    for (size_t i = 0; i < count && !code; i++)
        code = move_queue(addresses[i], bytes[i], (CUmemLocation){.id = 0}, true, stream);
    inside_counts.discard_batches += code == 0;
    return inside_done(code);
}

// --- reading back ----------------------------------------------------------------------------------

/// What all pages of a range have in common.
typedef struct common {
    bool any, mostly, same_preferred, same_last;
    standin_page first;
    uint32_t accessed_by;
} common;

static void common_visit(page_entry *page, void *self)
{
    common *out = self;
    const standin_page *set = &page->set;
    if (!out->any)
        *out = (common){.any = true,
                        .mostly = true,
                        .same_preferred = true,
                        .same_last = true,
                        .first = *set,
                        .accessed_by = UINT32_MAX};
    out->mostly &= set->read_mostly == 1;
    out->accessed_by &= set->accessed_by;
    out->same_preferred &= set->preferred_type == out->first.preferred_type &&
                           set->preferred_id == out->first.preferred_id;
    out->same_last &= set->last_type == out->first.last_type && set->last_id == out->first.last_id;
}

static int old_number(bool same, int type, int id)
{
    if (!same || type == NONE)
        return -2;
    return type == DEVICE ? id : -1;
}

static CUresult attribute_read(const common *all_pages, unsigned attribute, int *value, size_t bytes)
{
    const standin_page *first = &all_pages->first;
    const bool nodes = !inside_config.symbols || inside_config.symbols >= 12020;
    if (attribute == 3) {
        size_t used = 0;
        const size_t room = bytes / sizeof(int);
        for (size_t i = 0; i < room; i++)
            value[i] = -2;
        for (int i = 0; i <= inside_device_count() && used < room; i++) {
            if (all_pages->accessed_by >> i & 1)
                value[used++] = i - 1;
        }
        return bytes % sizeof(int) ? inside_misuse(INVALID_VALUE, "cuMemRangeGetAttributes size")
                                   : 0;
    }
    if (bytes != sizeof(int) || attribute < 1 || attribute > 8)
        return inside_misuse(INVALID_VALUE, "cuMemRangeGetAttributes size or attribute");
    if (attribute >= 5 && !nodes)
        return INVALID_VALUE;
    const bool preferred = attribute == 2 || attribute == 5 || attribute == 6;
    const bool same = preferred ? all_pages->same_preferred : all_pages->same_last;
    const int type = preferred ? first->preferred_type : first->last_type;
    const int id = preferred ? first->preferred_id : first->last_id;
    if (attribute == 1)
        *value = all_pages->mostly;
    else if (attribute == 2 || attribute == 4)
        *value = old_number(same, type, id);
    else
        *value = !same ? NONE : attribute % 2 ? type : id;
    return 0;
}

EXPORT CUresult cuMemRangeGetAttributes(void **values, size_t *bytes,
                                        drayi_cuda_range_attribute *attributes, size_t count,
                                        CUdeviceptr address, size_t range_bytes)
{
    CUresult code;
    if (inside_refused("cuMemRangeGetAttributes", true, &code))
        return code;
    common all_pages = {.any = false};
    if (!pages_visit(address, range_bytes, common_visit, &all_pages))
        return inside_done(INVALID_VALUE); // managed memory only
    code = 0;
    for (size_t i = 0; i < count && !code; i++)
        code = attribute_read(&all_pages, (unsigned)attributes[i], values[i], bytes[i]);
    return inside_done(code);
}

/// The plural form: a pointer that is not known gives zeros.
EXPORT CUresult cuPointerGetAttributes(unsigned count, drayi_cuda_pointer_attribute *attributes,
                                       void **values, CUdeviceptr address)
{
    CUresult code;
    if (inside_refused("cuPointerGetAttributes", true, &code))
        return code;
    inside_allocation found = {.kind = INSIDE_NOTHING};
    inside_find(address, &found);
    const bool host = found.kind == INSIDE_HOST || found.kind == INSIDE_REGISTERED;
    for (unsigned i = 0; i < count; i++) {
        unsigned type = found.kind == INSIDE_NOTHING ? 0 : host ? 1 : 2;
        switch ((unsigned)attributes[i]) {
        case 2:
            memcpy(values[i], &type, sizeof(type));
            break;
        case 8:
            memset(values[i], found.kind == INSIDE_MANAGED, 1); // a byte of it
            break;
        case 9:
            memcpy(values[i], &found.device, sizeof(found.device));
            break;
        case 11:
            memcpy(values[i], &found.address, sizeof(CUdeviceptr));
            break;
        case 12:
            memcpy(values[i], &found.bytes, sizeof(size_t));
            break;
        default:
            return inside_done(inside_misuse(INVALID_VALUE, "cuPointerGetAttributes attribute"));
        }
    }
    return inside_done(0);
}
