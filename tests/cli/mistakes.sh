# What people pass by mistake is refused with 1 and a sentence that helps.
. "$DRAY_TESTS_DIR/cli/common.sh"

# refused FILE WORDS...: all of them stand in the sentence (case does not matter).
refused() {
    local file=$1 word
    shift
    exits 1 inspect "$file"
    silent
    for word in "$@"; do
        grep -qi -- "$word" err || fail "inspect $file: the sentence lacks: $word"
    done
    dray load "$file" --to system
    [ "$code" -eq 1 ] || fail "load $file: exit code $code, wanted 1"
    exits 1 inspect "$file" --json
    holds "set(doc) == {'error'} and doc['error']['status'] and len(doc['error']['message']) > 8"
}

: >empty.gguf
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 4661211808\n' 7 >lfs.gguf
printf '<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n' >page.safetensors
printf '<html><body>404</body></html>' >page2.gguf
printf 'PK\003\004\024\000\000\000\010\000archive/data.pkl' >model.pt
printf '\200\002}q\000X\005\000\000\000model' >model.pkl
printf 'lmgg\001\000\000\000aaaaaaaaaaaaaaaaaaaaaaaa' >old-ggml.bin
printf 'tjgg\003\000\000\000aaaaaaaaaaaaaaaaaaaaaaaa' >old-ggjt.bin
printf 'GGUF\001\000\000\000\000\000\000\000\000\000\000\000' >v1.gguf
printf 'GGUF' >cut.gguf
head -c 4096 /dev/zero >zeros.bin

refused empty.gguf "empty"
refused lfs.gguf "LFS"
refused page.safetensors "HTML"
refused page2.gguf "HTML"
refused model.pt "zip"
refused model.pkl "pickle"
refused old-ggml.bin "ggml"
refused old-ggjt.bin "ggjt\|ggml"
refused v1.gguf "version 1\|v1"
refused cut.gguf "GGUF\|ends"
refused zeros.bin
refused no-such-file.gguf "no-such-file.gguf" "No such file"
mkdir folder
refused folder "folder"
