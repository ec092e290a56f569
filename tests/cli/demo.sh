# The demo runs from beginning to end, with its own model and with the user's, and leaves nothing.
. "$DRAY_TESTS_DIR/cli/common.sh"
demo=$DRAY_TESTS_DIR/../examples/demo.sh
mkdir build
ln -s "$DRAY" build/dray
ln -s "$EXAMPLES" build/examples

BUILD=$PWD/build DEMO_MB=4 bash "$demo" >out 2>err || fail "demo"
ran=demo
prints "GGUF v3"
prints "where the bytes are"
prints "One bit flips"
[ "$(ls build)" = "$(printf 'dray\nexamples')" ] || fail "the demo leaves files behind"

"$EXAMPLES/make_model" . 2 || fail "make_model"
BUILD=$PWD/build MODEL=demo-safetensors bash "$demo" >out 2>err || fail "demo with a model of the user's"
prints "where the bytes are"
[ -z "$(find demo-safetensors -name '*.dray')" ] || fail "the demo writes beside the user's model"
BUILD=$PWD/build MODEL=nothing bash "$demo" >out 2>err && fail "demo with no such model"
grep -q "there is no nothing" err || fail "the demo does not say what is missing"
