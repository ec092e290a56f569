#!/usr/bin/env bash
# Runs a test script in an empty folder of its own and removes the folder afterwards.
set -eu
script=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
code=0
bash "$script" || code=$?
exit "$code"
