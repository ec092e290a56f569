/// dray module call: loads a file, calls one function of it, and prints what it answers.
#include "json_out.h"
#include "module_options.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct call_values {
    const char *path, *function, *kind, *device, *build_options, *output;
    option_words arguments;
    module_trust trust;
    bool json;
} call_values;

/// One argument, and what it points to.
typedef struct call_argument {
    dray_any value;
    dray_byte_array bytes;
    char *owned;
} call_argument;

typedef struct call_job {
    session base;
    const call_values *given;
    module_policy policy;
    dray_device *device;
    dray_module *module;
    dray_function_object *function;
    call_argument arguments[OPTION_WORDS_MAX];
    dray_any result;
} call_job;

static bool read_int(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool digits =
        (text[0] >= '0' && text[0] <= '9') || (text[0] == '-' && text[1] >= '0' && text[1] <= '9');
    *out = value;
    return digits && !*end && errno == 0;
}

/// "1.5", "-2e3", "inf", "nan"; no hexadecimal, no blanks.
static bool read_float(const char *text, double *out)
{
    char *end;
    bool plain =
        text[0] && strspn(text, "0123456789.eE+-") == strlen(text) && strpbrk(text, "0123456789");
    if (!plain && strcmp(text, "inf") != 0 && strcmp(text, "-inf") != 0 && strcmp(text, "nan") != 0)
        return false;
    *out = strtod(text, &end);
    return !*end;
}

static dray_status read_argument(call_job *job, const char *text, call_argument *out)
{
    static const char prefix[] = "text:";
    int64_t whole;
    double real;
    if (text[0] == '@') {
        uint64_t count = 0;
        dray_status status = module_read_file(text + 1, &out->owned, &count, &job->base.error);
        out->bytes = (dray_byte_array){out->owned, count};
        out->value = dray_any_borrow_bytes(&out->bytes);
        return status;
    }
    if (read_int(text, &whole))
        out->value = dray_any_int(whole);
    else if (read_float(text, &real))
        out->value = dray_any_float(real);
    else if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
        out->value = dray_any_borrow_text(text + sizeof(prefix) - 1);
    else
        out->value = dray_any_borrow_text(text);
    return DRAY_OK;
}

static dray_status read_arguments(call_job *job)
{
    dray_status status = DRAY_OK;
    for (uint32_t i = 0; i < job->given->arguments.count && status == DRAY_OK; i++)
        status = read_argument(job, job->given->arguments.words[i], &job->arguments[i]);
    return status;
}

// --- loading and calling -----------------------------------------------------------------------------

static void on_build_log(void *self, const char *text, uint64_t length)
{
    char *safe = text_safe(text, length);
    fprintf(stderr, "dray %s: build log: %s\n", (const char *)self, safe);
    free(safe);
}

static dray_status load(call_job *job)
{
    const call_values *given = job->given;
    const dray_module_source source = module_file(given->path);
    dray_status status =
        module_policy_make(job->base.context, &given->trust, &job->policy, &job->base.error);
    if (status == DRAY_OK && given->device)
        status = dray_device_open(job->base.context, given->device, &job->device, &job->base.error);
    const dray_module_options options = {
        .struct_bytes = sizeof(options),
        .policy = &job->policy.policy,
        .device = job->device,
        .build_options = given->build_options,
        .build_log = {.write = on_build_log, .self = (void *)(uintptr_t)job->base.verb}};
    if (status == DRAY_OK)
        status = dray_module_load(job->base.context, given->kind, &source, &options, &job->module,
                                  &job->base.error);
    return status;
}

static dray_status call(call_job *job)
{
    dray_any values[OPTION_WORDS_MAX];
    dray_status status = dray_module_get_function(job->module, job->given->function, true,
                                                  &job->function, &job->base.error);
    if (status != DRAY_OK)
        return status;
    for (uint32_t i = 0; i < job->given->arguments.count; i++)
        values[i] = job->arguments[i].value;
    return dray_function_call(job->base.context, job->function, values,
                              (int32_t)job->given->arguments.count, &job->result, &job->base.error);
}

// --- the answer --------------------------------------------------------------------------------------

static bool is_bytes(const dray_any *value)
{
    dray_byte_array bytes;
    return dray_any_get_bytes(value, &bytes) != 0;
}

static bool is_string(const dray_any *value, dray_byte_array *out)
{
    return dray_any_get_text(value, out) || dray_any_get_bytes(value, out);
}

static char *hex_of(dray_byte_array bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = text_memory(NULL, bytes.size * 2 + 1);
    for (size_t i = 0; i < bytes.size; i++) {
        hex[2 * i] = digits[(uint8_t)bytes.data[i] >> 4];
        hex[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    hex[2 * bytes.size] = '\0';
    return hex;
}

static void value_out(json_out *json, const dray_any *value)
{
    dray_byte_array string;
    if (value->type_index == DRAY_TYPE_BOOL)
        json_bool(json, "result", value->as.i64 != 0);
    else if (value->type_index == DRAY_TYPE_INT)
        json_i64(json, "result", value->as.i64);
    else if (value->type_index == DRAY_TYPE_FLOAT)
        json_f64(json, "result", value->as.f64);
    else if (is_string(value, &string) && !is_bytes(value))
        json_text(json, "result", string.data, string.size);
    else if (is_string(value, &string)) {
        char *hex = hex_of(string);
        json_string(json, "result", hex);
        free(hex);
    } else
        json_null(json, "result");
}

static void document_out(const call_job *job)
{
    const char *type = dray_type_name(job->result.type_index);
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "kind", dray_module_kind(job->module));
    json_string(&json, "function", job->given->function);
    json_string(&json, "type", type);
    json_i64(&json, "type_index", job->result.type_index);
    value_out(&json, &job->result);
    json_end(&json);
    json_finish(&json);
}

/// The shortest text that is read as the same number.
static void print_float(double value)
{
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value || isnan(value))
            break;
    }
    printf("%s\n", text);
}

static void print_value(const dray_any *value)
{
    dray_byte_array string;
    const char *name = dray_type_name(value->type_index);
    if (value->type_index == DRAY_TYPE_BOOL)
        puts(value->as.i64 ? "true" : "false");
    else if (value->type_index == DRAY_TYPE_INT)
        printf("%" PRId64 "\n", value->as.i64);
    else if (value->type_index == DRAY_TYPE_FLOAT)
        print_float(value->as.f64);
    else if (is_string(value, &string)) {
        char *shown = is_bytes(value) ? hex_of(string) : text_safe(string.data, string.size);
        puts(shown);
        free(shown);
    } else if (value->type_index == DRAY_TYPE_NONE)
        puts("none");
    else if (name)
        printf("(%s)\n", name);
    else
        printf("(type %d)\n", value->type_index);
}

static dray_status answer(call_job *job)
{
    dray_byte_array string;
    if (job->given->output) {
        if (!is_string(&job->result, &string))
            return dray_fail(&job->base.error, DRAY_E_INVALID,
                             "--output takes text or bytes, %s answers neither",
                             job->given->function);
        dray_status status =
            module_write_file(job->given->output, string.data, string.size, &job->base.error);
        if (status != DRAY_OK)
            return status;
    }
    if (job->given->json)
        document_out(job);
    else if (!job->given->output)
        print_value(&job->result);
    return DRAY_OK;
}

static void job_end(call_job *job)
{
    dray_any_release(&job->result);
    if (job->function)
        dray_object_release(&job->function->head);
    dray_module_release(job->module);
    dray_device_release(job->device);
    module_policy_end(&job->policy);
    for (size_t i = 0; i < OPTION_WORDS_MAX; i++)
        free(job->arguments[i].owned);
}

static int call_run(const void *values)
{
    const call_values *given = values;
    call_job *job = text_memory(NULL, sizeof(*job));
    memset(job, 0, sizeof(*job));
    job->base = session_begin("module call", given->json);
    job->given = given;
    job->result = dray_any_none();
    dray_status status = session_context(&job->base, (option_number){.given = true});
    if (status == DRAY_OK)
        status = read_arguments(job);
    if (status == DRAY_OK)
        status = load(job);
    if (status == DRAY_OK)
        status = call(job);
    if (status == DRAY_OK)
        status = answer(job);
    job_end(job);
    int code = session_end(&job->base, status, false);
    free(job);
    return code;
}

static bool call_check(const void *values, option_problem *problem)
{
    return module_trust_check(&((const call_values *)values)->trust, problem);
}

static const option call_options[] = {
    {"kind", "KIND", "what it is, instead of what it looks like", .parse = option_text,
     .at = offsetof(call_values, kind)},
    MODULE_TRUST_OPTIONS(call_values, trust),
    {"device", "NAME", "where it runs, like opencl:0, for kinds that run on a device",
     .parse = option_text, .at = offsetof(call_values, device)},
    {"build-options", "TEXT", "for kinds that are compiled", .parse = option_text,
     .at = offsetof(call_values, build_options)},
    {"output", "FILE", "write text or bytes of the answer into a new file", .parse = option_text,
     .at = offsetof(call_values, output)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(call_values, json)},
    {0},
};

static const option_operand arguments_operand = {"ARG", offsetof(call_values, arguments), NULL,
                                                 true};
static const option_operand function_operand = {"FUNCTION", offsetof(call_values, function),
                                                &arguments_operand, false};

const command command_module_call = {
    .name = "module call",
    .summary = "load a file, call a function of it, print the answer",
    .description =
        "Loading runs the file's code with all your rights. Naming it here is the decision to trust it,\n"
        "unless --allow-sha256 or --policy says what else has to be true.\n\n"
        "Arguments: 42 is an int, 4.2 a float, @FILE the bytes of a file, everything else text; text:42\n"
        "is text in any case. Bytes in the answer are printed as hexadecimal digits. A function that fails\n"
        "ends the program with code 1 and its error.\n",
    .operand = {"FILE", offsetof(call_values, path), &function_operand, false},
    .options = call_options,
    .values_bytes = sizeof(call_values),
    .check = call_check,
    .run = call_run,
};
