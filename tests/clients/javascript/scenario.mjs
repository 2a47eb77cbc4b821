// The official Elasticsearch client for JavaScript, unmodified, against the example server: node scenario.mjs URL NAME
//
// Every outcome of a stop is had as the client throws it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { Client, errors } from "@elastic/elasticsearch";

const DOCUMENTS = 20_000;
const MINUTE = 60_000;
const START = 1_767_225_600_000;

const [url, name] = process.argv.slice(2);
const user = (username) => new Client({ node: url, auth: { username, password: "secret" } });
const [operator, viewer, stranger] = [user("operator"), user("viewer"), new Client({ node: url })];
const rollup = operator.rollup;
const stopped = { stopped: true, state: "stopped" };

async function fails(status, call) {
  try {
    await call();
  } catch (error) {
    assert(error instanceof errors.ResponseError, error);
    assert.equal(error.statusCode, status, error);
    return error.body;
  }
  assert.fail(`expected ${status}`);
}

const trigger = () => operator.transport.request({ method: "POST", path: `/_rollup/job/${name}/_trigger` });
const wait = (timeout) => rollup.stopJob({ id: name, wait_for_completion: true, timeout });
const job = {
  index_pattern: `${name}-*`,
  rollup_index: `${name}_rollup`,
  cron: "0 0 0 1 1 ? 2099",
  page_size: 10,
  groups: { date_histogram: { field: "timestamp", fixed_interval: "1m" }, terms: { fields: ["node"] } },
  metrics: [{ field: "temperature", metrics: ["min", "max", "sum"] }],
};

assert((await operator.info()).version.number);
const properties = { timestamp: { type: "date" }, node: { type: "keyword" }, temperature: { type: "double" } };
await operator.indices.create({ index: `${name}-1`, mappings: { properties } });
const operations = [];
for (let at = 0; at < DOCUMENTS; at++) {
  operations.push({ index: {} });
  operations.push({ timestamp: START + at * MINUTE, node: "ab"[at % 2], temperature: (at % 50) / 2 });
}
assert.equal((await operator.bulk({ index: `${name}-1`, operations })).errors, false);
await operator.indices.refresh({ index: `${name}-1` });
assert.equal((await operator.count({ index: `${name}-*` })).count, DOCUMENTS);

// Put and get.
assert.deepEqual(await rollup.putJob({ id: name, ...job }), { acknowledged: true });
await fails(409, () => rollup.putJob({ id: name, ...job }));
const refused = await fails(400, () => rollup.putJob({ id: `${name}-2`, ...job, page_size: 0 }));
assert.equal(refused.error.caused_by.reason, "Page size is mandatory and  must be a positive long");
assert((await rollup.getJobs()).jobs.some((one) => one.config.id === name));
assert.equal((await rollup.getJobs({ id: name })).jobs[0].status.job_state, "stopped");

// A stop of a stopped job, of a started one, and of one with a run under way.
assert.deepEqual(await rollup.stopJob({ id: name }), stopped);
assert.deepEqual(await rollup.startJob({ id: name }), { started: true });
const kept = await fails(500, () => rollup.deleteJob({ id: name }));
assert.equal(kept.acknowledged, false);
assert.match(kept.task_failures[0].reason.reason, /Job must be \[STOPPED\] before deletion\./);
assert.deepEqual(await rollup.stopJob({ id: name }), stopped);
await rollup.startJob({ id: name });
await trigger();
assert.equal((await rollup.stopJob({ id: name })).stopped, true);
assert.deepEqual(await wait("10s"), stopped);

// A wait that is over at once; now and then the job is at rest even so.
let timedOut;
for (let attempt = 0; attempt < 200 && !timedOut; attempt++) {
  await rollup.startJob({ id: name });
  await trigger();
  try {
    await wait("0s");
    await wait("10s");
  } catch (error) {
    timedOut = error;
  }
}
assert.equal(timedOut.statusCode, 500);
assert.equal(timedOut.body.error.type, "timeout_exception");
const reason = `Timed out after [0s] while waiting for rollup job [${name}] to stop. State was [STOPPING]`;
assert.equal(timedOut.body.error.reason, reason);
// The stop is in force all the same.
assert.deepEqual(await wait("30s"), stopped);

// What is not there, and who may not.
for (const verb of ["startJob", "stopJob", "deleteJob"]) {
  assert.equal((await fails(404, () => rollup[verb]({ id: "nobody" }))).error.type, "resource_not_found_exception");
}
assert.deepEqual(await rollup.getJobs({ id: "nobody" }), { jobs: [] });
assert.equal((await viewer.rollup.getJobs({ id: name })).jobs.length, 1);
const forbidden = await fails(403, () => viewer.rollup.stopJob({ id: name }));
assert.match(forbidden.error.reason, /action \[cluster:admin\/xpack\/rollup\/stop\] is unauthorized for user \[viewer\]/);
await fails(401, () => stranger.rollup.stopJob({ id: name }));

// Values that are none.
for (const [values, expected] of [
  [{ timeout: "5w" }, "failed to parse setting [timeout] with value [5w] as a time value"],
  [{ timeout: "soon" }, "failed to parse"],
  [{ wait_for_completion: "yes" }, "Failed to parse value [yes] as only [true] or [false] are allowed."],
]) {
  const { error } = await fails(400, () => rollup.stopJob({ id: name, ...values }));
  assert(error.reason.startsWith(expected), error.reason);
}

// To the end, and what is left.
await rollup.startJob({ id: name });
await trigger();
while ((await rollup.getJobs({ id: name })).jobs[0].stats.rollups_indexed === 0);
assert.deepEqual(await wait("10s"), stopped);

// What was rolled up and what was not, in one answer.
const hottest = { max: { field: "temperature" } };
const nodes = { nodes: { terms: { field: "node" }, aggregations: { hottest } } };
const answer = await rollup.rollupSearch({ index: `${name}-*`, size: 0, aggregations: nodes });
assert.equal(answer.hits.total.value, DOCUMENTS);
assert.deepEqual(answer.aggregations.nodes.buckets, [
  { key: "a", doc_count: DOCUMENTS / 2, hottest: { value: 24.0 } },
  { key: "b", doc_count: DOCUMENTS / 2, hottest: { value: 24.5 } },
]);
await fails(400, () => rollup.rollupSearch({ index: `${name}-*`, size: 1 }));
const caps = await rollup.getRollupCaps({ id: `${name}-*` });
assert.deepEqual(caps[`${name}-*`].rollup_jobs[0].fields.node, [{ agg: "terms" }]);
const ofIndex = await rollup.getRollupIndexCaps({ index: `${name}_rollup` });
assert.equal(ofIndex[`${name}_rollup`].rollup_jobs[0].job_id, name);
assert.deepEqual(await rollup.deleteJob({ id: name }), { acknowledged: true });
assert.deepEqual(await rollup.getJobs({ id: name }), { jobs: [] });
const found = await operator.search({ index: `${name}_rollup`, size: 1, sort: "timestamp.date_histogram.timestamp" });
assert.equal(found.hits.hits[0]._source["timestamp.date_histogram.timestamp"], START);

const { version } = createRequire(import.meta.url)("@elastic/elasticsearch/package.json");
console.log(`@elastic/elasticsearch ${version} for JavaScript: ok`);
