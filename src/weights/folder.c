#include "weights/folder.h"

#include "base/checked.h"
#include "weights/shards.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { head_bytes_most = 4096 };

typedef struct name_list {
    drayi_env *env;
    drayi_arena *arena;
    char **names;
    uint64_t count, room;
    dray_status status; // of the first failure, or DRAY_OK
    dray_error *error;
} name_list;

static void name_add(void *self, const char *name)
{
    name_list *list = self;
    if (list->status != DRAY_OK || name[0] == '.')
        return;
    char *copy = drayi_arena_text(list->arena, name, strlen(name), list->error);
    list->status = !copy ? DRAY_E_NOMEM
                         : drayi_grow(list->env, (void **)&list->names, &list->room,
                                      list->count + 1, sizeof(char *), list->error);
    if (list->status == DRAY_OK)
        list->names[list->count++] = copy;
}

static void names_free(name_list *list)
{
    drayi_free(list->env, list->names, (size_t)list->room * sizeof(char *));
}

static dray_status names_read(name_list *list, const char *folder, dray_error *error)
{
    int code = list->env->os->read_dir(folder, name_add, list);
    if (list->status != DRAY_OK)
        return list->status;
    return code < 0 ? dray_fail_os(error, -code, "readdir", "list %s", folder) : DRAY_OK;
}

static bool is_index_name(const char *name)
{
    static const char suffix[] = ".index.json";
    size_t length = strlen(name), wanted = sizeof(suffix) - 1;
    return strcmp(name, suffix + 1) == 0 ||
           (length > wanted && strcmp(name + length - wanted, suffix) == 0);
}

/// Does any format or codec know the first bytes? A file that cannot be read is no candidate.
static bool is_model_head(const drayi_env *env, const uint8_t *head, uint64_t count,
                          uint64_t file_bytes)
{
    for (const dray_format_ops *const *format = env->formats; *format; format++) {
        if ((*format)->probe(head, count, file_bytes) > 0)
            return true;
    }
    for (const dray_codec_ops *const *codec = env->codecs; codec && *codec; codec++) {
        if ((*codec)->probe(head, count) > 0)
            return true;
    }
    return false;
}

static bool is_model(const drayi_env *env, const char *path)
{
    const drayi_os *os = env->os;
    uint8_t head[head_bytes_most];
    int fd;
    drayi_file_facts facts;
    if (drayi_open_file(os, path, O_RDONLY | O_NONBLOCK, 0, &fd, NULL) != DRAY_OK)
        return false;
    bool found = false;
    if (os->facts(fd, &facts) == 0 && S_ISREG(facts.mode)) {
        uint64_t count = drayi_min(facts.bytes, sizeof(head));
        if (drayi_pread_all(os, fd, path, head, count, 0, NULL, NULL) == DRAY_OK)
            found = is_model_head(env, head, count, facts.bytes);
    }
    drayi_close_file(os, fd);
    return found;
}

static bool is_later_split(const char *name)
{
    uint32_t number, count;
    return drayi_split_name(name, &number, &count) && number != 1;
}

/// Keeps the names of index files; the order of the others is lost.
static uint64_t indexes_to_front(name_list *list)
{
    uint64_t found = 0;
    for (uint64_t i = 0; i < list->count; i++) {
        if (!is_index_name(list->names[i]))
            continue;
        char *name = list->names[i];
        list->names[i] = list->names[found];
        list->names[found++] = name;
    }
    return found;
}

static dray_status models_to_front(name_list *list, const char *folder, uint64_t *out_found,
                                   dray_error *error)
{
    uint64_t found = 0;
    for (uint64_t i = 0; i < list->count; i++) {
        char *name = list->names[i], *path;
        if (is_later_split(name))
            continue;
        DRAY_TRY(drayi_path_join(list->arena, folder, name, &path, error));
        if (is_model(list->env, path))
            list->names[found++] = name; // found <= i: what is overwritten has been looked at
    }
    *out_found = found;
    return DRAY_OK;
}

/// A folder is listed in no order; what is said of it should not change from run to run.
static void first_names_to_front(name_list *list, uint64_t found)
{
    for (uint64_t place = 0; place < 2; place++) {
        for (uint64_t i = place + 1; i < found; i++) {
            char *name = list->names[i];
            if (strcmp(name, list->names[place]) >= 0)
                continue;
            list->names[i] = list->names[place];
            list->names[place] = name;
        }
    }
}

static dray_status choose_one(name_list *list, const char *folder, char **out_path,
                              dray_error *error)
{
    DRAY_TRY(names_read(list, folder, error));
    uint64_t found = indexes_to_front(list);
    const char *kind = "index files";
    if (found == 0) {
        kind = "models";
        DRAY_TRY(models_to_front(list, folder, &found, error));
    }
    if (found == 0)
        return dray_fail(error, DRAY_E_NOTFOUND,
                         "%s is a folder without an index.json and without a model", folder);
    if (found > 1) {
        first_names_to_front(list, found);
        return dray_fail(
            error, DRAY_E_INVALID,
            "%s is a folder that holds %" PRIu64 " %s (%s, %s%s): name the one that is meant",
            folder, found, kind, list->names[0], list->names[1], found > 2 ? ", ..." : "");
    }
    return drayi_path_join(list->arena, folder, list->names[0], out_path, error);
}

dray_status drayi_folder_choose(dray_weights *weights, const char *folder, char **out_path,
                                dray_error *error)
{
    name_list list = {.env = weights->env, .arena = &weights->index.arena, .error = error};
    dray_status status = choose_one(&list, folder, out_path, error);
    names_free(&list);
    return status;
}
