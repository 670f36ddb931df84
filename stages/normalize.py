"""Stage normalize: data/landmarks/ to data/features/<id>.parquet. `python -m stages.normalize`"""

import sys

from faceemo.console import run
from faceemo.extract import LANDMARKS_FOLDER, remove_partials
from faceemo.normalize import normalize_sources
from faceemo.params import load_params
from faceemo.sources import read_sources


def main() -> None:
    params = load_params()
    sources = read_sources()
    normalize_sources(sources, LANDMARKS_FOLDER, params.normalize)
    if any(source.zip.startswith("data/sample/") for source in sources.values()):
        print("data/sample is synthetic, all of it made from two portraits: it proves the plumbing, not accuracy")
    remove_partials()  # by now dvc has stored every extraction


if __name__ == "__main__":
    sys.exit(run("normalize", main))
