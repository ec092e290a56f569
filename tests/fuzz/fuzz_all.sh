#!/usr/bin/env bash
# Runs every libFuzzer target for a while, starting from its corpus. New inputs go to the build tree;
# what crashes stays there, too: copy it into tests/fuzz/corpus/<target>/ together with the mend.
# Usage: fuzz_all.sh <folder of the targets> <seconds for each>
set -euo pipefail
targets=$(cd "$1" && pwd) seconds=$2
corpus=$(cd "$(dirname "$0")" && pwd)/corpus
export ASAN_OPTIONS=handle_segv=2:handle_sigbus=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1

failed=0
for target in "$targets"/fuzz_*; do
    [[ -f $target && -x $target ]] || continue
    subject=${target##*/fuzz_}
    found=$targets/found/$subject
    mkdir -p "$found"
    echo "fuzz_$subject: $seconds s"
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$found/" "$found" "$corpus/$subject" >"$found.log" 2>&1 || {
        tail -n 40 "$found.log"
        failed=1
    }
    grep -E 'number_of_executed_units|new_units_added' "$found.log" || true
done
exit $failed
