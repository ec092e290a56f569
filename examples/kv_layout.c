/// kv_layout: KV-cache blocks of an engine (a region per layer, token before head) are taken to the shape of another one
/// (one region, heads first), under new block ids, and proven to be the same contents.
///
///     kv_layout
#include <dray/layout.h>

#include <stdio.h>
#include <string.h>

enum { moved = 3 };
static const uint64_t from_ids[moved] = {5, 0, 7}, to_ids[moved] = {0, 1, 2};

static dray_status build(dray_agent *agent, const char *line, dray_layout **out, dray_error *error)
{
    dray_layout_config config;
    dray_layout_allocation memory = {.struct_bytes = sizeof(memory), .storage = DRAY_STORAGE_SYSTEM};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &memory};
    dray_status status = dray_layout_parse(line, &config, NULL, error);
    return status == DRAY_OK ? dray_layout_build(agent, &options, out, error) : status;
}

/// Planned once; the transfer could be submitted again whenever the same blocks move.
static dray_status move(dray_agent *agent, dray_layout *from, dray_layout *to, dray_error *error)
{
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_layout_move blocks = {
        .struct_bytes = sizeof(blocks),
        .sources = &from,
        .targets = &to,
        .source_count = 1,
        .target_count = 1,
        .source_blocks = from_ids,
        .target_blocks = to_ids,
        .source_block_count = moved,
        .target_block_count = moved,
    };
    dray_status status = dray_layout_plan_move(agent, &blocks, NULL, &plan, error);
    if (status == DRAY_OK)
        status = dray_transfer_create(agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

/// Digests are of what blocks mean, so they do not change with the order of bytes.
static dray_status compare(dray_agent *agent, dray_layout *from, dray_layout *to, dray_error *error)
{
    dray_layout_digest before[moved], after[moved];
    dray_status status = dray_layout_digest_blocks(agent, from, from_ids, moved, before, error);
    if (status == DRAY_OK)
        status = dray_layout_digest_blocks(agent, to, to_ids, moved, after, error);
    for (int i = 0; i < moved && status == DRAY_OK; i++)
        printf("block %llu -> %llu: %s\n", (unsigned long long)from_ids[i],
               (unsigned long long)to_ids[i],
               memcmp(&before[i], &after[i], sizeof(before[i])) == 0 ? "the same contents"
                                                                     : "OTHER CONTENTS");
    return status;
}

int main(void)
{
    dray_context *context = NULL;
    dray_agent *agent = NULL;
    dray_layout *from = NULL, *to = NULL;
    dray_error error;
    dray_status status = dray_context_create(NULL, &context, &error);
    if (status == DRAY_OK)
        status = dray_agent_create(context, NULL, &agent, &error);
    if (status == DRAY_OK)
        status = build(
            agent, "layer-separate:block-first,blocks=8,layers=4,outer=2,page=16,inner=512,heads=4",
            &from, &error);
    if (status == DRAY_OK)
        status = build(agent,
                       "contiguous,blocks=3,layers=4,outer=2,page=16,inner=512,heads=4,"
                       "format=universal-tp",
                       &to, &error);
    if (status == DRAY_OK)
        status = dray_layout_fill(agent, from, NULL, &error);
    if (status == DRAY_OK)
        status = move(agent, from, to, &error);
    if (status == DRAY_OK)
        status = compare(agent, from, to, &error);
    dray_layout_destroy(to);
    dray_layout_destroy(from);
    dray_agent_destroy(agent);
    dray_context_destroy(context);
    if (status != DRAY_OK)
        fprintf(stderr, "kv_layout: %s\n", error.message);
    return status != DRAY_OK;
}
