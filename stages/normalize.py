"""Stage normalize: data/landmarks/ to data/features/<id>.parquet. `python -m stages.normalize`"""

import sys

from faceemo.console import run
from faceemo.extract import LANDMARKS_FOLDER, remove_partials
from faceemo.normalize import normalize_sources
from faceemo.params import load_params
from faceemo.sources import read_sources


def main() -> None:
    params = load_params()
    normalize_sources(read_sources(), LANDMARKS_FOLDER, params.normalize)
    remove_partials()  # by now dvc has stored every extraction


if __name__ == "__main__":
    sys.exit(run("normalize", main))
