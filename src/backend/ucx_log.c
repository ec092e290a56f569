/// What UCX wants to say goes to the context's log: the library itself prints nothing.
///
/// UCX has one chain of log handlers per process and tells them nothing of who asked. So each thread
/// remembers on whose behalf it is inside UCX; messages of other threads, and of other users of UCX in
/// the process, go on to the next handler. That memory, and the count of those who want the handler, are
/// the only state of this library that is not inside an object.
#include "backend/ucx_backend.h"

#ifdef DRAY_HAVE_UCX

#include <stdio.h>
#include <string.h>

static _Thread_local const drayi_env *ucx_log_speaker; // NULL: this thread is not inside UCX for us
static pthread_mutex_t ucx_log_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned ucx_log_users; // guarded by ucx_log_lock

static dray_log_level level_of(ucs_log_level_t level)
{
    if (level <= UCS_LOG_LEVEL_ERROR)
        return DRAY_LOG_ERROR;
    if (level == UCS_LOG_LEVEL_WARN)
        return DRAY_LOG_WARNING;
    return level <= UCS_LOG_LEVEL_INFO ? DRAY_LOG_INFO : DRAY_LOG_DEBUG;
}

/// What UCX complains about when a worker goes before its requests have ended, which is what we do on
/// purpose: of interest to nobody who uses the program.
static _Thread_local bool ucx_log_is_low;

void drayi_ucx_log_low(bool low)
{
    ucx_log_is_low = low;
}

static ucs_log_func_rc_t hear(const char *file, unsigned line, const char *function,
                              ucs_log_level_t level, const ucs_log_component_config_t *component,
                              const char *message, va_list arguments)
{
    (void)function;
    (void)component;
    if (!ucx_log_speaker || level == UCS_LOG_LEVEL_FATAL) // it ends the process: let it say why
        return UCS_LOG_FUNC_RC_CONTINUE;
    char text[512];
    vsnprintf(text, sizeof(text), message, arguments);
    const char *name = strrchr(file, '/');
    dray_log_level said = level_of(level);
    if (ucx_log_is_low && said < DRAY_LOG_INFO)
        said = DRAY_LOG_INFO;
    drayi_log(ucx_log_speaker, said, "ucx: %s (%s:%u)", text, name ? name + 1 : file, line);
    return UCS_LOG_FUNC_RC_STOP;
}

void drayi_ucx_log_open(dray_backend *backend)
{
    pthread_mutex_lock(&ucx_log_lock);
    if (ucx_log_users++ == 0)
        backend->ucx.ucs_log_push_handler(hear);
    backend->hears_log = true;
    pthread_mutex_unlock(&ucx_log_lock);
}

void drayi_ucx_log_close(dray_backend *backend)
{
    if (!backend->hears_log)
        return;
    pthread_mutex_lock(&ucx_log_lock);
    if (--ucx_log_users == 0)
        backend->ucx.ucs_log_pop_handler();
    pthread_mutex_unlock(&ucx_log_lock);
}

void drayi_ucx_enter(dray_backend *backend)
{
    pthread_mutex_lock(&backend->lock);
    ucx_log_speaker = backend->env;
}

void drayi_ucx_leave(dray_backend *backend)
{
    ucx_log_speaker = NULL;
    pthread_mutex_unlock(&backend->lock);
}

#endif
