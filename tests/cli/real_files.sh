# Real files: what Python reads, dray says; what arrives is what stands in the file; mistakes are named.
. "$DRAY_TESTS_DIR/cli/common.sh"
read_model="$DRAY_TESTS_DIR/cli/read_model.py"
if [ -z "${DRAY_TEST_DATA:-}" ]; then
    echo "DRAY_TEST_DATA is not set: no real model files to read"
    exit 77
fi

# same FILE [--lenient]: metadata and tensors are those that Python reads, and every digest is right.
same() {
    local model=$DRAY_TEST_DATA/$1
    shift
    [ -e "$model" ] || return 0
    exits 0 inspect "$model" --json "$@"
    python3 "$read_model" compare "$model" <out 2>>err || fail "inspect $model: not what Python reads"
    python3 "$read_model" digests <out | sort >wanted || fail "digests of $model"
    exits 0 inspect "$model" "$@"
    [ -s wanted ] && [ "$DIGEST" = sha256 ] || return 0
    exits 0 load "$model" --to system --digest "$DIGEST" --json "$@"
    python3 -c 'import json
for t in json.load(open("out"))["tensors"]: print(t["name"], t["digest"])' | sort | cmp -s - wanted ||
        fail "load $model: digests differ from those of the file"
}

# broken FILE RULE: refused by this rule, in a document that says so.
broken() {
    [ -e "$DRAY_TEST_DATA/$1" ] || return 0
    exits 1 inspect "$DRAY_TEST_DATA/$1" --json
    holds "doc['error']['rule'] == '$2' and doc['error']['offset'] is not None"
    says "$2"
}

for model in burn-mnist candle-encodec-jfk-codes runai-test runai-test_empty silero-vad-16k syoyo-model; do
    same $model.safetensors
done
for model in bert-bge gpt-2 llama-spm; do
    same llamacpp-vocab-$model.gguf
done
for model in multiple single single-v2 weight-bias; do # each repeats a key
    broken iree-$model.gguf gguf.key.duplicate
    same iree-$model.gguf --lenient
    says "warning: "
done
broken weightinspect-tiny.gguf gguf.data.short
broken weightinspect-tiny.safetensors safetensors.end
same weightinspect-tiny.safetensors --lenient
broken syoyo-abuse1.safetensors safetensors.header_bytes

# named FILE WORD: refused with a sentence that holds the word.
named() {
    [ -e "$DRAY_TEST_DATA/$1" ] || return 0
    exits 1 inspect "$DRAY_TEST_DATA/$1"
    grep -qi -- "$2" err || fail "$1: the sentence lacks: $2"
    exits 1 inspect "$DRAY_TEST_DATA/$1" --json
    holds "doc['error']['message']"
}
named lfs-pointer.gguf LFS
named lfs-pointer.safetensors LFS
named zero-byte.gguf empty
named ort-upsample.ort ORT
named realizar-mnist_784x2.apr "APR"
named whispercpp-for-tests-ggml-tiny.bin ggml
named iree-mixed.irpa IREE
