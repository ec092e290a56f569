/// See nixl_engine.h. Everything NIXL hands out is handed back, also when it fails half-way.
#include "backend/nixl_engine.h"

static const char agent_name[] = "dray"; // local transfers name the agent itself as the other side

// measured on tmpfs: kernel AIO is the fastest, POSIX AIO by far the slowest
const char *const drayi_nixl_queues[] = {"use_aio", "use_uring", "use_posix_aio", NULL};

static const char *const plugin_names[DRAYI_NIXL_PLUGINS] = {"POSIX", "GDS_MT"};

const char *drayi_nixl_name(int code)
{
    switch (code) {
    case DRAYI_NIXL_SUCCESS:
        return "NIXL_CAPI_SUCCESS";
    case DRAYI_NIXL_IN_PROGRESS:
        return "NIXL_CAPI_IN_PROG";
    case DRAYI_NIXL_INVALID_PARAM:
        return "NIXL_CAPI_ERROR_INVALID_PARAM";
    case DRAYI_NIXL_BACKEND:
        return "NIXL_CAPI_ERROR_BACKEND";
    case DRAYI_NIXL_INVALID_STATE:
        return "NIXL_CAPI_ERROR_INVALID_STATE";
    case DRAYI_NIXL_EXCEPTION:
        return "NIXL_CAPI_ERROR_EXCEPTION";
    case DRAYI_NIXL_NO_TELEMETRY:
        return "NIXL_CAPI_ERROR_NO_TELEMETRY";
    case DRAYI_NIXL_NOT_FOUND:
        return "NIXL_CAPI_ERROR_NOT_FOUND";
    default:
        return "a status without a name";
    }
}

/// `call` is static. `got`: where the call put what it gives; NULL: it gives nothing.
static dray_status check(dray_error *error, int code, const char *call, void *const *got)
{
    if (code == DRAYI_NIXL_SUCCESS && (!got || *got))
        return DRAY_OK;
    if (code == DRAYI_NIXL_SUCCESS)
        dray_fail(error, DRAY_E_DEVICE, "%s: success is said, but nothing given", call);
    else
        dray_fail(error, DRAY_E_DEVICE, "%s: %s (%d)", call, drayi_nixl_name(code), code);
    if (error) {
        error->native_code = code;
        error->origin = call;
    }
    return DRAY_E_DEVICE;
}

// --- opening and closing -----------------------------------------------------------------------------

static dray_status params_get(const drayi_nixl_engine *engine, drayi_nixl_plugin plugin,
                              void **out_params, dray_error *error)
{
    void *memories = NULL;
    int code = engine->calls->get_plugin_params(engine->agent, plugin_names[plugin], &memories,
                                                out_params);
    if (memories)
        engine->calls->destroy_mem_list(memories);
    return check(error, code, "nixl_capi_get_plugin_params", out_params);
}

static dray_status plugin_open(drayi_nixl_engine *engine, drayi_nixl_plugin plugin,
                               dray_error *error)
{
    const drayi_nixl_calls *calls = engine->calls;
    void *params = NULL, *options = NULL;
    dray_status status = params_get(engine, plugin, &params, error);
    if (status == DRAY_OK && plugin == DRAYI_NIXL_POSIX)
        status = check(error, calls->params_add(params, engine->queue, "true"),
                       "nixl_capi_params_add", NULL);
    if (status == DRAY_OK) {
        int code = calls->create_backend(engine->agent, plugin_names[plugin], params,
                                         &engine->plugins[plugin]);
        status = check(error, code, "nixl_capi_create_backend", &engine->plugins[plugin]);
    }
    if (params)
        calls->destroy_params(params);
    if (status == DRAY_OK)
        status =
            check(error, calls->create_opt_args(&options), "nixl_capi_create_opt_args", &options);
    if (status == DRAY_OK)
        status = check(error, calls->opt_args_add_backend(options, engine->plugins[plugin]),
                       "nixl_capi_opt_args_add_backend", NULL);
    if (status == DRAY_OK)
        engine->options[plugin] = options;
    else if (options)
        calls->destroy_opt_args(options);
    return status == DRAY_OK ? DRAY_OK
                             : dray_fail_within(error, status, "plug-in %s", plugin_names[plugin]);
}

dray_status drayi_nixl_engine_open(drayi_nixl_engine *engine, const drayi_nixl_calls *calls,
                                   const char *queue, bool device, dray_error *error)
{
    *engine = (drayi_nixl_engine){.calls = calls, .queue = queue};
    dray_status status = check(error, calls->create_agent(agent_name, &engine->agent),
                               "nixl_capi_create_agent", &engine->agent);
    if (status == DRAY_OK)
        status = plugin_open(engine, DRAYI_NIXL_POSIX, error);
    if (status != DRAY_OK)
        drayi_nixl_engine_close(engine);
    else if (device)
        plugin_open(engine, DRAYI_NIXL_GDS_MT, NULL);
    return status;
}

static void request_end(drayi_nixl_engine *engine)
{
    if (!engine->request)
        return;
    engine->calls->release_xfer_req(engine->agent, engine->request);
    engine->calls->destroy_xfer_req(engine->request);
    engine->request = NULL;
}

void drayi_nixl_engine_close(drayi_nixl_engine *engine)
{
    if (!engine->calls)
        return;
    request_end(engine);
    for (int i = 0; i < DRAYI_NIXL_PLUGINS; i++) {
        if (engine->options[i])
            engine->calls->destroy_opt_args(engine->options[i]);
        if (engine->plugins[i])
            engine->calls->destroy_backend(
                engine->plugins[i]); // the handle; the agent ends the plug-in
    }
    if (engine->agent)
        engine->calls->destroy_agent(engine->agent);
    *engine = (drayi_nixl_engine){0};
}

// --- registration -------------------------------------------------------------------------------------

static dray_status registration_list(const drayi_nixl_engine *engine, const drayi_nixl_piece *piece,
                                     void **out_list, dray_error *error)
{
    const drayi_nixl_calls *calls = engine->calls;
    void *list = NULL;
    DRAY_TRY(check(error, calls->create_reg_dlist(piece->type, &list, false),
                   "nixl_capi_create_reg_dlist", &list));
    int code = calls->reg_dlist_add_desc(list, (uintptr_t)piece->address, piece->bytes,
                                         piece->device, NULL, 0);
    dray_status status = check(error, code, "nixl_capi_reg_dlist_add_desc", NULL);
    if (status == DRAY_OK)
        *out_list = list;
    else
        calls->destroy_reg_dlist(list);
    return status;
}

dray_status drayi_nixl_engine_register(drayi_nixl_engine *engine, drayi_nixl_plugin plugin,
                                       const drayi_nixl_piece *piece, dray_error *error)
{
    void *list = NULL;
    DRAY_TRY(registration_list(engine, piece, &list, error));
    int code = engine->calls->register_mem(engine->agent, list, engine->options[plugin]);
    engine->calls->destroy_reg_dlist(list);
    return check(error, code, "nixl_capi_register_mem", NULL);
}

void drayi_nixl_engine_deregister(drayi_nixl_engine *engine, drayi_nixl_plugin plugin,
                                  const drayi_nixl_piece *piece)
{
    void *list = NULL;
    if (registration_list(engine, piece, &list, NULL) != DRAY_OK)
        return; // goes with the agent
    engine->calls->deregister_mem(engine->agent, list, engine->options[plugin]);
    engine->calls->destroy_reg_dlist(list);
}

// --- requests -----------------------------------------------------------------------------------------

static dray_status transfer_list(const drayi_nixl_engine *engine, const drayi_nixl_piece *piece,
                                 void **out_list, dray_error *error)
{
    const drayi_nixl_calls *calls = engine->calls;
    void *list = NULL;
    DRAY_TRY(check(error, calls->create_xfer_dlist(piece->type, &list, false),
                   "nixl_capi_create_xfer_dlist", &list));
    int code =
        calls->xfer_dlist_add_desc(list, (uintptr_t)piece->address, piece->bytes, piece->device);
    dray_status status = check(error, code, "nixl_capi_xfer_dlist_add_desc", NULL);
    if (status == DRAY_OK)
        *out_list = list;
    else
        calls->destroy_xfer_dlist(list);
    return status;
}

static dray_status request_create(drayi_nixl_engine *engine, drayi_nixl_plugin plugin, bool write,
                                  void *memory, void *file, dray_error *error)
{
    int operation = write ? DRAYI_NIXL_WRITE : DRAYI_NIXL_READ;
    int code = engine->calls->create_xfer_req(engine->agent, operation, memory, file, agent_name,
                                              &engine->request, engine->options[plugin]);
    DRAY_TRY(check(error, code, "nixl_capi_create_xfer_req", &engine->request));
    code = engine->calls->post_xfer_req(engine->agent, engine->request, NULL);
    if (code == DRAYI_NIXL_IN_PROGRESS)
        return DRAY_OK;
    return check(error, code, "nixl_capi_post_xfer_req", NULL);
}

dray_status drayi_nixl_engine_post(drayi_nixl_engine *engine, drayi_nixl_plugin plugin, bool write,
                                   const drayi_nixl_piece *memory, const drayi_nixl_piece *file,
                                   dray_error *error)
{
    void *lists[2] = {NULL, NULL};
    dray_status status = transfer_list(engine, memory, &lists[0], error);
    if (status == DRAY_OK)
        status = transfer_list(engine, file, &lists[1], error);
    if (status == DRAY_OK)
        status = request_create(engine, plugin, write, lists[0], lists[1], error);
    for (int i = 0; i < 2; i++) {
        if (lists[i])
            engine->calls->destroy_xfer_dlist(lists[i]);
    }
    if (status != DRAY_OK)
        request_end(engine);
    return status;
}

dray_status drayi_nixl_engine_ask(drayi_nixl_engine *engine, bool *out_done, dray_error *error)
{
    int code = engine->calls->get_xfer_status(engine->agent, engine->request);
    *out_done = code != DRAYI_NIXL_IN_PROGRESS;
    if (!*out_done)
        return DRAY_OK;
    dray_status status = check(error, code, "nixl_capi_get_xfer_status", NULL);
    request_end(engine);
    return status;
}
