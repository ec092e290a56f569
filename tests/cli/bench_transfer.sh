# bench transfer: a JSON line per case, with the ratios of dray, and no file left behind.
. "$DRAY_TESTS_DIR/cli/common.sh"

exits 0 bench transfer --rounds 1 --block 64K --batch 16 --tmpfs . --device sim:0
[ "$(ls | tr '\n' ' ')" = "err out " ] || fail "$ran: something was left: $(ls)"
python3 - >>err 2>&1 <<'PYTHON' || fail "$ran: lines"
import json
lines = [json.loads(line) for line in open("out")]
planning = [line for line in lines if line["way"] == "to null"]
assert [line["batch"] for line in planning] == [1, 16, 256, 65536], planning
assert all(line["planning_ns_per_copy"]["median"] > 0 for line in planning)
lines = [line for line in lines if line["way"] != "to null"]
ways = {line["way"] for line in lines}
assert ways == {"memory", "tmpfs read", "tmpfs write", "disk read, O_DIRECT", "disk write, O_DIRECT",
                "host to device", "device to host"}, ways
for line in lines:
    assert line["block_bytes"] == 65536 and line["batch"] == 16, line
    assert "refused" in line or line["gigabytes_per_second"]["median"] > 0, line
memory = [line for line in lines if line["way"] == "memory" and line["case"] == "dray"][0]
assert memory["ratio_to_memcpy"]["median"] > 0 and memory["ratio_to_non_temporal_stores"]["median"] > 0
# What a machine cannot do is said, and only ever of a baseline.
refused = {line["case"] for line in lines if "refused" in line}
assert refused <= {"bare enqueue loop", "raw io_uring, depth 64"}, refused
PYTHON

# Files to the device through staging, beside either hop; and what belongs together.
exits 0 bench transfer --rounds 1 --block 1M --batch 1 --tmpfs . --device sim:0
python3 - >>err 2>&1 <<'PYTHON' || fail "$ran: lines"
import json
staged = [line for line in map(json.loads, open("out")) if line["way"] == "tmpfs to device, staged"]
assert staged[0]["case"] == "dray" and staged[0]["batch"] == 256, staged
assert staged[-1]["ratio_to_slower_hop"]["median"] > 0, staged
PYTHON
exits 2 bench transfer --nixl-engine AIO
exits 2 bench transfer --nixl x --nixl-engine SPDK
exits 1 bench transfer --rounds 1 --nixl ./no-such-library
grep -q 'no-such-library' err || fail "$ran: the library is not named"

# A peer in another process, where UCX is: its bytes are compared before anything is counted.
dray bench transfer --rounds 1 --block 64K --batch 1 --ucx
if [ "$code" -eq 0 ]; then
    grep -q '"way":"peer read","block_bytes":65536,"batch":1,"case":"dray".*ratio_to_raw_UCP_loop' out || fail "$ran: peer read"
    grep -q '"way":"peer write","block_bytes":65536,"batch":1,"case":"dray".*gigabytes_per_second' out || fail "$ran: peer write"
else
    grep -qi 'ucx' err || fail "$ran: it failed for another reason than UCX"
fi
[ "$(ls | tr '\n' ' ')" = "err out " ] || fail "$ran: something was left: $(ls)"
