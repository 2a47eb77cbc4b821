"""Asks every engine the same question, in turn, and prints how long each took. See README.md here, and `run`."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

import flights

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "shapes.json")) as file:
    SHAPES = json.load(file)
QUICK = ["ordered", "shuffled", "missing", "histogram", "coarse", "flights"]


class Contestant:
    """A process that is told line by line what to do."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} has ended at: {words}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def row(title, answers, baseline):
    times = [answer["seconds"] for answer in answers]
    processor = statistics.median(answer["processor"] for answer in answers)
    median, least = statistics.median(times), min(times)
    ratios = ""
    if baseline:
        theirs = [answer["seconds"] for answer in baseline]
        of_processor = statistics.median(answer["processor"] for answer in baseline) / processor
        ratios = f"{statistics.median(theirs) / median:7.2f} {min(theirs) / least:7.2f} {of_processor:7.2f}"
    last = answers[-1]
    memory = f"{last['megabytes']:6} MB" if "megabytes" in last else ""
    print(
        f"  {title:34} {median:8.3f} s {least:8.3f} s {processor:8.3f} s {ratios:23} {last['count']:>9} {memory}",
        flush=True,
    )


def interleaved(repeats, works):
    """Each in turn, once for nothing and then so often; the first is what the others are compared with."""
    answers = {title: [] for title, _ in works}
    for repeat in range(repeats + 1):
        for title, work in works:
            answer = work()
            if repeat:
                answers[title].append(answer)
    baseline = answers[works[0][0]]
    for title, _ in works:
        row(title, answers[title], baseline)


def once(program, folder, *words):
    """Has a process of its own make what is to be in a folder, unless it was made to its end before. It keeps its memory."""
    if os.path.exists(f"{folder}/made"):
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(f"making {folder}", flush=True)
    if "flights" in words:
        flights.columns(folder)
    maker = Contestant(program)
    maker.ask(*words)
    maker.end()
    open(f"{folder}/made", "w").close()


def make(program, folder, data, documents):
    if data == "flights":
        once(program, folder, "index", folder, data, folder)
    else:
        once(program, folder, "generate", folder, data, documents)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the program of this crate's side")
    parser.add_argument("--data", default="target/compare/data")
    parser.add_argument("--documents", type=int, help="in place of what shapes.json says")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shapes", nargs="+", default=QUICK, help="of shapes.json, or all")
    parser.add_argument("--only-asking", action="store_true", help="only questions over raw and rolled-up data")
    parser.add_argument("--searches", action="store_true", help="only searches over rolled-up data")
    parser.add_argument("--slow", action="store_true", help="SQLite and tantivy's composite aggregation too: minutes")
    parser.add_argument("--growth", action="store_true", help="ten times as many documents, and other page sizes, too")
    options = parser.parse_args()

    if options.shapes == ["all"]:
        options.shapes = [name for name in SHAPES["questions"] if name != "distinct"]

    def documents_of(data):
        return options.documents or SHAPES["data"][data]["documents"]

    def folder_of(data, documents=None):
        return os.path.join(options.data, f"{data}-{documents or documents_of(data)}")

    ours = Contestant(options.ours)
    for shape in options.shapes:
        data = SHAPES["questions"][shape]["data"]
        make(options.ours, folder_of(data), data, documents_of(data))

    columns = f"{'':36} {'median':>10} {'least':>10} {'processor':>10} {'times as fast':>23} {'groups':>9} memory"
    print(f"{columns} (ratio of medians, of least, of processor)")
    for threads in options.threads:
        others = Contestant(sys.executable, os.path.join(HERE, "opponents.py"), str(threads))
        print(f"{threads} thread(s); {others.ask('versions')}")
        for shape in options.shapes:
            question = SHAPES["questions"][shape]
            folder = folder_of(question["data"])
            others.ask("open", folder, shape)
            ours.ask("open", folder, shape, threads, 1_000)
            result = os.path.join(options.data, "result")
            if options.searches:
                searching(options, ours, others, result)
                continue
            if options.only_asking:
                asking(options, ours, others, result)
                continue
            ours.ask("result", result)
            others.ask("check", result)
            print(f" {shape}: every bucket is the same")
            works = [("DuckDB", lambda: others.ask("duckdb scan")), ("rollup-jobs", lambda: ours.ask("scan"))]
            # The others are asked what they have a plain query for.
            if not {"values", "deletes", "time_zone"} & (question.keys() | SHAPES["data"][question["data"]].keys()):
                works += [(name, lambda name=name: others.ask(name, "scan")) for name in ("polars", "datafusion")]
            interleaved(options.repeats, works)
            target = os.path.join(options.data, "target")
            works = [
                ("DuckDB, CREATE TABLE AS, durable", lambda: others.ask("duckdb run ordered", target)),
                ("the same in no order", lambda: others.ask("duckdb run unordered", target)),
                ("rollup-jobs, end to end, durable", lambda: ours.ask("run", target)),
            ]
            interleaved(options.repeats, works)
            if shape == "ordered":
                asking(options, ours, others, result)
                # In a process of its own, which keeps the memory of all those documents.
                writer = Contestant(options.ours)
                writer.ask("open", folder, shape, threads, 1_000)
                works = [
                    ("tantivy's writer", lambda: writer.ask("tantivy-write")),
                    ("rollup-jobs, documents written", lambda: writer.ask("write")),
                ]
                interleaved(options.repeats, works)
                writer.end()
                if options.slow and threads == 1:
                    for title, work in (
                        ("sqlite", lambda: others.ask("sqlite scan")),
                        ("tantivy, composite in one page", lambda: ours.ask("composite")),
                    ):
                        row(title, [work()], None)
        others.end()
    if options.growth:
        growth(options, ours, folder_of)
    ours.end()


QUESTIONS = {
    "rolled-average": "rolled up, by day and node, an average",
    "rolled-all": "rolled up, by day and node, everything",
    "raw-node": "raw, one node of 200",
    "raw-day": "raw, one day of 90",
}


def asking(options, ours, others, answer):
    others.ask("duckdb roll-up")
    ours.ask("roll-up", os.path.join(options.data, "rolled"))
    for question, title in QUESTIONS.items():
        ours.ask("answer", question, answer)
        others.ask("answer", question, answer)
        works = [
            (f"DuckDB, {title}", lambda: others.ask("duckdb ask", question)),
            ("rollup-jobs", lambda: ours.ask("ask", question)),
        ]
        interleaved(options.repeats, works)


def searching(options, ours, others, answer):
    with open(os.path.join(HERE, "searches.json")) as file:
        searches = json.load(file)
    others.ask("duckdb roll-up")
    ours.ask("roll-up-job", os.path.join(options.data, "searched"))
    for name in searches:
        ours.ask("found", answer, name)
        others.ask("found", answer, name)
        works = [
            (f"{name}: DuckDB, rolled up", lambda: others.ask("duckdb search rolled", name)),
            ("rollup-jobs", lambda: ours.ask("search", name)),
            ("DuckDB, raw", lambda: others.ask("duckdb search raw", name)),
        ]
        interleaved(options.repeats, works)


def growth(options, ours, folder_of):
    print("growth: scan on 1 thread, ratios to the first of each")

    def scanned(folder, shape, page_size=1_000):
        def ask():
            ours.ask("open", folder, shape, 1, page_size)
            return ours.ask("scan")

        return ask

    def of(shape, documents):
        make(options.ours, folder_of(shape, documents), shape, documents)
        return scanned(folder_of(shape, documents), shape)

    def rolled_up(documents):
        make(options.ours, folder_of("ordered", documents), "ordered", documents)

        def ask():
            ours.ask("open", folder_of("ordered", documents), "ordered", 2, 1_000)
            return ours.ask("run", os.path.join(options.data, "target"))

        return ask

    def in_segments(segments):
        columns = folder_of("ordered")
        folder = f"{columns}-{segments}"
        once(options.ours, folder, "index", columns, "ordered", folder, segments)
        return scanned(folder, "ordered")

    documents, repeats = options.documents or SHAPES["data"]["ordered"]["documents"], options.repeats
    make(options.ours, folder_of("ordered"), "ordered", documents)
    sizes = (1_000, 10, 65_536)
    interleaved(repeats, [(f"{size} buckets a page", scanned(folder_of("ordered"), "ordered", size)) for size in sizes])
    interleaved(repeats, [(f"{count} segments", in_segments(count)) for count in (3, 30, 1_000)])
    counts = (documents, documents // 10, documents * 10)
    interleaved(repeats, [(f"{count} documents", of("ordered", count)) for count in counts])
    counts = (documents, documents * 10)
    interleaved(repeats, [(f"{count} documents end to end, 2 threads", rolled_up(count)) for count in counts])
    counts = (documents // 10, documents)
    interleaved(1, [(f"{count} groups in one date bucket", of("distinct", count)) for count in counts])


main()
