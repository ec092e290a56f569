# A model may come through a pipe; what never ends is refused.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$EXAMPLES/make_model" . 4 || fail "make_model"
exits 0 inspect demo.gguf --json
python3 -c 'import json; doc = json.load(open("out")); print(doc["tensor_bytes"], doc["tensors"][-1])' >wanted

(head -c 100000 demo.gguf; sleep 0.2; tail -c +100001 demo.gguf) | "$DRAY" inspect /dev/stdin --json >out 2>err ||
    fail "inspect /dev/stdin of a slow writer"
ran="inspect /dev/stdin"
holds "str(doc['tensor_bytes']) == open('wanted').read().split()[0] and doc['files'][0]['path'] == '/dev/stdin'"

mkfifo fifo
(sleep 0.2; cat demo.gguf >fifo) & # the writer comes later than the reader
"$DRAY" load fifo --to system --digest "$DIGEST" --json >out 2>err || fail "load of a named pipe"
wait
cp out piped
exits 0 load demo.gguf --to system --digest "$DIGEST" --json
holds "doc['tensors'] == json.load(open('piped'))['tensors']"

# A writer that is gone before its bytes are looked at: they are in the pipe.
for _ in 1 2 3 4 5 6 7 8; do
    (printf 'GGUF' >fifo) &
    ran="inspect of a short-lived writer"
    code=0
    timeout 20 "$DRAY" inspect fifo >out 2>err || code=$?
    [ "$code" -eq 1 ] || fail "$ran: exit code $code, wanted 1"
    wait
done

for device in /dev/zero /dev/urandom /dev/null; do
    [ -c "$device" ] || continue
    exits 1 inspect "$device"
    says "device"
done
