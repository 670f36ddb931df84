"""The command line of `faceemo`: a table of its commands, what each takes, and the help on it."""

import argparse
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceemo.errors import FaceemoError
from faceemo.paths import FOLDS_FILE, MODEL_FILE, ONNX_FILE, REPORT_FILE

QUOTED = 'a quotation mark in a path: cmd takes \\" at the end of "D:\\folder\\" for one; leave the last \\ out'

Option = tuple[tuple[str, ...], dict[str, Any]]  # what argparse's add_argument takes


@dataclass(frozen=True)
class Command:
    """A command as its help shows it."""

    help: str
    """In the list of commands."""
    description: str
    example: str
    """What to write behind its name."""
    options: list[Option]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The arguments of the command `name`.

    Paths may stand before, between and behind the options: argparse alone takes only the first run of them. Raises
    FaceemoError for a path that cmd has run together with what stands behind it.
    """
    parser = argparse.ArgumentParser(
        prog="faceemo", description="Emotion from faces: archives of photos to a model, and the model in use."
    )
    parser.add_argument("--version", action="version", version=f"faceemo {importlib.metadata.version('faceemo')}")
    commands = parser.add_subparsers(required=True, dest="name", metavar="COMMAND")
    for name, one in COMMANDS.items():
        example = f"example: faceemo {name} {one.example}"
        command = commands.add_parser(name, help=one.help, description=one.description, epilog=example)
        for names, settings in one.options:
            command.add_argument(*names, **settings)
    args, rest = parser.parse_known_args(arguments)
    paths = getattr(args, "paths", None)
    if rest and (not paths or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if paths:
        paths += map(_path, rest)
    return args


def _path(text: str) -> Path:
    """Raises FaceemoError where cmd has taken the end of a folder in quotation marks for a part of its name."""
    if ('" ' in text or text.endswith('"')) and not os.path.lexists(text):
        raise FaceemoError(f"{text}: {QUOTED}")
    return Path(text)


def _option(*names: str, **settings: Any) -> Option:
    return names, settings


def _paths(metavar: str, help: str) -> Option:
    return _option("paths", nargs="+", type=_path, metavar=metavar, help=help)


def _out(default: Path) -> Option:
    where = f"default: {default.as_posix()}; -: stdout"
    return _option("--out", type=_path, default=default, metavar="FILE", help=where)


def _neutral(whose: str) -> Option:
    help = f"neutral faces, which set answers right and which a model with a normalize.baseline needs: {whose}"
    return _option("--neutral", action="append", type=_path, metavar="PATH", help=help)


def _own(to_scan: bool) -> list[Option]:
    """to_scan: for a scan, which renames nothing in archives of the set and remembers what it was given."""
    forget = '; "": forget what the last scan was given' if to_scan else ""
    return [
        _option(
            "--subject",
            metavar="REGEX",
            help="own pictures: the group of REGEX in a picture's name, with its folders, is the person: "
            f'"/([^/_]+)_"; each: every picture is a person of its own{forget}',
        ),
        _option(
            "--rename",
            metavar="WORD=CLASS,...",
            help=f"{'own pictures: ' if to_scan else ''}what words for emotions mean: surprise=embarrassed,fear=anxious"
            f"{forget}",
        ),
    ]


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    number.__name__ = "whole number"  # as argparse calls what is none
    return number


FORMATS = "each as PNG, SVG and PDF"
DEFAULT_MODEL = f"faceemo: the model that comes along; default: {MODEL_FILE.as_posix()}, and where that is not, faceemo"
MODEL = _option("--model", type=_path, metavar="FILE", help=DEFAULT_MODEL)
BALANCED = _option(
    "--balanced",
    action="store_true",
    help="answers without the shares that classes had in training: for faces of which nothing is known",
)
WORKERS = _option("--workers", type=_at_least(1), metavar="N", help="processes; default: one a core")

COMMANDS = {
    "scan": Command(
        "find archives, folders and tables of pictures and write data/sources.yaml",
        "Find the set's source and label archives below DIR, or take DIR as your own pictures: in folders named after "
        "emotions, in a ZIP archive of such folders, or listed in a table with the columns path and emotion. Writes "
        "data/sources.yaml. Of archives it reads the directory and the pictures that could not be read before; of "
        "folders and tables the pictures that are new or changed.",
        "D:/aihub --emotions neutral anxious",
        [
            _paths("DIR", "a folder, or an archive or table itself"),
            _option(
                "--emotions",
                nargs="+",
                metavar="EMOTION",
                help="only these, in English or Korean: neutral anxious, 중립 불안",
            ),
            *_own(to_scan=True),
            _option(
                "--hash", action="store_true", help="own pictures: read all of them, also those that look unchanged"
            ),
            _option("--json", action="store_true", help="what was found and what to do next, for programs"),
        ],
    ),
    "clean": Command(
        "list rows of pictures that nothing uses, and remove them when asked",
        "List the rows in data/.rows that are not among the landmarks of a source: those of interrupted extractions, "
        "which go on from there when they are run again with the same settings, of a larger limit, and of sources that "
        "are no longer scanned.",
        "--remove",
        [_option("--remove", action="store_true", help="remove all that is listed; stop extractions first")],
    ),
    "predict": Command(
        "the emotion of pictures, folders, archives and videos",
        "Judge pictures, folders, ZIP archives (not unpacked) and videos: a row a picture or frame.",
        "holiday/ talk.mp4 --out rows.csv --annotate drawn",
        [
            _paths("PATH", "a picture, folder, archive or video"),
            MODEL,
            BALANCED,
            _option(
                "--format",
                choices=("table", "csv", "tsv", "json", "jsonl", "parquet"),
                help="default: that of --out's suffix, else table",
            ),
            _option("--out", type=_path, metavar="FILE", help="write there, not to the terminal; -: stdout"),
            _option("--annotate", type=_path, metavar="DIR", help="draw pictures and videos there, with mesh and bars"),
            _neutral(
                "a picture or a folder of one person, or pictures whose names say who is in them, each for the faces "
                "of the same person; again for more"
            ),
            _option(
                "--faces",
                choices=("largest", "all"),
                default="largest",
                help="all: a row a face, up to 20 of a picture, the largest first; default: largest",
            ),
            _option(
                "--every", type=_at_least(1), default=1, metavar="N", help="of a video, one frame of N; default: 1"
            ),
            WORKERS,
        ],
    ),
    "evaluate": Command(
        "how good models are on labelled pictures that they have not seen",
        "Judge trained models on labelled pictures: class folders, archives of these or the set, a table. Prints "
        "accuracy, balanced accuracy, macro F1, log loss and calibration with intervals over people, each class and "
        "the confusion. Pictures of classes that a model does not know, and of people that it was trained on, are "
        "counted and left out. Several models are compared on the pictures that all judge.",
        'labelled/ --subject "/([^/_]+)_"',
        [
            _paths("PATH", "a folder, archive or table, as faceemo scan takes it"),
            _option(
                "--model",
                dest="models",
                action="append",
                type=_path,
                metavar="FILE",
                help=f"{DEFAULT_MODEL}; again for more, which are compared with the first",
            ),
            *_own(to_scan=False),
            _neutral(
                "of one person, or pictures whose names say who is in them; again for more. Without it each person's "
                "own pictures in PATH serve"
            ),
            _option("--seen", action="store_true", help="also judge people that the model was trained on"),
            _option("--out", type=_path, metavar="FILE", help="write all numbers there, as JSON; -: stdout"),
            _option("--plots", type=_path, metavar="DIR", help=f"write confusion and calibration there, {FORMATS}"),
            _option(
                "--mistakes",
                type=_path,
                metavar="DIR",
                help="draw the 50 pictures there on which it was surest of a wrong class; they show faces",
            ),
            WORKERS,
        ],
    ),
    "serve": Command(
        "a page with your camera, on this machine alone",
        "Open a page on this machine that judges your camera's picture. Nothing is stored or sent on.",
        "--port 0",
        [
            MODEL,
            BALANCED,
            _option("--port", type=int, default=8000, help="default: 8000; 0: any that is free"),
            _option(
                "--allow-origin",
                dest="origins",
                action="append",
                default=[],
                metavar="ORIGIN",
                help="a web page of yours that may ask too: https://example.org; again for more",
            ),
        ],
    ),
    "export": Command(
        "the model as ONNX, for other runtimes",
        "Write normalisation and network as one ONNX file: landmarks and crops of faces in, probabilities out.",
        "--out emotion.onnx",
        [MODEL, _out(ONNX_FILE)],
    ),
    "folds": Command(
        "settings judged over folds of people, and compared",
        "Train on data/features over folds of people, each judged by a network that has not seen its people, and print "
        "accuracy, balanced accuracy and macro F1. With -S the changed settings are judged too, and the difference to "
        "params.yaml as it stands has an interval over people. Also written to folds.json.",
        "-S lr=0.0003 -S train.whiten=null",
        [
            _option("--folds", type=_at_least(2), default=5, metavar="N", help="default: 5"),
            _option("--seeds", type=_at_least(1), default=3, metavar="N", help="default: 3"),
            _option(
                "-S",
                dest="changes",
                action="append",
                default=[],
                metavar="KEY=VALUE",
                help="as for dvc exp run: train.whiten=null, lr=0.0003; again for more",
            ),
            _out(FOLDS_FILE),
        ],
    ),
    "report": Command(
        "the last run as one HTML file",
        "Write what the last run was trained on and how it holds on unseen people, as one HTML file.",
        "--language ko --plots figures",
        [
            _out(REPORT_FILE),
            _option("--language", choices=("ko", "en"), help="default: the system's"),
            _option("--plots", type=_path, metavar="DIR", help=f"also write the run's plots there, {FORMATS}"),
        ],
    ),
}
