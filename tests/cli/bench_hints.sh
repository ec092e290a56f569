# bench hints: a JSON line per case, the baselines beside it, and no file left behind.
. "$DRAY_TESTS_DIR/cli/common.sh"

exits 0 bench hints --rounds 1 --bytes 4M --device sim:0
[ "$(ls | tr '\n' ' ')" = "err out " ] || fail "$ran: something was left: $(ls)"
python3 - >>err 2>&1 <<'PYTHON' || fail "$ran: lines"
import json
lines = [json.loads(line) for line in open("out")]
assert all(line["bench"] == "hints" for line in lines)
plans = [line for line in lines if line["case"] == "plan 100000 ranges"]
assert len(plans) == 3 and all(line["milliseconds"]["median"] > 0 for line in plans)
replays = [line for line in lines if line["case"] == "simulate"]
assert len({line["trace"] for line in replays}) == 3
assert len({line["policy"] for line in replays}) == 5 and len(replays) == 15
assert all(line["million_accesses_per_second"]["median"] > 0 for line in replays)
assert [line["case"] for line in lines].count("read a trace") == 1
assert len(lines) > 22
many = [line for line in lines if line["case"] == "prefetch 10000 ranges"]
assert [line["calls"] for line in many] == [1, 10000] and many[0]["ratio_to_one_call_each"]["median"] > 0
assert [line["outcome"] for line in many] == ["accepted"] * 2 # seen to be so, but reading back is left out
large = [line for line in lines if line["case"] == "prefetch 67108864 bytes"]
assert len(large) == 1 and large[0]["moved"] is False and "gigabytes_per_second" not in large[0]
PYTHON

exits 2 bench hints --rounds 0
says "--rounds takes a number from 1"
