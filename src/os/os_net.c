/// TCP, as much of it as a short conversation between two programs needs.
#include "os/os_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct sockaddr_in6) <= sizeof(((drayi_address *)0)->bytes),
               "an address must hold every sockaddr we use");

// --- addresses -----------------------------------------------------------------------------------

/// A copy on the stack: the bytes have no alignment of their own.
typedef union net_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} net_address;

static net_address address_in(const drayi_address *address)
{
    net_address in = {.v6 = {0}};
    if (address->count <= sizeof(in))
        memcpy(&in, address->bytes, address->count);
    return in;
}

static bool address_out(const void *from, socklen_t count, drayi_address *out)
{
    if (count > sizeof(net_address))
        return false;
    *out = (drayi_address){.count = count};
    memcpy(out->bytes, from, count);
    return true;
}

bool drayi_address_is_loopback(const drayi_address *address)
{
    const net_address in = address_in(address);
    if (in.any.sa_family == AF_INET)
        return ntohl(in.v4.sin_addr.s_addr) >> 24 == 127;
    return in.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in.v6.sin6_addr);
}

uint16_t drayi_address_port(const drayi_address *address)
{
    const net_address in = address_in(address);
    return ntohs(in.any.sa_family == AF_INET6 ? in.v6.sin6_port : in.v4.sin_port);
}

const char *drayi_address_text(const drayi_address *address, char out[DRAYI_ADDRESS_TEXT])
{
    const net_address in = address_in(address);
    bool six = in.any.sa_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "?";
    const void *bytes = six ? (const void *)&in.v6.sin6_addr : (const void *)&in.v4.sin_addr;
    inet_ntop(six ? AF_INET6 : AF_INET, bytes, host, sizeof(host));
    snprintf(out, DRAYI_ADDRESS_TEXT, six ? "[%s]:%u" : "%s:%u", host, drayi_address_port(address));
    return out;
}

int drayi_net_resolve(const char *host, uint16_t port, drayi_address *out, unsigned capacity,
                      char *out_why, size_t why_bytes)
{
    const struct addrinfo wanted = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[8];
    unsigned count = 0;
    snprintf(service, sizeof(service), "%u", port);
    int code = getaddrinfo(host, service, &wanted, &found);
    for (const struct addrinfo *each = found; code == 0 && each && count < capacity;
         each = each->ai_next)
        count += address_out(each->ai_addr, each->ai_addrlen, &out[count]);
    if (code == 0)
        freeaddrinfo(found);
    if (count == 0)
        snprintf(out_why, why_bytes, "%s", code ? gai_strerror(code) : "it has no address");
    return (int)count;
}

// --- sockets -------------------------------------------------------------------------------------

static int net_socket(const net_address *address)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int closed_with(int fd, int code)
{
    close(fd);
    return code;
}

int drayi_net_listen(const drayi_address *at, int backlog)
{
    const net_address address = address_in(at);
    const int one = 1;
    int fd = net_socket(&address);
    if (fd < 0)
        return fd;
    // A port whose last connections linger can be used again; one that somebody listens on cannot.
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, &address.any, at->count) != 0 || listen(fd, backlog) != 0)
        return closed_with(fd, -errno);
    return fd;
}

/// A few small messages there and back: none should wait for the next. Then silence, in which the other
/// machine may vanish: the kernel asks for it after 10 s, and has its answer after another 15.
static int tuned(int fd)
{
    static const int options[][3] = {{IPPROTO_TCP, TCP_NODELAY, 1},
                                     {SOL_SOCKET, SO_KEEPALIVE, 1},
                                     {IPPROTO_TCP, TCP_KEEPIDLE, 10},
                                     {IPPROTO_TCP, TCP_KEEPINTVL, 5},
                                     {IPPROTO_TCP, TCP_KEEPCNT, 3}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        (void)setsockopt(fd, options[i][0], options[i][1], &options[i][2], sizeof(int));
    return fd;
}

int drayi_net_accept(int fd)
{
    int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return accepted < 0 ? -errno : tuned(accepted);
}

int drayi_net_connect(const drayi_address *to)
{
    const net_address address = address_in(to);
    int fd = net_socket(&address);
    if (fd < 0)
        return fd;
    if (connect(fd, &address.any, to->count) != 0 && errno != EINPROGRESS && errno != EINTR)
        return closed_with(fd, -errno);
    return tuned(fd);
}

int drayi_net_connected(int fd)
{
    int code = 0;
    socklen_t count = sizeof(code);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &count) != 0)
        return -errno;
    return -code;
}

int drayi_net_where(int fd, drayi_address *out)
{
    net_address address;
    socklen_t count = sizeof(address);
    if (getsockname(fd, &address.any, &count) != 0)
        return -errno;
    return address_out(&address, count, out) ? 0 : -EAFNOSUPPORT;
}

ssize_t drayi_net_send(int fd, const void *bytes, size_t count)
{
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

ssize_t drayi_net_receive(int fd, void *out, size_t count)
{
    ssize_t got = recv(fd, out, count, 0);
    return got < 0 ? -errno : got;
}

int drayi_net_wait_writable(int fd, int64_t timeout_ns)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    const struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                                     .tv_nsec = timeout_ns % 1000000000};
    int code = ppoll(&wanted, 1, timeout_ns < 0 ? NULL : &timeout, NULL);
    return code < 0 ? -errno : code > 0;
}
