/// The stand-in's modules: images are looked at, not compiled. One kernel does something: scale_ints(out,
/// in, factor, count), of which it knows the parameters; all others are found and do nothing. A text with
/// "broken" in it is refused, with a log.
#include "standin_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_text(const char *image)
{
    return image[0] == '.' || image[0] == '/' || image[0] == '\n';
}

EXPORT CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count,
                                   drayi_cuda_jit_option *options, void **values)
{
    CUresult code;
    if (inside_refused("cuModuleLoadDataEx", true, &code))
        return code;
    if (count != 4 || options[0] != 3 || options[1] != 4 || options[2] != 5 || options[3] != 6 ||
        (uintptr_t)values[1] < 1024 || (uintptr_t)values[3] < 1024)
        return inside_done(inside_misuse(1, "cuModuleLoadDataEx options"));
    const char *bytes = image;
    bool text = is_text(bytes);
    if (!text && memcmp(bytes, "\177ELF", 4) != 0 && memcmp(bytes, "\x50\xed\x55\xba", 4) != 0)
        return inside_done(200);
    if (text && strstr(bytes, "broken")) {
        snprintf(values[2], (uintptr_t)values[3], "ptxas: line 7: broken on purpose\nsecond line");
        return inside_done(218);
    }
    snprintf(values[0], (uintptr_t)values[1], "ptxas info: compiled");
    *module = calloc(1, sizeof(**module));
    if (!*module)
        return inside_done(2);
    (*module)->of_user = true;
    (*module)->text = text ? strdup(bytes) : NULL;
    inside_counts.modules++;
    return inside_done(0);
}

void modules_end(CUmodule module)
{
    while (module->functions) {
        struct CUfunc_st *next = module->functions->next;
        free(module->functions);
        module->functions = next;
    }
    free(module->text);
}

CUresult modules_function(CUmodule module, const char *name, CUfunction *out)
{
    if (module->text && !strstr(module->text, name))
        return 500;
    struct CUfunc_st *fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        return 2;
    snprintf(fresh->name, sizeof(fresh->name), "%s", name);
    fresh->next = module->functions;
    module->functions = fresh;
    *out = fresh;
    return 0;
}

static const size_t scale_bytes[] = {8, 8, 4, 4};

static bool is_scale(const struct CUfunc_st *function)
{
    return strcmp(function->name, "scale_ints") == 0;
}

EXPORT CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *bytes)
{
    CUresult code;
    if (inside_refused("cuFuncGetParamInfo", true, &code))
        return code;
    if (!is_scale(function) || index >= 4)
        return inside_done(1);
    *offset = index < 2 ? 8 * index : 16 + 4 * (index - 2);
    *bytes = scale_bytes[index];
    return inside_done(0);
}

EXPORT CUresult cuFuncSetAttribute(CUfunction function, drayi_cuda_function_attribute attribute,
                                   int value)
{
    CUresult code;
    if (inside_refused("cuFuncSetAttribute", true, &code))
        return code;
    (void)function;
    if (attribute != 8 || value < 0)
        return inside_done(inside_misuse(1, "cuFuncSetAttribute"));
    return inside_done(value > 227 << 10 ? 1 : 0);
}

typedef struct scaling {
    int *out;
    const int *in;
    int factor, count;
} scaling;

static void scale(void *self, bool dropped)
{
    scaling *job = self;
    for (int i = 0; i < job->count && !dropped; i++)
        job->out[i] = job->in[i] * job->factor;
    free(job);
}

CUresult modules_launch(const struct CUfunc_st *function, uint64_t threads, CUstream stream,
                        void **parameters)
{
    if (threads == 0)
        return 1;
    if (!is_scale(function))
        return 0;
    scaling *job = calloc(1, sizeof(*job));
    if (!job)
        return 2;
    uint64_t out, in;
    memcpy(&out, parameters[0], 8);
    memcpy(&in, parameters[1], 8);
    memcpy(&job->factor, parameters[2], 4);
    memcpy(&job->count, parameters[3], 4);
    size_t bytes = (size_t)job->count * sizeof(int);
    job->out = (int *)(void *)inside_behind(out, bytes);
    job->in = (const int *)(const void *)inside_behind(in, bytes);
    if (threads < (uint64_t)job->count || !job->out || !job->in ||
        !inside_queue(stream, scale, job)) {
        free(job);
        return inside_misuse(700, "cuLaunchKernel scale_ints");
    }
    return 0;
}
