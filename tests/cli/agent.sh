# agent serve and agent://: two processes, both directions, and everything that has to be refused.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$DRAY" info --json | grep -q '"backend", "name": "ucx", "built_in": true' || {
    echo "this build has no UCX"
    exit 77
}

server=
stop() { # [SIGNAL]: the server ends, and well
    kill "-${1:-TERM}" "$server"
    ended=0
    wait "$server" || ended=$?
    server=
}
trap '[ -z "$server" ] || kill -KILL "$server"' EXIT

# serve ARGUMENTS...: runs until stop; $at is where. Skips when UCX cannot work here.
serve() {
    rm -f served # the old one says "ready", too
    "$DRAY" agent serve "$@" >served 2>serve_err &
    server=$!
    for _ in $(seq 300); do
        at=$(sed -n 's/^ready: //p' served 2>/dev/null)
        [ -z "$at" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cp served out && cp serve_err err
    grep -q 'libuc' err && echo "UCX does not work here: $(cat err)" && exit 77
    fail "agent serve $*: it did not get ready"
}

bytes=5000123 # no multiple of anything
head -c "$bytes" /dev/urandom >a
head -c 70000 /dev/urandom >small
: >empty

# Wrong usage.
exits 2 agent
says "agent serve"
exits 2 agent lie
says 'there is no verb'
exits 2 agent serve
says "nothing is shared"
exits 2 agent serve --share a
says "NAME=disk:PATH"
exits 2 agent serve --share a=disk:a --share a=disk:small
says "two of the name a"
exits 2 agent serve --share a=system:1M
says "--share-writable"
exits 2 agent serve --share a=disk:a --secret "a secret that everybody sees"
says "there is no option --secret"
exits 2 copy disk:a agent://here
says 'DST is "agent://here"'
exits 2 copy agent:///a disk:b
exits 2 copy disk:a disk:b --secret-file a
says "neither SRC nor DST is one"
exits 2 load a --to agent://127.0.0.1:1/a

# What cannot be is refused before anything is shared.
exits 1 agent serve --share a=disk:none
says "share a: open none"
exits 1 agent serve --share a=disk:empty
says "is empty"
exits 1 agent serve --share a=disk:.
says "no regular file"
exits 1 agent serve --share a=disk:a --listen 0.0.0.0:0 --json
says "a shared secret is needed"
refuses_in_json invalid
exits 1 agent serve --share a=disk:a --listen nonsense
says "a shared secret is needed" # before anything is looked up
exits 1 agent serve --share a=disk:a --listen 127.0.0.1:70000
says "wanted HOST:PORT"
exits 1 copy agent://127.0.0.1:1/a disk:b
says "Connection refused"
[ ! -e b ] || fail "something was made"

# There and back.
cp a shared
serve --share "weights=disk:a" --share-writable scratch=system:8M --share-writable file=disk:shared
grep -q '^weights *4\.77 MiB *read only *a$' served || fail "$(cat served)"
exits 0 copy "$at/weights" disk:b --verify --explain
cmp -s a b || fail "$ran: the copy differs"
prints "remote -> system by ucx"
prints "both read back"
rm b
exits 0 copy disk:a "$at/scratch" --verify --json
holds "doc['bytes'] == $bytes and doc['to'] == 'remote' and doc['source_xxh3'] == doc['target_xxh3']"
exits 0 copy "$at/scratch" disk:b --bytes "$bytes" --json
holds "doc['from'] == 'remote' and not doc['verified']"
cmp -s a b || fail "$ran: the copy differs"
rm b
exits 0 copy disk:small "$at/file" --verify
exits 0 copy "$at/weights" system --bytes 1234567 --via pinned --explain
exits 0 copy pinned "$at/scratch" --bytes 1M --verify
exits 0 copy "$at/weights" "$at/scratch" --verify --json
holds "doc['from'] == doc['to'] == 'remote' and doc['source_xxh3'] == doc['target_xxh3']"
exits 0 copy "$at/weights" sim:0 --verify

# What a peer may not.
exits 1 copy disk:small "$at/weights" --json
says "is read only"
refuses_in_json invalid
exits 1 copy disk:small "$at/other"
says "no region of the name other; 3 are known"
exits 1 copy "$at/weights" disk:b --bytes 1G
says "weights has $bytes bytes"
exits 1 copy system "$at/scratch" --bytes 9M
says "scratch has 8388608 bytes, 9437184 are to be copied"
[ ! -e b ] || fail "something was made"
head -c 1000 /dev/urandom | timeout 5 bash -c "cat >/dev/tcp/${at#agent://*}" 2>/dev/null ||
    head -c 1000 /dev/urandom >"/dev/tcp/$(echo "${at#agent://}" | tr : /)" || true
exits 0 copy "$at/weights" system # and goes on serving
stop
[ "$ended" = 0 ] || fail "SIGTERM: exit code $ended: $(cat serve_err)"
grep -q '^stopped by SIGTERM: ' served || fail "$(cat served)"
cmp -s a <(head -c 0 shared; cat a) && cmp -s -n 70000 small shared ||
    fail "what a peer wrote is not in the file"
cmp -s -i 70000 a shared || fail "more than was written changed"

# The secret.
head -c 24 /dev/urandom | base64 >key
head -c 24 /dev/urandom | base64 >other
echo short >short
chmod 600 key other short
serve --share a=disk:a --secret-file key --name keeper
exits 0 copy "$at/a" disk:b --secret-file key --verify
cmp -s a b || fail "$ran: differs"
rm b
DRAY_SECRET=$(cat key) exits 0 copy "$at/a" disk:b
rm b
exits 1 copy "$at/a" disk:b --secret-file other --json
says "it wants another secret"
refuses_in_json invalid
exits 1 copy "$at/a" disk:b
says "it wants a secret, and none was given"
exits 1 copy "$at/a" disk:b --secret-file short
says "has 5 bytes; 16 to 1024 are wanted"
chmod 644 other
exits 1 copy "$at/a" disk:b --secret-file other
says "chmod 600"
[ ! -e b ] || fail "something was made"
stop INT
[ "$ended" = 0 ] || fail "SIGINT: exit code $ended"
grep -q '^stopped by SIGINT: 2 let in, 2 refused, 0 broken off$' served || fail "$(cat served)"
grep -qF "$(cat key)" served serve_err && fail "the secret was printed"

serve --share a=disk:a # a client that has a secret does not trust a server that has none
exits 1 copy "$at/a" disk:b --secret-file key
says "it cannot prove"
stop

# A port that is taken.
serve --share a=disk:a
exits 1 agent serve --share a=disk:a --listen "${at#agent://}"
says "Address already in use"
stop

# Serving ends while a copy is under way: an error, no hang, and no file that looks like one.
truncate -s 400M sparse
for signal in TERM KILL; do
    for try in 1 2 3 4 5; do
        serve --share big=disk:sparse
        timeout 60 "$DRAY" copy "$at/big" disk:b >out 2>err &
        client=$!
        for _ in $(seq 2000); do
            [ -e b ] && break
            sleep 0.005
        done
        stop "$signal" 2>/dev/null
        code=0
        wait "$client" || code=$?
        [ "$code" != 0 ] && break
        rm -f b # it was faster
    done
    ran="copy while the server ends by $signal"
    [ "$code" = 1 ] || fail "$ran: exit code $code"
    [ "$(wc -l <err)" = 1 ] || fail "$ran: more than a sentence, or none"
    [ ! -e b ] || fail "$ran: a part of a file was left"
done
[ "$signal" = KILL ]

# A file that is cut while it is shared: no server rather than one with wrong bytes.
cp a cut
serve --share cut=disk:cut
: >cut
exits 1 copy "$at/cut" disk:b
[ ! -e b ] || fail "$ran: a part of a file was left"
ended=0
wait "$server" || ended=$?
server=
[ "$ended" = 1 ] && grep -q "a shared file was cut" serve_err || fail "the server: $ended: $(cat serve_err)"

# A document for programs.
rm out
"$DRAY" agent serve --share a=disk:a --json >out 2>err &
server=$!
for _ in $(seq 300); do
    grep -qs '^}$' out && break
    sleep 0.1
done
ran="agent serve --json"
holds "re.fullmatch(r'agent://127\.0\.0\.1:[0-9]+', doc['ready']) and doc['secret'] is False"
holds "doc['regions'] == [{'name': 'a', 'kind': 'disk', 'path': 'a', 'bytes': $bytes, 'writable': False}]"
stop
[ "$ended" = 0 ] || fail "$ran: exit code $ended"
