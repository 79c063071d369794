"""Merge the parts that `make_pickles.py` has printed into `pickles.json.gz`, with each pickle once.

    python3 merge_pickles.py *.json

The result holds `writers` (Python and NumPy release of each), `expected` (a list of descriptions),
and `pickles`: lists of name, protocol, indices of the writers that wrote exactly these bytes, index of
the expected description, bytes in base64.
"""

import gzip
import json
import pathlib
import sys


def main(paths: list[str]) -> None:
    writers: list[list[str]] = []
    expected: dict[str, int] = {}
    pickles: dict[tuple[str, int, int, str], list[int]] = {}
    for path in sorted(paths):
        part = json.loads(pathlib.Path(path).read_text())
        for name, protocol, module, data in part["pickles"]:
            writer = [part["python"], part["numpy"], module]
            if writer not in writers:
                writers.append(writer)
            description = json.dumps(part["expected"][name], sort_keys=True)
            index = expected.setdefault(description, len(expected))
            key = (name, protocol, index, data)
            pickles.setdefault(key, []).append(writers.index(writer))
    merged = {
        "writers": writers,
        "expected": [json.loads(description) for description in expected],
        "pickles": [
            [name, protocol, indices, index, data]
            for (name, protocol, index, data), indices in pickles.items()
        ],
    }
    text = json.dumps(merged, sort_keys=True, separators=(",", ":"))
    target = pathlib.Path(__file__).with_name("pickles.json.gz")
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{len(pickles)} pickles, {len(expected)} descriptions, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
