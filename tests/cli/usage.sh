# Wrong usage ends with 2, says what is wrong and never touches a file.
. "$DRAY_TESTS_DIR/cli/common.sh"

exits 2
silent
says "usage: dray VERB"
exits 0 --help
prints "inspect"
exits 0 --version
prints "dray 0.1.0"

for verb in inspect load copy verify manifest info devices bench "bench weights" "bench transfer" agent "agent serve"; do
    # shellcheck disable=SC2086 # some have two words
    exits 0 $verb --help
    prints "usage: dray $verb"
    exits 2 $verb --no-such-option
    says "there is no option --no-such-option"
    says "see dray $verb --help"
    silent
done

exits 2 inpsect m.gguf
says 'there is no verb "inpsect"; did you mean dray inspect?'
exits 2 info extra
says '"extra" is not wanted here'
exits 2 inspect
says "FILE is missing"
exits 2 inspect a b
says "one FILE at a time"
exits 2 inspect a --jsno
says "did you mean --json?"
exits 2 inspect a -j
says "there is no option -j"
exits 2 load a
says "--to PLACE is missing"
exits 2 load a --to
says "--to needs a value"
exits 2 load a --to nowhere
says "wanted system, pinned, disk:PATH, null, a device like opencl:0"
exits 2 load a --to disk:
exits 2 load a --to system --to pinned
says "--to is given twice"
exits 2 load a --to system --digest md5
says "wanted sha256 or xxh3"
exits 2 load a --to system --method fast
exits 2 load a --to system --layers 5-3
says "the last layer comes before the first"
exits 2 load a --to system --layers x
exits 2 load a --to system --mem-limit lots
exits 2 load a --to system --threads many
exits 2 verify a --threads -1
exits 2 manifest a --chunk 1K
says "--chunk takes sizes from 64K to 1G"

# Options that contradict each other.
exits 2 load a --to pinned --method mapped
says "--method mapped copies nothing"
exits 2 load a --to system --method mapped --release
exits 2 load a --to null --digest sha256
says "--to null keeps none"
exits 2 load a --to null --manifest m

# With --json, the answer is a document even then.
exits 2 load a --json
refuses_in_json invalid
exits 2 load a --to null --digest sha256 --json
refuses_in_json invalid
exits 2 nonsense --json
refuses_in_json invalid

# A result that cannot be written is a failure.
code=0
"$DRAY" info >/dev/full 2>err || code=$?
[ "$code" -eq 1 ] || fail "info > /dev/full: exit code $code, wanted 1"
grep -q "cannot write to standard output" err || fail "info > /dev/full says nothing"

# A closed standard stream lends its number to no file of ours: reports would land in there.
mkfifo waiting
"$DRAY" inspect waiting >&- 2>err &
for _ in $(seq 100); do
    number_one=$(readlink "/proc/$!/fd/1") && [ "$number_one" = /dev/null ] && break
    sleep 0.05
done
printf 'no model' >waiting
code=0
wait $! || code=$?
[ "$number_one" = /dev/null ] || fail "with standard output closed, descriptor 1 is $number_one"
[ "$code" -eq 1 ] || fail "with standard output closed: exit code $code, wanted 1"

# Each benchmark takes its own options.
exits 2 bench speed
says "there is no verb"
exits 2 bench wieghts
says "did you mean dray bench weights?"
exits 2 bench
says "bench transfer"
exits 2 bench transfer --model m
says "there is no option --model"
exits 2 bench weights --device sim:0
says "there is no option --device"
exits 2 bench transfer --block 5K
exits 2 bench transfer --batch 2
