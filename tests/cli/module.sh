# module: kinds, inspect, call, bundle, unbundle, tree; and whom the user trusts.
. "$DRAY_TESTS_DIR/cli/common.sh"
M=$DRAY_TEST_MODULES
has_crypto=1
[ "$DIGEST" = sha256 ] || has_crypto=

exits 0 module kinds --json
holds "{k['kind'] for k in doc['kinds']} >= {'elf', 'bundle', 'hsaco', 'wasm'}"
holds "next(k for k in doc['kinds'] if k['kind'] == 'elf') == {'kind': 'elf', 'loadable': True, 'native': True, 'serialized': True, 'raw': True, 'extensions': ['so', 'dso'], 'refusal': None, 'unproven': None}"
holds "next(k for k in doc['kinds'] if k['kind'] == 'wasm')['refusal'] == 'dray has no WebAssembly runtime'"
exits 0 module kinds
prints "elf"
exits 2 module
exits 0 module --help
exits 2 module cal
says 'did you mean dray module call?'

# inspect says what the file is, and runs nothing of it: this one does not survive being loaded.
exits 0 module inspect "$M/crash.so" --json
holds "doc['kind'] == 'elf' and doc['functions'] == ['never'] and doc['loadable'] and doc['imports'] == []"
exits 0 module inspect "$M/answers.so" --json
holds "list(doc)[:4] == ['kind', 'bytes', 'arch', 'sha256']"
holds "doc['functions'] == ['add_one', 'calls', 'echo', 'fail_silently', 'half', 'make_text', 'nonsense']"
holds "doc['bytes'] == os.path.getsize('$M/answers.so')"
[ -z "$has_crypto" ] ||
    holds "doc['sha256'] == __import__('hashlib').sha256(open('$M/answers.so', 'rb').read()).hexdigest()"
exits 0 module inspect "$M/facts.so" --json
holds "'libm.so.6' in doc['needed'] and 'soname libfacts.so.1' in doc['notes']"
holds "'search path (DT_RUNPATH) /nowhere/at/all' in doc['notes'] and 'wants executable stacks' in doc['notes']"
exits 0 module inspect "$M/facts.so"
prints "wants executable stacks"
exits 0 module inspect "$M/with_tree.so" --json
holds "doc['imports'] == ['letter'] and doc['functions'] == ['host']"
head -c 5000 "$M/answers.so" >cut.so
exits 1 module inspect cut.so --json
refuses_in_json format
holds "doc['error']['rule'].startswith('elf.')"
printf '\0asm\1\0\0\0' >a.wasm
exits 0 module inspect a.wasm --json
holds "doc['kind'] == 'wasm' and not doc['loadable'] and doc['notes'] == ['dray has no WebAssembly runtime']"
exits 1 module call a.wasm f
says "dray has no WebAssembly runtime"
echo "hello, world" >text
exits 1 module inspect text
exits 1 module inspect nowhere.so

# call
called() { # called WANTED ARGUMENTS...
    local wanted=$1
    shift
    exits 0 module call "$@"
    [ "$(cat out)" = "$wanted" ] || fail "$ran: wanted $wanted"
}
called 42 "$M/answers.so" add_one 41
called -6 "$M/answers.so" add_one -7
called 1.5 "$M/answers.so" half 3
called 0.1 "$M/answers.so" half .2
called hello "$M/answers.so" echo hello
called 42 "$M/answers.so" echo text:42
called 'a\x1b[31mb' "$M/answers.so" echo "$(printf 'a\033[31mb')"
printf '\001\377' >two
called 01ff "$M/answers.so" echo @two
called 'longer than seven bytes' "$M/answers.so" make_text
exits 0 module call "$M/answers.so" echo text:42 --json
holds "doc['type'] == 'text' and doc['result'] == '42' and doc['kind'] == 'elf' and doc['function'] == 'echo'"
exits 0 module call "$M/answers.so" add_one 9007199254740993 --json
holds "doc['type'] == 'int' and doc['result'] == 9007199254740994"
exits 0 module call "$M/answers.so" echo @"$M/answers.so" --output copy.so
cmp -s copy.so "$M/answers.so" || fail "$ran: the bytes differ"
exits 1 module call "$M/answers.so" echo @two --output copy.so # which is there
exits 1 module call "$M/answers.so" add_one
says "TypeError: add_one wants one int"
exits 1 module call "$M/answers.so" add_one --json
refuses_in_json failed
exits 1 module call "$M/answers.so" fail_silently
says "without saying why"
exits 1 module call "$M/answers.so" nonsense
says "4711"
exits 1 module call "$M/answers.so" nothing
says "nothing"
exits 1 module call "$M/missing.so" ask
says "nobody_has_this"
exits 1 module call "$M/answers.so" echo @nowhere
exits 2 module call "$M/answers.so"
exits 1 module call "$M/facts.so" root # the usual rules hold without a policy, too
says "allow-rpath"

# Trust
if [ -n "$has_crypto" ]; then
    digest=$(sha256sum "$M/answers.so" | cut -c1-64)
    other=$(sha256sum "$M/one_name.so" | cut -c1-64)
    called 2 "$M/answers.so" add_one 1 --allow-sha256 "$digest"
    called 2 "$M/answers.so" add_one 1 --allow-sha256 "$other" --allow-sha256 "$digest"
    exits 1 module call "$M/answers.so" add_one 1 --allow-sha256 "$other" --json
    refuses_in_json invalid
    holds "doc['error']['rule'] == 'module.trust' and '$digest' in doc['error']['message']"
    echo "{\"trust\": \"listed\", \"sha256\": [\"$digest\"]}" >listed.json
    called 2 "$M/answers.so" add_one 1 --policy listed.json
    exits 1 module call "$M/one_name.so" who --policy listed.json
    says "module.trust"
fi
exits 2 module call "$M/answers.so" add_one 1 --allow-sha256 12
says "64 hexadecimal digits"
echo '{"trust": "allow"}' >allow.json
called 2 "$M/answers.so" add_one 1 --policy allow.json
exits 2 module call "$M/answers.so" add_one 1 --policy allow.json --allow-sha256 "$(printf '%064d' 0)"
echo '{}' >undecided.json
exits 1 module call "$M/answers.so" add_one 1 --policy undecided.json
says "nobody decided to trust it"
echo '{"trust": "allow", "kinds": ["bundle"]}' >kinds.json
exits 1 module call "$M/answers.so" add_one 1 --policy kinds.json
says "kind elf"
echo '{"trust": "allow", "bytes_max": 1000}' >small.json
exits 1 module call "$M/answers.so" add_one 1 --policy small.json
says "the policy allows 1000"
echo '{"trust": "allow", "needed": []}' >needed.json
exits 1 module call "$M/answers.so" add_one 1 --policy needed.json
says "libc.so.6"
echo '{"trust": "allow", "rules": ["allow-rpath", "allow-wx"]}' >loose.json
exits 0 module call "$M/facts.so" root --policy loose.json
echo '{"trust": "allow", "rules": ["trial"]}' >trial.json
called 2 "$M/answers.so" add_one 1 --policy trial.json
exits 1 module call "$M/crash.so" never --policy trial.json
says "trial in a child process was ended by signal"
echo '{"trust": "allow", "rules": ["require-seals"]}' >seals.json
exits 1 module call "$M/answers.so" add_one 1 --policy seals.json
says "all seals"
echo '{"trust": "yes"}' >broken.json
exits 1 module call "$M/answers.so" add_one 1 --policy broken.json --json
refuses_in_json format
holds "doc['error']['rule'] == 'policy.trust' and doc['error']['offset'] == 10"

# A signature
if [ -n "$has_crypto" ] && openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null &&
    openssl pkeyutl -sign -inkey key.pem -rawin -in "$M/answers.so" -out answers.sig 2>/dev/null; then
    key=$(openssl pkey -in key.pem -pubout -outform DER | tail -c 32 | od -An -tx1 | tr -d ' \n')
    echo "{\"trust\": \"listed\", \"public_keys\": [\"$key\"]}" >signed.json
    called 2 "$M/answers.so" add_one 1 --policy signed.json --signature answers.sig
    exits 1 module call "$M/answers.so" add_one 1 --policy signed.json
    says "no signature was given"
    exits 1 module call "$M/one_name.so" who --policy signed.json --signature answers.sig
    says "no key of its made the signature"
    exits 2 module call "$M/answers.so" add_one 1 --signature answers.sig
    head -c 63 answers.sig >short.sig
    exits 1 module call "$M/answers.so" add_one 1 --policy signed.json --signature short.sig
    says "63 bytes, wanted 64"
fi

# Bundles
exits 0 module bundle inner.bundle "$M/one_name.so" "elf:$M/answers.so"
[ "$(cut -d, -f1 out)" = "2 modules" ] || fail "$ran"
exits 1 module bundle inner.bundle "$M/one_name.so"
says "File exists"
exits 0 module bundle outer.bundle "$M/unique.so" inner.bundle a.wasm
exits 0 module tree outer.bundle --json
holds "doc['count'] == 3 and doc['depth'] == 2 and [m['kind'] for m in doc['modules']] == ['elf', 'bundle', 'wasm']"
holds "[m['imports'] for m in doc['modules']] == [[1, 2], [], []]"
exits 0 module tree inner.bundle
[ "$(sed -n 2p out)" = "  1 elf, $(stat -c %s "$M/answers.so") bytes" ] || fail "$ran"
exits 0 module inspect inner.bundle --json
holds "doc['kind'] == 'bundle' and doc['imports'] == ['elf', 'elf'] and doc['notes'] == ['2 modules, 2 deep']"
called 1 inner.bundle who
called 42 inner.bundle add_one 41 # of what the root imports
exits 1 module call outer.bundle number # all or nothing
says "module 2 of 3"
exits 0 module unbundle inner.bundle parts
cmp -s parts/0.elf "$M/one_name.so" || fail "$ran: 0.elf differs"
cmp -s parts/1.elf "$M/answers.so" || fail "$ran: 1.elf differs"
exits 1 module unbundle inner.bundle parts # where they are already
exits 0 module tree "$M/with_tree.so"
[ "$(cat out)" = "0 (the library itself)
  1 letter, 1 bytes" ] || fail "$ran"
exits 1 module tree "$M/answers.so"
says "no import tree"
head -c 1000 inner.bundle >cut.bundle
exits 1 module call cut.bundle who --kind bundle --json
refuses_in_json format
