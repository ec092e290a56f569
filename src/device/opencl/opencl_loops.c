/// The kernels of loops.cl: compiled by the driver when the first copy with loops comes to a device, and set to
/// work in the stream's queue like any other command. Where the driver cannot, the runs are copied one by one.
#include "device/opencl/opencl.h"

#include <inttypes.h>
#include <string.h>

extern const unsigned char drayi_opencl_loops_cl[];
extern const unsigned long drayi_opencl_loops_cl_bytes;

enum { work_items_max = 1 << 16 };

// --- building ------------------------------------------------------------------------------------------

/// Once per device; whoever comes after finds runs copied one by one.
static void refuse(dray_device_self *device, const char *call, cl_int code, const char *log)
{
    device->program_refused = true;
    drayi_log(device->driver->env, DRAY_LOG_WARNING,
              "opencl:%u: %s: code %d: copies with loops go run by run%s%.300s", device->ordinal,
              call, code, *log ? ": " : "", log);
}

static void program_build(dray_device_self *device)
{
    const drayi_opencl_calls *calls = &device->driver->calls;
    const char *text = (const char *)drayi_opencl_loops_cl;
    size_t length = drayi_opencl_loops_cl_bytes;
    cl_int code = DRAYI_OPENCL_SUCCESS;
    cl_program program = calls->program_create(device->context, 1, &text, &length, &code);
    if (code != DRAYI_OPENCL_SUCCESS || !program) {
        refuse(device, "clCreateProgramWithSource", code, "");
        return;
    }
    code = calls->program_build(program, 1, &device->device, "", NULL, NULL);
    if (code == DRAYI_OPENCL_SUCCESS) {
        device->program = program;
        return;
    }
    char log[512] = "";
    calls->program_build_info(program, device->device, DRAYI_OPENCL_PROGRAM_BUILD_LOG,
                              sizeof(log) - 1, log, NULL);
    refuse(device, "clBuildProgram", code, log);
    calls->program_release(program);
}

static bool kernels_make(dray_device_self *device, drayi_opencl_kernels *kernels)
{
    static const char *const names[DRAYI_LANE_WIDTHS] = {
        "copy_loops_1", "copy_loops_2", "copy_loops_4", "copy_loops_8", "copy_loops_16"};
    const drayi_opencl_calls *calls = &device->driver->calls;
    for (uint32_t i = 0; i < DRAYI_LANE_WIDTHS; i++) {
        cl_int code = DRAYI_OPENCL_SUCCESS;
        kernels->of_width[i] = calls->kernel_create(device->program, names[i], &code);
        if (code == DRAYI_OPENCL_SUCCESS && kernels->of_width[i])
            continue;
        refuse(device, "clCreateKernel", code, "");
        drayi_opencl_kernels_release(device, kernels);
        return false;
    }
    return true;
}

bool drayi_opencl_kernels_ready(dray_device_self *device, drayi_opencl_kernels *kernels)
{
    if (kernels->of_width[0])
        return true;
    if (device->driver->absent & DRAYI_OPENCL_KERNELS)
        return false;
    pthread_mutex_lock(&device->lock);
    if (!device->program && !device->program_refused)
        program_build(device);
    bool ready = !device->program_refused && kernels_make(device, kernels);
    pthread_mutex_unlock(&device->lock);
    return ready;
}

void drayi_opencl_kernels_release(const dray_device_self *device, drayi_opencl_kernels *kernels)
{
    for (uint32_t i = 0; i < DRAYI_LANE_WIDTHS; i++) {
        if (kernels->of_width[i])
            device->driver->calls.kernel_release(kernels->of_width[i]);
    }
    memset(kernels, 0, sizeof(*kernels));
}

// --- running -------------------------------------------------------------------------------------------

/// A buffer is given by its handle and begins at its first lane; shared memory by its address, and begins there.
static cl_int side_give(const drayi_opencl_calls *calls, cl_kernel kernel, cl_uint index,
                        const dray_device_side *side, uint64_t lane, uint64_t *out_lane)
{
    *out_lane = side->memory ? lane : 0;
    return side->memory ? calls->kernel_argument(kernel, index, sizeof(cl_mem), &side->memory)
                        : calls->kernel_argument_svm(kernel, index, side->pointer);
}

static cl_int arguments_give(const drayi_opencl_calls *calls, cl_kernel kernel,
                             const dray_device_run *run, const drayi_device_lanes *lanes)
{
    uint64_t source, target;
    cl_int codes[9] = {
        side_give(calls, kernel, 0, &run->to, lanes->target, &target),
        side_give(calls, kernel, 1, &run->from, lanes->source, &source),
    };
    codes[2] = calls->kernel_argument(kernel, 2, sizeof(target), &target);
    codes[3] = calls->kernel_argument(kernel, 3, sizeof(source), &source);
    codes[4] = calls->kernel_argument(kernel, 4, sizeof(lanes->counts), lanes->counts);
    codes[5] =
        calls->kernel_argument(kernel, 5, sizeof(lanes->target_strides), lanes->target_strides);
    codes[6] =
        calls->kernel_argument(kernel, 6, sizeof(lanes->source_strides), lanes->source_strides);
    codes[7] = calls->kernel_argument(kernel, 7, sizeof(lanes->run), &lanes->run);
    codes[8] = calls->kernel_argument(kernel, 8, sizeof(lanes->total), &lanes->total);
    for (int i = 0; i < 9; i++) {
        if (codes[i] != DRAYI_OPENCL_SUCCESS)
            return codes[i];
    }
    return DRAYI_OPENCL_SUCCESS;
}

cl_int drayi_opencl_loops_queue(const dray_device_self *device, const drayi_opencl_kernels *kernels,
                                cl_command_queue queue, const dray_device_run *run,
                                const drayi_device_lanes *lanes, cl_event *out_event,
                                const char **out_call)
{
    const drayi_opencl_calls *calls = &device->driver->calls;
    cl_kernel kernel = kernels->of_width[drayi_device_lanes_kernel(lanes)];
    *out_call = "clSetKernelArg";
    cl_int code = arguments_give(calls, kernel, run, lanes);
    if (code != DRAYI_OPENCL_SUCCESS)
        return code;
    *out_call = "clEnqueueNDRangeKernel";
    size_t items = lanes->total < work_items_max ? lanes->total : work_items_max;
    return calls->kernel_run(queue, kernel, 1, NULL, &items, NULL, 0, NULL, out_event);
}
