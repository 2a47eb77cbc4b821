#!/usr/bin/env bash
# The promises of stop under model checkers: shuttle (random and PCT schedules of the whole manager), loom (every
# interleaving of the lifecycle), and planted bugs (tests/mutants), each of which its scenarios have to find.
#
#   tests/model.sh                                    10,000 random and 10,000 PCT schedules per scenario
#   ROLLUP_MODEL_SCHEDULES=1000000 tests/model.sh     a million of each
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export RUST_BACKTRACE=0 CARGO_TERM_COLOR=never

model() { # <checker> <cargo arguments...>
  cargo test --package rollup-jobs-model --features "$@"
}

printf '\n== shuttle\n'
model shuttle -- model::
printf '\n== loom\n'
model loom -- model::

printf '\n== mutants\n'
scratch=$root/target/mutants
# Cargo tells packages apart by their place in the workspace: in one folder it would take a mutant for the original.
export CARGO_TARGET_DIR=$root/target/planted
# A planted bug may leave code unused, which is not what it is judged by.
export RUSTFLAGS="${RUSTFLAGS:-} --cap-lints warn"
for patch in tests/mutants/*.patch; do
  name=$(basename "$patch" .patch)
  mapfile -t scenarios < <(sed -n 's/^Found by: //p' "$patch")
  [ ${#scenarios[@]} -gt 0 ] || { echo "$name: no line says [Found by: ...]"; exit 1; }
  rm -rf "$scratch" && mkdir -p "$scratch"
  git ls-files -z | xargs -0 cp --parents --no-dereference --target-directory "$scratch"
  patch --quiet --fuzz=0 --strip=1 --directory "$scratch" < "$patch" \
    || { echo "$name: the patch does not apply any more"; exit 1; }
  cd "$scratch"
  model shuttle --quiet --no-run > "$scratch/log" 2>&1 || { cat "$scratch/log"; echo "$name: does not compile"; exit 1; }
  for scenario in "${scenarios[@]}"; do
    if timeout 300 cargo test --package rollup-jobs-model --features shuttle -- --exact "model::$scenario" \
      > "$scratch/log" 2>&1; then
      echo "$name: NOT FOUND by $scenario"; exit 1
    fi
    grep -q '^test result: FAILED' "$scratch/log" \
      || { tail -n 30 "$scratch/log"; echo "$name: did not come to an end"; exit 1; }
    echo "$name: found by $scenario"
  done
  cd "$root"
done
