#!/bin/bash
# Our declarations of the CUDA driver against the vendor's header, and our names against the vendor's
# stub library. Usage: cuda.sh <repository> <compiler>. Exit 77: no CUDA toolkit here.
set -euo pipefail
root=$1 compiler=$2

header=
for folder in "${CUDA_HOME:-}" "$(dirname "$(command -v nvcc || echo /nowhere/bin/nvcc)")/.." /usr/local/cuda /usr; do
    if [[ -n $folder && -f $folder/include/cuda.h ]]; then
        header=$folder/include
        toolkit=$folder
        break
    fi
done
if [[ -z $header ]]; then
    echo "skipped: no cuda.h on this machine"
    exit 77
fi
version=$(sed -n 's/^#define CUDA_VERSION //p' "$header/cuda.h")
if (( version < 13000 )); then
    echo "skipped: $header/cuda.h is of version $version, and lacks calls of 13000"
    exit 77
fi

check() {
    "$compiler" -std=c11 -D_GNU_SOURCE -fsyntax-only -Werror=incompatible-pointer-types "$@" \
        -I "$root/include" -I "$root/src" -isystem "$header" \
        "$root/tests/conformance/cuda_declarations.c"
}
check
if check -DWRONG_ON_PURPOSE 2>/dev/null; then
    echo "a wrong prototype went through: this check checks nothing"
    exit 1
fi

# the header compiles alone, too
echo '#include "device/cuda/cuda_calls.h"' |
    "$compiler" -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$root/src" -x c -

names=$(sed -nE 's/^    call\([a-z0-9_]+, (cu[A-Za-z0-9_]+), .*/\1/p' "$root/src/device/cuda/cuda_calls.h")
count=$(wc -w <<<"$names")
(( count > 30 ))
stub=
for candidate in "$toolkit"/lib64/stubs/libcuda.so "$toolkit"/lib/x86_64-linux-gnu/stubs/libcuda.so; do
    [[ -f $candidate ]] && stub=$candidate
done
if [[ -n $stub ]]; then
    exported=$(nm -D --defined-only "$stub" | awk '{ print $3 }' | sort -u)
    for name in $names; do
        grep -qx "$name" <<<"$exported" || { echo "$stub has no $name"; exit 1; }
    done
fi
echo "$count calls equal those of CUDA $version"
