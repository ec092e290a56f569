// Copies with loops. Neighbouring work items carry neighbouring lanes of a run; the number of a lane is taken apart
// into its place in the run and the turn of each loop, the innermost first (src/device/run_loops.h).

#define COPY_LOOPS(name, lane)                                                                     \
    __kernel void name(__global lane *to, __global const lane *from, ulong target, ulong source,   \
                       uint4 counts, ulong4 target_strides, ulong4 source_strides, uint run,       \
                       uint total)                                                                 \
    {                                                                                              \
        for (uint i = (uint)get_global_id(0); i < total; i += (uint)get_global_size(0)) {          \
            uint place = i % run, turns = i / run;                                                 \
            uint d = turns % counts.w;                                                             \
            turns /= counts.w;                                                                     \
            uint c = turns % counts.z;                                                             \
            turns /= counts.z;                                                                     \
            uint b = turns % counts.y, a = turns / counts.y;                                       \
            to[target + place + a * target_strides.x + b * target_strides.y +                      \
               c * target_strides.z + d * target_strides.w] =                                      \
                from[source + place + a * source_strides.x + b * source_strides.y +                \
                     c * source_strides.z + d * source_strides.w];                                 \
        }                                                                                          \
    }

COPY_LOOPS(copy_loops_1, uchar)
COPY_LOOPS(copy_loops_2, ushort)
COPY_LOOPS(copy_loops_4, uint)
COPY_LOOPS(copy_loops_8, ulong)
COPY_LOOPS(copy_loops_16, uint4)
