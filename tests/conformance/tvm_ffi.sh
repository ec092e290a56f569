#!/usr/bin/env bash
# dray against the headers of tvm-ffi: every layout and number; and a stock C++ module built with them runs
# through dray in a process without libtvm_ffi.
# DRAY_TVM_FFI_INCLUDE names the folder with tvm/ffi/c_api.h (the Python package apache-tvm-ffi installs it).
# Usage: tvm_ffi.sh <repository> <build folder> <C compiler> <C++ compiler>
set -euo pipefail
root=$1 build=$2 cc=$3 cxx=$4
here=$root/tests/conformance
[[ ${DRAY_TVM_FFI_INCLUDE-} ]] || {
    echo "skipped: DRAY_TVM_FFI_INCLUDE does not name the headers of tvm-ffi"
    exit 77
}
[[ $cxx ]] || {
    echo "skipped: there is no C++ compiler"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cxx" -std=c++17 -fsyntax-only -I "$root/include" -isystem "$DRAY_TVM_FFI_INCLUDE" "$here/tvm_ffi_layout.cc"
echo "layouts: the same"

"$cxx" -std=c++17 -O2 -fPIC -shared -isystem "$DRAY_TVM_FFI_INCLUDE" -o "$work/stock.so" "$here/tvm_ffi_stock.cc"
"$cc" -std=c11 -I "$root/include" -o "$work/use" "$here/tvm_ffi_use.c" -L "$build" -ldray -Wl,-rpath,"$build"
"$work/use" "$work/stock.so" >"$work/said"
diff - "$work/said" <<'END'
42
failed: ValueError: thirteen brings bad luck
good morning, you
good morning, everybody who reads this
nonsense: -1, error
END
echo "a stock module: runs without libtvm_ffi"
