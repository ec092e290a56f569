/// Our own regions, as UCX knows them: mapped while they are attached, with the key that peers get.
#include "backend/ucx_backend.h"

#ifdef DRAY_HAVE_UCX

#include <inttypes.h>

static dray_status map_fail(const dray_backend *backend, const char *name, const char *what,
                            uint64_t bytes, ucs_status_t code, dray_error *error)
{
    dray_status status = dray_fail(error, code == UCS_ERR_NO_MEMORY ? DRAY_E_NOMEM : DRAY_E_IO,
                                   "%s: %s of %" PRIu64 " bytes: %s (UCX status %d)", name, what,
                                   bytes, backend->ucx.ucs_status_string(code), (int)code);
    if (error)
        error->native_code = code;
    return status;
}

static dray_status map(dray_backend *backend, drayi_ucx_mapping *mapping,
                       const dray_region_native *native, dray_error *error)
{
    const ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                                                       UCP_MEM_MAP_PARAM_FIELD_LENGTH,
                                         .address = native->pointer,
                                         .length = native->bytes};
    drayi_ucx_enter(backend);
    ucs_status_t code = backend->ucx.ucp_mem_map(backend->context, &params, &mapping->memory);
    if (code == UCS_OK) {
        mapping->next = backend->mappings;
        backend->mappings = mapping;
    }
    drayi_ucx_leave(backend);
    if (code == UCS_OK)
        return DRAY_OK;
    return map_fail(backend, native->name, "registration", native->bytes, code, error);
}

dray_status drayi_ucx_attach(dray_backend *backend, dray_region *region, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (native.storage != DRAY_STORAGE_SYSTEM && native.storage != DRAY_STORAGE_PINNED)
        return DRAY_OK; // files are not ours, peers' regions have their key already
    drayi_ucx_mapping *mapping = drayi_new(backend->env, drayi_ucx_mapping, error);
    if (!mapping)
        return DRAY_E_NOMEM;
    mapping->region = region;
    dray_status status = map(backend, mapping, &native, error);
    if (status != DRAY_OK)
        drayi_free(backend->env, mapping, sizeof(*mapping));
    return status;
}

static void unmap(dray_backend *backend, drayi_ucx_mapping *mapping)
{
    if (mapping->key)
        backend->ucx.ucp_rkey_buffer_release(mapping->key);
    ucs_status_t code = backend->ucx.ucp_mem_unmap(backend->context, mapping->memory);
    if (code != UCS_OK)
        drayi_log(backend->env, DRAY_LOG_WARNING, "ucx: a region stays registered: %s",
                  backend->ucx.ucs_status_string(code));
    drayi_free(backend->env, mapping, sizeof(*mapping));
}

void drayi_ucx_detach(dray_backend *backend, dray_region *region)
{
    drayi_ucx_enter(backend);
    for (drayi_ucx_mapping **at = &backend->mappings; *at; at = &(*at)->next) {
        if ((*at)->region == region) {
            drayi_ucx_mapping *mapping = *at;
            *at = mapping->next;
            unmap(backend, mapping);
            break;
        }
    }
    drayi_ucx_leave(backend);
}

static dray_status key_pack(dray_backend *backend, drayi_ucx_mapping *mapping, const char *name,
                            dray_error *error)
{
    if (mapping->key)
        return DRAY_OK;
    ucs_status_t code = backend->ucx.ucp_rkey_pack(backend->context, mapping->memory, &mapping->key,
                                                   &mapping->key_bytes);
    if (code == UCS_OK)
        return DRAY_OK;
    mapping->key = NULL;
    return map_fail(backend, name, "a key for peers", dray_region_bytes(mapping->region), code,
                    error);
}

dray_status drayi_ucx_key(dray_backend *backend, const dray_region *region, const void **out_bytes,
                          uint32_t *out_count, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    drayi_ucx_enter(backend);
    drayi_ucx_mapping *mapping = backend->mappings;
    while (mapping && mapping->region != region)
        mapping = mapping->next;
    dray_status status = DRAY_OK;
    if (!mapping)
        status = dray_fail(error, DRAY_E_INVALID, "%s: it is not attached", native.name);
    else
        status = key_pack(backend, mapping, native.name, error);
    if (status == DRAY_OK) {
        *out_bytes = mapping->key;
        *out_count = (uint32_t)mapping->key_bytes;
    }
    drayi_ucx_leave(backend);
    return status;
}

void drayi_ucx_regions_close(dray_backend *backend)
{
    while (backend->mappings) {
        drayi_ucx_mapping *mapping = backend->mappings;
        backend->mappings = mapping->next;
        unmap(backend, mapping);
    }
}

#endif
