#!/bin/bash
# Our declarations of cuFile against the vendor's header, our names of its codes, and our symbols against
# the vendor's library. Usage: cufile.sh <repository> <compiler>. Looks where the CUDA toolkit is, and in
# $CUFILE_HOME (with include/ and lib/). Exit 77: no cufile.h, or no cuda.h beside it.
set -euo pipefail
root=$1 compiler=$2

toolkit=$(dirname "$(command -v nvcc || echo /nowhere/bin/nvcc)")/..
found='' cuda=''
for folder in "${CUFILE_HOME:-}" "${CUDA_HOME:-}" "$toolkit" /usr/local/cuda /usr; do
    [[ -n $folder ]] || continue
    [[ -z $found && -f $folder/include/cufile.h ]] && found=$folder
    [[ -z $cuda && -f $folder/include/cuda.h ]] && cuda=$folder/include
done
if [[ -z $found || -z $cuda ]]; then
    echo "skipped: cufile.h and cuda.h are not both on this machine"
    exit 77
fi

check() {
    "$compiler" -std=c11 -D_GNU_SOURCE -fsyntax-only -Werror=incompatible-pointer-types "$@" \
        -I "$root/include" -I "$root/src" -isystem "$found/include" -isystem "$cuda" \
        "$root/tests/conformance/cufile_declarations.c"
}
check
if check -DWRONG_ON_PURPOSE 2>/dev/null; then
    echo "a wrong prototype went through: this check checks nothing"
    exit 1
fi

# every name of a code that we print is the vendor's for that number
codes=0
while read -r number name; do
    grep -qE "CUFILEOP_BASE_ERR \+ $((number - 5000)), +$name," "$found/include/cufile.h" ||
        { echo "cufile.h does not call $number $name"; exit 1; }
    codes=$((codes + 1))
done < <(sed -nE 's/^ *\{(5[0-9]+), "(CU_FILE_[A-Z_]+)"\},/\1 \2/p' "$root/src/backend/cufile.c")
(( codes > 30 ))

names=$(sed -nE 's/^    call\([a-z_]+, (cu[A-Za-z0-9_]+), .*/\1/p' "$root/src/backend/cufile_calls.h")
count=$(wc -w <<<"$names")
(( count >= 8 ))
for library in "$found"/lib/libcufile.so.0 "$found"/lib64/libcufile.so.0; do
    [[ -f $library ]] || continue
    exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort -u)
    for name in $names; do
        grep -qx "$name" <<<"$exported" || { echo "$library has no $name"; exit 1; }
    done
    echo "$library has them all"
done
echo "$count calls and $codes codes equal those of $found/include/cufile.h"
