#!/bin/sh
# Only dray_* leaves the shared library; every global name in the static one begins with dray_ or
# drayi_; and nothing in it is a mutable global.
# Usage: check_symbols.sh <libdray.so> <libdray.a>
set -u
shared=$1 static=$2
failed=0

# Globals that may change, each with its reason:
#   fault_guard_*  a signal handler has nothing but globals to find the guarded ranges
#   ucx_log_*      UCX has one chain of log handlers per process, and tells them nothing of who asked
mutable_allowed='^(fault_guard|ucx_log)_'

complain() { # <sentence> <names>
    if [ -n "$2" ]; then
        echo "$1"
        echo "$2" | sed 's/^/    /'
        failed=1
    fi
}

complain "exported by the shared library:" \
    "$(nm -D --defined-only "$shared" | awk '{print $NF}' | grep -v '^dray_')"
complain "global in the static library, without our prefix:" \
    "$(nm -g --defined-only "$static" | awk 'NF == 3 {print $3}' | grep -Ev '^drayi?_')"
complain "mutable globals in the static library:" \
    "$(objdump -t "$static" | # address flags section<TAB>size [.hidden] name
        awk -F '\t' '{ left = split($1, l, " "); right = split($2, r, " ") }
                     l[left] ~ /^\.t?(data|bss)/ && l[left] !~ /^\.data\.rel\.ro/ && r[right] !~ /^\./ {
                         print r[right]
                     }' | sed 's/\.[0-9]*$//' | grep -Ev "$mutable_allowed")"
exit $failed
