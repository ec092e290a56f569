/// dray module bundle and unbundle: several modules as one file, and back.
#include "json_out.h"
#include "module_options.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// --- bundle ------------------------------------------------------------------------------------------

typedef struct bundle_values {
    const char *output, *root;
    option_words imports;
} bundle_values;

enum { files_max = OPTION_WORDS_MAX + 1 };

typedef struct bundle_job {
    session base;
    dray_bundle_module modules[files_max];
    char *kinds[files_max], *bytes[files_max];
    uint64_t numbers[files_max]; // 1, 2, ...: what the root imports
    uint64_t count;
} bundle_job;

/// "cubin:FILE" says its kind; otherwise the file's first bytes do.
static dray_status find_kind(bundle_job *job, const char *word, const char **out_path,
                             char **out_kind)
{
    size_t length = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-_");
    dray_module_facts *facts = NULL;
    if (length > 0 && length < 64 && word[length] == ':') {
        *out_path = word + length + 1;
        *out_kind = text_format("%.*s", (int)length, word);
        return DRAY_OK;
    }
    const dray_module_source source = module_file(word);
    dray_status status =
        dray_module_inspect(job->base.context, NULL, &source, &facts, &job->base.error);
    *out_path = word;
    if (status == DRAY_OK)
        *out_kind = text_format("%s", dray_module_facts_get(facts)->kind);
    dray_module_facts_destroy(facts);
    return status;
}

static dray_status add_file(bundle_job *job, const char *word)
{
    const char *path = word;
    uint64_t at = job->count++, bytes = 0;
    dray_status status = find_kind(job, word, &path, &job->kinds[at]);
    if (status == DRAY_OK)
        status = module_read_file(path, &job->bytes[at], &bytes, &job->base.error);
    job->numbers[at] = at + 1;
    job->modules[at] = (dray_bundle_module){
        .kind = job->kinds[at], .payload = job->bytes[at], .payload_bytes = bytes};
    return status;
}

static dray_status write_bundle(bundle_job *job, const char *path)
{
    dray_any written;
    dray_byte_array bytes = {0};
    job->modules[0].imports = job->numbers;
    job->modules[0].import_count = job->count - 1;
    dray_status status =
        dray_bundle_write(job->base.context, job->modules, job->count, &written, &job->base.error);
    if (status != DRAY_OK)
        return status;
    dray_any_get_bytes(&written, &bytes);
    status = module_write_file(path, bytes.data, bytes.size, &job->base.error);
    if (status == DRAY_OK)
        printf("%" PRIu64 " modules, %zu bytes\n", job->count, bytes.size);
    dray_any_release(&written);
    return status;
}

static int bundle_run(const void *values)
{
    const bundle_values *given = values;
    bundle_job *job = text_memory(NULL, sizeof(*job));
    memset(job, 0, sizeof(*job));
    job->base = session_begin("module bundle", false);
    dray_status status = session_context(&job->base, (option_number){.given = true});
    if (status == DRAY_OK)
        status = add_file(job, given->root);
    for (uint32_t i = 0; i < given->imports.count && status == DRAY_OK; i++)
        status = add_file(job, given->imports.words[i]);
    if (status == DRAY_OK)
        status = write_bundle(job, given->output);
    for (uint64_t i = 0; i < job->count; i++) {
        free(job->kinds[i]);
        free(job->bytes[i]);
    }
    int code = session_end(&job->base, status, false);
    free(job);
    return code;
}

static const option bundle_options[] = {{0}};
static const option_operand imports_operand = {"IMPORT", offsetof(bundle_values, imports), NULL,
                                               true};
static const option_operand root_operand = {"ROOT", offsetof(bundle_values, root), &imports_operand,
                                            false};

const command command_module_bundle = {
    .name = "module bundle",
    .summary = "one file of a module and those that it imports",
    .description =
        "Writes OUT, which must not exist: ROOT, which imports every IMPORT. A file's kind is what it\n"
        "looks like, or stands in front of it: cubin:FILE. A bundle may be part of a bundle. Whoever loads\n"
        "OUT gets ROOT with all of them, or nothing.\n",
    .operand = {"OUT", offsetof(bundle_values, output), &root_operand, false},
    .options = bundle_options,
    .values_bytes = sizeof(bundle_values),
    .run = bundle_run,
};

// --- unbundle ----------------------------------------------------------------------------------------

typedef struct unbundle_values {
    const char *path, *folder;
} unbundle_values;

/// A name that leads nowhere else, whatever the kind says.
static char *file_name(const char *folder, uint64_t index, const char *kind)
{
    char *path = text_format("%s/%" PRIu64 ".%.63s", folder, index, kind);
    for (char *each = strrchr(path, '/') + 1; *each; each++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *each))
            *each = '_';
    }
    return path;
}

static dray_status write_module(session *job, const dray_bundle *bundle, uint64_t index,
                                const char *folder)
{
    const dray_bundle_module *module = dray_bundle_at(bundle, index);
    if (module->is_host)
        return DRAY_OK;
    char *path = file_name(folder, index, module->kind);
    dray_status status =
        module_write_file(path, module->payload, module->payload_bytes, &job->error);
    if (status == DRAY_OK) {
        char *safe = text_safe(path, strlen(path));
        printf("%s, %" PRIu64 " bytes\n", safe, module->payload_bytes);
        free(safe);
    }
    free(path);
    return status;
}

static int unbundle_run(const void *values)
{
    const unbundle_values *given = values;
    session job = session_begin("module unbundle", false);
    dray_bundle *bundle = NULL;
    const dray_module_source source = module_file(given->path);
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_bundle_open(job.context, &source, &bundle, &job.error);
    if (status == DRAY_OK && mkdir(given->folder, 0777) != 0 && errno != EEXIST)
        status = dray_fail_os(&job.error, errno, "mkdir", "make %s", given->folder);
    for (uint64_t i = 0; status == DRAY_OK && i < dray_bundle_count(bundle); i++)
        status = write_module(&job, bundle, i, given->folder);
    dray_bundle_destroy(bundle);
    return session_end(&job, status, false);
}

static const option unbundle_options[] = {{0}};
static const option_operand folder_operand = {"FOLDER", offsetof(unbundle_values, folder), NULL,
                                              false};

const command command_module_unbundle = {
    .name = "module unbundle",
    .summary = "the modules of a bundle or library as files",
    .description =
        "Writes every module of the tree into FOLDER, as NUMBER.KIND (see dray module tree); files that\n"
        "are there already are an error. Nothing is loaded.\n",
    .operand = {"FILE", offsetof(unbundle_values, path), &folder_operand, false},
    .options = unbundle_options,
    .values_bytes = sizeof(unbundle_values),
    .run = unbundle_run,
};
