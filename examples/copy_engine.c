/// copy_engine: copies a file into memory, and turns a table of rows into a table of columns on the
/// way: a copy with loops, so reshaping needs no second pass. The plan is printed before it runs.
///
///     copy_engine FILE     (any file of at least 4096 bytes)
#include <dray/transfer.h>

#include <stdio.h>

static const uint64_t rows = 32, columns = 16, cell_bytes = 8; // together 4096 bytes

static void print_text(void *self, const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, self);
}

/// Cell (row, column) of the file goes to (column, row) of the memory.
static dray_copy transpose(dray_region *file, dray_region *memory)
{
    return (dray_copy){
        .source = file,
        .target = memory,
        .run_bytes = cell_bytes,
        .loop_count = 2,
        .loops =
            {{.count = rows, .source_stride = columns * cell_bytes, .target_stride = cell_bytes},
             {.count = columns, .source_stride = cell_bytes, .target_stride = rows * cell_bytes}},
    };
}

/// Plan once, then submit and wait: the plan could run again and again.
static dray_status run(dray_agent *agent, const dray_copy *copy, dray_error *error)
{
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_plan_create(agent, copy, 1, NULL, &plan, error);
    if (status == DRAY_OK) {
        dray_plan_print(plan, 0, print_text, stdout);
        status = dray_transfer_create(agent, plan, NULL, &transfer, error);
    }
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

int main(int count, char **arguments)
{
    dray_context *context = NULL;
    dray_agent *agent = NULL;
    dray_region *file = NULL, *memory = NULL;
    dray_error error;
    if (count != 2) {
        fputs("usage: copy_engine FILE\n", stderr);
        return 2;
    }
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .bytes = rows * columns * cell_bytes};
    dray_status status = dray_context_create(NULL, &context, &error);
    if (status == DRAY_OK)
        status = dray_agent_create(context, NULL, &agent, &error);
    if (status == DRAY_OK)
        status = dray_region_open(context, arguments[1], NULL, &file, &error);
    if (status == DRAY_OK)
        status = dray_region_create(context, &options, &memory, &error);
    if (status == DRAY_OK) {
        dray_copy copy = transpose(file, memory);
        status = run(agent, &copy, &error);
    }
    if (status == DRAY_OK)
        printf("the second column begins with %02x\n",
               ((const unsigned char *)dray_region_pointer(memory))[rows * cell_bytes]);
    else
        fprintf(stderr, "copy_engine: %s\n", error.message);
    dray_region_release(memory);
    dray_region_release(file);
    dray_agent_destroy(agent);
    dray_context_destroy(context);
    return status == DRAY_OK ? 0 : 1;
}
