"""The `faceemo` command."""

import sys

from faceemo.interrupts import importing

with importing("faceemo"):
    import argparse
    import contextlib
    import dataclasses
    import json
    from collections.abc import Callable
    from pathlib import Path
    from typing import TYPE_CHECKING

    from faceemo.arguments import parse
    from faceemo.console import run
    from faceemo.durable import write_json
    from faceemo.emotions import class_name, emotion_name, plain_word
    from faceemo.errors import FaceemoError, FileError
    from faceemo.outputs import check_out, said_to, written_to
    from faceemo.params import load_params
    from faceemo.paths import (
        FEATURES_FOLDER,
        MODEL_FILE,
        PARAMS_FILE,
        SOURCES_FILE,
    )
    from faceemo.pictures.people import check_pattern
    from faceemo.pictures.sources import last_sources, write_sources
    from faceemo.plainyaml import parse_yaml
    from faceemo.running import is_training

if TYPE_CHECKING:  # else within the commands that need it: it takes time
    from faceemo.pictures.scan_source import ScanOptions

WITHOUT_PROJECT = ("predict", "evaluate", "serve", "export")  # commands that need no params.yaml
FOLD_KEYS = ("lr", "epochs", "batch_size", "labels", "train")  # may be changed for faceemo folds


def main(arguments: list[str] | None = None) -> int:
    """Run a command of `faceemo` and return its exit code. arguments: after the program's name; None: the process's."""

    def command() -> None:
        args = parse(arguments)  # inside run, after which any console takes the Hangul of the help
        if args.name not in WITHOUT_PROJECT:
            load_params()
        COMMANDS[args.name](args)

    return run("faceemo", command)


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
        from faceemo.extraction.repair import count_repaired
        from faceemo.extraction.tidy import tidy
        from faceemo.pictures.reader import write_seen
        from faceemo.pictures.scan import scan
        from faceemo.pictures.summary import scan_lines
        from faceemo.training.preflight import next_line

    params = load_params()
    emotions = tuple(dict.fromkeys(map(emotion_name, args.emotions))) if args.emotions else None
    options = _scan_options(args, args.hash)
    earlier = last_sources()
    with contextlib.redirect_stdout(sys.stderr if args.json else sys.stdout):  # its progress
        result = scan(args.paths, emotions, options=options, earlier=earlier)
    for key, one in result.found.items():
        if one.source.zip is None:
            write_seen(key, [*one.pictures, *one.labels])
    tidy(result.sources)  # dvc will remove the landmarks of what changed
    pictures = {key: one.pictures for key, one in result.found.items()}
    sources, unread = count_repaired(result.sources, pictures, earlier)
    write_sources(sources)
    manifests = {key: one.manifest for key, one in result.found.items()}
    said, following = [*scan_lines(result, options, earlier), *unread], next_line(params, sources, manifests)
    if args.json:
        found = {
            key: {
                "place": one.path,
                "pictures": one.images,
                "classes": dict(result.found[key].classes),
                "folder": one.folder,
            }
            for key, one in sources.items()
        }
        print(
            json.dumps({"sources": found, "said": said, "next": following.splitlines()}, ensure_ascii=False, indent=2)
        )
        return
    print("\n".join([*said, f"wrote {SOURCES_FILE.as_posix()}", following]))


def _scan_options(args: argparse.Namespace, read_all: bool = False) -> "ScanOptions":
    with importing("faceemo"):
        from faceemo.pictures.scan_source import ScanOptions

    if args.subject:
        check_pattern(args.subject)
    return ScanOptions(args.subject, None if args.rename is None else _parse_rename(args.rename), read_all)


def _parse_rename(text: str) -> dict[str, str]:
    """Classes by plain words, of `surprise=embarrassed,fear=anxious`."""
    renamed: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        old, equals, new = pair.partition("=")
        word, name = plain_word(old), class_name(new)
        if not equals or not word or name is None:
            raise FaceemoError(
                f"--rename: {pair!r} is not like surprise=embarrassed; a class begins with a letter and has "
                "only letters, digits, - and _"
            )
        if renamed.setdefault(word, name) != name:
            raise FaceemoError(f"--rename: {word} becomes both {renamed[word]} and {name}")
    return renamed


def _clean(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.extraction.tidy import find_unused

    unused = find_unused(last_sources())
    for one in unused:
        print(f"{one.key}: rows of {one.rows} pictures, {one.size / 1e6:.1f} MB ({one.folder})")
        if args.remove:
            one.remove()
    if not unused:
        print("no rows that are not in use")
    elif args.remove:
        print(f"removed {len(unused)}")
    else:
        print("run 'dvc repro' to finish the work of the present settings, 'faceemo clean --remove' to remove all")


def _predict(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.prediction.run import PredictOptions, predict

    args.model = _model(args.model)
    names = (field.name for field in dataclasses.fields(PredictOptions))
    predict(PredictOptions(**{name: getattr(args, name) for name in names}))


def _model(name: Path | None) -> Path:
    """The model that --model names; without, models/emotion.pt, or where that is not the one that comes along."""
    with importing("faceemo"):
        from faceemo.prediction.model import default_model
        from faceemo.training.model import COMES_ALONG_FILE, model_file

    if name is not None:
        return model_file(name)
    path = default_model()
    if path == COMES_ALONG_FILE:
        why = "is not here" if not is_training() else "is not here while dvc trains it"
        print(f"note: {MODEL_FILE.as_posix()} {why}: the model that comes along judges", file=sys.stderr)
    return path


def _evaluate(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.prediction.evaluate import EvaluateOptions, evaluate

    own = _scan_options(args)
    evaluate(
        EvaluateOptions(
            args.paths,
            list(map(_model, args.models or [None])),
            own,
            args.neutral,
            seen=args.seen,
            out=args.out,
            plots=args.plots,
            mistakes=args.mistakes,
            workers=args.workers,
        )
    )


def _serve(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.server.run import serve

    serve(_model(args.model), args.port, args.origins, args.balanced)


def _export(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.prediction.export import export_onnx

    export_onnx(_model(args.model), args.out)


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
        if settings[said] == settings[PARAMS_FILE.name]:
            raise FaceemoError(
                f"-S {said}: nothing differs from {PARAMS_FILE}, where 'dvc exp run -S' writes what it is given; 'git "
                f"checkout {PARAMS_FILE}' takes back the last commit's, or give other values"
            )
    check_out(args.out)
    with contextlib.redirect_stdout(said_to(args.out)):  # its progress too
        result = compare_over_folds(FEATURES_FOLDER, settings, args.folds, args.seeds)
    with written_to(args.out) as temporary:
        write_json(temporary, result)
    print("\n".join(fold_lines(result)), f"wrote {args.out}", sep="\n", file=said_to(args.out))


def _report(args: argparse.Namespace) -> None:
    with importing("faceemo"):
        from faceemo.language import system_language
        from faceemo.report.page import write_report

    write_report(args.out, args.language or system_language(), args.plots)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "scan": _scan,
    "clean": _clean,
    "predict": _predict,
    "evaluate": _evaluate,
    "serve": _serve,
    "export": _export,
    "folds": _folds,
    "report": _report,
}

if __name__ == "__main__":
    sys.exit(main())
