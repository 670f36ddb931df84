"""Stage normalize: data/landmarks/ to data/features/<id>.parquet. `python -m stages.normalize`"""

import sys

from faceemo.console import importing, run

with importing("normalize"):
    from faceemo.extraction.partial import remove_published
    from faceemo.extraction.sources import SAMPLE_NOTE, holds_sample, read_sources
    from faceemo.features.normalize import normalize_sources
    from faceemo.params import load_params
    from faceemo.paths import LANDMARKS_FOLDER
    from faceemo.training.preflight import check_run


def main() -> None:
    params = load_params()
    sources = read_sources()
    check_run(params, sources)
    normalize_sources(sources, LANDMARKS_FOLDER, params.normalize)
    if holds_sample(sources):
        print(SAMPLE_NOTE)
    remove_published()  # by now dvc has stored every extraction


if __name__ == "__main__":
    sys.exit(run("normalize", main))
