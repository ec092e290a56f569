#!/bin/sh
# Every public header compiles alone, twice in a row, as C11 and as C++11.
# Usage: check_headers.sh <include folder> <C compiler> [<C++ compiler>]
set -u
include=$1 cc=$2 cxx=${3-}
failed=0 count=0

try() { # <compiler> <language> <standard> <header>
    printf '#include "%s"\n#include "%s"\n' "$4" "$4" |
        "$1" -x "$2" -std="$3" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$include" - || {
        echo "$4: does not compile alone as $3"
        failed=1
    }
}

for path in $(find "$include/dray" -name '*.h' | sort); do
    header=${path#"$include"/}
    try "$cc" c c11 "$header"
    [ -z "$cxx" ] || try "$cxx" c++ c++11 "$header"
    count=$((count + 1))
done
[ -n "$cxx" ] || echo "no C++ compiler: C++ was not tried"
echo "$count headers"
[ "$count" -gt 0 ] || failed=1
exit $failed
