/// Which loader: the one that stands under the kind's key, if the bytes do not contradict; for "auto"
/// the one that is surest of them. Only the first bytes are looked at.
#include "module/load_module.h"

#include <stdio.h>
#include <string.h>

enum { sure = 50 }; // from here on a sniff contradicts what was declared

typedef struct sniffed {
    drayi_loader_entry *best;
    uint32_t best_score;
    uint32_t declared_score; // of the kind that was declared
    bool declared_tells;     // its loader can tell at all
} sniffed;

typedef struct image_head {
    uint8_t bytes[DRAY_SNIFF_BYTES];
    uint64_t count;
} image_head;

static dray_status head_read(dray_image *image, image_head *out, dray_error *error)
{
    out->count = image->byte_count < DRAY_SNIFF_BYTES ? image->byte_count : DRAY_SNIFF_BYTES;
    return image->read(image, 0, out->bytes, out->count, error);
}

static sniffed sniff(const drayi_loader_list *list, const char *declared, const image_head *head,
                     uint64_t byte_count)
{
    sniffed verdict = {0};
    for (uint64_t i = 0; i < list->count; i++) {
        drayi_loader_entry *entry = list->calls[i].entry;
        if (!entry->ops->sniff)
            continue;
        uint32_t score = entry->ops->sniff(head->bytes, head->count, byte_count);
        if (score > verdict.best_score) {
            verdict.best = entry;
            verdict.best_score = score;
        }
        if (declared && strcmp(entry->ops->kind, declared) == 0) {
            verdict.declared_tells = true;
            verdict.declared_score = score;
        }
    }
    return verdict;
}

/// "the bytes look like elf", "the bytes look like no kind that dray knows (first bytes 00 01 02 ...)"
static void describe(const sniffed *verdict, const image_head *head, char *out, size_t out_bytes)
{
    if (verdict->best) {
        snprintf(out, out_bytes, "the bytes look like %s", verdict->best->ops->kind);
        return;
    }
    if (head->count == 0) {
        snprintf(out, out_bytes, "there are no bytes");
        return;
    }
    int at =
        snprintf(out, out_bytes, "the bytes look like no kind that dray knows, they begin with");
    for (uint64_t i = 0; i < head->count && i < 8 && at > 0 && (size_t)at < out_bytes; i++)
        at += snprintf(out + at, out_bytes - (size_t)at, " %02x", head->bytes[i]);
}

/// "elf, static": the kinds that have this key.
static void kinds_text(drayi_modules *modules, const char *prefix, char *out, size_t out_bytes)
{
    const char **names;
    uint64_t count, capacity;
    snprintf(out, out_bytes, "none");
    if (drayi_places_list(&modules->places, prefix, &names, &count, &capacity, NULL) != DRAY_OK)
        return;
    int at = 0;
    for (uint64_t i = 0; i < count && at >= 0 && (size_t)at < out_bytes; i++)
        at += snprintf(out + at, out_bytes - (size_t)at, "%s%s", i ? ", " : "",
                       names[i] + strlen(prefix));
    drayi_free(modules->env, names, capacity * sizeof(*names));
}

static dray_status fail_missing(drayi_modules *modules, const char *kind, bool raw,
                                const sniffed *verdict, const image_head *head, dray_error *error)
{
    const char *prefix = drayi_front_keys[raw ? DRAYI_FRONT_CREATE : DRAYI_FRONT_LOAD];
    char kinds[160], looks[112];
    kinds_text(modules, prefix, kinds, sizeof(kinds));
    describe(verdict, head, looks, sizeof(looks));
    return dray_fail(error, DRAY_E_NOTFOUND,
                     "no loader for kind \"%.63s\": %s%.63s is not registered, there are %s; %s",
                     kind, prefix, kind, kinds, looks);
}

static dray_status fail_unknown(const sniffed *verdict, const image_head *head, dray_error *error)
{
    char looks[112];
    describe(verdict, head, looks, sizeof(looks));
    return dray_fail(error, DRAY_E_NOTFOUND, "%s: name the kind", looks);
}

/// What stands under the kind's key: a loader, entered, or a function. False: nothing.
static bool find(drayi_modules *modules, enum drayi_front which, const char *kind,
                 drayi_loader_call *out_call, dray_function_object **out_function)
{
    char key[DRAYI_PLACE_NAME_MAX + 1];
    int length = snprintf(key, sizeof(key), "%s%s", drayi_front_keys[which], kind);
    if (length < 0 || (size_t)length >= sizeof(key))
        return false;
    dray_global_hold hold = drayi_places_borrow(&modules->places, key, (uint64_t)length);
    if (!hold.function)
        return false;
    drayi_loader_entry *entry = drayi_loader_of(hold.function);
    if (entry) {
        drayi_loader_enter(entry, out_call);
    } else {
        dray_object_retain(&hold.function->head);
        *out_function = hold.function;
    }
    dray_global_give_back(&hold);
    return true;
}

static dray_status choose(drayi_modules *modules, const char *kind, bool raw, const image_head *head,
                          const sniffed *verdict, drayi_loader_call *out_call,
                          dray_function_object **out_function, dray_error *error)
{
    if (!kind) {
        if (!verdict->best)
            return fail_unknown(verdict, head, error);
        kind = verdict->best->ops->kind;
    }
    if ((raw || !find(modules, DRAYI_FRONT_LOAD, kind, out_call, out_function)) &&
        !find(modules, DRAYI_FRONT_CREATE, kind, out_call, out_function))
        return fail_missing(modules, kind, raw, verdict, head, error);
    if (!verdict->declared_tells || verdict->declared_score > 0 || verdict->best_score < sure)
        return DRAY_OK;
    if (out_call->entry)
        drayi_loader_leave(out_call);
    out_call->entry = NULL;
    if (*out_function)
        dray_object_release(&(*out_function)->head);
    return dray_fail_rule(error, DRAY_E_FORMAT, "module.kind", 0,
                          "declared as %s, but the bytes look like %s", kind,
                          verdict->best->ops->kind);
}

dray_status drayi_load_choose(drayi_modules *modules, const char *kind, bool raw, dray_image *image,
                              drayi_loader_call *out_call, dray_function_object **out_function,
                              dray_error *error)
{
    *out_call = (drayi_loader_call){0};
    *out_function = NULL;
    if (kind && strcmp(kind, "auto") == 0)
        kind = NULL;
    image_head head;
    DRAY_TRY(head_read(image, &head, error));
    drayi_loader_list list;
    DRAY_TRY(drayi_loader_enter_all(modules, &list, error));
    sniffed verdict = sniff(&list, kind, &head, image->byte_count);
    dray_status status = choose(modules, kind, raw, &head, &verdict, out_call, out_function, error);
    drayi_loader_leave_all(modules, &list);
    return status;
}
