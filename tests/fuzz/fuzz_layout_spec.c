/// Lines that say layouts: what is read can be written and reads the same; its numbers hold together.
#include "dray/layout.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void geometry_holds(const dray_layout_config *config)
{
    dray_layout_geometry geometry;
    dray_layout_place last;
    if (dray_layout_measure(config, DRAY_STORAGE_DISK, &geometry, NULL) != DRAY_OK)
        return; // padding to a file's alignment may overflow
    if (geometry.region_bytes > geometry.region_pitch ||
        geometry.base_bytes < geometry.padding_bytes)
        abort();
    if (geometry.slices_whole &&
        (dray_layout_locate(&geometry, config->num_blocks - 1, config->num_layers - 1,
                            config->outer_dim - 1, &last, NULL) != DRAY_OK ||
         last.bytes > geometry.region_bytes || last.offset > geometry.region_bytes - last.bytes))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char text[512], written[DRAY_LAYOUT_TEXT_BYTES], again[DRAY_LAYOUT_TEXT_BYTES];
    dray_layout_config config, second;
    const char *rest;
    if (count >= sizeof(text))
        return 0;
    memcpy(text, bytes, count);
    text[count] = 0;
    dray_error error = {0};
    if (dray_layout_parse(text, &config, &rest, &error) != DRAY_OK) {
        if (error.status != DRAY_E_INVALID || !error.message[0])
            abort();
        return 0;
    }
    if (rest && (rest < text || rest > text + count))
        abort();
    geometry_holds(&config);
    dray_layout_print(&config, written);
    if (dray_layout_parse(written, &second, NULL, &error) != DRAY_OK)
        abort();
    dray_layout_print(&second, again);
    if (strcmp(written, again) != 0)
        abort();
    return 0;
}
