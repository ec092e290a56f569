/// MemAvailable counts page cache that can be dropped, and the cgroup's room is taken when it is smaller.
/// It is a guess by the kernel's own words; below 64 MiB it is not worth the look-up.
#include "memory/room.h"

#include "os/os.h"

#include <inttypes.h>

static const uint64_t small_bytes = 64 << 20;

dray_status drayi_room_check(drayi_env *env, uint64_t bytes, const char *what, dray_error *error)
{
    drayi_memory_facts facts;
    if (bytes <= small_bytes || env->os->memory_facts(&facts) < 0 || bytes <= facts.available_bytes)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_NOMEM,
                     "%s: %" PRIu64 " bytes of memory wanted, %" PRIu64 " available%s", what, bytes,
                     facts.available_bytes,
                     facts.limited_by_cgroup ? " below the cgroup's limit" : "");
}
