/// Modules: what loading, calling, finding and trees of them cost, beside what one would do without dray.
#include "bench_module.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const dray_policy bench_module_policy = {.struct_bytes = sizeof(dray_policy),
                                         .trust = DRAY_TRUST_ALLOW};

/// The data is filled with words that differ, so that no page of it is like another.
static const char source[] =
    "#include <stdint.h>\n"
    "typedef struct any { int32_t type; uint32_t pad; int64_t value; } any;\n"
    "__asm__(\".pushsection .rodata\\n.global bench_data\\n.hidden bench_data\\nbench_data:\\n\"\n"
    "        \".set i, 0\\n.rept %llu\\n.quad i\\n.fill 4088, 1, 0x5a\\n.set i, i + 1\\n.endr\\n\"\n"
    "        \".popsection\\n\");\n"
    "extern const char bench_data[];\n"
    "__attribute__((visibility(\"default\"))) int __tvm_ffi_add_one(void *handle, const any *arguments,\n"
    "                                                             int32_t count, any *result)\n"
    "{\n"
    "    (void)handle;\n"
    "    if (count != 1)\n"
    "        return -1;\n"
    "    result->type = 1;\n"
    "    result->pad = 0;\n"
    "    result->value = arguments[0].value + 1 + bench_data[0];\n"
    "    return 0;\n"
    "}\n";

static bool compile(const char *from, const char *to)
{
    char *const arguments[] = {
        "cc", "-shared", "-fPIC", "-O2", "-o", (char *)(uintptr_t)to, (char *)(uintptr_t)from,
        NULL};
    pid_t child;
    int how = 0;
    if (posix_spawnp(&child, "cc", NULL, NULL, arguments, environ) != 0)
        return false;
    while (waitpid(child, &how, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

bool bench_module_make(const char *path, uint64_t bytes, char why[256])
{
    char text[4096];
    snprintf(text, sizeof(text), "%s.c", path);
    FILE *file = fopen(text, "w");
    if (!file) {
        snprintf(why, 256, "%s: %s", text, strerror(errno));
        return false;
    }
    fprintf(file, source, (unsigned long long)(bytes / 4096));
    bool made = fclose(file) == 0 && compile(text, path);
    unlink(text);
    if (!made)
        snprintf(why, 256, "the C compiler (cc) made no library of it");
    return made;
}

dray_status bench_module(dray_context *context, const bench_module_options *options, FILE *out,
                         dray_error *error)
{
    dray_status status = bench_module_loads(context, options, out, error);
    if (status == DRAY_OK)
        status = bench_module_calls(context, options, out, error);
    if (status == DRAY_OK)
        status = bench_module_trees(context, options, out, error);
    return status;
}
