"""The `faceemo` command."""

import sys
from collections.abc import Callable

from faceemo.console import importing, run

with importing("faceemo"):
    import argparse
    import contextlib
    import dataclasses
    import importlib.metadata
    from pathlib import Path

    from faceemo.durable import remove, write_json
    from faceemo.emotions import class_name, emotion_name, plain_word
    from faceemo.errors import FaceemoError, FileError
    from faceemo.extraction.own import OwnOptions
    from faceemo.extraction.partial import find_partials
    from faceemo.extraction.people import check_pattern
    from faceemo.extraction.pictures import write_seen
    from faceemo.extraction.scan import scan
    from faceemo.extraction.sources import last_sources, write_sources
    from faceemo.outputs import said_to, written_to
    from faceemo.params import load_params
    from faceemo.paths import (
        FEATURES_FOLDER,
        FOLDS_FILE,
        MODEL_FILE,
        ONNX_FILE,
        PARAMS_FILE,
        REPORT_FILE,
        SOURCES_FILE,
    )
    from faceemo.plainyaml import parse_yaml

FOLD_KEYS = ("lr", "epochs", "batch_size", "labels", "train")  # may be changed for faceemo folds


def main(arguments: list[str] | None = None) -> int:
    def command() -> int | None:
        args = _parse(arguments)  # within run: its help holds Hangul
        if args.needs_project:
            load_params()
        return args.command(args)

    return run("faceemo", command)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The arguments, with paths before, between and behind the options: argparse takes only the first run of them."""
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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "scan",
        help="find archives, folders and tables of pictures and write data/sources.yaml",
        description="Find the set's source and label archives below DIR, or take DIR as your own pictures: in folders "
        "named after emotions, in a ZIP archive of such folders, or listed in a table with the columns path and "
        "emotion. Writes data/sources.yaml. Reads central directories, of archives' pictures only those that could not "
        "be read when they were extracted, and of pictures in folders those whose size or time it has not seen.",
    )
    command.add_argument("places", nargs="+", type=Path, metavar="DIR", help="a folder, or an archive or table itself")
    command.add_argument(
        "--emotions", nargs="+", metavar="EMOTION", help="only these, in English or Korean: neutral anxious, 중립 불안"
    )
    _add_own(command)
    command.add_argument(
        "--hash", action="store_true", help="own pictures: read all of them, also those whose size and time are known"
    )
    command.set_defaults(command=_scan, needs_project=True)

    command = commands.add_parser(
        "clean",
        help="list unfinished extractions, and remove them when asked",
        description="List the unfinished extractions in data/.partial: an extraction goes on from there when it is run "
        "again with the same settings. Those of settings that are not wanted any more only take space.",
    )
    command.add_argument("--remove", action="store_true", help="remove all that is listed; let no extraction run then")
    command.set_defaults(command=_clean, needs_project=True)

    command = commands.add_parser(
        "predict",
        help="the emotion of pictures, folders, archives and videos",
        description="Judge pictures, folders, ZIP archives (not unpacked) and videos: a row a picture or frame.",
    )
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a picture, folder, archive or video")
    _add_model(command)
    command.add_argument(
        "--format",
        choices=("table", "csv", "tsv", "json", "jsonl", "parquet"),
        help="default: what the suffix of --out tells, else table",
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write there, not to the terminal; -: stdout")
    command.add_argument(
        "--annotate", type=Path, metavar="DIR", help="write pictures and videos with mesh, label and bars there"
    )
    command.add_argument(
        "--neutral",
        action="append",
        type=Path,
        metavar="PATH",
        help="neutral faces, for a model trained with a normalize.baseline: a picture or a folder of one person, or "
        "pictures whose names tell their subjects, each for the same subject's faces; again for more",
    )
    command.add_argument(
        "--faces",
        choices=("largest", "all"),
        default="largest",
        help="all: a row a face, up to 20 of a picture, the largest first; default: largest",
    )
    command.add_argument("--workers", type=_at_least(1), metavar="N", help="processes; default: one a core")
    command.set_defaults(command=_predict, needs_project=False)

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
    _add_own(command)
    command.add_argument(
        "--neutral",
        action="append",
        type=Path,
        metavar="PATH",
        help="neutral faces, for a model trained with a normalize.baseline, again for more: pictures or folders of one "
        "person, or of people whom their names tell. Without it they are each person's other neutral pictures in PATH",
    )
    command.add_argument("--seen", action="store_true", help="judge people too that the model was trained on")
    command.add_argument("--out", type=Path, metavar="FILE", help="write all numbers there, as JSON; -: stdout")
    command.add_argument("--plots", type=Path, metavar="DIR", help="write confusion and calibration there, as PNG")
    command.add_argument("--workers", type=_at_least(1), metavar="N", help="processes; default: one a core")
    command.set_defaults(command=_evaluate, needs_project=False)

    command = commands.add_parser(
        "serve",
        help="a page with your camera, on this machine alone",
        description="Open a page on this machine that judges your camera's picture. Nothing is stored or sent on.",
    )
    _add_model(command)
    command.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any that is free")
    command.set_defaults(command=_serve, needs_project=False)

    command = commands.add_parser(
        "export",
        help="the model as ONNX, for other runtimes",
        description="Write normalisation and network as one ONNX file: raw landmarks in, probabilities out.",
    )
    _add_model(command)
    command.add_argument("--out", type=Path, default=ONNX_FILE, metavar="FILE")
    command.set_defaults(command=_export, needs_project=False)

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
    command.add_argument("--out", type=Path, default=FOLDS_FILE, metavar="FILE")
    command.set_defaults(command=_folds, needs_project=True)

    command = commands.add_parser(
        "report",
        help="the last run as one HTML file",
        description="Write what the last run was trained on and how it holds on unseen people, as one HTML file.",
    )
    command.add_argument("--out", type=Path, default=REPORT_FILE, metavar="FILE")
    command.add_argument("--language", choices=("ko", "en"), help="default: the system's")
    command.set_defaults(command=_report, needs_project=True)
    return parser


def _add_own(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--subject",
        metavar="REGEX",
        help="own pictures: the group of REGEX in a picture's name, with its folders, is the person: '([^/_]+)_'; "
        "each: every picture is a person of its own; empty: not what the last scan was told",
    )
    command.add_argument(
        "--rename",
        metavar="WORD=CLASS,...",
        help="own pictures: what words for emotions mean: surprise=embarrassed,fear=anxious; empty: not what the last "
        "scan was told",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", type=Path, default=MODEL_FILE, metavar="FILE", help=f"default: {MODEL_FILE.as_posix()}"
    )


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


def _change(text: str) -> tuple[str, object]:
    """The key and the value of `KEY=VALUE`, whose value is YAML as in params.yaml."""
    key, equals, value = text.partition("=")
    if not equals or key.partition(".")[0] not in FOLD_KEYS:
        raise FaceemoError(
            f"-S {text}: give KEY=VALUE with a key that training alone reads ({', '.join(FOLD_KEYS)}); for others "
            "change params.yaml and run 'dvc repro'"
        )
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise FaceemoError(f"-S {text}: the value is not valid YAML: {error}") from None


def _scan(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.extraction.retry import raise_attempts
        from faceemo.extraction.summary import scan_lines
        from faceemo.training.preflight import next_line

    params = load_params()
    emotions = tuple(dict.fromkeys(map(emotion_name, args.emotions))) if args.emotions else None
    options = _own_options(args, args.hash)
    earlier = last_sources()
    result = scan(args.places, emotions, options=options, earlier=earlier)
    for key, one in result.own.items():
        write_seen(key, one.looked_at)
    sources, unread = raise_attempts(result.sources, params)
    write_sources(sources)
    for line in scan_lines(result, unread, options, earlier):
        print(line)
    print(f"wrote {SOURCES_FILE.as_posix()}; {next_line(params, sources, emotions)}")


def _own_options(args: argparse.Namespace, read_all: bool = False) -> OwnOptions:
    if args.subject:
        check_pattern(args.subject)
    return OwnOptions(args.subject, None if args.rename is None else _parse_rename(args.rename), read_all)


def _parse_rename(text: str) -> dict[str, str]:
    """Classes by plain words, of `surprise=embarrassed,fear=anxious`."""
    renamed: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        old, equals, new = pair.partition("=")
        word, name = plain_word(old), class_name(new)
        if not equals or not word or name is None:
            raise FaceemoError(
                f"--rename: {pair!r} is not like surprise=embarrassed; a class is letters of ASCII, digits, - and _"
            )
        if renamed.setdefault(word, name) != name:
            raise FaceemoError(f"--rename: {word} becomes both {renamed[word]} and {name}")
    return renamed


def _clean(args: argparse.Namespace) -> None:
    unfinished = [partial for partial in find_partials() if not partial.is_complete]
    for partial in unfinished:
        print(f"{partial.source}: {partial.shards} finished shards, {partial.size / 1e6:.1f} MB ({partial.folder})")
        if args.remove:
            remove(partial.folder)
    if not unfinished:
        print("no unfinished extractions")
    elif args.remove:
        print(f"removed {len(unfinished)}")
    else:
        print("run 'dvc repro' to finish those of the present settings, 'faceemo clean --remove' to remove all")


def _predict(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.prediction.run import PredictOptions, predict

    names = (field.name for field in dataclasses.fields(PredictOptions))
    predict(PredictOptions(**{name: getattr(args, name) for name in names}))


def _evaluate(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.prediction.evaluation import EvaluateOptions, evaluate

    own = _own_options(args)
    evaluate(
        EvaluateOptions(
            args.paths,
            args.models or [MODEL_FILE],
            own,
            args.neutral,
            seen=args.seen,
            out=args.out,
            plots=args.plots,
            workers=args.workers,
        )
    )


def _serve(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.server.run import serve

    serve(args.model, args.port)


def _export(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.prediction.export import export_onnx

    export_onnx(args.model, args.out)


def _folds(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.training.folds import compare_over_folds, fold_lines

    settings = {PARAMS_FILE.name: load_params()}
    if args.changes:
        said = " ".join(args.changes)
        try:
            settings[said] = load_params(changes=dict(map(_change, args.changes)))
        except FileError as error:  # the file itself has passed
            raise FaceemoError(f"-S {said}: {error.what}") from None
    with contextlib.redirect_stdout(said_to(args.out)):  # its progress too
        result = compare_over_folds(FEATURES_FOLDER, settings, args.folds, args.seeds)
    with written_to(args.out) as temporary:
        write_json(temporary, result)
    print("\n".join(fold_lines(result)), f"wrote {args.out}", sep="\n", file=said_to(args.out))


def _report(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.report.language import system_language
        from faceemo.report.page import write_report

    write_report(args.out, args.language or system_language())


if __name__ == "__main__":
    sys.exit(main())
