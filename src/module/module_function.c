/// Function objects, and calls that can tell why they failed.
///
/// An object begins with the ABI's head, so a call through it is one indirect jump, and a second one to
/// the code behind it. Functions of code that can be unmapped take the way that looks at what goes in and
/// comes out, since a value may carry code of the module with it (see module_ended.c).
#include "module/module_object.h"
#include "module/provider.h"

#include <string.h>

typedef struct function_object {
    dray_function_object object; // first
    drayi_env *env;
    dray_safe_call call;
    void *handle;
    dray_module *module;         // kept; NULL: not of a module
    void (*destroy)(void *self); // gets handle; or NULL
} function_object;

/// Which code runs when an object ends also says whose it is.
static void function_delete(void *self, int flags)
{
    function_object *function = self;
    if (flags & DRAY_DELETE_STRONG) {
        if (function->destroy)
            function->destroy(function->handle);
        dray_module *module = function->module;
        function->module = NULL;
        drayi_env *env = function->env;
        if (flags & DRAY_DELETE_WEAK)
            drayi_free(env, (uint8_t *)self - DRAY_OBJECT_PREFIX,
                       sizeof(*function) + DRAY_OBJECT_PREFIX);
        dray_module_release(module);
        return;
    }
    drayi_free(function->env, (uint8_t *)self - DRAY_OBJECT_PREFIX,
               sizeof(*function) + DRAY_OBJECT_PREFIX);
}

static int call_plain(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    const function_object *function = handle;
    return function->call(function->handle, arguments, count, result);
}

/// Text, bytes and their like hold nothing that could call back.
static bool is_inert(int32_t type)
{
    return type < DRAY_TYPE_OBJECT || type == DRAY_TYPE_TEXT || type == DRAY_TYPE_BYTES ||
           type == DRAY_TYPE_SHAPE || type == DRAY_TYPE_TENSOR || type == DRAY_TYPE_ERROR;
}

static void track_raised(const function_object *function)
{
    drayi_modules *modules = function->module->modules;
    dray_object *error = drayi_take_raised(modules);
    if (!error)
        return;
    dray_any value = dray_any_take(error);
    drayi_module_code_track(function->module->loaded, &value);
    const drayi_provider *provider = drayi_provider_of(modules, NULL);
    if (provider)
        provider->set_raised(error);
    dray_object_release(error);
}

static int call_tracked(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    const function_object *function = handle;
    for (int32_t i = 0; i < count; i++)
        if (!is_inert(arguments[i].type_index))
            drayi_module_code_pin(function->module->loaded,
                                  "an object that can hold others, or call, was handed to it");
    int code = function->call(function->handle, arguments, count, result);
    if (code != 0)
        track_raised(function);
    else if (result->type_index >= DRAY_TYPE_OBJECT)
        drayi_module_code_track(function->module->loaded, result);
    return code;
}

static dray_function_object *function_create(drayi_env *env, const function_object *given,
                                             dray_error *error)
{
    uint8_t *block = drayi_alloc(env, sizeof(*given) + DRAY_OBJECT_PREFIX, error);
    if (!block)
        return NULL;
    function_object *function = (function_object *)(void *)(block + DRAY_OBJECT_PREFIX);
    *function = *given;
    function->env = env;
    function->object.head = (dray_object){
        .count = DRAY_OBJECT_FRESH, .type_index = DRAY_TYPE_FUNCTION, .deleter = function_delete};
    if (function->module)
        dray_module_retain(function->module);
    return &function->object;
}

dray_function_object *drayi_module_function(dray_module *module, const dray_part_function *part,
                                            dray_error *error)
{
    bool tracked = module->loaded->part.ops->contains != NULL;
    return function_create(
        drayi_module_env(module),
        &(function_object){.object = {.call = tracked ? call_tracked : call_plain},
                           .call = part->call,
                           .handle = part->handle,
                           .module = module},
        error);
}

void *drayi_function_self(const dray_function_object *function, dray_safe_call call)
{
    const function_object *object = (const function_object *)(const void *)function;
    return function->head.deleter == function_delete && object->call == call ? object->handle : NULL;
}

dray_status dray_function_create(dray_context *context, dray_safe_call call, void *self,
                                 void (*destroy)(void *self), dray_function_object **out_function,
                                 dray_error *error)
{
    if (!call)
        return dray_fail(error, DRAY_E_INVALID, "function: there is nothing to call");
    *out_function = function_create(
        drayi_env_of(context),
        &(function_object){
            .object = {.call = call_plain}, .call = call, .handle = self, .destroy = destroy},
        error);
    return *out_function ? DRAY_OK : DRAY_E_NOMEM;
}

// --- calls that can tell -------------------------------------------------------------------------------

/// Can a value of this type be read at all? Numbers from DRAY_TYPE_DYNAMIC on are given out at run time.
static bool value_is_sound(const dray_any *any)
{
    if (any->type_index >= DRAY_TYPE_OBJECT)
        return any->as.object != NULL && any->as.object->type_index == any->type_index;
    return any->type_index >= 0 && any->type_index <= DRAY_TYPE_SMALL_BYTES;
}

static dray_status check_values(const dray_any *arguments, int32_t count, dray_error *error)
{
    for (int32_t i = 0; i < count; i++)
        if (!value_is_sound(&arguments[i]))
            return dray_fail(
                error, DRAY_E_INVALID, "call: argument %d of %d is no value: type %d %s", i + 1,
                count, arguments[i].type_index,
                arguments[i].type_index >= DRAY_TYPE_OBJECT ? "without an object of that type"
                                                            : "does not exist");
    return DRAY_OK;
}

/// Texts of errors need not be terminated; over-long ones lose their end.
static int shown_bytes(const dray_byte_array *text)
{
    return text->data ? (int)(text->size < 300 ? text->size : 300) : 0;
}

static dray_status fail_raised(drayi_modules *modules, int code, dray_error *error)
{
    dray_object *raised = drayi_take_raised(modules);
    if (!raised)
        return dray_fail(error, DRAY_E_FAILED,
                         "the function failed (code %d) without saying why: it raised no error",
                         code);
    const dray_error_object *object = (const dray_error_object *)(const void *)raised;
    if (raised->type_index == DRAY_TYPE_ERROR)
        dray_fail(error, DRAY_E_FAILED, "%.*s: %.*s", shown_bytes(&object->kind), object->kind.data,
                  shown_bytes(&object->message), object->message.data);
    else
        dray_fail(error, DRAY_E_FAILED,
                  "the function failed (code %d) and raised a value of type %d, which is no error",
                  code, raised->type_index);
    dray_object_release(raised);
    return DRAY_E_FAILED;
}

dray_status dray_function_call(dray_context *context, dray_function_object *function,
                               const dray_any *arguments, int32_t count, dray_any *out_result,
                               dray_error *error)
{
    *out_result = dray_any_none();
    DRAY_TRY(check_values(arguments, count, error));
    int code = function->call(function, arguments, count, out_result);
    if (code == 0 && value_is_sound(out_result))
        return DRAY_OK;
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    if (code != 0) {
        *out_result = dray_any_none();
        return fail_raised(modules, code, error);
    }
    int32_t type = out_result->type_index;
    *out_result = dray_any_none(); // there is nothing in it that could be given back
    return dray_fail(error, DRAY_E_FAILED, "the function returned no value: type %d %s", type,
                     type >= DRAY_TYPE_OBJECT ? "without an object of that type" : "does not exist");
}

int dray_function_raise(dray_context *context, const char *kind, const char *message)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), NULL);
    const drayi_provider *provider = modules ? drayi_provider_of(modules, NULL) : NULL;
    if (provider)
        provider->set_raised_text(kind, message);
    return -1;
}

dray_any dray_function_take_raised(dray_context *context)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), NULL);
    dray_object *error = modules ? drayi_take_raised(modules) : NULL;
    return error ? dray_any_take(error) : dray_any_none();
}

int drayi_raise(drayi_modules *modules, const dray_error *error)
{
    static const char *const kinds[] = {
        [DRAY_E_INVALID] = "ValueError",
        [DRAY_E_NOMEM] = "MemoryError",
        [DRAY_E_NOTFOUND] = "KeyError",
        [DRAY_E_FORMAT] = "ValueError",
        [DRAY_E_UNSUPPORTED] = "NotImplementedError",
        [DRAY_E_IO] = "OSError",
        [DRAY_E_TIMEOUT] = "TimeoutError",
        [DRAY_E_INTERNAL] = "InternalError",
    };
    size_t status = (size_t)error->status;
    const char *kind = status < sizeof(kinds) / sizeof(kinds[0]) ? kinds[status] : NULL;
    return dray_function_raise(modules->context, kind ? kind : "RuntimeError", error->message);
}
