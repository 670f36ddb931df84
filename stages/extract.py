"""Stage extract: one source of data/sources.yaml to data/landmarks/<id>/. `python -m stages.extract ID`"""

import sys

from faceemo.interrupts import importing

with importing("extract"):
    from faceemo.console import run
    from faceemo.errors import FaceemoError
    from faceemo.params import load_params
    from faceemo.paths import SOURCES_FILE
    from faceemo.pictures.sources import read_sources


def main(arguments: list[str]) -> None:
    """Extract one source. arguments: its id in data/sources.yaml."""
    with importing("extract"):  # here, because every worker imports this module and needs no Parquet
        from faceemo.extraction.extract import extract
        from faceemo.training.preflight import look_ahead

    params = load_params()
    sources = read_sources()
    if len(arguments) != 1:
        raise FaceemoError(f"name one source: python -m stages.extract ID; known: {', '.join(sources)}")
    (key,) = arguments
    if key not in sources:
        raise FaceemoError(f"{key} is not in {SOURCES_FILE.as_posix()}; it holds {', '.join(sources)}")
    note = look_ahead(params, sources)
    if note:
        print(note, flush=True)
    extract(key, sources[key], params.extract, params.limit, params.workers)
    if note:  # once more at the end: hours lie between
        print(note, flush=True)


if __name__ == "__main__":
    sys.exit(run("extract", lambda: main(sys.argv[1:])))
