# bench module: a JSON line per case, with the ratios of dray, and no file left behind.
. "$DRAY_TESTS_DIR/cli/common.sh"

command -v cc >/dev/null || { echo "no C compiler to make libraries with" && exit 77; }
exits 0 bench module --rounds 1 --size 100K
[ "$(ls | tr '\n' ' ')" = "err out " ] || fail "$ran: something was left: $(ls)"
python3 - >>err 2>&1 <<'PYTHON' || fail "$ran: lines"
import json, os
lines = [json.loads(line) for line in open("out")]
loads = {line["case"]: line for line in lines if line["what"] == "load"}
assert set(loads) >= {"dlopen", "temporary file, dlopen", "dray, the file's fd", "dray, from bytes"}, loads
assert loads["dray, the file's fd"]["ratio_to_dlopen"]["median"] > 0
assert loads["dray, from bytes"]["ratio_to_temporary_file"]["median"] > 0
assert all(line["bytes"] > 100000 for line in loads.values())
call = [line for line in lines if line["what"] == "call"]
assert len(call) == 1 and call[0]["bare_nanoseconds"]["median"] > 0
readers = [line["readers"] for line in lines if line["what"] == "look-up"]
assert readers == sorted({1, min(64, os.cpu_count())}), readers
trees = [(line["kind"], line["modules"]) for line in lines if line["what"] == "tree"]
assert trees == [(kind, n) for kind in ("bench-nothing", "elf") for n in (125, 250, 500, 1000)], trees
PYTHON
exits 2 bench module --size 1K
says "--size takes"
exits 1 bench module --rounds 1 --size 100K --tvm-ffi nowhere.so
says "no libtvm_ffi"
