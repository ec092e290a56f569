# Helpers of the command-line tests. Source it first: `. "$DRAY_TESTS_DIR/cli/common.sh"`.
# $DRAY is the tool; make_model and the other examples stand beside it.
set -u
EXAMPLES=$(dirname "$DRAY")/examples
# sha256, or xxh3 in a build without libcrypto: then digests are held against each other, not against Python's.
DIGEST=${DRAY_DIGEST:-sha256}

fail() {
    echo "FAILED: $*" >&2
    echo "--- standard output:" >&2
    head -c 2000 out >&2
    echo "--- standard error:" >&2
    head -c 2000 err >&2
    exit 1
}

# dray ARGUMENTS...: standard output in ./out, standard error in ./err, exit code in $code.
dray() {
    code=0
    "$DRAY" "$@" >out 2>err || code=$?
    ran="dray $*"
}

# exits CODE ARGUMENTS...
exits() {
    local wanted=$1
    shift
    dray "$@"
    [ "$code" -eq "$wanted" ] || fail "$ran: exit code $code, wanted $wanted"
}

# The last command said this on standard error (a fixed string).
says() {
    grep -qF -- "$1" err || fail "$ran: standard error lacks: $1"
}

prints() {
    grep -qF -- "$1" out || fail "$ran: standard output lacks: $1"
}

silent() {
    [ ! -s out ] || fail "$ran: something on standard output"
}

# holds 'EXPRESSION': a Python expression over `doc`, the one JSON document on standard output.
holds() {
    python3 - "$1" >>err 2>&1 <<'PYTHON' || fail "$ran: does not hold: $1"
import json, os, re, sys

def no_twice(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), "a key stands twice"
    return dict(pairs)

doc = json.load(open("out", encoding="utf-8"), object_pairs_hook=no_twice)
sys.exit(0 if eval(f'({sys.argv[1]})') else 1)
PYTHON
}

# Does this build decode it (zstd, lz4, gzip)?
has_codec() {
    "$DRAY" info --json | grep -q "\"codec\", \"name\": \"$1\", \"built_in\": true"
}

# One JSON document that holds an error of this status, and the same sentence on standard error.
refuses_in_json() {
    holds "doc['error']['status'] == '$1' and len(doc['error']['message']) > 8"
    holds "set(doc['error']) == {'status', 'message', 'rule', 'offset'}"
}
