/// dray/listener.h: how one agent's metadata gets to another over TCP.
///
///     there                                              here
///     dray_listener_create(a, &options, &listener, &e);
///     dray_listener_address(listener) -> "127.0.0.1:4470"
///     whenever its fd is readable:                       dray_agent_connect(b, "127.0.0.1:4470",
///         dray_listener_poll(listener);                                     &options, &peer, &e);
///         dray_agent_poll(a);                            dray_peer_open(peer, "weights", &remote, &e);
///
/// A conversation is four short messages (docs/design/agent.md describes them byte by byte). With a shared
/// secret both sides prove that they know it, and the secret itself stays at home: no metadata leaves
/// before the other side has proven itself, none is taken in that was changed on its way, and nothing that
/// was overheard can be used again. What comes afterwards, the transfers themselves, is neither
/// encrypted nor authenticated: whoever can reach the agent's own ports needs no metadata (docs/design/
/// agent.md). Beyond one machine, use it on networks that you trust, or inside a tunnel.
/// Threads: as the agent, one at a time.
#ifndef DRAY_LISTENER_H
#define DRAY_LISTENER_H

#include "dray/agent.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_SECRET_BYTES_MIN 16u
#define DRAY_SECRET_BYTES_MAX 1024u

/// Hands out an agent's metadata to whoever may have it. Owns: its socket. Borrows: the agent.
typedef struct dray_listener dray_listener;

typedef struct dray_listener_options {
    size_t struct_bytes;
    const char *address;      ///< "HOST:PORT", "[::1]:PORT"; port 0: any. Default "127.0.0.1:0"
    const void *secret;       ///< copied; NULL: whoever reaches the address may have the metadata
    uint32_t secret_bytes;    ///< 16 to 1024; take them from a random source, they are no password
    uint32_t connections_max; ///< conversations at a time, default 16; one more ends the oldest
    int64_t timeout_ns;       ///< for a whole conversation, default 5 s
    uint32_t peers_max; ///< connections that are kept afterwards, default 256; see dray_listener_destroy
    uint32_t reserved;
} dray_listener_options;

/// DRAY_E_INVALID: no address; an address that is not of this machine alone without a secret, or with an
/// agent that keeps to this machine (DRAY_REACH_HOST); a secret too short. DRAY_E_UNSUPPORTED: the agent
/// has no backend that reaches others; a secret in a build without libcrypto. DRAY_E_IO: the address is taken.
/// `options` may be NULL.
DRAY_API dray_status dray_listener_create(dray_agent *agent, const dray_listener_options *options,
                                          dray_listener **out_listener, dray_error *error);
/// Ends every conversation, and closes the connections of those who have the metadata: each is kept open, so
/// that the end of this process is seen at once, and to them this is that end: what they have in flight fails. Only
/// beyond peers_max they have to find out by themselves. NULL is accepted; before the agent goes.
DRAY_API void dray_listener_destroy(dray_listener *listener);
/// Where it listens, with the port that it got: "127.0.0.1:4470". Valid as long as the listener.
DRAY_API const char *dray_listener_address(const dray_listener *listener);
/// Lets conversations go on; never blocks. What is handed out is what is registered at that moment.
DRAY_API void dray_listener_poll(dray_listener *listener);
/// An fd that is readable when poll has something to do; stays ours, and needs no arming.
DRAY_API int dray_listener_fd(const dray_listener *listener);

typedef struct dray_listener_counts {
    uint64_t granted; ///< conversations that ended with the metadata on its way
    uint64_t refused; ///< wrong or no secret, another version, or no conversation of ours at all
    uint64_t expired; ///< too slow, broken off, or put out by a newer one
    uint64_t open;    ///< going on
    uint64_t kept;    ///< peers whose connection is kept
} dray_listener_counts;
DRAY_API void dray_listener_count(const dray_listener *listener, dray_listener_counts *out_counts);

typedef struct dray_connect_options {
    size_t struct_bytes;
    const void *secret; ///< NULL: only possible for addresses of this machine
    uint32_t secret_bytes;
    uint32_t reserved;
    int64_t timeout_ns; ///< for all of it but the search for the host's address; default 5 s
} dray_connect_options;

/// Fetches the metadata of the agent that listens at `address` ("HOST:PORT") and imports it. Blocks.
/// DRAY_E_INVALID: an address or a secret that cannot be, the listener wants another secret, or proves that
/// it does not know ours. DRAY_E_NOTFOUND: no such host. DRAY_E_IO: nobody listens, or it hung up.
/// DRAY_E_TIMEOUT. DRAY_E_FORMAT: it is no listener of ours. DRAY_E_UNSUPPORTED: it speaks another version.
/// DRAY_E_CORRUPT: the metadata is not what the listener sent. And as dray_agent_import(). `options` may be NULL.
DRAY_API dray_status dray_agent_connect(dray_agent *agent, const char *address,
                                        const dray_connect_options *options, dray_peer **out_peer,
                                        dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
