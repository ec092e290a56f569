/// Two agents on two machines, as far as one machine can play two: each process has a network of its own,
/// a pair of virtual cables between them is all they share besides memory, and TCP is the only way that works:
/// UCX would find shared memory, too, and then wait for ever for a peer that it cannot wake.
#include "support/testing.h"
#include "support/ucx_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

// NOLINTBEGIN(cert-env33-c): the commands are our own, and ip is spoken to no other way

enum { bytes = 2 * 1024 * 1024 + 11 };

static bool file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/// /sys shows the network that was there when it was mounted.
static bool own_sys(void)
{
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("sysfs", "/sys", "sysfs", 0, NULL) == 0;
}

/// What `unshare -Urn` does. NULL: we are root in a network of our own; otherwise why not.
static const char *own_network(void)
{
    static char why[128];
    char uid[64], gid[64];
    snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)getuid());
    snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0) {
        snprintf(why, sizeof(why), "unshare(user, network, mounts): %s", strerror(errno));
        return why;
    }
    file_write("/proc/self/setgroups", "deny");
    if (!file_write("/proc/self/uid_map", uid) || !file_write("/proc/self/gid_map", gid))
        return "this user cannot be mapped to root";
    if (system("ip link add cable type veth peer name other 2>/dev/null && ip link del cable") != 0)
        return "the kernel or iproute2 makes no veth pair here";
    if (!own_sys())
        return "/sys cannot be mounted anew, and UCX finds its devices there";
    return NULL;
}

/// The kernel says a little later that a cable's end is up, and UCX passes over what is down.
static void wait_until_up(const char *operstate)
{
    for (int i = 0; i < 200; i++) {
        char word[16] = "";
        int fd = open(operstate, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            (void)!read(fd, word, sizeof(word) - 1);
            close(fd);
        }
        if (strncmp(word, "up", 2) == 0)
            return;
        usleep(20000);
    }
}

/// In the far process: a network of its own, until the cable's end and its address are there.
static void far_network(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 || !own_sys())
        _exit(10);
    for (int i = 0; i < 200; i++) {
        if (system("ip link set lo up && ip link set far up 2>/dev/null && "
                   "ip addr add 10.77.0.2/24 dev far 2>/dev/null") == 0) {
            wait_until_up("/sys/class/net/far/operstate");
            return;
        }
        usleep(20000);
    }
    _exit(11);
}

static bool in_our_network(pid_t pid)
{
    char path[64], ours[64] = "", theirs[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    return readlink("/proc/self/ns/net", ours, sizeof(ours) - 1) > 0 &&
           readlink(path, theirs, sizeof(theirs) - 1) > 0 && strcmp(ours, theirs) == 0;
}

static void lay_cable(pid_t pid)
{
    for (int i = 0; i < 1000 && in_our_network(pid); i++)
        usleep(10000);
    char command[256];
    snprintf(
        command, sizeof(command),
        "ip link set lo up; ip link del near 2>/dev/null; ip link add near type veth peer name far netns %d && "
        "ip addr add 10.77.0.1/24 dev near && ip link set near up",
        (int)pid);
    assert_int_equal(system(command), 0);
    wait_until_up("/sys/class/net/near/operstate");
}

static void good(dray_status status, const ucx_end *end)
{
    if (status != DRAY_OK)
        fail_msg("%s: %s", dray_status_name(status), end->error.message);
}

static void two_networks_exchange_regions(void **state)
{
    (void)state;
    ucx_peer peer;
    ucx_end near;
    ucx_peer_start_between(&peer, "far", bytes, 2, DRAY_REACH_NETWORK, far_network, lay_cable);
    ucx_end_open_reach(&near, "near", bytes, 1, 0, DRAY_REACH_NETWORK);
    dray_peer *far;
    dray_region *remote;
    good(dray_agent_import(near.agent, peer.blob, peer.blob_bytes, &far, &near.error), &near);
    good(dray_peer_open(far, "memory", &remote, &near.error), &near);
    good(ucx_run(&near, NULL, remote, near.region, NULL, NULL), &near);
    assert_true(ucx_same(near.region, 2));
    ucx_fill(near.region, 9);
    good(ucx_run(&near, NULL, near.region, remote, far, "over the cable"), &near);
    assert_true(ucx_peer_holds(&peer, 9));
    assert_int_equal(ucx_peer_notices(&peer), 1);

    ucx_peer_kill(&peer);
    assert_int_equal(ucx_run(&near, NULL, remote, near.region, NULL, NULL), DRAY_E_IO);
    dray_region_release(remote);
    ucx_end_close(&near);
}

/// An agent that keeps to its machine gives out no address that another machine could use.
static void an_agent_of_the_host_is_not_reached_from_another_network(void **state)
{
    (void)state;
    ucx_peer peer;
    ucx_end near;
    ucx_peer_start_between(&peer, "hidden", bytes, 2, DRAY_REACH_HOST, far_network, lay_cable);
    ucx_end_open_reach(&near, "near", bytes, 1, 0, DRAY_REACH_NETWORK);
    dray_peer *far = NULL;
    dray_region *remote = NULL;
    dray_status status =
        dray_agent_import(near.agent, peer.blob, peer.blob_bytes, &far, &near.error);
    if (status == DRAY_OK) { // the address is taken, and leads nowhere
        good(dray_peer_open(far, "memory", &remote, &near.error), &near);
        status = ucx_run(&near, NULL, remote, near.region, NULL, NULL);
        dray_region_release(remote);
    }
    assert_int_equal(status, DRAY_E_IO);
    ucx_peer_kill(&peer);
    ucx_end_close(&near);
}

int main(int count, char **arguments)
{
    int peer = ucx_peer_main(count, arguments);
    if (peer >= 0)
        return peer;
    const char *why = own_network(); // first: UCX starts threads
    if (!why)
        why = system("ip link set lo up") == 0 ? ucx_unavailable() : "there is no loopback";
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_networks_exchange_regions),
        cmocka_unit_test(an_agent_of_the_host_is_not_reached_from_another_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
// NOLINTEND(cert-env33-c)
