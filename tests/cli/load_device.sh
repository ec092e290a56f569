# load --to DEVICE: the digests of what the device gives back are those of the file.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$EXAMPLES/make_model" . 8 || fail "make_model"
exits 0 load demo.gguf --to system --digest "$DIGEST" --json
cp out wanted
exits 0 manifest demo.gguf
exits 0 devices --json
devices=$(python3 -c 'import json
for d in json.load(open("out"))["devices"]:
    if d["available"] and d["family"] != "cuda" and d["name"] in ("sim:0", "opencl:0", "opencl:2"):
        print(d["name"], "managed:" + d["name"] if "managed" in d["capabilities"] else "")')

same_digests() {
    holds "[(t['name'], t['digest']) for t in doc['tensors']] == [(t['name'], t['digest']) for t in json.load(open('wanted'))['tensors']]"
}

for device in $devices; do
    for method in auto direct buffered; do
        exits 0 load demo.gguf --to "$device" --method "$method" --digest "$DIGEST" --json
        same_digests
        holds "doc['to'] == '$device' and doc['staging_bytes'] > 0 and doc['destination_bytes'] >= doc['bytes']"
    done
    exits 0 load demo.gguf --to "$device" --manifest demo.gguf.dray --release --digest "$DIGEST" --explain --json
    same_digests
    holds "doc['chunks_verified'] >= len(doc['tensors'])"
    holds "any(re.search('^verify: .* as read back afterwards from .* memory of ', line) for line in doc['explain'])"
    holds "doc['page_cache_bytes_after'] in (None, 0) or doc['page_cache_bytes_after'] < 65536"
    exits 0 load demo.gguf --to "$device" --threads 0 --digest "$DIGEST" --json
    same_digests
done
exits 0 load demo.gguf --to sim:0 --manifest demo.gguf.dray
prints "as read back from there"

# Host memory stays as small as the limit says, however large the model.
exits 0 load demo.gguf --to sim:0 --mem-limit 4M --digest "$DIGEST" --json
same_digests
holds "doc['staging_bytes'] <= 4 << 20"

exits 1 load demo.gguf --to sim:7 --json
refuses_in_json notfound
exits 1 load demo.gguf --to tpu:0
says "there is no such family; there are:"
exits 2 load demo.gguf --to sim:0 --method mapped
says "not with --to sim:0"
exits 2 load demo.gguf --to sim:

case $devices in
*opencl*) ;;
*) echo "no OpenCL device: not tried on one" && exit 77 ;;
esac
