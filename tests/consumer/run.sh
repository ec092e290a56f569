#!/usr/bin/env bash
# Installs dray, moves the result elsewhere (so that nothing may remember its first place), and builds
# and runs a user's programs: C and C++, find_package() and pkg-config, shared and static.
# Usage: run.sh <build folder> <C compiler> <C++ compiler> <library folder, e.g. lib> <CMake generator>
set -euo pipefail
build=$1 cc=$2 cxx=$3 libdir=$4 generator=$5
[[ $cxx ]] || {
    echo "skipped: there is no C++ compiler"
    exit 77
}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" >"$work/install.log" || {
    cat "$work/install.log"
    exit 1
}
mv "$work/first" "$work/moved"

echo "find_package"
cmake -S "$here" -B "$work/build" -G "$generator" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_PREFIX_PATH="$work/moved" >"$work/configure.log" || {
    cat "$work/configure.log"
    exit 1
}
cmake --build "$work/build" >"$work/build.log" || {
    cat "$work/build.log"
    exit 1
}
for program in "$work"/build/consumer_*; do
    "$program"
done

echo "modules"
for module in "$work"/build/module_*.so; do
    "$work/build/call_module" "$module" || {
        echo "in $module"
        exit 1
    }
done

echo "pkg-config, shared"
export PKG_CONFIG_PATH=$work/moved/$libdir/pkgconfig
export LD_LIBRARY_PATH=$work/moved/$libdir
# shellcheck disable=SC2046 # pkg-config prints words
"$cc" -o "$work/shared_c" "$here/consumer.c" $(pkg-config --cflags --libs dray)
"$cxx" -o "$work/shared_cxx" "$here/consumer_cxx.cc" $(pkg-config --cflags --libs dray)
"$work/shared_c"
"$work/shared_cxx"

echo "pkg-config, static"
rm "$work/moved/$libdir"/libdray.so*
"$cc" -o "$work/static_c" "$here/consumer.c" $(pkg-config --static --cflags --libs dray)
"$cxx" -o "$work/static_cxx" "$here/consumer_cxx.cc" $(pkg-config --static --cflags --libs dray)
"$work/static_c"
"$work/static_cxx"
