"""Stage extract: one source of data/sources.yaml to data/landmarks/<id>/. `python -m stages.extract ID`"""

import sys

from faceemo.console import importing, run

with importing("extract"):
    from faceemo.errors import FaceemoError
    from faceemo.extraction.sources import read_sources
    from faceemo.params import load_params
    from faceemo.paths import SOURCES_FILE


def main(arguments: list[str]) -> None:
    with importing("extract"):  # here, because every worker imports this module and needs no Parquet
        from faceemo.extraction.extract import extract
        from faceemo.training.preflight import check_run

    params = load_params()
    sources = read_sources()
    if len(arguments) != 1:
        raise FaceemoError(f"name one source: python -m stages.extract ID; known: {', '.join(sources)}")
    (key,) = arguments
    if key not in sources:
        raise FaceemoError(f"{key} is not in {SOURCES_FILE.as_posix()}; it holds {', '.join(sources)}")
    check_run(params, sources)
    extract(key, sources[key], params.extract, params.limit, params.workers)


if __name__ == "__main__":
    sys.exit(run("extract", lambda: main(sys.argv[1:])))
