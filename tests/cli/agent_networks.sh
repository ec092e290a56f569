# agent serve and agent:// between two networks, as far as one machine can play two: `unshare -Urnm`, and a pair of
# virtual cables.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$DRAY" info --json | grep -q '"backend", "name": "ucx", "built_in": true' || {
    echo "this build has no UCX"
    exit 77
}
if [ -z "${DRAY_IN_NETWORK:-}" ]; then
    unshare -Urnm sh -c 'mount -t sysfs sysfs /sys && ip link set lo up &&
        ip link add cable type veth peer name other && ip link del cable' 2>why || {
        echo "no network of our own can be made here: $(cat why)"
        exit 77
    }
    DRAY_IN_NETWORK=1 exec unshare -Urnm bash "$0"
fi

server=
trap '[ -z "$server" ] || kill -KILL "$server"' EXIT
head -c 3000017 /dev/urandom >a
head -c 24 /dev/urandom | base64 >key
chmod 600 key
mount -t sysfs sysfs /sys && ip link set lo up

# The far network waits for its end of the cable, and then for the near end to be up.
cat >far.sh <<'SH'
mount -t sysfs sysfs /sys && ip link set lo up
for _ in $(seq 300); do ip link set far up 2>/dev/null && break; sleep 0.05; done
ip addr add 10.77.0.2/24 dev far
for _ in $(seq 300); do grep -q up /sys/class/net/far/operstate && break; sleep 0.05; done
# LeakSanitizer's tracer crashes in here; the other tests look for leaks
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
exec "$DRAY" agent serve --share m=disk:a --share-writable w=system:4M --listen 10.77.0.2:4470 --secret-file key
SH
unshare -nm bash far.sh >served 2>serve_err &
server=$!
for _ in $(seq 300); do # until it has a network of its own
    [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$server/ns/net")" ] && break
    sleep 0.02
done
ip link add near type veth peer name far netns "$server" && ip addr add 10.77.0.1/24 dev near &&
    ip link set near up || fail "no cable"
for _ in $(seq 300); do
    grep -q '^ready: ' served && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
done
if ! grep -q '^ready: agent://10.77.0.2:4470$' served; then
    grep -q libuc serve_err && echo "UCX does not work here: $(cat serve_err)" && exit 77
    fail "the server did not get ready: $(cat serve_err)"
fi

for _ in $(seq 300); do # the kernel says it a little later, and UCX passes over what is down
    grep -q up /sys/class/net/near/operstate && break
    sleep 0.05
done
at=agent://10.77.0.2:4470
exits 0 copy "$at/m" disk:b --secret-file key --verify --json
holds "doc['source_xxh3'] == doc['target_xxh3'] and doc['bytes'] == 3000017"
cmp -s a b || fail "$ran: the copy differs"
exits 0 copy disk:a "$at/w" --secret-file key --verify --json
holds "doc['to'] == 'remote' and doc['source_xxh3'] == doc['target_xxh3']"
exits 1 copy "$at/m" system
says "a shared secret is needed"

# From an agent of this machine to one of the other, through this process.
"$DRAY" agent serve --share near=disk:a --secret-file key >near_served 2>near_err &
near=$!
for _ in $(seq 300); do
    grep -q '^ready: ' near_served && break
    sleep 0.05
done
exits 0 copy "$(sed -n 's/^ready: //p' near_served)/near" "$at/w" --secret-file key --verify
kill "$near"
wait "$near" || fail "the near server: $(cat near_err)"

kill "$server"
wait "$server" || fail "the server: exit code $?: $(head -c 1500 serve_err)"
server=
grep -q '^stopped by SIGTERM: 3 let in' served || fail "$(cat served)"
