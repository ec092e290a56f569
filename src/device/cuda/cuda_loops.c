/// The kernels of loops.cu: compiled by NVRTC for the device at hand when its first copy with loops comes, and
/// launched in the stream like any other work. Without NVRTC, which is no part of the driver, the runs are
/// copied one by one.
#include "device/cuda/cuda.h"
#include "os/os.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

extern const unsigned char drayi_cuda_loops_cu[];
extern const unsigned long drayi_cuda_loops_cu_bytes;

enum { threads_per_block = 256, blocks_max = 1 << 14, source_max = 8192 };

/// The calls of libnvrtc that we use. Its results are numbers; 0 is success.
typedef struct nvrtc_program nvrtc_program;
typedef struct nvrtc_calls {
    int (*create)(nvrtc_program **program, const char *source, const char *name, int header_count,
                  const char *const *headers, const char *const *names);
    int (*compile)(nvrtc_program *program, int option_count, const char *const *options);
    int (*image_bytes)(nvrtc_program *program, size_t *bytes);
    int (*image)(nvrtc_program *program, char *out);
    int (*log_bytes)(nvrtc_program *program, size_t *bytes);
    int (*log)(nvrtc_program *program, char *out);
    int (*destroy)(nvrtc_program **program);
} nvrtc_calls;

/// One attempt to build; what it holds is given back by build_end().
typedef struct build {
    dray_device_self *device;
    const drayi_os *os;
    void *library;
    nvrtc_calls calls;
    nvrtc_program *program;
    char *image; // PTX
    size_t image_bytes;
    char why[384]; // it failed
} build;

// --- the compiler --------------------------------------------------------------------------------------

static bool library_find(build *own)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"};
    static const char *const symbols[] = {
        "nvrtcCreateProgram",     "nvrtcCompileProgram", "nvrtcGetPTXSize",    "nvrtcGetPTX",
        "nvrtcGetProgramLogSize", "nvrtcGetProgramLog",  "nvrtcDestroyProgram"};
    _Static_assert(sizeof(nvrtc_calls) == sizeof(symbols),
                   "a symbol for every call, in their order");
    char why[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !own->library; i++)
        own->library = own->os->library_open(names[i], why, sizeof(why));
    if (!own->library) {
        snprintf(own->why, sizeof(own->why), "no NVRTC: %s", why);
        return false;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *symbol = own->os->library_symbol(own->library, symbols[i]);
        memcpy((char *)&own->calls + i * sizeof(symbol), &symbol, sizeof(symbol));
        if (!symbol) {
            snprintf(own->why, sizeof(own->why), "NVRTC has no %s", symbols[i]);
            return false;
        }
    }
    return true;
}

static bool failed(build *own, const char *call, unsigned code)
{
    snprintf(own->why, sizeof(own->why), "%s: code %u", call, code);
    return false;
}

/// The first lines of what the compiler has to say.
static bool compile_failed(build *own, int code)
{
    char log[4096];
    size_t bytes = 0;
    failed(own, "nvrtcCompileProgram", (unsigned)code);
    if (own->calls.log_bytes(own->program, &bytes) == 0 && bytes > 1 && bytes <= sizeof(log) &&
        own->calls.log(own->program, log) == 0) {
        size_t used = strlen(own->why);
        log[bytes - 1] = '\0';
        snprintf(own->why + used, sizeof(own->why) - used, ": %.250s", log);
    }
    return false;
}

static bool compile(build *own)
{
    char source[source_max], architecture[48];
    if (drayi_cuda_loops_cu_bytes >= sizeof(source))
        return failed(own, "loops.cu is too long", 0);
    memcpy(source, drayi_cuda_loops_cu, drayi_cuda_loops_cu_bytes);
    source[drayi_cuda_loops_cu_bytes] = '\0';
    int major = drayi_cuda_attribute_of(own->device, DRAYI_CUDA_ATTRIBUTE_COMPUTE_MAJOR, 0),
        minor = drayi_cuda_attribute_of(own->device, DRAYI_CUDA_ATTRIBUTE_COMPUTE_MINOR, 0);
    snprintf(architecture, sizeof(architecture), "--gpu-architecture=compute_%d%d", major, minor);
    const char *const options[] = {architecture};
    int code = own->calls.create(&own->program, source, "loops.cu", 0, NULL, NULL);
    if (code != 0)
        return failed(own, "nvrtcCreateProgram", (unsigned)code);
    code = own->calls.compile(own->program, 1, options);
    if (code != 0)
        return compile_failed(own, code);
    code = own->calls.image_bytes(own->program, &own->image_bytes);
    if (code != 0 || own->image_bytes == 0)
        return failed(own, "nvrtcGetPTXSize", (unsigned)code);
    int os_code = 0; // a stream starts here: nothing comes from the allocator
    own->image = own->os->map(NULL, own->image_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &os_code);
    if (!own->image)
        return failed(own, "mmap", (unsigned)-os_code);
    code = own->calls.image(own->program, own->image);
    return code == 0 || failed(own, "nvrtcGetPTX", (unsigned)code);
}

static bool load(build *own)
{
    static const char *const names[DRAYI_LANE_WIDTHS] = {
        "copy_loops_1", "copy_loops_2", "copy_loops_4", "copy_loops_8", "copy_loops_16"};
    dray_device_self *device = own->device;
    const drayi_cuda_calls *calls = &device->driver->calls;
    CUmodule module = NULL;
    CUresult code = calls->module_load(&module, own->image);
    if (code != DRAYI_CUDA_SUCCESS || !module)
        return failed(own, "cuModuleLoadData", code);
    for (uint32_t i = 0; i < DRAYI_LANE_WIDTHS; i++) {
        code = calls->module_function(&device->loops[i], module, names[i]);
        if (code != DRAYI_CUDA_SUCCESS || !device->loops[i]) {
            calls->module_unload(module);
            return failed(own, "cuModuleGetFunction", code);
        }
    }
    device->module = module;
    return true;
}

static void build_end(build *own)
{
    if (own->image)
        own->os->unmap(own->image, own->image_bytes);
    if (own->program)
        own->calls.destroy(&own->program);
    if (own->library)
        own->os->library_close(own->library);
}

static void build_run(dray_device_self *device)
{
    drayi_env *env = device->driver->env;
    build own = {.device = device, .os = env->os};
    if (!library_find(&own) || !compile(&own) || !load(&own)) {
        device->loops_refused = true;
        drayi_log(env, DRAY_LOG_INFO, "cuda:%u: copies with loops go run by run: %s",
                  device->ordinal, own.why);
    }
    build_end(&own);
}

bool drayi_cuda_loops_ready(dray_device_self *device)
{
    if (device->driver->absent & DRAYI_CUDA_KERNELS)
        return false;
    pthread_mutex_lock(&device->driver->lock);
    if (!device->module && !device->loops_refused)
        build_run(device);
    bool ready = device->module != NULL;
    pthread_mutex_unlock(&device->driver->lock);
    return ready;
}

void drayi_cuda_loops_unload(dray_device_self *device)
{
    if (!device->module)
        return;
    if (drayi_cuda_enter(device, NULL) == DRAY_OK) {
        device->driver->calls.module_unload(device->module);
        drayi_cuda_leave(device);
    }
    device->module = NULL;
}

// --- launching -----------------------------------------------------------------------------------------

CUresult drayi_cuda_loops_queue(const dray_device_self *device, CUstream stream,
                                const dray_device_run *run, const drayi_device_lanes *lanes)
{
    CUdeviceptr to = run->to.address, from = run->from.address;
    drayi_device_lanes given = *lanes; // `struct loops` of loops.cu
    given.source = given.target = 0;   // the addresses say it already
    void *parameters[] = {&to, &from, &given};
    uint32_t blocks = (lanes->total + threads_per_block - 1) / threads_per_block;
    if (blocks > blocks_max)
        blocks = blocks_max;
    return device->driver->calls.kernel_launch(device->loops[drayi_device_lanes_kernel(lanes)],
                                               blocks, 1, 1, threads_per_block, 1, 1, 0, stream,
                                               parameters, NULL);
}
