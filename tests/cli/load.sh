# load: what arrives is what stands in the file, whatever the destination and the way there.
. "$DRAY_TESTS_DIR/cli/common.sh"
read_model="$DRAY_TESTS_DIR/cli/read_model.py"

"$EXAMPLES/make_model" . 2 || fail "make_model"
(ulimit -l 65536) 2>/dev/null && ulimit -l 65536
pinned=pinned
[ "$(ulimit -l)" = unlimited ] || [ "$(ulimit -l)" -ge 8192 ] || pinned=system

# What a document of load says of every tensor.
digests() {
    python3 -c 'import json
for t in json.load(open("out"))["tensors"]: print(t["name"], t["digest"])' | sort
}

# digests_match MODEL: the document in ./out holds the digest of every tensor of MODEL.
digests_match() {
    digests | cmp -s - "$1.digests" || fail "$ran: digests differ from those of the file"
}

figures_are_true="
    doc['seconds'] > 0 and doc['cpu_seconds'] >= 0 and doc['method'] and doc['peak_rss_bytes'] > 1 << 20 and
    abs(doc['gigabytes_per_second'] * doc['seconds'] - doc['bytes'] / 1e9) < 1e-5 and
    all(doc[k] is None or doc[k] >= 0 for k in ('page_cache_bytes_before', 'page_cache_bytes_after'))"

for model in demo.gguf demo-safetensors; do
    exits 0 inspect "$model" --json
    python3 "$read_model" digests <out | sort >"$model.digests" || fail "digests of $model"
    bytes=$(python3 -c 'import json; print(json.load(open("out"))["tensor_bytes"])')
    if [ "$DIGEST" != sha256 ]; then
        exits 0 load "$model" --to system --method buffered --digest "$DIGEST" --json
        digests >"$model.digests"
    fi
    for to in system "$pinned" "disk:copy.bin"; do
        for method in auto direct buffered; do
            rm -f copy.bin
            exits 0 load "$model" --to "$to" --method "$method" --digest "$DIGEST" --json
            digests_match "$model"
            holds "$figures_are_true and doc['bytes'] == $bytes"
        done
    done
    exits 0 load "$model" --to system --method mapped --digest "$DIGEST" --json
    digests_match "$model"
    holds "doc['method'] == 'mapped'"
    exits 0 load "$model" --to null --json
    holds "doc['bytes'] == $bytes and 'digest' not in doc['tensors'][0]"
    exits 0 load "$model" --to system --threads 0 --digest "$DIGEST" --json
    digests_match "$model"
done

# sha256sum agrees with us about one tensor, byte for byte.
exits 0 inspect demo.gguf --json
read -r offset bytes <<<"$(python3 -c 'import json
t = [t for t in json.load(open("out"))["tensors"] if t["name"] == "blk.1.ffn_down.weight"][0]
print(t["offset"], t["bytes"])')"
wanted=$(tail -c +$((offset + 1)) demo.gguf | head -c "$bytes" | sha256sum | cut -d ' ' -f 1)
if [ "$DIGEST" = sha256 ]; then
    exits 0 load demo.gguf --digest=sha256 --to=system --tensors blk.1.ffn_down.weight --json
    holds "[t['digest'] for t in doc['tensors']] == ['sha256:$wanted'] and doc['bytes'] == $bytes"
else
    exits 1 load demo.gguf --digest=sha256 --to=system --json
    refuses_in_json unsupported
    says libcrypto
fi

# Some tensors only.
exits 0 load demo.gguf --to system --tensors 'blk.*.attn_q.weight' --json
holds "len(doc['tensors']) >= 2 and all(re.fullmatch(r'blk\.\d+\.attn_q\.weight', t['name']) for t in doc['tensors'])"
exits 0 load demo-safetensors --to system --layers 1-1 --json
holds "len(doc['tensors']) == 9 and all('layers.1.' in t['name'] for t in doc['tensors'])"
exits 1 load demo.gguf --to system --tensors 'no such thing' --json
refuses_in_json notfound
says "no such thing"

# Other digests, explanations, and the table for people.
exits 0 load demo.gguf --to system --digest xxh3 --json
holds "all(re.fullmatch('xxh3:[0-9a-f]{32}', t['digest']) for t in doc['tensors'])"
exits 0 load demo.gguf --to system --explain --json
holds "len(doc['explain']) >= 1"
exits 0 load demo.gguf --to system --explain
prints "where the bytes are"
prints "GB/s"
[ ! -s err ] || fail "$ran: something on standard error"

# The page cache is given back, and what is said of it is true.
sync demo.gguf
exits 0 load demo.gguf --to system --release --json
holds "doc['page_cache_bytes_after'] in (None, 0) or doc['page_cache_bytes_after'] < doc['page_cache_bytes_before'] // 10 or doc['page_cache_bytes_after'] < 65536"

# A file that exists is not overwritten, and a load that fails leaves nothing behind.
echo mine >copy.bin
exits 1 load demo.gguf --to disk:copy.bin
says "copy.bin"
[ "$(cat copy.bin)" = mine ] || fail "an existing file was changed"
exits 1 load demo.gguf --to disk:no/such/folder
exits 1 load demo.gguf --to system --method buffered --mem-limit 4K --json
holds "doc['error']['status'] in ('nospace', 'nomem')"

# Ctrl-C stops in order: a half-written file is removed.
rm -f copy.bin
"$EXAMPLES/make_model" . 128 || fail "make_model"
python3 - "$DRAY" >out 2>err <<'PYTHON' || fail "load --to disk, interrupted"
import os, signal, subprocess, sys, time
load = subprocess.Popen([sys.argv[1], "load", "demo.gguf", "--to", "disk:copy.bin"], stderr=subprocess.PIPE)
while load.poll() is None and not os.path.exists("copy.bin"):
    time.sleep(0.001)
load.send_signal(signal.SIGINT)
_, message = load.communicate(timeout=60)
if load.returncode != 0: # it may have been faster than the signal
    assert load.returncode == 1 and message, (load.returncode, message)
    assert not os.path.exists("copy.bin")
PYTHON

# Too small a lock limit is an error that says how to raise it.
if [ "$(id -u)" -ne 0 ]; then
    (ulimit -S -l 64; "$DRAY" load demo.gguf --to pinned >out 2>err)
    [ $? -eq 1 ] || fail "a load beyond the lock limit did not fail"
    grep -q "ulimit -l\|prlimit" err || fail "the error does not say how to raise the limit"
fi
