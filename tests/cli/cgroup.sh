# In a cgroup of 64 MiB, a model of 160 MiB is mapped, copied to disk, hashed and verified, and refused where it
# would have to stand in memory. The kernel kills whoever breaks the limit, so that every exit code below says
# that nobody did.
. "$DRAY_TESTS_DIR/cli/common.sh"
limit=$((64 << 20))

# make_group ROOT LIMIT_FILE: $group is a fresh cgroup below ROOT with the limit.
make_group() {
    group=$1/dray-test-$$
    mkdir "$group" 2>/dev/null || return 1
    trap 'rmdir "$group"' EXIT
    [ -e "$group/$2" ] && echo "$limit" 2>/dev/null >"$group/$2" && return
    rmdir "$group"
    trap - EXIT
    return 1
}
if ! make_group /sys/fs/cgroup memory.max && ! make_group /sys/fs/cgroup/memory memory.limit_in_bytes; then
    echo "no cgroup with a memory limit can be made here (that takes root, and the memory controller)"
    exit 77
fi

export ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=4"
in_group() {
    local wanted=$1
    shift
    code=0
    ran="dray $* (in a cgroup)"
    bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$DRAY" "$@" >out 2>err || code=$?
    [ "$code" -eq "$wanted" ] || fail "$ran: exit code $code, wanted $wanted"
}

"$EXAMPLES/make_model" . 160 || fail "make_model"
in_group 0 info --json
holds "doc['machine']['available_bytes'] <= $limit and doc['machine']['limited_by_cgroup']"

in_group 1 load demo.gguf --to pinned --json
refuses_in_json nomem
says "in this cgroup"
in_group 1 load demo.gguf --to system --method buffered --json
refuses_in_json nomem

in_group 0 load demo.gguf --to system --digest xxh3 --json
holds "doc['method'] == 'mapped'"
cp out mapped
for cache in warm cold; do
    [ "$cache" = warm ] || (sync demo.gguf && dd if=demo.gguf iflag=nocache count=0 2>/dev/null)
    in_group 0 load demo.gguf --to disk:copy.bin --digest xxh3 --json
    python3 - <<'PYTHON' || fail "$ran: other bytes than the mapping's"
import json, sys
def digests(path):
    return [t["digest"] for t in json.load(open(path))["tensors"]]
sys.exit(digests("out") != digests("mapped"))
PYTHON
    rm copy.bin
    in_group 0 manifest demo.gguf
    in_group 0 verify demo.gguf
    in_group 0 load demo.gguf --to disk:copy.bin --manifest demo.gguf.dray
    rm copy.bin demo.gguf.dray
done
in_group 0 load demo-safetensors --to null --release
for tool in zstd lz4; do
    command -v $tool >/dev/null && has_codec $tool || continue
    $tool -c demo.gguf >packed
    in_group 1 inspect packed --json
    holds "doc['error']['status'] in ('nomem', 'nospace')"
done
