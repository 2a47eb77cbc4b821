"""Real data: three million flights, from a package of the npm registry, as the columns that all engines read."""

import hashlib
import io
import os
import tarfile
import urllib.request

import pyarrow
import pyarrow.compute
import pyarrow.parquet

PACKAGE = "https://registry.npmjs.org/vega-datasets/-/vega-datasets-3.2.1.tgz"
SHA256 = "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3"


def columns(folder):
    package = urllib.request.urlopen(PACKAGE).read()
    assert hashlib.sha256(package).hexdigest() == SHA256, f"{PACKAGE} is not what it was"
    with tarfile.open(fileobj=io.BytesIO(package)) as files:
        flights = pyarrow.parquet.read_table(files.extractfile("package/data/flights-3m.parquet"))
    # As the airports are in alphabetical order, so are their numbers.
    airports = pyarrow.compute.unique(flights["origin"]).sort()
    kinds = {
        "timestamp": flights["date"].cast(pyarrow.timestamp("ms")).cast(pyarrow.int64()),
        "airport": pyarrow.compute.index_in(flights["origin"], airports).cast(pyarrow.int64()),
        "delay": flights["delay"].cast(pyarrow.float64()),
        "distance": flights["distance"].cast(pyarrow.float64()),
    }
    os.makedirs(folder)
    for name, column in kinds.items():
        column.to_numpy().tofile(f"{folder}/{name}")
