/// index.json: whatever comes out is a sorted list of plain file names and entries that point into it.
#include "support/counting_allocator.h"
#include "weights/index_json.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_index(const drayi_index_json *index)
{
    require(index->entry_count > 0 && index->file_count > 0);
    require(index->file_count <= index->entry_count);
    for (uint64_t i = 0; i < index->file_count; i++) {
        const char *file = index->files[i];
        require(file[0] != '\0' && strlen(file) <= 255);
        require(!strchr(file, '/') && !strstr(file, "..") && strcmp(file, ".") != 0);
        require(i == 0 || strcmp(index->files[i - 1], file) < 0);
    }
    for (uint64_t i = 0; i < index->entry_count; i++) {
        dray_text name = index->entries[i].name;
        require(index->entries[i].file < index->file_count);
        require(memchr(name.bytes, 0, name.length) == NULL);
        require(name.bytes[name.length] == '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    counting_allocator counter;
    counting_allocator_init(&counter, 0);
    drayi_env env = {.allocator = counting_allocator_interface(&counter)};
    drayi_arena arena = {.env = &env};
    drayi_index_json index;
    dray_error error = {0};
    dray_status status = drayi_index_json_read(&arena, data, size, &index, &error);
    if (status == DRAY_OK)
        check_index(&index);
    else
        require(status == DRAY_E_FORMAT && error.rule && error.offset <= size);
    require(counting_allocator_peak_bytes(&counter) <= 65536 + 32 * size);
    drayi_arena_free(&arena);
    require(counting_allocator_live_bytes(&counter) == 0);
    return 0;
}
