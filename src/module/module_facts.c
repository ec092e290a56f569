/// What an image is, read from its bytes; nothing of it runs, and no policy is asked.
#include "base/arena.h"
#include "base/sha256.h"
#include "base/sort.h"
#include "module/image.h"
#include "module/load_module.h"
#include "module/trust.h"

#include <string.h>

/// Texts that grow; they and the finished list are the arena's.
typedef struct texts {
    const char **items;
    uint64_t count, capacity;
} texts;

struct dray_module_facts {
    drayi_env *env;
    drayi_arena arena;
    dray_module_facts_view view;
    texts functions, needed, imports, notes;
};

static dray_status texts_add(dray_module_facts *facts, texts *list, dray_text text,
                             dray_error *error)
{
    DRAY_TRY(drayi_grow(facts->env, (void **)&list->items, &list->capacity, list->count + 1,
                        sizeof(*list->items), error));
    const char *copy = drayi_arena_text(&facts->arena, text.bytes, text.length, error);
    if (!copy)
        return DRAY_E_NOMEM;
    list->items[list->count++] = copy;
    return DRAY_OK;
}

static dray_status report_arch(void *self, const char *arch, dray_error *error)
{
    dray_module_facts *facts = self;
    facts->view.arch = drayi_arena_text(&facts->arena, arch, strlen(arch), error);
    return facts->view.arch ? DRAY_OK : DRAY_E_NOMEM;
}

static dray_status report_function(void *self, dray_text name, dray_error *error)
{
    dray_module_facts *facts = self;
    return texts_add(facts, &facts->functions, name, error);
}

static dray_status report_needed(void *self, dray_text library, dray_error *error)
{
    dray_module_facts *facts = self;
    return texts_add(facts, &facts->needed, library, error);
}

static dray_status report_import(void *self, dray_text kind, dray_error *error)
{
    dray_module_facts *facts = self;
    return texts_add(facts, &facts->imports, kind, error);
}

static dray_status report_note(void *self, const char *text, dray_error *error)
{
    dray_module_facts *facts = self;
    return texts_add(facts, &facts->notes, (dray_text){text, strlen(text)}, error);
}

static int compare_texts(const void *left, const void *right, const void *self)
{
    (void)self;
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static dray_status sort_functions(dray_module_facts *facts, dray_error *error)
{
    uint64_t count = facts->functions.count;
    const char **scratch = drayi_alloc_array(facts->env, count, sizeof(*scratch), error);
    if (!scratch)
        return DRAY_E_NOMEM;
    drayi_sort(facts->functions.items, scratch, count, sizeof(*scratch), compare_texts, NULL);
    drayi_free(facts->env, scratch, count * sizeof(*scratch));
    return DRAY_OK;
}

static void facts_view(dray_module_facts *facts)
{
    dray_module_facts_view *view = &facts->view;
    view->functions = facts->functions.items;
    view->function_count = facts->functions.count;
    view->needed = facts->needed.items;
    view->needed_count = facts->needed.count;
    view->imports = facts->imports.items;
    view->import_count = facts->imports.count;
    view->notes = facts->notes.items;
    view->note_count = facts->notes.count;
}

/// The loader looks; what it says of broken bytes arrives as it said it.
static dray_status facts_fill(dray_module_facts *facts, const dray_loader_ops *ops,
                              dray_image *image, dray_error *error)
{
    dray_module_facts_view *view = &facts->view;
    view->struct_bytes = sizeof(*view);
    view->bytes = image->byte_count;
    view->arch = "";
    view->loadable = ops->load != NULL;
    view->kind = drayi_arena_text(&facts->arena, ops->kind, strlen(ops->kind), error);
    if (!view->kind)
        return DRAY_E_NOMEM;
    const dray_module_report report = {.self = facts,
                                       .arch = report_arch,
                                       .function = report_function,
                                       .needed = report_needed,
                                       .import = report_import,
                                       .note = report_note};
    if (ops->inspect)
        DRAY_TRY(ops->inspect(facts->env, image, &report, error));
    if (!ops->load)
        DRAY_TRY(report_note(facts, ops->refusal, error));
    DRAY_TRY(sort_functions(facts, error));
    facts_view(facts);
    if (!drayi_has_crypto())
        return DRAY_OK;
    DRAY_TRY(drayi_trust_hash(image, error));
    memcpy(view->sha256, image->sha256, sizeof(view->sha256));
    view->has_sha256 = 1;
    return DRAY_OK;
}

static dray_status inspect_image(drayi_modules *modules, const char *kind, dray_image *image,
                                 dray_module_facts *facts, dray_error *error)
{
    drayi_loader_call call;
    dray_function_object *function;
    DRAY_TRY(drayi_load_choose(modules, kind, false, image, &call, &function, error));
    dray_status status = DRAY_OK;
    if (call.entry) {
        status = facts_fill(facts, call.entry->ops, image, error);
        drayi_loader_leave(&call);
    } else {
        dray_object_release(&function->head);
        status = dray_fail(error, DRAY_E_UNSUPPORTED, "kind %s cannot be inspected", kind);
    }
    return status;
}

dray_status dray_module_inspect(dray_context *context, const char *kind,
                                const dray_module_source *source, dray_module_facts **out_facts,
                                dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    dray_module_facts *facts = modules ? drayi_new(modules->env, dray_module_facts, error) : NULL;
    if (!facts)
        return DRAY_E_NOMEM;
    facts->env = modules->env;
    facts->arena.env = modules->env;
    dray_image *image = NULL;
    dray_status status = drayi_image_open(modules->env, source, &image, error);
    if (status == DRAY_OK) {
        status = inspect_image(modules, kind, image, facts, error);
        if (status != DRAY_OK)
            dray_fail_within(error, status, "inspect module %s", image->name);
        image->release(image);
    }
    if (status != DRAY_OK)
        dray_module_facts_destroy(facts);
    else
        *out_facts = facts;
    return status;
}

const dray_module_facts_view *dray_module_facts_get(const dray_module_facts *facts)
{
    return &facts->view;
}

void dray_module_facts_destroy(dray_module_facts *facts)
{
    if (!facts)
        return;
    drayi_env *env = facts->env;
    texts *lists[] = {&facts->functions, &facts->needed, &facts->imports, &facts->notes};
    for (unsigned i = 0; i < 4; i++)
        drayi_free(env, lists[i]->items, lists[i]->capacity * sizeof(*lists[i]->items));
    drayi_arena_free(&facts->arena);
    drayi_free(env, facts, sizeof(*facts));
}
