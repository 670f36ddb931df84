"""The command line of `faceemo`: its commands, what each takes, and the help on it."""

import argparse
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

from faceemo.paths import FOLDS_FILE, MODEL_FILE, ONNX_FILE, REPORT_FILE

Commands = argparse._SubParsersAction  # what add_subparsers gives: argparse has no public name for it


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The arguments of the command `name`.

    Paths may stand before, between and behind the options: argparse alone takes only the first run of them.
    """
    parser = _parser()
    args, rest = parser.parse_known_args(arguments)
    paths = getattr(args, "paths", None) or getattr(args, "places", None)
    if rest and (not paths or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if paths:
        paths += map(Path, rest)
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faceemo", description="Emotion from face landmarks: archives of photos to a model, and the model in use."
    )
    parser.add_argument("--version", action="version", version=f"faceemo {importlib.metadata.version('faceemo')}")
    commands = parser.add_subparsers(required=True, dest="name", metavar="COMMAND")
    for add in (_add_scan, _add_clean, _add_predict, _add_evaluate, _add_serve, _add_export, _add_folds, _add_report):
        add(commands)
    return parser


def _add_scan(commands: Commands) -> None:
    command = commands.add_parser(
        "scan",
        help="find archives, folders and tables of pictures and write data/sources.yaml",
        description="Find the set's source and label archives below DIR, or take DIR as your own pictures: in folders "
        "named after emotions, in a ZIP archive of such folders, or listed in a table with the columns path and "
        "emotion. Writes data/sources.yaml. Of archives it reads the directory and the pictures that could not be read "
        "before; of folders and tables the pictures that are new or changed.",
    )
    command.add_argument("places", nargs="+", type=Path, metavar="DIR", help="a folder, or an archive or table itself")
    command.add_argument(
        "--emotions", nargs="+", metavar="EMOTION", help="only these, in English or Korean: neutral anxious, 중립 불안"
    )
    _add_own_options(command, to_scan=True)
    command.add_argument(
        "--hash", action="store_true", help="own pictures: read all of them, also those that look unchanged"
    )


def _add_clean(commands: Commands) -> None:
    command = commands.add_parser(
        "clean",
        help="list unfinished extractions, and remove them when asked",
        description="List the unfinished extractions in data/.partial: an extraction goes on from there when it is run "
        "again with the same settings. Those of other settings only take space.",
    )
    command.add_argument("--remove", action="store_true", help="remove all that is listed; stop extractions first")


def _add_predict(commands: Commands) -> None:
    command = commands.add_parser(
        "predict",
        help="the emotion of pictures, folders, archives and videos",
        description="Judge pictures, folders, ZIP archives (not unpacked) and videos: a row a picture or frame.",
    )
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a picture, folder, archive or video")
    _add_model_option(command)
    command.add_argument(
        "--format",
        choices=("table", "csv", "tsv", "json", "jsonl", "parquet"),
        help="default: what the suffix of --out tells, else table",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write there, not to the terminal; -: stdout")
    command.add_argument(
        "--annotate", type=Path, metavar="DIR", help="write pictures and videos with mesh, label and bars there"
    )
    _add_neutral_option(
        command,
        "a picture or a folder of one person, or pictures whose names tell their subjects, each for the faces of the "
        "same subject; again for more",
    )
    command.add_argument(
        "--faces",
        choices=("largest", "all"),
        default="largest",
        help="all: a row a face, up to 20 of a picture, the largest first; default: largest",
    )
    _add_workers_option(command)


def _add_evaluate(commands: Commands) -> None:
    command = commands.add_parser(
        "evaluate",
        help="how good models are on labelled pictures that they have not seen",
        description="Judge trained models on labelled pictures: class folders, archives of these or the set, a table. "
        "Prints accuracy, balanced accuracy, macro F1, log loss and calibration with intervals over people, each class "
        "and the confusion. Pictures of classes that a model does not know, and of people that it was trained on, are "
        "counted and left out. Several models are compared on the pictures that all judge.",
    )
    command.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a folder, archive or table, as faceemo scan takes it"
    )
    command.add_argument(
        "--model",
        dest="models",
        action="append",
        type=Path,
        metavar="FILE",
        help=f"default: {MODEL_FILE.as_posix()}; again for more, which are compared with the first",
    )
    _add_own_options(command, to_scan=False)
    _add_neutral_option(
        command,
        "of one person, or pictures whose names tell their subjects; again for more. Without it each person's own "
        "pictures in PATH serve",
    )
    command.add_argument("--seen", action="store_true", help="also judge people that the model was trained on")
    command.add_argument("--out", type=Path, metavar="FILE", help="write all numbers there, as JSON; -: stdout")
    command.add_argument("--plots", type=Path, metavar="DIR", help="write confusion and calibration there, as PNG")
    _add_workers_option(command)


def _add_serve(commands: Commands) -> None:
    command = commands.add_parser(
        "serve",
        help="a page with your camera, on this machine alone",
        description="Open a page on this machine that judges your camera's picture. Nothing is stored or sent on.",
    )
    _add_model_option(command)
    command.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any that is free")


def _add_export(commands: Commands) -> None:
    command = commands.add_parser(
        "export",
        help="the model as ONNX, for other runtimes",
        description="Write normalisation and network as one ONNX file: raw landmarks in, probabilities out.",
    )
    _add_model_option(command)
    _add_out_option(command, ONNX_FILE)


def _add_folds(commands: Commands) -> None:
    command = commands.add_parser(
        "folds",
        help="settings judged over folds of people, and compared",
        description="Train on data/features over folds of people, each judged by a network that has not seen its "
        "people, and print accuracy, balanced accuracy and macro F1. With -S the changed settings are judged too, and "
        "the difference to params.yaml as it stands has an interval over people. Also written to folds.json.",
    )
    command.add_argument("--folds", type=_at_least(2), default=5, metavar="N", help="default: 5")
    command.add_argument("--seeds", type=_at_least(1), default=3, metavar="N", help="default: 3")
    command.add_argument(
        "-S",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="as for dvc exp run: train.whiten=null, lr=0.0003; again for more",
    )
    _add_out_option(command, FOLDS_FILE)


def _add_report(commands: Commands) -> None:
    command = commands.add_parser(
        "report",
        help="the last run as one HTML file",
        description="Write what the last run was trained on and how it holds on unseen people, as one HTML file.",
    )
    _add_out_option(command, REPORT_FILE)
    command.add_argument("--language", choices=("ko", "en"), help="default: the system's")


def _add_own_options(command: argparse.ArgumentParser, to_scan: bool) -> None:
    """to_scan: for a scan, which renames nothing in archives of the set and remembers what it was told."""
    forget = '; "": forget what the last scan was told' if to_scan else ""
    command.add_argument(
        "--subject",
        metavar="REGEX",
        help="own pictures: the group of REGEX in a picture's name, with its folders, is the person: '([^/_]+)_'; "
        f"each: every picture is a person of its own{forget}",
    )
    command.add_argument(
        "--rename",
        metavar="WORD=CLASS,...",
        help=f"{'own pictures: ' if to_scan else ''}what words for emotions mean: surprise=embarrassed,fear=anxious"
        f"{forget}",
    )


def _add_model_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", type=Path, default=MODEL_FILE, metavar="FILE", help=f"default: {MODEL_FILE.as_posix()}"
    )


def _add_neutral_option(command: argparse.ArgumentParser, whose: str) -> None:
    command.add_argument(
        "--neutral",
        action="append",
        type=Path,
        metavar="PATH",
        help=f"neutral faces, for a model trained with a normalize.baseline: {whose}",
    )


def _add_workers_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", type=_at_least(1), metavar="N", help="processes; default: one a core")


def _add_out_option(command: argparse.ArgumentParser, default: Path) -> None:
    command.add_argument(
        "--out", type=Path, default=default, metavar="FILE", help=f"default: {default.as_posix()}; -: stdout"
    )


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number
