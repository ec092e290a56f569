// Copies with loops. Neighbouring threads carry neighbouring lanes of a run; the number of a lane is taken apart
// into its place in the run and the turn of each loop, the innermost first (src/device/run_loops.h). Compiled by
// NVRTC at run time; needs no header.

struct loops {
    unsigned long long source, target;
    unsigned long long source_strides[4], target_strides[4];
    unsigned counts[4];
    unsigned run, total, lane_bytes;
};

template <typename lane> __device__ void copy_loops(void *to, const void *from, const loops &of)
{
    unsigned step = gridDim.x * blockDim.x;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < of.total; i += step) {
        unsigned long long target = of.target + i % of.run, source = of.source + i % of.run;
        unsigned turns = i / of.run;
        for (int level = 3; level >= 0; level--) {
            unsigned turn = turns % of.counts[level];
            turns /= of.counts[level];
            target += turn * of.target_strides[level];
            source += turn * of.source_strides[level];
        }
        static_cast<lane *>(to)[target] = static_cast<const lane *>(from)[source];
    }
}

#define COPY_LOOPS(name, lane)                                                                     \
    extern "C" __global__ void name(void *to, const void *from, loops of)                          \
    {                                                                                              \
        copy_loops<lane>(to, from, of);                                                            \
    }

COPY_LOOPS(copy_loops_1, unsigned char)
COPY_LOOPS(copy_loops_2, unsigned short)
COPY_LOOPS(copy_loops_4, unsigned)
COPY_LOOPS(copy_loops_8, unsigned long long)
COPY_LOOPS(copy_loops_16, uint4)
