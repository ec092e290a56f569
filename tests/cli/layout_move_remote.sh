# layout move to and from another process, and one that dies.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$DRAY" info --json | grep -q '"backend", "name": "ucx", "built_in": true' || {
    echo "this build has no UCX"
    exit 77
}
server=
trap '[ -z "$server" ] || kill -KILL "$server"' EXIT
"$DRAY" agent serve --share-writable kv=system:64K --share-writable small=system:100 >served 2>serve_err &
server=$!
at=
for _ in $(seq 300); do
    at=$(sed -n 's/^ready: //p' served)
    [ -z "$at" ] || break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$at" ]; then
    grep -q 'libuc' serve_err && echo "UCX does not work here: $(cat serve_err)" && exit 77
    fail "agent serve: it did not get ready: $(cat serve_err)"
fi

size=blocks=8,layers=3,outer=2,page=4,inner=24,dtype=2,heads=3
exits 0 layout move --from "contiguous,$size@system" --to "layer-separate:block-first,$size,format=HND@$at/kv" \
    --blocks 0-3 --to-blocks 4-7 --fill --verify --explain
prints "system -> remote by ucx"
exits 0 layout move --from "layer-separate:block-first,$size,format=HND@$at/kv" --to "contiguous,$size@disk:back" \
    --blocks 4-7 --to-blocks 0-3 --verify --json
holds "doc['verified'] and doc['hops'] == 2"
exits 0 layout move --from "contiguous,$size@system" --to "contiguous,$size@disk:wanted" --blocks 0-7 --fill
head -c 4608 back >a
head -c 4608 wanted >b
cmp -s a b || fail "there and back again is something else"
exits 1 layout move --from "contiguous,$size@system" --to "contiguous,$size@$at/small" --blocks 0
says "target: small has 100 bytes, the layout wants 9216"
exits 1 layout move --from "contiguous,$size@system" --to "contiguous,$size@$at/none" --blocks 0
says "none"
kill -KILL "$server"
wait "$server" || true
server=
exits 1 layout move --from "contiguous,$size@system" --to "contiguous,$size@$at/kv" --blocks 0
