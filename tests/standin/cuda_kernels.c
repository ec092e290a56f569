/// Modules, functions and launches of the stand-in, and a libnvrtc that compiles nothing: it looks for the kernels'
/// names in the source, and a launch does what the source says they do, from the arguments as they are handed
/// over. Whether the source compiles, and runs on a GPU, it cannot tell.
#include "standin_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// `struct loops` of loops.cu.
typedef struct loops {
    unsigned long long source, target, source_strides[4], target_strides[4];
    unsigned counts[4], run, total, lane_bytes;
} loops;

static const char image_text[] = "// no PTX: the stand-in knows these kernels";
static struct CUfunc_st functions[5] = {
    {.lane_bytes = 1}, {.lane_bytes = 2}, {.lane_bytes = 4}, {.lane_bytes = 8}, {.lane_bytes = 16}};

// --- the driver ----------------------------------------------------------------------------------------

EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    CUresult code;
    if (inside_refused("cuModuleLoadData", true, &code))
        return code;
    if (strcmp(image, image_text) != 0)
        return inside_done(inside_misuse(200, "cuModuleLoadData of something else"));
    *module = calloc(1, sizeof(**module));
    if (!*module)
        return inside_done(2);
    inside_counts.modules++;
    return inside_done(0);
}

EXPORT CUresult cuModuleUnload(CUmodule module)
{
    CUresult code;
    if (inside_refused("cuModuleUnload", true, &code))
        return code;
    modules_end(module);
    free(module);
    inside_counts.modules--;
    return inside_done(0);
}

EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    CUresult code;
    unsigned lane;
    if (inside_refused("cuModuleGetFunction", true, &code))
        return code;
    if (module && module->of_user)
        return inside_done(modules_function(module, name, function));
    if (!module || sscanf(name, "copy_loops_%u", &lane) != 1)
        return inside_done(500);
    for (int i = 0; i < 5; i++) {
        if (functions[i].lane_bytes == lane) {
            *function = &functions[i];
            return inside_done(0);
        }
    }
    return inside_done(500);
}

typedef struct launch {
    loops of;
    unsigned lane_bytes;
    CUdeviceptr to, from;
} launch;

static void lane_copy(const launch *job, unsigned number)
{
    const loops *of = &job->of;
    unsigned long long target = of->target + number % of->run,
                       source = of->source + number % of->run;
    unsigned turns = number / of->run;
    for (int level = 3; level >= 0; level--) {
        target += turns % of->counts[level] * of->target_strides[level];
        source += turns % of->counts[level] * of->source_strides[level];
        turns /= of->counts[level];
    }
    CUdeviceptr to_address = job->to + target * job->lane_bytes,
                from_address = job->from + source * job->lane_bytes;
    char *to = inside_behind(to_address, job->lane_bytes);
    const char *from = inside_behind(from_address, job->lane_bytes);
    if (!to || !from)
        inside_misuse(700, "a kernel leaves its allocation");
    else if (to_address % job->lane_bytes || from_address % job->lane_bytes)
        inside_misuse(716, "a kernel's lane is misaligned");
    else
        memcpy(to, from, job->lane_bytes);
}

static void launch_act(void *self, bool dropped)
{
    const launch *job = self;
    for (unsigned i = 0; i < job->of.total && !dropped; i++)
        lane_copy(job, i);
    free(self);
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                               unsigned grid_z, unsigned block_x, unsigned block_y,
                               unsigned block_z, unsigned shared_bytes, CUstream stream,
                               void **parameters, void **extra)
{
    CUresult code;
    if (inside_refused("cuLaunchKernel", true, &code))
        return code;
    if (function && function->lane_bytes == 0)
        return inside_done(modules_launch(function, (uint64_t)grid_x * block_x, stream, parameters));
    bool sizes = grid_x > 0 && grid_y == 1 && grid_z == 1 && block_x > 0 && block_x <= 1024 &&
                 block_y == 1 && block_z == 1 && shared_bytes == 0;
    if (!function || !parameters || extra || !sizes)
        return inside_done(inside_misuse(1, "cuLaunchKernel"));
    launch *job = calloc(1, sizeof(*job));
    if (!job)
        return inside_done(2);
    job->lane_bytes = function->lane_bytes;
    memcpy(&job->to, parameters[0], sizeof(job->to));
    memcpy(&job->from, parameters[1], sizeof(job->from));
    memcpy(&job->of, parameters[2], sizeof(job->of));
    if (job->of.lane_bytes != job->lane_bytes || !inside_queue(stream, launch_act, job)) {
        free(job);
        return inside_done(inside_misuse(400, "cuLaunchKernel: another kernel, or no stream"));
    }
    inside_counts.launches++;
    return inside_done(0);
}

// --- the compiler --------------------------------------------------------------------------------------

EXPORT int nvrtcCreateProgram(char **program, const char *source, const char *name, int headers,
                              const char *const *header_texts, const char *const *header_names);
EXPORT int nvrtcCompileProgram(char *program, int count, const char *const *options);
EXPORT int nvrtcGetPTXSize(char *program, size_t *bytes);
EXPORT int nvrtcGetPTX(char *program, char *out);
EXPORT int nvrtcGetProgramLogSize(char *program, size_t *bytes);
EXPORT int nvrtcGetProgramLog(char *program, char *out);
EXPORT int nvrtcDestroyProgram(char **program);

int nvrtcCreateProgram(char **program, const char *source, const char *name, int headers,
                       const char *const *header_texts, const char *const *header_names)
{
    (void)name, (void)header_texts, (void)header_names;
    *program = headers == 0 ? strdup(source) : NULL;
    return *program ? 0 : 3;
}

int nvrtcCompileProgram(char *program, int count, const char *const *options)
{
    int architecture;
    bool known = count == 1 &&
                 sscanf(options[0], "--gpu-architecture=compute_%d", &architecture) == 1 &&
                 architecture >= 30;
    return known && strstr(program, "extern \"C\" __global__") && strstr(program, "copy_loops_16")
               ? 0
               : 6;
}

int nvrtcGetPTXSize(char *program, size_t *bytes)
{
    (void)program;
    *bytes = sizeof(image_text);
    return 0;
}

int nvrtcGetPTX(char *program, char *out)
{
    (void)program;
    memcpy(out, image_text, sizeof(image_text));
    return 0;
}

int nvrtcGetProgramLogSize(char *program, size_t *bytes)
{
    (void)program;
    *bytes = sizeof("the stand-in compiles dray's kernels only");
    return 0;
}

int nvrtcGetProgramLog(char *program, char *out)
{
    (void)program;
    memcpy(out, "the stand-in compiles dray's kernels only",
           sizeof("the stand-in compiles dray's kernels only"));
    return 0;
}

int nvrtcDestroyProgram(char **program)
{
    free(*program);
    *program = NULL;
    return 0;
}
