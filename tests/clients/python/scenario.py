"""The official Elasticsearch client for Python, unmodified, against the example server: python scenario.py URL NAME

Every outcome of a stop is had as the client raises it, with its sync and with its async face.
"""

import asyncio
import inspect
import sys

import elasticsearch
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    AuthenticationException,
    AuthorizationException,
    BadRequestError,
    ConflictError,
    Elasticsearch,
    NotFoundError,
)

DOCUMENTS = 20_000
MINUTE = 60_000
START = 1_767_225_600_000


async def done(result):
    """What a call of either face has to say."""
    return await result if inspect.isawaitable(result) else result


async def raises(kind, status, call, **arguments):
    try:
        answer = await done(call(**arguments))
    except kind as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"{call.__name__}{arguments} gave {answer}")


def job(name):
    return {
        "index_pattern": f"{name}-*",
        "rollup_index": f"{name}_rollup",
        "cron": "0 0 0 1 1 ? 2099",
        "page_size": 10,
        "groups": {
            "date_histogram": {"field": "timestamp", "fixed_interval": "1m"},
            "terms": {"fields": ["node"]},
        },
        "metrics": [{"field": "temperature", "metrics": ["min", "max", "sum"]}],
    }


async def scenario(face, url, name):
    operator = face(url, basic_auth=("operator", "secret"))
    viewer = face(url, basic_auth=("viewer", "secret"))
    stranger = face(url)
    rollup = operator.rollup

    async def trigger():
        headers = {"accept": "application/json"}
        await done(operator.perform_request("POST", f"/_rollup/job/{name}/_trigger", headers=headers))

    async def status():
        return (await done(rollup.get_jobs(id=name)))["jobs"][0]

    assert (await done(operator.info()))["version"]["number"]
    mappings = {"timestamp": {"type": "date"}, "node": {"type": "keyword"}, "temperature": {"type": "double"}}
    await done(operator.indices.create(index=f"{name}-1", mappings={"properties": mappings}))
    operations = []
    for at in range(DOCUMENTS):
        operations.append({"index": {}})
        operations.append({"timestamp": START + at * MINUTE, "node": "ab"[at % 2], "temperature": at % 50 / 2})
    assert not (await done(operator.bulk(index=f"{name}-1", operations=operations)))["errors"]
    await done(operator.indices.refresh(index=f"{name}-1"))
    assert (await done(operator.count(index=f"{name}-*")))["count"] == DOCUMENTS

    # Put.
    assert (await done(rollup.put_job(id=name, **job(name)))).body == {"acknowledged": True}
    await raises(ConflictError, 409, rollup.put_job, id=name, **job(name))
    error = await raises(BadRequestError, 400, rollup.put_job, id=f"{name}-2", **{**job(name), "page_size": 0})
    assert error.body["error"]["caused_by"]["reason"] == "Page size is mandatory and  must be a positive long"

    # Get.
    listed = await done(rollup.get_jobs())
    assert name in [one["config"]["id"] for one in listed["jobs"]]
    assert (await status())["status"] == {"job_state": "stopped"}

    # A stop of a stopped job, of a started one, and of one with a run under way.
    stopped = {"stopped": True, "state": "stopped"}
    assert (await done(rollup.stop_job(id=name))).body == stopped
    assert (await done(rollup.start_job(id=name))).body == {"started": True}
    error = await raises(ApiError, 500, rollup.delete_job, id=name)
    assert error.body["acknowledged"] is False
    assert "Job must be [STOPPED] before deletion." in error.body["task_failures"][0]["reason"]["reason"]
    assert (await done(rollup.stop_job(id=name))).body == stopped
    await done(rollup.start_job(id=name))
    await trigger()
    assert (await done(rollup.stop_job(id=name)))["stopped"] is True
    assert (await done(rollup.stop_job(id=name, wait_for_completion=True, timeout="10s"))).body == stopped

    # A wait that is over at once; now and then the job is at rest even so.
    for _ in range(200):
        await done(rollup.start_job(id=name))
        await trigger()
        try:
            await done(rollup.stop_job(id=name, wait_for_completion=True, timeout="0s"))
        except ApiError as error:
            timed_out = error
            break
        await done(rollup.stop_job(id=name, wait_for_completion=True, timeout="10s"))
    assert timed_out.status_code == 500 and timed_out.error == "timeout_exception", timed_out
    reason = f"Timed out after [0s] while waiting for rollup job [{name}] to stop. State was [STOPPING]"
    assert timed_out.body["error"]["reason"] == reason, timed_out.body
    # The stop is in force all the same.
    assert (await done(rollup.stop_job(id=name, wait_for_completion=True))).body == stopped

    # What is not there, and who may not.
    for call in (rollup.start_job, rollup.stop_job, rollup.delete_job):
        error = await raises(NotFoundError, 404, call, id="nobody")
        assert error.error == "resource_not_found_exception"
    assert (await done(rollup.get_jobs(id="nobody"))).body == {"jobs": []}
    assert (await done(viewer.rollup.get_jobs(id=name)))["jobs"]
    error = await raises(AuthorizationException, 403, viewer.rollup.stop_job, id=name)
    assert "cluster:admin/xpack/rollup/stop" in error.body["error"]["reason"]
    assert "for user [viewer]" in error.body["error"]["reason"]
    await raises(AuthenticationException, 401, stranger.rollup.stop_job, id=name)

    # Values that are none.
    for arguments, reason in [
        ({"timeout": "5w"}, "failed to parse setting [timeout] with value [5w] as a time value"),
        ({"timeout": "soon"}, "failed to parse"),
        ({"wait_for_completion": "yes"}, "Failed to parse value [yes] as only [true] or [false] are allowed."),
    ]:
        error = await raises(BadRequestError, 400, rollup.stop_job, id=name, **arguments)
        assert error.body["error"]["reason"].startswith(reason), error.body

    # To the end, and what is left.
    await done(rollup.start_job(id=name))
    await trigger()
    while (await status())["stats"]["rollups_indexed"] == 0:
        pass
    answer = rollup.stop_job(id=name, wait_for_completion=True, timeout="10s", pretty=True, human=True)
    assert (await done(answer)).body == stopped

    # What was rolled up and what was not, in one answer.
    nodes = {"nodes": {"terms": {"field": "node"}, "aggs": {"hottest": {"max": {"field": "temperature"}}}}}
    for index in (f"{name}-*", f"{name}-1"):
        found = await done(rollup.rollup_search(index=index, size=0, aggregations=nodes))
        assert found["hits"]["total"] == {"value": DOCUMENTS, "relation": "eq"}, found
        buckets = [
            {"key": node, "doc_count": DOCUMENTS // 2, "hottest": {"value": hottest}}
            for node, hottest in (("a", 24.0), ("b", 24.5))
        ]
        assert found["aggregations"]["nodes"]["buckets"] == buckets, found
    found = await done(rollup.rollup_search(index=f"{name}_rollup", size=0, aggs=nodes, typed_keys=True,
                                            rest_total_hits_as_int=True))
    assert 0 < found["hits"]["total"] <= DOCUMENTS and "sterms#nodes" in found["aggregations"], found
    error = await raises(BadRequestError, 400, rollup.rollup_search, index=f"{name}-*", size=1)
    assert error.body["error"]["reason"].startswith("Rollup does not support returning search hits"), error.body
    await raises(AuthorizationException, 403, viewer.rollup.rollup_search, index=f"{name}-*", size=0)
    caps = await done(rollup.get_rollup_caps(id=f"{name}-*"))
    assert caps[f"{name}-*"]["rollup_jobs"][0]["fields"]["node"] == [{"agg": "terms"}], caps
    caps = await done(rollup.get_rollup_index_caps(index=f"{name}_rollup"))
    assert caps[f"{name}_rollup"]["rollup_jobs"][0]["job_id"] == name, caps
    await raises(NotFoundError, 404, rollup.get_rollup_index_caps, index="nobody")
    assert (await done(rollup.delete_job(id=name))).body == {"acknowledged": True}
    assert (await done(rollup.get_jobs(id=name))).body == {"jobs": []}
    found = await done(operator.search(index=f"{name}_rollup", size=1, sort="timestamp.date_histogram.timestamp"))
    assert found["hits"]["hits"][0]["_source"]["timestamp.date_histogram.timestamp"] == START

    by_node = {"terms": {"node.terms.value": ["a", "nobody"]}}
    found = await done(operator.search(index=f"{name}_rollup", size=0, query=by_node))
    assert found["hits"]["total"]["value"] > 0

    for client in (operator, viewer, stranger):
        await done(client.close())


def main():
    _, url, name = sys.argv
    version = ".".join(map(str, elasticsearch.__version__))
    for kind, face in (("sync", Elasticsearch), ("async", AsyncElasticsearch)):
        asyncio.run(scenario(face, url, f"{name}_{kind}"))
        print(f"elasticsearch {version} for Python, {kind}: ok")


main()
