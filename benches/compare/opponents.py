"""The other engines, at the same data and the same question: python opponents.py THREADS

Told line by line what to do, as our own side is: `open FOLDER SHAPE`, `ENGINE scan`, `duckdb run FILE`, `check FILE`.
"""

import json
import os
import sqlite3
import sys
import time

THREADS = int(sys.argv[1])
os.environ["POLARS_MAX_THREADS"] = str(THREADS)

import datafusion
import duckdb
import numpy
import polars
import pyarrow

HOUR = 3_600_000
DAY = 24 * HOUR


class Data:
    def __init__(self, folder, shape):
        def column(name, kind):
            return numpy.fromfile(f"{folder}/{name}", dtype=kind)

        self.by_floor = shape == "histogram"
        self.metrics = ["delay", "distance"] if shape == "flights" else ["temperature", "voltage", "humidity"]
        self.interval = 2 * DAY if shape == "coarse" else HOUR
        node = pyarrow.array(column("node", "<i8").astype("int32"))
        names = pyarrow.array([f"node-{number:03}" for number in range(300)])
        columns = {
            "timestamp": pyarrow.array(column("timestamp", "<i8").astype("datetime64[ms]")),
            "node": pyarrow.DictionaryArray.from_arrays(node, names).cast(pyarrow.string()),
            "floor": pyarrow.array(column("floor", "<i8")),
        }
        for name in self.metrics:
            columns[name] = pyarrow.array(column(name, "<f8"), from_pandas=True)
        self.table = pyarrow.table(columns)
        self.file = f"{folder}/duckdb-{THREADS}"
        self.duckdb = None

    def open_duckdb(self):
        if self.duckdb is None:
            if os.path.exists(self.file):
                os.remove(self.file)
            self.duckdb = duckdb.connect(self.file)
            self.duckdb.execute(f"SET threads = {THREADS}")
            source = self.table
            self.duckdb.execute("CREATE TABLE sensor AS SELECT * FROM source")
            self.duckdb.execute("CHECKPOINT")
        return self.duckdb

    def question(self, bucket):
        floor = ["floor"] if self.by_floor else []
        values = [f"{name}({field}) AS {field}_{name}" for field in self.metrics for name in ("min", "max", "sum", "count")]
        keys = [f"{bucket} AS bucket", *floor, "node"]
        order = ", ".join(str(place + 1) for place in range(len(keys)))
        return (
            f"SELECT {', '.join(keys + ['count(*) AS documents'] + values)} FROM sensor GROUP BY {order} ORDER BY {order}"
        )

    def duckdb_question(self):
        bucket = "date_trunc('hour', timestamp)"
        if self.interval != HOUR:
            bucket = "time_bucket(INTERVAL 2 DAY, timestamp, TIMESTAMP '1970-01-01')"
        return self.question(bucket)


def duckdb_scan(data):
    return data.open_duckdb().sql(data.duckdb_question()).to_arrow_table().num_rows


def duckdb_run(data, file):
    """Into a table of another file, and durable."""
    connection = data.open_duckdb()
    connection.execute(f"ATTACH '{file}' AS target")
    began = time.perf_counter()
    connection.execute(f"CREATE TABLE target.rolled AS {data.duckdb_question()}")
    connection.execute("CHECKPOINT target")
    seconds = time.perf_counter() - began
    count = connection.execute("SELECT count(*) FROM target.rolled").fetchone()[0]
    connection.execute("DETACH target")
    os.remove(file)
    return seconds, count


def polars_scan(data):
    frame = polars.from_arrow(data.table).lazy()
    keys = [polars.col("timestamp").dt.truncate("2d" if data.interval != HOUR else "1h").alias("bucket")]
    keys += [polars.col("floor")] if data.by_floor else []
    keys += [polars.col("node")]
    values = [polars.len().alias("documents")]
    for field in data.metrics:
        for name in ("min", "max", "sum", "count"):
            values.append(getattr(polars.col(field), name)().alias(f"{field}_{name}"))
    order = ["bucket", "floor", "node"] if data.by_floor else ["bucket", "node"]
    return frame.group_by(keys).agg(values).sort(order).collect(engine="streaming").height


def datafusion_scan(data):
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
    context.register_record_batches("sensor", [data.table.to_batches(max_chunksize=1 << 16)])
    bucket = "date_trunc('hour', timestamp)"
    if data.interval != HOUR:
        bucket = "date_bin(interval '2 days', timestamp, timestamp '1970-01-01')"
    return sum(batch.num_rows for batch in context.sql(data.question(bucket)).collect())


def sqlite_scan(data):
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE sensor (timestamp INTEGER, node TEXT, floor INTEGER, {', '.join(data.metrics)})")
    for batch in data.table.to_batches(max_chunksize=100_000):
        columns = [column.to_pylist() for column in batch.columns]
        columns[0] = batch.column(0).cast(pyarrow.int64()).to_pylist()
        connection.executemany(f"INSERT INTO sensor VALUES ({', '.join('?' * len(columns))})", zip(*columns))
    began = time.perf_counter()
    rows = connection.execute(data.question(f"timestamp / {data.interval}")).fetchall()
    return time.perf_counter() - began, len(rows)


def check(data, file):
    """Bucket for bucket: counts and extremes exactly, sums to within rounding."""
    ours = numpy.fromfile(file, dtype="<f8").reshape(-1, 4 + 4 * len(data.metrics))
    theirs = data.open_duckdb().sql(data.duckdb_question()).to_arrow_table()
    assert len(ours) == theirs.num_rows, f"{len(ours)} buckets, not {theirs.num_rows}"

    def column(name):
        return theirs[name].combine_chunks()

    dates = column("bucket").cast(pyarrow.timestamp("ms")).cast(pyarrow.int64()).to_numpy()
    assert (ours[:, 0] == dates).all(), "dates"
    assert (ours[:, 2] == numpy.array([int(name[5:]) for name in column("node").to_pylist()])).all(), "nodes"
    if data.by_floor:
        assert (ours[:, 1] == column("floor").to_numpy()).all(), "floors"
    assert (ours[:, 3] == column("documents").to_numpy()).all(), "documents"
    furthest = 0.0
    for place, field in enumerate(data.metrics):
        least, most, total, count = (ours[:, 4 + 4 * place + part] for part in range(4))
        some = count > 0
        assert (count == column(f"{field}_count").to_numpy()).all(), f"{field} count"
        for name, values in (("min", least), ("max", most)):
            expected = column(f"{field}_{name}").to_numpy(zero_copy_only=False)
            assert (values[some] == expected[some]).all(), f"{field} {name}"
        expected = column(f"{field}_sum").to_numpy(zero_copy_only=False)
        furthest = max(furthest, (abs(total[some] - expected[some]) / abs(expected[some]).clip(1e-300)).max())
    assert furthest < 1e-12, f"sums differ by {furthest}"
    return len(ours)


def duckdb_roll_up(data):
    connection = data.open_duckdb()
    connection.execute("DROP TABLE IF EXISTS rolled")
    connection.execute(f"CREATE TABLE rolled AS {data.duckdb_question()}")
    connection.execute("CHECKPOINT")
    return connection.execute("SELECT count(*) FROM rolled").fetchall()[0][0]


ASKED_DAY = 45


def asked(data, question):
    """The same questions as in asking.rs."""
    merged = {"min": "min", "max": "max", "sum": "sum", "count": "sum"}

    def rolled(fields):
        values = [f"{how}({field}_{name}) AS {field}_{name}" for field, names in fields for name, how in merged.items() if name in names]
        return (
            f"SELECT date_trunc('day', bucket) AS bucket, node, sum(documents) AS documents, {', '.join(values)} "
            "FROM rolled GROUP BY 1, 2 ORDER BY 1, 2"
        )

    match question:
        case "rolled-average":
            return rolled([("temperature", ("sum", "count"))])
        case "rolled-all":
            return rolled([(field, tuple(merged)) for field in data.metrics])
        case "raw-node":
            return data.duckdb_question().replace("FROM sensor", "FROM sensor WHERE node = 'node-007'")
        case "raw-day":
            first = data.open_duckdb().execute("SELECT date_trunc('day', min(timestamp)) FROM sensor").fetchall()[0][0]
            since = f"TIMESTAMP '{first}' + INTERVAL {ASKED_DAY} DAY"
            where = f"WHERE timestamp >= {since} AND timestamp < {since} + INTERVAL 1 DAY"
            return data.duckdb_question().replace("FROM sensor", f"FROM sensor {where}")


def duckdb_ask(data, question):
    return data.open_duckdb().sql(question).to_arrow_table().num_rows


def check_answer(data, question, file):
    """Group for group."""
    ours = numpy.fromfile(file, dtype="<f8").reshape(-1, 5)
    theirs = data.open_duckdb().sql(asked(data, question)).to_arrow_table()
    assert len(ours) == theirs.num_rows > 0, f"{len(ours)} groups, not {theirs.num_rows}"

    def column(name):
        return theirs[name].combine_chunks().cast(pyarrow.float64()).to_numpy(zero_copy_only=False)

    dates = theirs["bucket"].combine_chunks().cast(pyarrow.timestamp("ms")).cast(pyarrow.int64()).to_numpy()
    assert (ours[:, 0] == dates).all(), "dates"
    assert (ours[:, 1] == numpy.array([int(name[5:]) for name in theirs["node"].to_pylist()])).all(), "nodes"
    assert (ours[:, 2] == column("documents")).all(), "documents"
    total = column("temperature_sum")
    assert (abs(ours[:, 3] - total) <= 1e-12 * abs(total).clip(1e-300)).all(), "sums"
    assert (ours[:, 4] == column("temperature_count")).all(), "counts"
    return len(ours)


SCANS = {"duckdb": duckdb_scan, "polars": polars_scan, "datafusion": datafusion_scan, "sqlite": sqlite_scan}


def timed(work, *arguments):
    began = time.perf_counter()
    found = work(*arguments)
    seconds, count = found if isinstance(found, tuple) else (time.perf_counter() - began, found)
    return {"seconds": seconds, "count": count}


def main():
    data = None
    for line in sys.stdin:
        match line.split():
            case ["open", folder, shape]:
                data, answer = Data(folder, shape), {}
            case ["check", file]:
                answer = timed(check, data, file)
            case ["answer", question, file]:
                answer = timed(check_answer, data, question, file)
            case ["duckdb", "roll-up"]:
                answer = timed(duckdb_roll_up, data)
            case ["duckdb", "ask", question]:
                text = asked(data, question)
                answer = timed(duckdb_ask, data, text)
            case ["duckdb", "run", file]:
                answer = timed(duckdb_run, data, file)
            case [engine, "scan"]:
                answer = timed(SCANS[engine], data)
            case ["versions"]:
                modules = (duckdb, polars, datafusion)
                answer = {module.__name__: module.__version__ for module in modules} | {"sqlite": sqlite3.sqlite_version}
        print(json.dumps(answer), flush=True)


main()
