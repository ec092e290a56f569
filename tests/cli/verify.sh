# manifest, verify and a verified load: a flipped byte is found, and nothing checked is no success.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$EXAMPLES/make_model" . 2 || fail "make_model"
for model in demo.gguf demo-safetensors; do
    manifest=$model.manifest
    exits 0 manifest "$model" --output "$manifest" --chunk 64K --json
    holds "doc['manifest'] == '$manifest' and doc['manifest_bytes'] == os.path.getsize('$manifest')"
    exits 0 verify "$model" --manifest "$manifest"
    prints "tensors are as the manifest says"
    exits 0 verify --json "$model" --manifest "$manifest"
    holds "doc['ok'] is True and doc['tensors_checked'] == doc['tensors_total'] > 10 and doc['bad'] == []"
    exits 0 load "$model" --to system --manifest "$manifest" --json
    holds "doc['chunks_verified'] > 10"
done

# The default place is beside the model; without a manifest there is a hint.
exits 1 verify demo.gguf
says "demo.gguf.dray"
says "dray manifest writes a manifest"
exits 0 manifest demo.gguf
[ -s demo.gguf.dray ] || fail "no demo.gguf.dray"
exits 0 verify demo.gguf

# One flipped bit in the middle of a tensor.
exits 0 inspect demo.gguf --json
offset=$(python3 -c 'import json
t = [t for t in json.load(open("out"))["tensors"] if t["name"] == "blk.1.ffn_down.weight"][0]
print(t["offset"] + t["bytes"] // 2)')
python3 -c "
f = open('demo.gguf', 'r+b'); f.seek($offset); b = f.read(1)[0]; f.seek($offset); f.write(bytes([b ^ 1]))"
exits 1 verify demo.gguf --manifest demo.gguf.manifest
grep -q "blk.1.ffn_down.weight" err || prints "blk.1.ffn_down.weight"
exits 1 verify demo.gguf --manifest demo.gguf.manifest --json
holds "doc['ok'] is False and doc['error']['status'] == 'corrupt' and doc['chunks_bad'] == 1"
holds "[b['tensor'] for b in doc['bad']] == ['blk.1.ffn_down.weight']"
holds "doc['bad'][0]['offset'] <= $offset < doc['bad'][0]['offset'] + doc['bad'][0]['bytes']"
exits 1 load demo.gguf --to system --manifest demo.gguf.manifest --json
refuses_in_json corrupt
says "blk.1.ffn_down.weight"

# A missing, foreign or empty manifest is a failure.
exits 1 verify demo-safetensors --manifest no-such-manifest
says "no-such-manifest"
exits 1 verify demo-safetensors --manifest demo.gguf.manifest
: >empty.manifest
exits 1 verify demo.gguf --manifest empty.manifest
exits 1 load demo.gguf --to system --manifest no-such-manifest
