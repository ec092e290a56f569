# inspect says exactly what Python reads out of the same heads.
. "$DRAY_TESTS_DIR/cli/common.sh"
read_model="$DRAY_TESTS_DIR/cli/read_model.py"

"$EXAMPLES/make_model" . 2 || fail "make_model"
for model in demo.gguf demo-safetensors demo-safetensors/model-00001-of-00002.safetensors; do
    exits 0 inspect "$model" --json
    [ ! -s err ] || fail "inspect $model: something on standard error"
    python3 "$read_model" compare "$model" <out 2>>err || fail "inspect $model: not what Python reads"
done
exits 0 inspect demo-safetensors/model.safetensors.index.json --json
holds "len(doc['files']) == 2 and doc['format'] == 'safetensors'"
exits 0 inspect --json demo.gguf # options stand in any order
holds "doc['metadata']['general.architecture'] == 'llama' and len(doc['metadata']['tokenizer.ggml.tokens']) == 512"

# For people: names, types, shapes, totals; arrays are shown by their first elements and their count.
exits 0 inspect demo.gguf
prints "demo.gguf: GGUF v3, little endian"
prints "blk.0.attn_q.weight"
prints "256 x 256"
prints "text[512]"
prints '"<unk>", "<s>", "</s>"'
if grep -q "$(printf '\033')" out; then fail "an escape sequence in a pipe"; fi

# Nothing that a stranger wrote acts on the terminal.
python3 - <<'PYTHON'
import json, struct
def write(path, head):
    head = json.dumps(head, ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    open(path, "wb").write(struct.pack("<Q", len(head)) + head + bytes(4))
entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
write("hostile.safetensors", {"__metadata__": {"k\u202e": "\u001b]0;owned\u0007"}, "a\u001b[2Jb\nc": entry})
big = struct.pack("<IQQ", 3, 0, 3)
def text(value): return struct.pack("<Q", len(value)) + value
big += text(b"a.max") + struct.pack("<IQ", 10, 2**64 - 1)
big += text(b"a.min") + struct.pack("<Iq", 11, -2**63)
big += text(b"a.inf") + struct.pack("<If", 6, float("inf"))
open("big.gguf", "wb").write(b"GGUF" + big)
PYTHON
exits 0 inspect hostile.safetensors
prints 'a\x1b[2Jb\nc'
prints '\x1b]0;owned\x07'
prints 'k\u{202e}'
if LC_ALL=C grep -q "$(printf '[\001-\010\013-\037]')" out; then fail "a control character in text output"; fi
exits 0 inspect hostile.safetensors --json
holds 'doc["tensors"][0]["name"] == "a\x1b[2Jb\nc" and doc["metadata"] == {"k\u202e": "\x1b]0;owned\x07"}'

# Numbers are exact, also those that fit no double and no signed integer.
exits 0 inspect big.gguf --json
holds "doc['metadata'] == {'a.max': 2**64 - 1, 'a.min': -2**63, 'a.inf': 'inf'}"
exits 0 inspect big.gguf
prints 18446744073709551615
