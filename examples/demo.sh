#!/usr/bin/env bash
# A first look at dray: `make demo`, `make demo DEMO_MB=256`, or `make demo MODEL=my-model.gguf`.
#
# Makes a model of noise in both formats (or takes yours, which is only read), looks inside, writes
# down its checksums, loads it into locked memory while checking them, gives the file's page cache
# back, and shows where every byte was before and after. Everything it makes is removed at the end.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build/release}
megabytes=${DEMO_MB:-1024}
model=${MODEL:-}
PATH=$build:$build/examples:$PATH
[[ -z $model || -e $model ]] || { echo "demo: there is no $model" >&2; exit 1; }
[[ -z $model ]] || model=$(realpath "$model")

work=$(mktemp -d "$build/demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" # so that the commands below are as short as yours would be

bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi

step=0
say() {
    step=$((step + 1))
    printf '\n%s%d  %s%s\n' "$bold" "$step" "$*" "$plain"
}

# What a command prints stands a little to the right.
indent() {
    sed 's/^./   &/'
}

# Shows a command and runs it.
run() {
    printf '\n   $ %s\n' "$*"
    "$@" | indent
}

# The same, with the middle left out of what it prints.
run_short() {
    printf '\n   $ %s\n' "$*"
    "$@" >output
    local lines
    lines=$(wc -l <output)
    if ((lines > 44)); then
        { head -n 32 output; echo "  ... $((lines - 42)) more lines ..."; tail -n 10 output; } | indent
    else
        indent <output
    fi
}

# Locked memory needs a limit above the model's size, or the privilege to ignore it. Sets `kind` to
# where the model can go.
choose_kind() {
    local bytes want_kib
    bytes=$(dray inspect "$1" --json | sed -n 's/^  "tensor_bytes": \([0-9]*\),$/\1/p')
    want_kib=$((bytes / 1024 + 65536))
    kind=pinned
    if dray info --json | grep -q '"locks_anything": true'; then
        return
    elif [[ $(ulimit -l) == unlimited ]] || (($(ulimit -l) >= want_kib)); then
        return
    elif ulimit -l "$want_kib" 2>/dev/null; then
        printf '\n   (ulimit -l %s: as many KiB may be locked from here on)\n' "$want_kib"
    elif command -v prlimit >/dev/null && sudo -n prlimit --pid $$ --memlock=unlimited 2>/dev/null; then
        printf '\n   (sudo prlimit --memlock=unlimited: any amount of memory may be locked from here on)\n'
    else
        kind=system
        printf '\n   Only %s KiB of memory may be locked here, and raising that needs root\n' "$(ulimit -l)"
        printf '   (prlimit --pid $$ --memlock=unlimited), so this goes to ordinary memory.\n'
    fi
}

# load MODEL MANIFEST [OPTION]
load() {
    run dray load "$1" --to "$kind" --manifest "$2" --release "${@:3}"
}

if [[ -n $model ]]; then
    say "What is in $(basename "$model")"
    run_short dray inspect "$model"
    say "Its checksums (kept here and not beside your file)"
    run dray manifest "$model" --output model.dray
    say "Into locked memory, every byte checked, and the page cache given back"
    choose_kind "$model"
    load "$model" model.dray --explain
    exit 0
fi

free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if ((free_mb < 2 * megabytes + 64)); then
    echo "demo: two models of $megabytes MiB do not fit into $build ($free_mb MiB free); use DEMO_MB=" >&2
    exit 1
fi

say "A model of noise, $megabytes MiB, in both formats"
run make_model . "$megabytes"
sync # so that no page is waiting to be written when the cache is given back
du -h --apparent-size demo.gguf demo-safetensors/* | indent

say "What is in it"
run_short dray inspect demo.gguf

say "Its checksums"
run dray manifest demo.gguf

say "GGUF into locked memory, every byte checked, and the page cache given back"
choose_kind demo.gguf
load demo.gguf demo.gguf.dray --explain

say "The same with safetensors, in two shards"
run dray manifest demo-safetensors --output shards.dray
load demo-safetensors shards.dray

say "One bit flips in the file"
offset=$(($(stat -c %s demo.gguf) / 3))
byte=$(od -An -tu1 -j "$offset" -N 1 demo.gguf)
# shellcheck disable=SC2059 # the format is the byte
printf "\\x$(printf %02x $((byte ^ 1)))" | dd of=demo.gguf bs=1 seek="$offset" conv=notrunc status=none
printf '\n   $ dray load demo.gguf --to system --manifest demo.gguf.dray\n'
if dray load demo.gguf --to system --manifest demo.gguf.dray >output 2>&1; then
    echo "demo: the flipped bit went unseen; please report this" >&2
    exit 1
fi
indent <output
