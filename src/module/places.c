#include "module/places.h"

#include "base/sort.h"
#include "os/os.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct drayi_place_table {
    drayi_place_table *older;
    uint64_t capacity; // power of two, at most half full
    drayi_place *_Atomic slots[];
};

enum { first_capacity = 128 };

// --- reading ----------------------------------------------------------------------------------------

static uint64_t hash_of(const char *name, uint64_t bytes)
{
    uint64_t hash = bytes * 0x9E3779B97F4A7C15u, word;
    for (; bytes >= 8; name += 8, bytes -= 8) {
        memcpy(&word, name, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, name, bytes);
    hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
    return hash ^ (hash >> 32);
}

static drayi_place *place_find(const drayi_place_table *table, const char *name, uint64_t bytes,
                               uint64_t hash)
{
    for (uint64_t at = hash;; at++) {
        drayi_place *place =
            atomic_load_explicit(&table->slots[at & (table->capacity - 1)], memory_order_acquire);
        if (!place || (place->hash == hash && place->name_bytes == bytes &&
                       memcmp(place->name, name, bytes) == 0))
            return place;
    }
}

/// Threads have their stacks megabytes apart, a thread's own calls are close together.
static drayi_place_counter *counter_of_thread(drayi_place *place)
{
    char here;
    uint64_t stack = (uint64_t)(uintptr_t)&here >> 16;
    return &place->counters[(stack * 0x9E3779B97F4A7C15u) >> 61];
}

_Static_assert(DRAYI_PLACE_COUNTERS == 8, "counter_of_thread() gives three bits");

dray_global_hold drayi_places_borrow(drayi_places *places, const char *name, uint64_t name_bytes)
{
    const drayi_place_table *table = atomic_load_explicit(&places->table, memory_order_acquire);
    drayi_place *place = place_find(table, name, name_bytes, hash_of(name, name_bytes));
    if (!place)
        return (dray_global_hold){0};
    drayi_place_counter *counter = counter_of_thread(place);
    atomic_fetch_add(&counter->inside, 1);
    dray_global_hold hold = {.function = atomic_load(&place->function), .place = counter};
    if (!hold.function)
        dray_global_give_back(&hold);
    return hold;
}

// --- leaving, and what waits for it -------------------------------------------------------------------

static void retired_end(drayi_places *places, drayi_retired *retired)
{
    dray_object_release(&retired->function->head);
    dray_module_release(retired->provider);
    drayi_free(places->env, retired, sizeof(*retired));
}

/// Looks at the counters that were not seen empty yet; true: all were.
static bool retired_look(drayi_retired *retired)
{
    for (unsigned i = 0; i < DRAYI_PLACE_COUNTERS; i++)
        if (atomic_load(&retired->place->counters[i].inside) == 0)
            retired->seen_empty |= 1u << i;
    return retired->seen_empty == (1u << DRAYI_PLACE_COUNTERS) - 1;
}

static void retired_unlink(drayi_places *places, const drayi_retired *retired)
{
    drayi_retired **at = &places->retired;
    while (*at != retired)
        at = &(*at)->next;
    *at = retired->next;
    atomic_fetch_sub(&retired->place->awaited, 1);
}

/// Somebody left a place that is awaited: wakes removers, ends what nobody waits for.
static void place_left(drayi_place *place)
{
    drayi_places *places = place->places;
    drayi_retired *ended = NULL;
    pthread_mutex_lock(&places->lock);
    for (drayi_retired *each = places->retired, *next; each; each = next) {
        next = each->next;
        if (each->place != place || each->done || !retired_look(each))
            continue;
        each->done = true;
        if (!each->awaited) {
            retired_unlink(places, each);
            each->next = ended;
            ended = each;
        }
    }
    pthread_cond_broadcast(&places->left);
    pthread_mutex_unlock(&places->lock);
    while (ended) {
        drayi_retired *next = ended->next;
        retired_end(places, ended);
        ended = next;
    }
}

void dray_global_give_back(dray_global_hold *hold)
{
    drayi_place_counter *counter = hold->place;
    if (!counter)
        return;
    drayi_place *place = counter->place; // stays, whatever happens to the function
    *hold = (dray_global_hold){0};
    atomic_fetch_sub(&counter->inside, 1);
    if (atomic_load(&place->awaited) > 0)
        place_left(place);
}

/// Until nobody who saw the old function is inside, or the time is over.
static dray_status retired_wait(drayi_places *places, drayi_retired *retired, int64_t timeout_ns,
                                dray_error *error)
{
    int64_t deadline = timeout_ns < 0 ? INT64_MAX : places->env->os->now_ns() + timeout_ns;
    pthread_mutex_lock(&places->lock);
    int code = 0;
    while (!retired->done && !(retired->done = retired_look(retired)) && code == 0) {
        if (timeout_ns < 0) {
            pthread_cond_wait(&places->left, &places->lock);
            continue;
        }
        struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
        code = pthread_cond_timedwait(&places->left, &places->lock, &until);
    }
    bool done = retired->done;
    retired->awaited = false;
    if (done)
        retired_unlink(places, retired);
    pthread_mutex_unlock(&places->lock);
    if (!done)
        return dray_fail(error, DRAY_E_BUSY,
                         "global \"%s\": calls are still in flight after %" PRId64 " ms",
                         retired->place->name, timeout_ns / 1000000);
    retired_end(places, retired);
    return DRAY_OK;
}

/// Nobody waits: it ends now, or with the last call that is inside. So a function may replace itself.
static void retired_leave(drayi_places *places, drayi_retired *retired)
{
    pthread_mutex_lock(&places->lock);
    retired->awaited = false;
    bool done = retired->done || retired_look(retired);
    if (done)
        retired_unlink(places, retired);
    pthread_mutex_unlock(&places->lock);
    if (done)
        retired_end(places, retired);
}

// --- writing -------------------------------------------------------------------------------------------

static size_t table_bytes(uint64_t capacity)
{
    return sizeof(drayi_place_table) + capacity * sizeof(drayi_place *);
}

static drayi_place_table *table_create(drayi_env *env, uint64_t capacity, dray_error *error)
{
    drayi_place_table *table = drayi_alloc(env, table_bytes(capacity), error);
    if (table)
        table->capacity = capacity;
    return table;
}

static void table_add(drayi_place_table *table, drayi_place *place)
{
    uint64_t at = place->hash;
    while (atomic_load_explicit(&table->slots[at & (table->capacity - 1)], memory_order_relaxed))
        at++;
    atomic_store_explicit(&table->slots[at & (table->capacity - 1)], place, memory_order_release);
}

/// Room for one more place; readers of the older table find all that was there when they began.
static dray_status table_make_room(drayi_places *places, dray_error *error)
{
    drayi_place_table *table = atomic_load(&places->table);
    if (places->count < table->capacity / 2)
        return DRAY_OK;
    drayi_place_table *larger = table_create(places->env, table->capacity * 2, error);
    if (!larger)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < table->capacity; i++) {
        drayi_place *place = atomic_load(&table->slots[i]);
        if (place)
            table_add(larger, place);
    }
    larger->older = table;
    atomic_store(&places->table, larger);
    return DRAY_OK;
}

static size_t place_bytes(uint64_t name_bytes)
{
    return sizeof(drayi_place) + name_bytes + 1;
}

/// The place of a name, made when there is none. Under the lock.
static drayi_place *place_of(drayi_places *places, const char *name, dray_error *error)
{
    uint64_t bytes = strlen(name), hash = hash_of(name, bytes);
    drayi_place *place = place_find(atomic_load(&places->table), name, bytes, hash);
    if (place || table_make_room(places, error) != DRAY_OK)
        return place;
    place = drayi_alloc(places->env, place_bytes(bytes), error);
    if (!place)
        return NULL;
    place->places = places;
    place->hash = hash;
    place->name_bytes = bytes;
    memcpy(place->name, name, bytes);
    for (unsigned i = 0; i < DRAYI_PLACE_COUNTERS; i++)
        place->counters[i].place = place;
    table_add(atomic_load(&places->table), place);
    places->count++;
    return place;
}

/// Exchanges what stands in a place; the old one waits in `retired`. Under the lock.
static void place_exchange(drayi_place *place, dray_function_object *function,
                           dray_module *provider, drayi_retired *retired)
{
    drayi_places *places = place->places;
    *retired = (drayi_retired){
        .next = places->retired, .place = place, .provider = place->provider, .awaited = true};
    places->retired = retired;
    atomic_fetch_add(&place->awaited, 1); // before the exchange: who leaves after it has to tell
    retired->function = atomic_exchange(&place->function, function);
    place->provider = provider;
}

static dray_status name_check(const char *name, dray_error *error)
{
    size_t bytes = name ? strnlen(name, DRAYI_PLACE_NAME_MAX + 1) : 0;
    if (bytes >= 1 && bytes <= DRAYI_PLACE_NAME_MAX)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID, "global: a name has 1 to %d bytes, this one %s",
                     DRAYI_PLACE_NAME_MAX, bytes ? "more" : "none");
}

dray_status drayi_places_set(drayi_places *places, const char *name, dray_function_object *function,
                             dray_module *provider, uint32_t flags, dray_error *error)
{
    DRAY_TRY(name_check(name, error));
    drayi_retired *retired = drayi_new(places->env, drayi_retired, error);
    if (!retired)
        return DRAY_E_NOMEM;
    pthread_mutex_lock(&places->lock);
    drayi_place *place = place_of(places, name, error);
    dray_status status = place ? DRAY_OK : DRAY_E_NOMEM;
    bool taken = place && atomic_load(&place->function) != NULL;
    if (taken && !(flags & DRAY_GLOBAL_REPLACE))
        status = dray_fail(error, DRAY_E_INVALID, "global \"%s\" is registered already", name);
    if (status == DRAY_OK) {
        dray_object_retain(&function->head);
        if (provider)
            dray_module_retain(provider);
        if (taken) {
            place_exchange(place, function, provider, retired);
        } else {
            place->provider = provider;
            atomic_store(&place->function, function);
        }
    }
    pthread_mutex_unlock(&places->lock);
    if (status == DRAY_OK && taken)
        retired_leave(places, retired);
    else
        drayi_free(places->env, retired, sizeof(*retired));
    return status;
}

dray_status drayi_places_remove(drayi_places *places, const char *name,
                                const dray_function_object *only, int64_t timeout_ns,
                                dray_error *error)
{
    DRAY_TRY(name_check(name, error));
    drayi_retired *retired = drayi_new(places->env, drayi_retired, error);
    if (!retired)
        return DRAY_E_NOMEM;
    uint64_t bytes = strlen(name);
    pthread_mutex_lock(&places->lock);
    drayi_place *place = place_find(atomic_load(&places->table), name, bytes, hash_of(name, bytes));
    const dray_function_object *function = place ? atomic_load(&place->function) : NULL;
    bool found = function && (!only || function == only);
    if (found)
        place_exchange(place, NULL, NULL, retired);
    pthread_mutex_unlock(&places->lock);
    if (found)
        return retired_wait(places, retired, timeout_ns, error);
    drayi_free(places->env, retired, sizeof(*retired));
    return dray_fail(error, DRAY_E_NOTFOUND, "global \"%s\" is not registered", name);
}

// --- listing ---------------------------------------------------------------------------------------------

static int compare_names(const void *left, const void *right, const void *self)
{
    (void)self;
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

dray_status drayi_places_list(drayi_places *places, const char *prefix, const char ***out_names,
                              uint64_t *out_count, uint64_t *out_capacity, dray_error *error)
{
    size_t prefix_bytes = prefix ? strlen(prefix) : 0;
    pthread_mutex_lock(&places->lock);
    uint64_t capacity = 2 * places->count, count = 0; // the second half is for sorting
    const char **names = drayi_alloc_array(places->env, capacity, sizeof(*names), error);
    const drayi_place_table *table = atomic_load(&places->table);
    for (uint64_t i = 0; names && i < table->capacity; i++) {
        drayi_place *place = atomic_load(&table->slots[i]);
        if (place && atomic_load(&place->function) &&
            strncmp(place->name, prefix ? prefix : "", prefix_bytes) == 0)
            names[count++] = place->name;
    }
    pthread_mutex_unlock(&places->lock);
    if (!names)
        return DRAY_E_NOMEM;
    drayi_sort(names, names + count, count, sizeof(*names), compare_names, NULL);
    *out_names = names;
    *out_count = count;
    *out_capacity = capacity;
    return DRAY_OK;
}

// --- the whole ---------------------------------------------------------------------------------------------

dray_status drayi_places_init(drayi_places *places, drayi_env *env, dray_error *error)
{
    drayi_place_table *table = table_create(env, first_capacity, error);
    if (!table)
        return DRAY_E_NOMEM;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&places->left, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&places->lock, NULL);
    places->env = env;
    atomic_store(&places->table, table);
    return DRAY_OK;
}

static void place_free(drayi_env *env, drayi_place *place)
{
    dray_function_object *function = atomic_load(&place->function);
    if (function)
        dray_object_release(&function->head);
    dray_module_release(place->provider);
    drayi_free(env, place, place_bytes(place->name_bytes));
}

void drayi_places_free(drayi_places *places)
{
    drayi_place_table *table = atomic_load(&places->table);
    if (!table)
        return;
    while (places->retired) {
        drayi_retired *next = places->retired->next;
        retired_end(places, places->retired);
        places->retired = next;
    }
    for (uint64_t i = 0; i < table->capacity; i++) {
        drayi_place *place = atomic_load(&table->slots[i]);
        if (place)
            place_free(places->env, place);
    }
    while (table) {
        drayi_place_table *older = table->older;
        drayi_free(places->env, table, table_bytes(table->capacity));
        table = older;
    }
    pthread_cond_destroy(&places->left);
    pthread_mutex_destroy(&places->lock);
    *places = (drayi_places){0};
}
