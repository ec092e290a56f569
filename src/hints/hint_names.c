/// The names of what drivers and kernels call by number.
#include "dray/hints.h"

const char *dray_hint_feature_name(uint32_t feature)
{
    switch (feature) {
    case DRAY_HINT_HAS_ADVISE:
        return "cuMemAdvise";
    case DRAY_HINT_HAS_ADVISE_V2:
        return "cuMemAdvise_v2";
    case DRAY_HINT_HAS_PREFETCH:
        return "cuMemPrefetchAsync";
    case DRAY_HINT_HAS_PREFETCH_V2:
        return "cuMemPrefetchAsync_v2";
    case DRAY_HINT_HAS_PREFETCH_BATCH:
        return "cuMemPrefetchBatchAsync";
    case DRAY_HINT_HAS_DISCARD_BATCH:
        return "cuMemDiscardBatchAsync";
    case DRAY_HINT_HAS_RANGE_STATE:
        return "cuMemRangeGetAttributes";
    case DRAY_HINT_HAS_RANGE_NODES:
        return "CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE";
    case DRAY_HINT_HAS_SVM_MIGRATE:
        return "clEnqueueSVMMigrateMem";
    case DRAY_HINT_HAS_USM:
        return "cl_intel_unified_shared_memory";
    case DRAY_HINT_HAS_POPULATE:
        return "MADV_POPULATE_READ";
    case DRAY_HINT_HAS_COLD:
        return "MADV_COLD";
    case DRAY_HINT_HAS_COLLAPSE:
        return "MADV_COLLAPSE";
    case DRAY_HINT_HAS_CACHESTAT:
        return "cachestat";
    case DRAY_HINT_HAS_NUMA:
        return "mbind";
    default:
        return NULL;
    }
}

const char *dray_hint_function_name(dray_hint_function function)
{
    switch (function) {
    case DRAY_HINT_CU_ADVISE:
        return "cuMemAdvise";
    case DRAY_HINT_CU_ADVISE_V2:
        return "cuMemAdvise_v2";
    case DRAY_HINT_CU_PREFETCH:
        return "cuMemPrefetchAsync";
    case DRAY_HINT_CU_PREFETCH_V2:
        return "cuMemPrefetchAsync_v2";
    case DRAY_HINT_CU_PREFETCH_BATCH:
        return "cuMemPrefetchBatchAsync";
    case DRAY_HINT_CU_DISCARD_BATCH:
        return "cuMemDiscardBatchAsync";
    case DRAY_HINT_CL_SVM_MIGRATE:
        return "clEnqueueSVMMigrateMem";
    case DRAY_HINT_CL_USM_MIGRATE:
        return "clEnqueueMigrateMemINTEL";
    case DRAY_HINT_MADVISE:
        return "madvise";
    case DRAY_HINT_MLOCK:
        return "mlock";
    case DRAY_HINT_MUNLOCK:
        return "munlock";
    case DRAY_HINT_MBIND:
        return "mbind";
    case DRAY_HINT_MOVE_PAGES:
        return "move_pages";
    case DRAY_HINT_FADVISE:
        return "posix_fadvise";
    }
    return "unknown";
}

static const char *cuda_advice(uint32_t advice)
{
    static const char *const names[] = {
        NULL,
        "CU_MEM_ADVISE_SET_READ_MOSTLY",
        "CU_MEM_ADVISE_UNSET_READ_MOSTLY",
        "CU_MEM_ADVISE_SET_PREFERRED_LOCATION",
        "CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION",
        "CU_MEM_ADVISE_SET_ACCESSED_BY",
        "CU_MEM_ADVISE_UNSET_ACCESSED_BY",
    };
    return advice < sizeof(names) / sizeof(names[0]) ? names[advice] : NULL;
}

static const char *madvise_advice(uint32_t advice)
{
    static const char *const names[] = {
        [0] = "MADV_NORMAL",    [1] = "MADV_RANDOM",         [2] = "MADV_SEQUENTIAL",
        [3] = "MADV_WILLNEED",  [4] = "MADV_DONTNEED",       [8] = "MADV_FREE",
        [14] = "MADV_HUGEPAGE", [15] = "MADV_NOHUGEPAGE",    [20] = "MADV_COLD",
        [21] = "MADV_PAGEOUT",  [22] = "MADV_POPULATE_READ", [23] = "MADV_POPULATE_WRITE",
        [25] = "MADV_COLLAPSE",
    };
    return advice < sizeof(names) / sizeof(names[0]) ? names[advice] : NULL;
}

static const char *mbind_advice(uint32_t advice)
{
    static const char *const names[] = {"MPOL_DEFAULT",    "MPOL_PREFERRED", "MPOL_BIND",
                                        "MPOL_INTERLEAVE", "MPOL_LOCAL",     "MPOL_PREFERRED_MANY"};
    return advice < sizeof(names) / sizeof(names[0]) ? names[advice] : NULL;
}

static const char *migrate_advice(uint32_t flags)
{
    static const char *const names[] = {
        NULL, "CL_MIGRATE_MEM_OBJECT_HOST", "CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED",
        "CL_MIGRATE_MEM_OBJECT_HOST|CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED"};
    return flags < sizeof(names) / sizeof(names[0]) ? names[flags] : NULL;
}

const char *dray_hint_advice_name(dray_hint_function function, uint32_t advice)
{
    switch (function) {
    case DRAY_HINT_CU_ADVISE:
    case DRAY_HINT_CU_ADVISE_V2:
        return cuda_advice(advice);
    case DRAY_HINT_CL_SVM_MIGRATE:
    case DRAY_HINT_CL_USM_MIGRATE:
        return migrate_advice(advice);
    case DRAY_HINT_MADVISE:
        return madvise_advice(advice);
    case DRAY_HINT_MBIND:
        return mbind_advice(advice);
    case DRAY_HINT_FADVISE:
        return advice == 3 ? "POSIX_FADV_WILLNEED" : advice == 4 ? "POSIX_FADV_DONTNEED" : NULL;
    default:
        return NULL;
    }
}

const char *dray_hint_outcome_name(dray_hint_outcome outcome)
{
    switch (outcome) {
    case DRAY_HINT_PENDING:
        return "pending";
    case DRAY_HINT_VERIFIED:
        return "verified";
    case DRAY_HINT_ACCEPTED:
        return "accepted";
    case DRAY_HINT_NO_EFFECT:
        return "no-effect";
    case DRAY_HINT_DEGRADED:
        return "degraded";
    case DRAY_HINT_SKIPPED:
        return "skipped";
    case DRAY_HINT_FAILED:
        return "failed";
    }
    return "unknown";
}
