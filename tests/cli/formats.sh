# Big-endian files, split files, packed files, and folders, from opening to the last digest.
. "$DRAY_TESTS_DIR/cli/common.sh"
read_model="$DRAY_TESTS_DIR/cli/read_model.py"
python3 "$DRAY_TESTS_DIR/cli/write_models.py" || fail "write_models.py"

exits 0 inspect big.gguf --json
holds "doc['endian'] == 'big' and doc['version'] == 3 and doc['metadata']['llama.block_count'] == 7"
holds "[(t['name'], t['shape'], t['bytes']) for t in doc['tensors']] == [('blk.0.a', [3, 5], 60), ('blk.1.b', [2, 8], 64)]"
python3 "$read_model" digests <out | sort >wanted || fail "digests of big.gguf"
exits 0 load big.gguf --to system --digest "$DIGEST" --json
[ "$DIGEST" != sha256 ] ||
    holds "sorted(t['name'] + ' ' + t['digest'] for t in doc['tensors']) == open('wanted').read().split(chr(10))[:-1]"

# A split model opens at its first file; a missing or repeated part is named.
exits 0 inspect part-00001-of-00002.gguf --json
holds "[f['path'] for f in doc['files']] == ['part-00001-of-00002.gguf', 'part-00002-of-00002.gguf']"
holds "[t['name'] for t in doc['tensors']] == ['blk.0.a', 'blk.1.b', 'blk.1.c'] and doc['tensors'][1]['file'] == 'part-00002-of-00002.gguf'"
python3 "$read_model" digests <out | sort >wanted || fail "digests of a split model"
exits 0 load part-00001-of-00002.gguf --to system --digest "$DIGEST" --json
[ "$DIGEST" != sha256 ] ||
    holds "sorted(t['name'] + ' ' + t['digest'] for t in doc['tensors']) == open('wanted').read().split(chr(10))[:-1]"
exits 1 inspect part-00002-of-00002.gguf
mkdir alone
cp part-00001-of-00002.gguf alone
exits 1 inspect alone/part-00001-of-00002.gguf
says "part-00002-of-00002.gguf"
cp part-00001-of-00002.gguf alone/part-00002-of-00002.gguf
exits 1 inspect alone/part-00001-of-00002.gguf

# A folder opens the one model in it; of two it says that there are two.
mkdir one two
cp big.gguf one
cp big.gguf two/a.gguf
cp big.gguf two/b.gguf
exits 0 inspect one --json
holds "doc['files'][0]['path'] == 'one/big.gguf'"
exits 1 inspect two
says "two"

# A path in an index cannot leave its folder.
mkdir escape
echo '{"metadata": {"total_size": 4}, "weight_map": {"w": "../big.gguf"}}' >escape/model.safetensors.index.json
exits 1 inspect escape
exits 1 inspect escape --json
refuses_in_json format

# Packed files hold the same tensors.
"$EXAMPLES/make_model" . 2 || fail "make_model"
exits 0 load demo.gguf --to system --digest "$DIGEST" --json
cp out plain
for pack in "zstd -q -c" "gzip -c" "lz4 -q -c"; do
    tool=${pack%% *}
    command -v "$tool" >/dev/null || continue
    has_codec "$tool" || continue
    $pack demo.gguf >packed.gguf || fail "$pack"
    exits 0 load packed.gguf --to system --digest "$DIGEST" --json
    holds "doc['tensors'] == json.load(open('plain'))['tensors']"
    exits 1 load packed.gguf --to system --mem-limit 1M --json # what it is unpacked to counts
    refuses_in_json nospace
    exits 1 load packed.gguf --to pinned --mem-limit 3M --json # and what it is copied to, beside it
    refuses_in_json nospace
    exits 0 load packed.gguf --to system --mem-limit 3M
    head -c 100000 packed.gguf >cut.gguf
    exits 1 load cut.gguf --to system
done
