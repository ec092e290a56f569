/// A module that the C library never unloads: it defines a unique symbol, and uses it.
#include <dray/export.h>

__asm__(".pushsection .data\n"
        ".globl unique_number\n"
        ".type unique_number, %gnu_unique_object\n"
        ".size unique_number, 4\n"
        "unique_number: .long 7\n"
        ".popsection\n");
extern int unique_number __attribute__((visibility("default")));

static int number(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)handle, (void)arguments, (void)count;
    *result = dray_any_int(unique_number);
    return 0;
}

DRAY_MODULE_EXPORT(number, number)
