/// The probe's head is one block of exactly the file's size, so that its end is a real end; what was
/// not asked for yet holds 0xA5.
#include "support/format_probe.h"

#include "base/checked.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define PROBE_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PROBE_HAS_ASAN 1
#endif
#endif
#ifdef PROBE_HAS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

struct format_probe_kept {
    struct format_probe_kept *next;
    uint64_t bytes;
    max_align_t data[];
};

static void broken(const char *what)
{
    fprintf(stderr, "format_probe: the format breaks its contract: %s\n", what);
    abort();
}

static void *must(void *pointer)
{
    if (!pointer) {
        fprintf(stderr, "format_probe: the test itself is out of memory\n");
        abort();
    }
    return pointer;
}

static bool call_fails(format_probe *probe)
{
    if (++probe->call_count != probe->fail_at)
        return false;
    probe->failed = true;
    return true;
}

static bool within(const void *pointer, uint64_t bytes, const void *block, uint64_t block_bytes)
{
    uintptr_t at = (uintptr_t)pointer, start = (uintptr_t)block;
    return at >= start && drayi_inside(at - start, bytes, block_bytes);
}

/// May the format hand this out: does it lie in the readable head or in memory from `keep`?
static bool lives(const format_probe *probe, const void *pointer, uint64_t bytes)
{
    if (bytes == 0 || within(pointer, bytes, probe->head, probe->head_bytes))
        return true;
    for (const struct format_probe_kept *kept = probe->kept; kept; kept = kept->next) {
        if (within(pointer, bytes, kept->data, kept->bytes))
            return true;
    }
    return false;
}

static bool same(dray_text text, dray_text other)
{
    return text.length == other.length &&
           (text.length == 0 || memcmp(text.bytes, other.bytes, text.length) == 0);
}

static void *room_for_one(void *array, uint64_t *room, uint64_t count, size_t entry_bytes)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 16;
    return must(realloc(array, *room * entry_bytes));
}

// --- what the format calls -----------------------------------------------------------------------

static dray_status probe_need(dray_format_input *input, uint64_t upto, dray_error *error)
{
    format_probe *probe = input->self;
    probe->need_count++;
    if (upto > probe->file_bytes)
        broken("need() behind the end of the file");
    if (call_fails(probe))
        return dray_fail(error, DRAY_E_IO, "probe: call %" PRIu64 " fails as told",
                         probe->call_count);
    if (!probe->head_exact)
        upto = drayi_min(probe->file_bytes, upto + 4096);
    if (upto > probe->head_bytes) {
        ASAN_UNPOISON_MEMORY_REGION(probe->head, upto);
        memcpy(probe->head + probe->head_bytes, probe->file + probe->head_bytes,
               upto - probe->head_bytes);
        probe->head_bytes = upto;
    }
    input->head_bytes = probe->head_bytes;
    return DRAY_OK;
}

static void check_tensor(const format_probe *probe, const dray_format_tensor *tensor)
{
    if (!lives(probe, tensor->name.bytes, tensor->name.length))
        broken("a tensor's name lies neither in the head nor in kept memory");
    if (tensor->rank > DRAY_RANK_MAX)
        broken("a tensor has more than DRAY_RANK_MAX dimensions");
    if (tensor->size_known > 1)
        broken("size_known is neither 0 nor 1");
    if (!tensor->size_known)
        return;
    if (!drayi_inside(tensor->offset, tensor->bytes, probe->file_bytes))
        broken("a tensor's span leaves the file");
    uint64_t bytes;
    if (dray_dtype_tensor_bytes(tensor->dtype, tensor->shape, tensor->rank, &bytes, NULL) !=
            DRAY_OK ||
        bytes != tensor->bytes)
        broken("a tensor's size is not that of its dtype and shape");
}

static dray_status probe_tensor(dray_format_sink *sink, const dray_format_tensor *tensor,
                                dray_error *error)
{
    format_probe *probe = sink->self;
    check_tensor(probe, tensor);
    if (call_fails(probe))
        return dray_fail(error, DRAY_E_NOMEM, "probe: call %" PRIu64 " fails as told",
                         probe->call_count);
    for (uint64_t i = 0; i < probe->tensor_count; i++) {
        if (same(probe->tensors[i].name, tensor->name))
            return dray_fail_rule(error, DRAY_E_FORMAT, "tensor.duplicate", tensor->head_offset,
                                  "tensor %.*s: described twice",
                                  (int)drayi_min(tensor->name.length, 80), tensor->name.bytes);
    }
    probe->tensors = room_for_one(probe->tensors, &probe->tensor_room, probe->tensor_count,
                                  sizeof(*probe->tensors));
    format_probe_tensor *entry = &probe->tensors[probe->tensor_count++];
    *entry = (format_probe_tensor){.name = tensor->name,
                                   .dtype = tensor->dtype,
                                   .native_type = tensor->native_type,
                                   .rank = tensor->rank,
                                   .size_known = tensor->size_known,
                                   .offset = tensor->offset,
                                   .bytes = tensor->bytes,
                                   .head_offset = tensor->head_offset};
    if (tensor->rank)
        memcpy(entry->shape, tensor->shape, tensor->rank * sizeof(*tensor->shape));
    return DRAY_OK;
}

static void check_value(const format_probe *probe, const dray_value *value)
{
    if (value->type < DRAY_VALUE_U8 || value->type > DRAY_VALUE_ARRAY)
        broken("a value has no type");
    if ((value->type == DRAY_VALUE_TEXT || value->type == DRAY_VALUE_JSON) &&
        !lives(probe, value->as.text.bytes, value->as.text.length))
        broken("a text value lies neither in the head nor in kept memory");
    if (value->type != DRAY_VALUE_ARRAY)
        return;
    if (!lives(probe, value->as.array.bytes, value->as.array.byte_count))
        broken("an array lies neither in the head nor in kept memory");
    if (value->element_type < DRAY_VALUE_U8 || value->element_type > DRAY_VALUE_ARRAY)
        broken("an array's elements have no type");
    if (value->as.array.count > value->as.array.byte_count)
        broken("an array has more elements than bytes");
}

static dray_status probe_metadata(dray_format_sink *sink, dray_text key, const dray_value *value,
                                  bool *out_duplicate, dray_error *error)
{
    format_probe *probe = sink->self;
    *out_duplicate = false;
    if (!lives(probe, key.bytes, key.length))
        broken("a key lies neither in the head nor in kept memory");
    check_value(probe, value);
    if (call_fails(probe))
        return dray_fail(error, DRAY_E_NOMEM, "probe: call %" PRIu64 " fails as told",
                         probe->call_count);
    for (uint64_t i = 0; i < probe->metadata_count; i++) {
        if (same(probe->metadata[i].key, key)) {
            probe->duplicate_count++;
            *out_duplicate = true;
            return dray_fail_rule(error, DRAY_E_FORMAT, "metadata.duplicate", DRAY_UNKNOWN,
                                  "key %.*s: there twice", (int)drayi_min(key.length, 80),
                                  key.bytes);
        }
    }
    probe->metadata = room_for_one(probe->metadata, &probe->metadata_room, probe->metadata_count,
                                   sizeof(*probe->metadata));
    probe->metadata[probe->metadata_count++] = (format_probe_metadata){.key = key, .value = *value};
    return DRAY_OK;
}

static dray_status probe_warn(dray_format_sink *sink, const char *rule, uint64_t offset,
                              dray_error *error, const char *format, ...)
{
    format_probe *probe = sink->self;
    if (!rule || !*rule)
        broken("a warning without a rule");
    if (call_fails(probe))
        return dray_fail(error, DRAY_E_NOMEM, "probe: call %" PRIu64 " fails as told",
                         probe->call_count);
    probe->warnings = room_for_one(probe->warnings, &probe->warning_room, probe->warning_count,
                                   sizeof(*probe->warnings));
    format_probe_warning *warning = &probe->warnings[probe->warning_count++];
    warning->rule = rule;
    warning->offset = offset;
    va_list args;
    va_start(args, format);
    vsnprintf(warning->message, sizeof(warning->message), format, args);
    va_end(args);
    return DRAY_OK;
}

static void *probe_keep(dray_format_sink *sink, uint64_t bytes, dray_error *error)
{
    format_probe *probe = sink->self;
    if (bytes > 64 + 8 * probe->file_bytes)
        broken("keep() of more than the file justifies");
    if (call_fails(probe)) {
        dray_fail(error, DRAY_E_NOMEM, "probe: call %" PRIu64 " fails as told", probe->call_count);
        return NULL;
    }
    struct format_probe_kept *kept = must(calloc(1, sizeof(*kept) + bytes));
    kept->bytes = bytes;
    kept->next = probe->kept;
    probe->kept = kept;
    return kept->data;
}

static void *probe_alloc(void *self, size_t bytes)
{
    format_probe *probe = self;
    if (bytes > 65536 + 8 * probe->file_bytes)
        broken("an allocation of more than the file justifies");
    if (call_fails(probe))
        return NULL;
    probe->allocated_bytes += bytes;
    return must(malloc(bytes ? bytes : 1));
}

static void probe_free(void *self, void *pointer, size_t bytes)
{
    format_probe *probe = self;
    probe->allocated_bytes -= bytes;
    free(pointer);
}

// --- what the test calls -------------------------------------------------------------------------

static void check_outcome(const format_probe *probe, dray_status status)
{
    if (probe->allocated_bytes != 0)
        broken("memory is left allocated after the read");
    if (status == DRAY_OK)
        return;
    if (probe->error.status != status)
        broken("the error's status is not the one that was returned");
    if (!probe->error.message[0])
        broken("an error without a message");
    if (status == DRAY_E_FORMAT && !probe->error.rule)
        broken("a format error without a rule");
}

dray_status format_probe_read(format_probe *probe, const dray_format_ops *format, const void *bytes,
                              uint64_t count)
{
    probe->file = bytes;
    probe->file_bytes = count;
    probe->head_bytes = probe->head_first ? drayi_min(probe->head_first, count) : count;
    probe->head = must(malloc(count ? count : 1));
    memset(probe->head, 0xA5, count ? count : 1);
    if (probe->head_bytes)
        memcpy(probe->head, bytes, probe->head_bytes);
    ASAN_POISON_MEMORY_REGION(probe->head + probe->head_bytes, count - probe->head_bytes);
    probe->env.allocator = (dray_allocator){.alloc = probe_alloc, .free = probe_free, .self = probe};
    dray_format_input input = {.self = probe,
                               .env = &probe->env,
                               .path = "probe",
                               .file_bytes = count,
                               .flags = probe->flags,
                               .head = probe->head,
                               .head_bytes = probe->head_bytes,
                               .need = probe_need};
    dray_format_sink sink = {.self = probe,
                             .facts = &probe->facts,
                             .tensor = probe_tensor,
                             .metadata = probe_metadata,
                             .warn = probe_warn,
                             .keep = probe_keep};
    dray_status status = format->read(&input, &sink, &probe->error);
    check_outcome(probe, status);
    return status;
}

void format_probe_free(format_probe *probe)
{
    if (probe->head)
        ASAN_UNPOISON_MEMORY_REGION(probe->head, probe->file_bytes);
    free(probe->head);
    free(probe->tensors);
    free(probe->metadata);
    free(probe->warnings);
    while (probe->kept) {
        struct format_probe_kept *next = probe->kept->next;
        free(probe->kept);
        probe->kept = next;
    }
    memset(probe, 0, sizeof(*probe));
}

static dray_text text_of(const char *name)
{
    return (dray_text){.bytes = name, .length = strlen(name)};
}

const format_probe_tensor *format_probe_tensor_named(const format_probe *probe, const char *name)
{
    for (uint64_t i = 0; i < probe->tensor_count; i++) {
        if (same(probe->tensors[i].name, text_of(name)))
            return &probe->tensors[i];
    }
    return NULL;
}

const dray_value *format_probe_value(const format_probe *probe, const char *key)
{
    for (uint64_t i = 0; i < probe->metadata_count; i++) {
        if (same(probe->metadata[i].key, text_of(key)))
            return &probe->metadata[i].value;
    }
    return NULL;
}

uint64_t format_probe_warned(const format_probe *probe, const char *rule)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < probe->warning_count; i++)
        count += strcmp(probe->warnings[i].rule, rule) == 0;
    return count;
}

uint8_t *format_probe_load(const char *directory, const char *name, uint64_t *out_bytes)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    uint8_t *bytes = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file);
        rewind(file);
        bytes = must(malloc(end > 0 ? (size_t)end : 1));
        *out_bytes = end > 0 ? (uint64_t)end : 0;
        if (fread(bytes, 1, (size_t)*out_bytes, file) != *out_bytes) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(file);
    return bytes;
}
