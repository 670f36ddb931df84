"""Stage normalize: data/landmarks/ to data/features/<id>.parquet. `python -m stages.normalize`"""

import sys

from faceemo.interrupts import importing

with importing("normalize"):
    from faceemo.console import run
    from faceemo.extraction.tidy import tidy
    from faceemo.features.normalize import normalize_sources
    from faceemo.params import load_params
    from faceemo.paths import LANDMARKS_FOLDER
    from faceemo.pictures.sources import read_sources
    from faceemo.training.preflight import look_ahead


def main() -> None:
    """Write data/features from data/landmarks of all sources."""
    params = load_params()
    sources = read_sources()
    note = look_ahead(params, sources)
    normalize_sources(sources, LANDMARKS_FOLDER, params.normalize)
    if note:
        print(note, flush=True)
    tidy(sources)  # by now dvc has stored every extraction


if __name__ == "__main__":
    sys.exit(run("normalize", main))
