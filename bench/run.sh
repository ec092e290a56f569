#!/usr/bin/env bash
# `make bench`: builds nothing, measures the given dray, leaves weights.jsonl and weights.svg in build/bench.
#   bench/run.sh path/to/dray path/to/make_model [model]
#
# A model that was made holds random bytes: nothing between the disk and us can compress it.
# BENCH_MB: size of the model that is made (default 1024). BENCH_ROUNDS: counted rounds (default 7).
set -euo pipefail

dray=$1
make_model=$2
model=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
out=${BENCH_OUT:-build/bench}
mkdir -p "$out"
scratch=$(mktemp -d "$out/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

if [ -z "$model" ]; then
    "$make_model" "$scratch" "${BENCH_MB:-1024}" >/dev/null
    model=$(ls "$scratch"/*.gguf | head -n 1)
fi
limit=$(ulimit -H -l) # locked memory: as far as this user may
ulimit -l "$limit" 2>/dev/null || true
[ "$(id -u)" != 0 ] || ulimit -l unlimited 2>/dev/null || true

"$dray" bench weights --model "$model" --rounds "${BENCH_ROUNDS:-7}" --scratch "$scratch" | tee "$out/weights.jsonl"
python3 "$here/plot.py" "$out/weights.jsonl" "$out/weights.svg"
echo "results: $out/weights.jsonl, picture: $out/weights.svg" >&2
