"""The other engines, at the same data and the same question: python opponents.py THREADS

Told line by line what to do, as our own side is: `open FOLDER QUESTION`, `ENGINE scan`, `duckdb run ordered FILE`,
`check FILE`.
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
import pyarrow.compute

MILLIS = {"1h": 3_600_000, "2d": 172_800_000}


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "shapes.json")) as file:
    SHAPES = json.load(file)

# The intervals of the questions, in SQL.
BUCKETS = {
    "1h": "date_trunc('hour', timestamp)",
    "2d": "time_bucket(INTERVAL 2 DAY, timestamp, TIMESTAMP '1970-01-01')",
    "1d": "date_trunc('day', timestamp)",
    "1M": "date_trunc('month', timestamp)",
}
# What is asked of a metric, where a document has one value and where it has a list of them.
VALUES = {name: f"{name}({{}})" for name in ("min", "max", "sum", "count")}
VALUES_OF_LISTS = {name: f"{name}(list_{name}({{}}))" for name in ("min", "max", "sum")} | {"count": "sum(len({}))"}


class Data:
    def __init__(self, folder, name):
        question = SHAPES["questions"][name]
        described = SHAPES["data"][question["data"]]
        self.metrics, self.values = described["metrics"], described.get("values", 1)
        self.integers = [question["histogram"]] if "histogram" in question else []
        self.terms, self.zone = question["terms"], question.get("time_zone")
        self.interval = question.get("fixed") or question["calendar"]
        self.deletes = described.get("deletes", False)

        def column(name, kind):
            return numpy.fromfile(f"{folder}/{name}", dtype=kind)

        columns = {"timestamp": pyarrow.array(column("timestamp", "<i8").astype("datetime64[ms]"))}
        for name in described["terms"]:
            codes = column(name, "<i8").astype("int32")
            names = pyarrow.array([f"{name}-{number:03}" for number in range(codes.max() + 1)])
            columns[name] = pyarrow.DictionaryArray.from_arrays(pyarrow.array(codes), names).cast(pyarrow.string())
        if "integer" in described:
            columns[described["integer"]] = pyarrow.array(column(described["integer"], "<i8"))
        for name in self.metrics:
            columns[name] = self.metric(column(name, "<f8"))
        if self.deletes:
            columns["deleted"] = pyarrow.array(column("deleted", "<i8"))
        self.table = pyarrow.table(columns)
        self.file = f"{folder}/duckdb-{THREADS}"
        self.duckdb = None

    def metric(self, values):
        if self.values == 1:
            return pyarrow.array(values, from_pandas=True)
        is_there = ~numpy.isnan(values)
        ends = numpy.concatenate([[0], is_there.reshape(-1, self.values).sum(axis=1).cumsum()])
        return pyarrow.ListArray.from_arrays(pyarrow.array(ends.astype("int32")), pyarrow.array(values[is_there]))

    def open_duckdb(self):
        if self.duckdb is None:
            if os.path.exists(self.file):
                os.remove(self.file)
            self.duckdb = duckdb.connect(self.file)
            self.duckdb.execute(f"SET threads = {THREADS}")
            source = self.table
            self.duckdb.execute("CREATE TABLE sensor AS SELECT * FROM source")
            if self.deletes:
                self.duckdb.execute("DELETE FROM sensor WHERE deleted = 1")
            self.duckdb.execute("CHECKPOINT")
        return self.duckdb

    def question(self, bucket, is_ordered=True):
        asked = VALUES if self.values == 1 else VALUES_OF_LISTS
        values = [f"{sql.format(field)} AS {field}_{name}" for field in self.metrics for name, sql in asked.items()]
        keys = [f"{bucket} AS bucket", *self.integers, *self.terms]
        numbers = ", ".join(str(place + 1) for place in range(len(keys)))
        order = f" ORDER BY {numbers}" if is_ordered else ""
        return f"SELECT {', '.join(keys + ['count(*) AS documents'] + values)} FROM sensor GROUP BY {numbers}{order}"

    def duckdb_question(self, is_ordered=True):
        bucket = BUCKETS[self.interval]
        if self.zone:
            bucket = bucket.replace("timestamp", f"timezone('{self.zone}', timezone('UTC', timestamp))")
        return self.question(bucket, is_ordered)


class Stopwatch:
    def __init__(self):
        self.began = time.perf_counter(), time.process_time()

    def spent(self):
        began, began_processor = self.began
        return {"seconds": time.perf_counter() - began, "processor": time.process_time() - began_processor}


def duckdb_scan(data):
    return data.open_duckdb().sql(data.duckdb_question()).to_arrow_table().num_rows


def duckdb_run(data, file, is_ordered):
    """Into a table of another file, and durable."""
    connection = data.open_duckdb()
    connection.execute(f"ATTACH '{file}' AS target")
    watch = Stopwatch()
    connection.execute(f"CREATE TABLE target.rolled AS {data.duckdb_question(is_ordered)}")
    connection.execute("CHECKPOINT target")
    spent = watch.spent()
    count = connection.execute("SELECT count(*) FROM target.rolled").fetchone()[0]
    connection.execute("DETACH target")
    os.remove(file)
    return spent | {"count": count}


def polars_scan(data):
    frame = polars.from_arrow(data.table).lazy()
    timestamp = polars.col("timestamp")
    if data.zone:
        timestamp = timestamp.dt.replace_time_zone("UTC").dt.convert_time_zone(data.zone)
    keys = [timestamp.dt.truncate(data.interval.replace("M", "mo")).alias("bucket")]
    keys += [polars.col(name) for name in data.integers + data.terms]
    values = [polars.len().alias("documents")]
    for field in data.metrics:
        for name in ("min", "max", "sum", "count"):
            values.append(getattr(polars.col(field), name)().alias(f"{field}_{name}"))
    order = ["bucket", *data.integers, *data.terms]
    return frame.group_by(keys).agg(values).sort(order).collect(engine="streaming").height


def datafusion_scan(data):
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(THREADS))
    context.register_record_batches("sensor", [data.table.to_batches(max_chunksize=1 << 16)])
    bucket = BUCKETS[data.interval]
    if data.interval == "2d":
        bucket = "date_bin(interval '2 days', timestamp, timestamp '1970-01-01')"
    return sum(batch.num_rows for batch in context.sql(data.question(bucket)).collect())


def sqlite_scan(data):
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE sensor (timestamp INTEGER, node TEXT, floor INTEGER, {', '.join(data.metrics)})")
    for batch in data.table.to_batches(max_chunksize=100_000):
        columns = [column.to_pylist() for column in batch.columns]
        columns[0] = batch.column(0).cast(pyarrow.int64()).to_pylist()
        connection.executemany(f"INSERT INTO sensor VALUES ({', '.join('?' * len(columns))})", zip(*columns))
    watch = Stopwatch()
    rows = connection.execute(data.question(f"timestamp / {MILLIS[data.interval]}")).fetchall()
    return watch.spent() | {"count": len(rows)}


def numbers(column):
    """Of names that end in them."""
    if pyarrow.types.is_string(column.type):
        return numpy.array([int(name.rsplit("-", 1)[1]) for name in column.to_pylist()])
    return column.to_numpy()


def check(data, file):
    """Bucket for bucket: counts and extremes exactly, sums to within rounding."""
    names = data.integers + data.terms
    at = 1 + len(names)
    ours = numpy.fromfile(file, dtype="<f8").reshape(-1, at + 1 + 4 * len(data.metrics))
    theirs = data.open_duckdb().sql(data.duckdb_question()).to_arrow_table()
    assert len(ours) == theirs.num_rows, f"{len(ours)} buckets, not {theirs.num_rows}"

    def column(name):
        return theirs[name].combine_chunks()

    dates = column("bucket").cast(pyarrow.timestamp("ms"))
    if data.zone:
        dates = pyarrow.compute.assume_timezone(dates, data.zone)
    assert (ours[:, 0] == dates.cast(pyarrow.int64()).to_numpy()).all(), "dates"
    for place, name in enumerate(names):
        assert (ours[:, 1 + place] == numbers(column(name))).all(), name
    assert (ours[:, at] == column("documents").to_numpy()).all(), "documents"
    furthest = 0.0
    for place, field in enumerate(data.metrics):
        least, most, total, count = (ours[:, at + 1 + 4 * place + part] for part in range(4))
        some = count > 0
        counted = column(f"{field}_count").cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        assert (count == numpy.nan_to_num(counted)).all(), f"{field} count"
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


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "searches.json")) as file:
    SEARCHES = json.load(file)


def searched(name, tier):
    """The SQL of a search, over the table that was rolled up or over the raw one."""
    search = SEARCHES[name]
    time, documents, table, values = {
        "rolled": ("bucket", "sum(documents)", "rolled", {
            "avg": "sum(temperature_sum) / sum(temperature_count)", "max": "max(temperature_max)"
        }),
        "raw": ("timestamp", "count(*)", "sensor", {"avg": "avg(temperature)", "max": "max(temperature)"}),
    }[tier]
    keys = [sql.format(time=time) for sql in search["keys"]]
    columns = ", ".join(keys + [f"{documents} AS documents"] + [values[value] for value in search["values"]])
    where = f"WHERE {search['where'].format(time=time)} " if "where" in search else ""
    groups = ", ".join(str(place + 1) for place in range(len(keys)))
    return f"SELECT {columns} FROM {table} {where}GROUP BY {groups} ORDER BY {search['order']}"


def check_found(data, name, file):
    """Bucket for bucket, in both tiers."""
    width = len(SEARCHES[name]["keys"]) + 1 + len(SEARCHES[name]["values"])
    ours = numpy.fromfile(file, dtype="<f8").reshape(-1, width)
    for tier in ("rolled", "raw"):
        theirs = data.open_duckdb().sql(searched(name, tier)).to_arrow_table()
        assert len(ours) == theirs.num_rows > 0, f"{len(ours)} buckets, not {theirs.num_rows}"
        for place in range(width):
            column = theirs.column(place).combine_chunks()
            if pyarrow.types.is_string(column.type):
                expected = numbers(column)
            else:
                expected = column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
            assert (abs(ours[:, place] - expected) <= 1e-12 * abs(expected).clip(1e-300)).all(), (name, tier, place)
    return len(ours)


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
    """`work` says how many it has found, or itself what it took."""
    watch = Stopwatch()
    found = work(*arguments)
    spent = watch.spent()
    return found if isinstance(found, dict) else spent | {"count": found}


def main():
    data = None
    for line in sys.stdin:
        match line.split():
            case ["open", folder, question]:
                data, answer = Data(folder, question), {}
            case ["check", file]:
                answer = timed(check, data, file)
            case ["answer", question, file]:
                answer = timed(check_answer, data, question, file)
            case ["found", file, *name]:
                answer = timed(check_found, data, " ".join(name), file)
            case ["duckdb", "search", tier, *name]:
                answer = timed(duckdb_ask, data, searched(" ".join(name), tier))
            case ["duckdb", "roll-up"]:
                answer = timed(duckdb_roll_up, data)
            case ["duckdb", "ask", question]:
                text = asked(data, question)
                answer = timed(duckdb_ask, data, text)
            case ["duckdb", "run", order, file]:
                answer = timed(duckdb_run, data, file, order == "ordered")
            case [engine, "scan"]:
                answer = timed(SCANS[engine], data)
            case ["versions"]:
                modules = (duckdb, polars, datafusion)
                answer = {module.__name__: module.__version__ for module in modules} | {"sqlite": sqlite3.sqlite_version}
        print(json.dumps(answer), flush=True)


main()
