/// Messages come in and go out in turn; each is whole before anything is made of it. See conversation.h.
#include "transfer/conversation.h"

#include "os/os.h"
#include "transfer/agent.h"

#include <errno.h>

/// The metadata as it is now.
static dray_status blob_make(drayi_conversation *at, dray_agent *agent, dray_error *error)
{
    dray_status status = dray_agent_export(agent, NULL, 0, &at->blob_bytes, error);
    if (status != DRAY_E_NOSPACE) // there is no room in nothing
        return status;
    at->blob = drayi_alloc(agent->env, at->blob_bytes, error);
    if (!at->blob)
        return DRAY_E_NOMEM;
    at->blob_room = at->blob_bytes;
    return dray_agent_export(agent, at->blob, at->blob_room, &at->blob_bytes, error);
}

/// What the next message says. Failing: it is the last one, or there is none to be sent.
static dray_status hello_came(drayi_conversation *at, const drayi_os *os,
                              const drayi_boot_secret *secret, bool *out_silent)
{
    uint8_t nonce[DRAYI_BOOT_NONCE];
    int code = os->random(nonce, sizeof(nonce));
    *out_silent = true;
    if (code < 0)
        return dray_fail_os(&at->reason, -code, "getrandom", "choose a nonce");
    dray_status status = drayi_boot_answer(&at->talk, secret, nonce, &at->reason);
    *out_silent = status == DRAY_E_FORMAT;
    return status;
}

static dray_status proof_came(drayi_conversation *at, dray_agent *agent,
                              const drayi_boot_secret *secret)
{
    DRAY_TRY(drayi_boot_proof_check(&at->talk, secret, &at->reason));
    dray_status status = blob_make(at, agent, &at->reason);
    if (status != DRAY_OK)
        (void)drayi_boot_grant(&at->talk, secret, NULL, 0, false, NULL);
    else
        status =
            drayi_boot_grant(&at->talk, secret, at->blob, at->blob_bytes, at->stays, &at->reason);
    if (status != DRAY_OK)
        drayi_log(agent->env, DRAY_LOG_WARNING, "agent %s: no metadata to hand out: %s",
                  agent->name, at->reason.message);
    return status;
}

/// A message is whole: the next one. False: nothing more is said.
static bool turn(drayi_conversation *at, dray_agent *agent, const drayi_boot_secret *secret)
{
    bool silent = false;
    at->moved = 0;
    if (at->stage == DRAYI_CONVERSATION_HELLO)
        at->last = hello_came(at, agent->env->os, secret, &silent) != DRAY_OK;
    else if (at->stage == DRAYI_CONVERSATION_PROOF)
        at->last = proof_came(at, agent, secret) != DRAY_OK;
    else if (at->last || at->stage == DRAYI_CONVERSATION_BLOB)
        return false;
    at->stage = (drayi_conversation_stage)(at->stage + 1);
    return !silent;
}

/// Where the bytes of this stage are, and how many.
static uint8_t *message_of(drayi_conversation *at, uint64_t *out_bytes)
{
    *out_bytes = DRAYI_BOOT_HEAD;
    switch (at->stage) {
    case DRAYI_CONVERSATION_HELLO:
        return at->talk.hello;
    case DRAYI_CONVERSATION_ANSWER:
        return at->talk.answer;
    case DRAYI_CONVERSATION_PROOF:
        *out_bytes = DRAYI_BOOT_PROOF;
        return at->talk.proof;
    case DRAYI_CONVERSATION_GRANT:
        return at->talk.grant;
    default:
        *out_bytes = at->blob_bytes;
        return at->blob;
    }
}

/// Moves bytes until the socket has no more to give or to take. False: the other side is gone.
static bool message_move(drayi_conversation *at, const drayi_os *os, int fd, bool *out_whole)
{
    uint64_t bytes;
    uint8_t *message = message_of(at, &bytes);
    while (at->moved < bytes) {
        uint8_t *rest = message + at->moved;
        size_t left = (size_t)(bytes - at->moved);
        ssize_t count =
            drayi_conversation_sends(at) ? os->send(fd, rest, left) : os->receive(fd, rest, left);
        if (count > 0)
            at->moved += (uint64_t)count;
        else if (count != -EINTR)
            return count == -EAGAIN;
    }
    *out_whole = true;
    return true;
}

drayi_conversation_state drayi_conversation_work(drayi_conversation *at, dray_agent *agent,
                                                 const drayi_boot_secret *secret, int fd,
                                                 dray_error *error)
{
    for (;;) {
        bool whole = false;
        if (!message_move(at, agent->env->os, fd, &whole))
            return DRAYI_CONVERSATION_BROKEN;
        if (!whole)
            return DRAYI_CONVERSATION_GOES_ON;
        if (turn(at, agent, secret))
            continue;
        if (!at->last)
            return DRAYI_CONVERSATION_GRANTED;
        *error = at->reason;
        return DRAYI_CONVERSATION_REFUSED;
    }
}

bool drayi_conversation_sends(const drayi_conversation *at)
{
    return at->stage != DRAYI_CONVERSATION_HELLO && at->stage != DRAYI_CONVERSATION_PROOF;
}

bool drayi_conversation_is_proven(const drayi_conversation *at)
{
    return at->stage >= DRAYI_CONVERSATION_GRANT && !at->last;
}

void drayi_conversation_end(drayi_conversation *at, drayi_env *env)
{
    drayi_free(env, at->blob, at->blob_room);
    *at = (drayi_conversation){0};
}
