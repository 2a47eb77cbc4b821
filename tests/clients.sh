#!/usr/bin/env bash
# Real clients against the example server: curl, the official Elasticsearch clients for Python (8.x and 9.x, sync and async) and
# JavaScript, and schemathesis. Needs curl, Python 3.10 with venv, and Node.js 20 with npm; installs the clients below target/.
set -euo pipefail
cd "$(dirname "$0")/.."
clients="$PWD/target/clients"

missing=()
for tool in cargo curl node npm python3; do command -v "$tool" > /dev/null || missing+=("$tool"); done
if ((${#missing[@]})); then
  echo "tests/clients.sh needs, and does not find: ${missing[*]}" >&2
  exit 1
fi
python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "tests/clients.sh needs Python 3.10 or later with venv; $(python3 --version) is here" >&2
  exit 1
}

# A virtual environment of its own for each, made anew when what it needs has changed.
environment() {
  local folder="$clients/$1" wants="$2"
  cmp -s "$wants" "$folder/requirements.txt" && return
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" --quiet --disable-pip-version-check install --requirement "$wants"
  cp "$wants" "$folder/requirements.txt"
}
for line in 8 9; do environment "python-$line" "tests/clients/python/requirements-$line.txt"; done
environment schemathesis tests/clients/schemathesis/requirements.txt
mkdir -p "$clients/javascript"
cp tests/clients/javascript/* "$clients/javascript/"
npm install --prefix "$clients/javascript" --silent --no-audit --no-fund

cargo build --example search_server --example adopt --all-features
data=$(mktemp -d)
printf '%s\n' 'operator:secret:manage_rollup,read=*' viewer:secret:monitor_rollup > "$data/users"
servers=()
trap 'kill "${servers[@]}" 2> /dev/null || true; rm -rf "$data"' EXIT
fail() {
  printf '%s\n' "$1" >&2
  cat "$data/log" >&2
  exit 1
}
# Starts a server with these flags on a free port; $url is where it listens.
serve() {
  : > "$data/log" # what the server before has said is not this one's
  target/debug/examples/search_server --listen 127.0.0.1:0 "$@" > "$data/log" 2>&1 &
  servers+=($!)
  for _ in $(seq 100); do
    url=$(sed -n 's/^listening on //p' "$data/log")
    [[ -n "$url" ]] && return
    kill -0 "${servers[-1]}" 2> /dev/null || fail "the example server did not start"
    sleep 0.1
  done
  fail "the example server does not listen"
}

# What the README says, as it stands there but for the port, on a server that was started before too.
for _ in first second; do
  serve --data "$data/sample" --sample
  line=$(grep '^curl -X POST.*_stop' README.md)
  answer=$(bash -c "${line//http:\/\/127.0.0.1:9200/$url} --silent --show-error --write-out ' %{http_code}'")
  [[ "$answer" == '{"stopped":true,"state":"stopped"} 200' ]] || fail "README: got $answer"
  kill -TERM "${servers[-1]}" && wait "${servers[-1]}"
done
grep -Fq -- '--example search_server --all-features -- --sample' README.md || fail "README does not start the sample"

serve --data "$data/search" --users "$data/users"
# The request line that most people know, while a run is under way, and then the delete that it is for.
request() { curl --silent --show-error --user operator:secret -H 'Content-Type: application/json' -X "$1" "$url/$2" "${@:3}"; }
expect() { [[ "$2" == "$3" ]] || fail "$1: expected $3, but got $2"; }
created=$(request PUT sensor-1 -d '{ "mappings": { "properties": { "timestamp": { "type": "date" }, "node": { "type": "keyword" },
  "temperature": { "type": "double" } } } }')
expect "create index" "$created" '{"acknowledged":true,"index":"sensor-1","shards_acknowledged":true}'
for minute in $(seq 50000); do
  printf '{"index":{}}\n{"timestamp":%d,"node":"a","temperature":20.5}\n' $((1767225600000 + minute * 60000))
done > "$data/bulk"
request POST sensor-1/_bulk --data-binary "@$data/bulk" > "$data/added"
grep -q '"errors":false' "$data/added" || fail "the documents were not added"
expect "put" "$(request PUT _rollup/job/sensor -d '{ "index_pattern": "sensor-*", "rollup_index": "sensor_rollup",
  "cron": "*/30 * * * * ?", "page_size": 10, "groups": { "date_histogram": { "field": "timestamp", "fixed_interval": "1m" } },
  "metrics": [{ "field": "temperature", "metrics": ["min", "max", "sum"] }] }')" '{"acknowledged":true}'
expect "start" "$(request POST _rollup/job/sensor/_start)" '{"started":true}'
request POST _rollup/job/sensor/_trigger > /dev/null
state=$(request GET '_rollup/job/sensor?filter_path=jobs.status.job_state')
expect "state" "$state" '{"jobs":[{"status":{"job_state":"indexing"}}]}'
stopped=$(request POST '_rollup/job/sensor/_stop?wait_for_completion=true&timeout=10s')
expect "stop" "$stopped" '{"stopped":true,"state":"stopped"}'
there=$(request GET '_rollup/job/sensor?filter_path=jobs.stats.rollups_indexed' | tr -dc 0-9)
moved=$(cargo run --quiet --example adopt --all-features -- "$url" operator:secret | tail -n 1)
expect "adopt" "$moved" "$there documents were rolled up there, $((50000 - there)) here"
# An ordinary search is answered by what was rolled up, if that is wished for, and says so.
by_day='{"size":0,"aggs":{"a":{"date_histogram":{"field":"timestamp","fixed_interval":"1d"}}}}'
answer=$(request POST 'sensor-*/_search?rollup=auto' -d "$by_day")
[[ "$answer" == *'"job_id":"sensor"'*'"tier":"rolled_up"'* && "$answer" == *'"value":50000'* ]] ||
  fail "search: got $answer"
request POST sensor-1/_refresh > /dev/null
answer=$(request POST 'sensor-*/_search' -d "$by_day")
[[ "$answer" != *rolled_up* && "$answer" == *'"value":50000'* ]] || fail "search: got $answer"
expect "delete" "$(request DELETE _rollup/job/sensor)" '{"acknowledged":true}'
echo "curl: ok"

for line in 8 9; do "$clients/python-$line/bin/python" -W ignore tests/clients/python/scenario.py "$url" "python$line"; done
node "$clients/javascript/scenario.mjs" "$url" javascript

# Every 5xx that the description does not have is a failure, and so is every answer that is not as it says.
hooks="$PWD/tests/clients/schemathesis"
cd "$clients"
PYTHONPATH="$hooks" SCHEMATHESIS_HOOKS=hooks PYTHONDONTWRITEBYTECODE=1 schemathesis/bin/st run "$url/_rollup/openapi.json" --auth operator:secret --continue-on-failure \
  --checks status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance \
  --max-examples "${ROLLUP_SCHEMATHESIS_EXAMPLES:-100}" > "$data/schemathesis" || { cat "$data/schemathesis"; fail "schemathesis"; }
tail -n 3 "$data/schemathesis"
echo "schemathesis: ok"

kill -TERM "${servers[-1]}"
wait "${servers[-1]}" || fail "the example server did not end well"
grep -q '^all jobs are at rest$' "$data/log" || fail "the example server has not waited for its jobs"
echo "shutdown: ok"
