/// The serving end of one conversation (transfer/bootstrap.h) on a socket that never blocks.
#ifndef DRAY_TRANSFER_CONVERSATION_H
#define DRAY_TRANSFER_CONVERSATION_H

#include "base/env.h"
#include "transfer/bootstrap.h"

typedef enum drayi_conversation_stage {
    DRAYI_CONVERSATION_HELLO = 0, // waits for one
    DRAYI_CONVERSATION_ANSWER,
    DRAYI_CONVERSATION_PROOF, // waits for one
    DRAYI_CONVERSATION_GRANT,
    DRAYI_CONVERSATION_BLOB
} drayi_conversation_stage;

/// Zeroed: nothing was said yet.
typedef struct drayi_conversation {
    drayi_conversation_stage stage;
    bool last;         // what is being sent ends it, with this reason
    dray_error reason; // of `last`
    bool stays;        // set by the owner: the connection will be kept
    uint64_t moved;    // bytes of the message of this stage
    drayi_boot_talk talk;
    uint8_t *blob;
    uint64_t blob_bytes, blob_room;
} drayi_conversation;

typedef enum drayi_conversation_state {
    DRAYI_CONVERSATION_GOES_ON,
    DRAYI_CONVERSATION_GRANTED,
    DRAYI_CONVERSATION_REFUSED, // *error says why
    DRAYI_CONVERSATION_BROKEN   // the other side is gone
} drayi_conversation_state;

/// Moves what can be moved now.
drayi_conversation_state drayi_conversation_work(drayi_conversation *at, dray_agent *agent,
                                                 const drayi_boot_secret *secret, int fd,
                                                 dray_error *error);
/// Does it wait until it can send, rather than for bytes?
bool drayi_conversation_sends(const drayi_conversation *at);
/// Has the other side shown that it may have the metadata?
bool drayi_conversation_is_proven(const drayi_conversation *at);
void drayi_conversation_end(drayi_conversation *at, drayi_env *env);

#endif
