/// The buffer exists for whoever has to look before deciding (compressed or not) and for decoders; plain
/// bytes pass it by.
#include "weights/byte_source.h"

#include "base/checked.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

dray_status drayi_source_open(drayi_source *source, drayi_env *env, int fd, const char *name,
                              bool seekable, uint64_t offset, uint64_t bytes, dray_error *error)
{
    *source = (drayi_source){
        .env = env,
        .name = name,
        .fd = fd,
        .seekable = seekable,
        .position = offset,
        .left = bytes,
        .promised = bytes,
    };
    source->buffer = drayi_alloc(env, drayi_source_room, error);
    return source->buffer ? DRAY_OK : DRAY_E_NOMEM;
}

void drayi_source_close(drayi_source *source)
{
    if (source->env)
        drayi_free(source->env, source->buffer, drayi_source_room);
    source->buffer = NULL;
}

static dray_status source_ended(drayi_source *source, dray_error *error)
{
    source->ended = true;
    if (source->left == 0 || source->left == UINT64_MAX)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_CORRUPT, NULL, source->position,
                          "read %s: wanted %" PRIu64 " bytes, the input ends %" PRIu64 " early",
                          source->name, source->promised, source->left);
}

/// One read; *out_got 0 means that `ended` is set.
static dray_status read_some(drayi_source *source, uint8_t *out, uint64_t room, uint64_t *out_got,
                             dray_error *error)
{
    const drayi_os *os = source->env->os;
    *out_got = 0;
    uint64_t wanted = drayi_min(drayi_min(room, source->left), 1u << 30);
    if (wanted == 0 || source->ended)
        return source_ended(source, error);
    ssize_t got;
    do {
        got = source->seekable ? os->pread(source->fd, out, (size_t)wanted, source->position)
                               : os->read(source->fd, out, (size_t)wanted);
        if (got == -ESPIPE && source->position == 0 &&
            source->seekable) { // a pseudo file that only streams
            source->seekable = false;
            got = -EINTR;
        }
        if (got == -EAGAIN) { // a caller's descriptor that does not wait: wait for it
            int code = os->wait_fd(source->fd, -1);
            got = code < 0 ? code : -EINTR;
        }
    } while (got == -EINTR);
    if (got < 0)
        return dray_fail_os(error, (int)-got, source->seekable ? "pread" : "read",
                            "read %s at %" PRIu64, source->name, source->position);
    if (got == 0)
        return source_ended(source, error);
    source->position += (uint64_t)got;
    if (source->left != UINT64_MAX)
        source->left -= (uint64_t)got;
    *out_got = (uint64_t)got;
    return DRAY_OK;
}

dray_status drayi_source_fill(drayi_source *source, uint64_t wanted, dray_error *error)
{
    uint64_t kept = source->end - source->first;
    if (source->first > 0)
        memmove(source->buffer, source->buffer + source->first, (size_t)kept);
    source->first = 0;
    source->end = kept;
    while (source->end < wanted && !source->ended) {
        uint64_t got;
        DRAY_TRY(read_some(source, source->buffer + source->end, drayi_source_room - source->end,
                           &got, error));
        source->end += got;
    }
    return DRAY_OK;
}

dray_status drayi_source_read(drayi_source *source, uint8_t *out, uint64_t room, uint64_t *out_got,
                              dray_error *error)
{
    uint64_t buffered = source->end - source->first;
    if (buffered == 0)
        return read_some(source, out, room, out_got, error);
    *out_got = drayi_min(buffered, room);
    memcpy(out, source->buffer + source->first, (size_t)*out_got);
    source->first += *out_got;
    return DRAY_OK;
}
