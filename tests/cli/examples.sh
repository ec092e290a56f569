# The examples run, and do what they say.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$EXAMPLES/make_model" . 2 || fail "make_model"
"$EXAMPLES/load_weights" demo.gguf >out 2>err || fail "load_weights"
grep -q "blk.0.attn_norm.weight .*F32 .*256  begins with" out || fail "load_weights prints no tensor"
"$EXAMPLES/load_weights" demo-safetensors >out 2>err || fail "load_weights of shards"
"$EXAMPLES/load_weights" no-such-file >out 2>err && fail "load_weights of nothing"
grep -q "no-such-file" err || fail "load_weights does not say what is missing"

"$EXAMPLES/copy_engine" demo.gguf >out 2>err || fail "copy_engine"
second=$(od -An -tx1 -j 8 -N 1 demo.gguf | tr -d ' ') # cell (0, 1) of the file
grep -q "the second column begins with $second" out || fail "copy_engine transposed wrongly"

"$EXAMPLES/map_model" demo.gguf >out 2>err || fail "map_model"
sum=$(python3 -c "print(sum(open('demo.gguf', 'rb').read()))")
grep -q "sum of all bytes: *$sum$" out || fail "map_model: wrong sum"

"$EXAMPLES/hint_memory" demo.gguf 'blk.0.*' >out 2>err || fail "hint_memory"
grep -q '^9 tensors, 18 hints$' out && grep -q '^hint 0: verified: resident$' out || fail "hint_memory"

"$EXAMPLES/try_policies" 20 >out 2>err || fail "try_policies" # worked out on paper
grep -qx 'simulated, default        2688 faults,  2512 MiB moved,     0 MiB read over the link' out &&
    grep -qx 'simulated, prefer-host     384 faults,     0 MiB moved,  1280 MiB read over the link' out ||
    fail "try_policies counts wrongly"

"$EXAMPLES/call_functions" >out 2>err || fail "call_functions"
grep -qx 'add: 42' out && grep -qx 'add: TypeError: add wants ints' out || fail "call_functions: wrong sum or error"

"$DRAY" info --json | grep -q '"backend", "name": "ucx", "built_in": true' || exit 0
"$EXAMPLES/share_memory" serve >served 2>serve_err &
server=$!
for _ in $(seq 100); do
    at=$(head -n 1 served)
    [ -z "$at" ] && kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
if [ -z "$at" ]; then # UCX is built in, and its libraries are not there
    grep -q libuc serve_err || fail "share_memory serve: $(cat serve_err)"
    exit 0
fi
ran="share_memory $at"
timeout 60 "$EXAMPLES/share_memory" "$at" >out 2>err || fail "$ran"
prints "there stood: a few words"
wait "$server" || fail "share_memory serve: $(cat serve_err)"
grep -q "client says: there is something for you" served || fail "$(cat served)"
grep -q "stands now: words of the client" served || fail "$(cat served)"

"$EXAMPLES/kv_layout" >out 2>err || fail "kv_layout"
[ "$(grep -c ': the same contents$' out)" -eq 3 ] || fail "kv_layout moved wrongly"
