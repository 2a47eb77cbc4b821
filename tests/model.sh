#!/usr/bin/env bash
# The promises of stop under model checkers: shuttle (random and PCT schedules of the whole manager), loom (every
# interleaving of the lifecycle), and planted bugs (tests/mutants), each of which shuttle has to find.
#
#   tests/model.sh                                    10,000 random and 10,000 PCT schedules per scenario
#   ROLLUP_MODEL_SCHEDULES=1000000 tests/model.sh     a million of each
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export RUST_BACKTRACE=0 CARGO_TERM_COLOR=never

model() { # <checker> <cargo arguments...>
  RUSTFLAGS="--cfg rollup_$1" cargo test --lib --features testing --target-dir "$root/target/$1" "${@:2}"
}

printf '\n== shuttle\n'
model shuttle -- model::
printf '\n== loom\n'
model loom -- model::

printf '\n== mutants\n'
scratch=$root/target/mutants
for patch in tests/mutants/*.patch; do
  name=$(basename "$patch" .patch)
  rm -rf "$scratch" && mkdir -p "$scratch"
  git ls-files -z | xargs -0 cp --parents --no-dereference --target-directory "$scratch"
  patch --quiet --fuzz=0 --strip=1 --directory "$scratch" < "$patch" \
    || { echo "$name: the patch does not apply any more"; exit 1; }
  cd "$scratch"
  model shuttle --quiet --no-run > "$scratch/log" 2>&1 || { cat "$scratch/log"; echo "$name: does not compile"; exit 1; }
  if timeout 300 env RUSTFLAGS="--cfg rollup_shuttle" cargo test --lib --features testing \
    --target-dir "$root/target/shuttle" -- model:: > "$scratch/log" 2>&1; then
    echo "$name: NOT FOUND"; exit 1
  fi
  grep -q '^test result: FAILED' "$scratch/log" || { tail -n 30 "$scratch/log"; echo "$name: did not come to an end"; exit 1; }
  echo "$name: found by $(grep -c '\.\.\. FAILED$' "$scratch/log") scenarios"
  cd "$root"
done
