# bench layout: every way in both orders beside its baselines, the file tier, and no file left behind.
. "$DRAY_TESTS_DIR/cli/common.sh"

exits 0 bench layout --rounds 1 --page 16 --blocks 4 --no-files
[ "$(ls | tr '\n' ' ')" = "err out " ] || fail "$ran: something was left: $(ls)"
python3 - >>err 2>&1 <<'PYTHON' || fail "$ran: lines"
import json
lines = [json.loads(line) for line in open("out")]
dray = [line for line in lines if line["case"] == "dray"]
ways = {(line["from"], line["to"]) for line in dray}
assert len(ways) == 8 and ("contiguous", "universal-tp") in ways, ways
assert {line["order"] for line in dray} == {"adjacent", "shuffled"}
for line in dray:
    assert line["page"] == 16 and line["blocks"] == 4, line
    assert line["gigabytes_per_second"]["median"] > 0 and line["ratio_to_naive"]["median"] > 0, line
    assert line["planning_ns_per_region_copy"]["median"] > 0, line
    one_piece = "a region per layer" not in line["from"]
    assert ("ratio_to_best_copy" in line) == one_piece and line["copies"] == (1 if one_piece else 80), line
PYTHON
exits 2 bench layout --page 17
says "--page takes 16, 32 or 64"
exits 2 bench layout --blocks 3
says "--blocks takes 1, 4, 16, 64 or 256"
