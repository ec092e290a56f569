/// The kernel has no call that tells what madvise or mlock has set; its text files have. They are read line
/// by line through a small buffer; what does not begin like a line that we know is passed over.
#include "hints/host_maps.h"

#include "hints/host_settings.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

typedef struct line_reader {
    const drayi_os *os;
    int fd;
    char buffer[8192], line[256]; // of a longer line (a path) the beginning is kept
    size_t filled, used, length;
} line_reader;

/// The next line, terminated; false: there is none. A failing read ends the file: *out_code tells.
static bool line_next(line_reader *reader, int *out_code)
{
    reader->length = 0;
    bool any = false;
    for (;;) {
        if (reader->used == reader->filled) {
            ssize_t got;
            do
                got = reader->os->read(reader->fd, reader->buffer, sizeof(reader->buffer));
            while (got == -EINTR);
            if (got <= 0) {
                *out_code = (int)got;
                reader->line[reader->length] = 0;
                return any;
            }
            reader->filled = (size_t)got;
            reader->used = 0;
        }
        char byte = reader->buffer[reader->used++];
        any = true;
        if (byte == '\n') {
            reader->line[reader->length] = 0;
            return true;
        }
        if (reader->length + 1 < sizeof(reader->line))
            reader->line[reader->length++] = byte;
    }
}

static bool take_number(const char **at, unsigned base, uint64_t *out)
{
    uint64_t number = 0;
    const char *start = *at;
    for (;; (*at)++) {
        char c = **at;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit >= base)
            break;
        number = number * base + digit;
    }
    *out = number;
    return *at != start;
}

static bool take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

/// "7f00-7f10 rw-s 00000000 08:01 1234   /path"
static bool head_parse(const char *line, drayi_host_map *out)
{
    const char *at = line;
    uint64_t offset, major, minor, inode;
    if (!take_number(&at, 16, &out->first) || !take_char(&at, '-') ||
        !take_number(&at, 16, &out->end) || !take_char(&at, ' ') || strlen(at) < 5)
        return false;
    out->writable = at[1] == 'w';
    out->shared = at[3] == 's';
    at += 4;
    if (!take_char(&at, ' ') || !take_number(&at, 16, &offset) || !take_char(&at, ' ') ||
        !take_number(&at, 16, &major) || !take_char(&at, ':') || !take_number(&at, 16, &minor) ||
        !take_char(&at, ' ') || !take_number(&at, 10, &inode))
        return false;
    out->is_file = inode != 0;
    return true;
}

static uint32_t setting_of(const char *flag)
{
    static const struct {
        char flag[3];
        uint32_t setting;
    } known[] = {{"lo", DRAYI_HOST_LOCKED},
                 {"sr", DRAYI_HOST_SEQUENTIAL},
                 {"rr", DRAYI_HOST_RANDOM},
                 {"hg", DRAYI_HOST_HUGE},
                 {"nh", DRAYI_HOST_NO_HUGE}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (memcmp(flag, known[i].flag, 2) == 0)
            return known[i].setting;
    }
    return 0;
}

/// "VmFlags: rd mr mw me ac" and "AnonHugePages:      2048 kB"
static void detail_parse(const char *line, drayi_host_map *map)
{
    static const char flags[] = "VmFlags:", huge[] = "AnonHugePages:";
    if (strncmp(line, flags, sizeof(flags) - 1) == 0) {
        for (const char *at = line + sizeof(flags) - 1; at[0] == ' ' && at[1] && at[2]; at += 3)
            map->settings |= setting_of(at + 1);
    } else if (strncmp(line, huge, sizeof(huge) - 1) == 0) {
        const char *at = line + sizeof(huge) - 1;
        uint64_t kib;
        while (*at == ' ')
            at++;
        if (take_number(&at, 10, &kib))
            map->huge_bytes = kib * 1024;
    }
}

static dray_status maps_fill(drayi_env *env, int fd, drayi_host_maps *maps, int *out_code,
                             dray_error *error)
{
    line_reader reader = {.os = env->os, .fd = fd};
    while (line_next(&reader, out_code)) {
        drayi_host_map map = {0};
        if (head_parse(reader.line, &map)) {
            if (maps->count == maps->capacity)
                DRAY_TRY(drayi_grow(env, (void **)&maps->maps, &maps->capacity, maps->count + 1,
                                    sizeof(map), error));
            maps->maps[maps->count++] = map;
        } else if (maps->count > 0) {
            detail_parse(reader.line, &maps->maps[maps->count - 1]);
        }
    }
    return DRAY_OK;
}

dray_status drayi_host_maps_read(drayi_env *env, bool settings, drayi_host_maps *maps,
                                 dray_error *error)
{
    const char *path = settings ? "/proc/self/smaps" : "/proc/self/maps";
    int fd, code = 0;
    maps->count = 0;
    maps->has_settings = settings;
    DRAY_TRY(drayi_open_file(env->os, path, O_RDONLY, 0, &fd, error));
    dray_status status = maps_fill(env, fd, maps, &code, error);
    env->os->close(fd);
    if (status == DRAY_OK && code < 0)
        status = dray_fail_os(error, -code, "read", "read %s", path);
    if (status != DRAY_OK)
        maps->count = 0;
    return status;
}

void drayi_host_maps_free(drayi_env *env, drayi_host_maps *maps)
{
    drayi_free(env, maps->maps, (size_t)maps->capacity * sizeof(maps->maps[0]));
    *maps = (drayi_host_maps){0};
}

const drayi_host_map *drayi_host_maps_at(const drayi_host_maps *maps, uint64_t address)
{
    uint64_t low = 0, high = maps->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (maps->maps[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low < maps->count ? &maps->maps[low] : NULL;
}

const drayi_host_map *drayi_host_maps_next(const drayi_host_maps *maps, const drayi_host_map *map)
{
    const drayi_host_map *next = map + 1;
    bool is_neighbour = next < maps->maps + maps->count && next->first == map->end;
    return is_neighbour ? next : NULL;
}
