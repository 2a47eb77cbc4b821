#!/usr/bin/env bash
# Mutation testing of what a stop depends on: each mutant has to fail a test. First the fast tests (memory engine,
# redb), then all of them for those that survive; what no test can see is in tests/mutants.toml. It takes hours, and
# goes on where it was interrupted. Needs cargo-mutants (crates.io).
#
#   tests/mutants.sh                 lifecycle, manager, runtime, ownership, schedule, stop signal and stores
#   tests/mutants.sh src/lifecycle   what is below that
#   tests/mutants.sh -- --shard 0/8  an eighth (cargo mutants --help)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
out=$root/target/mutation
tree=$out/tree
export CARGO_TERM_COLOR=never RUST_BACKTRACE=0 RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}" ROLLUP_IN_A_HURRY=1
# One mutant's counter-example must not be the next one's.
export PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
# So that the test runner knows --fail-fast.
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="env RUSTC_BOOTSTRAP=1"

places=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do places+=("$1"); shift; done
[ $# -eq 0 ] || shift
[ ${#places[@]} -gt 0 ] ||
  places=(src/lifecycle src/manager src/runtime src/ownership.rs src/schedule.rs src/stop_signal.rs src/store)
only=()
for place in "${places[@]}"; do only+=(--file "$place" --file "$place/**"); done

# Mutants are made in a copy of the last commit, whose build folder stays from one time to the next.
mkdir -p "$out"
git worktree prune
[ -d "$tree" ] || git worktree add --quiet --detach "$tree"
git -C "$tree" reset --quiet --hard
git -C "$tree" checkout --quiet --detach "$(git rev-parse HEAD)"
cd "$tree"

run() { # <folder of results> <tests> <cargo mutants arguments...>
  local folder=$out/$1 tests=$2
  shift 2
  # Not the package of the models, which has the same files.
  CARGO_TARGET_DIR=$out/build cargo mutants --in-place --package rollup-jobs --config "$root/tests/mutants.toml" \
    --profile mutation --timeout 60 --iterate --no-shuffle --output "$folder" "$@" -- $tests \
    -- -Z unstable-options --fail-fast || true
}

printf '\n== fast tests\n'
run fast "--lib --test it" --features testing,redb "${only[@]}" "$@"

survivors=()
while read -r name; do
  survivors+=(--re "^$(sed 's/[][\.*^$(){}?+|/]/\\&/g' <<< "$name")$")
done < "$out/fast/mutants.out/missed.txt"
if [ ${#survivors[@]} -gt 0 ]; then
  printf '\n== all tests, for %d survivors\n' $((${#survivors[@]} / 2))
  # The places too: cargo-mutants lets some mutants past a pattern.
  run all "--lib --test it --test threads --test kill" --all-features "${only[@]}" "${survivors[@]}"
  printf '\n== nobody minds\n'
  cat "$out/all/mutants.out/missed.txt"
fi
