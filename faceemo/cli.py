"""The `faceemo` command."""

import sys
from collections.abc import Callable

from faceemo.console import importing, run

with importing("faceemo"):
    import argparse
    import contextlib
    import dataclasses

    from faceemo.arguments import parse
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
        MODEL_FILE,
        PARAMS_FILE,
        SOURCES_FILE,
    )
    from faceemo.plainyaml import parse_yaml

WITHOUT_PROJECT = ("predict", "evaluate", "serve", "export")  # commands that need no params.yaml
FOLD_KEYS = ("lr", "epochs", "batch_size", "labels", "train")  # may be changed for faceemo folds


def main(arguments: list[str] | None = None) -> int:
    def command() -> None:
        args = parse(arguments)  # within run: its help holds Hangul
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
        from faceemo.extraction.retry import raise_attempts
        from faceemo.extraction.reuse import put_rows_aside
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
    kept = {}
    for key, one in result.own.items():
        try:
            kept[key] = put_rows_aside(key, sources[key], one.pictures, params)
        except (FaceemoError, OSError, ImportError) as error:  # no engine here, a full disk
            print(f"{key}: landmarks cannot be kept ({error}): if one picture changed, dvc repro may read all of them")
    write_sources(sources)
    for line in scan_lines(result, unread, kept, options, earlier):
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
                f"--rename: {pair!r} is not like surprise=embarrassed; a class begins with a letter and has "
                "only letters, digits, - and _"
            )
        if renamed.setdefault(word, name) != name:
            raise FaceemoError(f"--rename: {word} becomes both {renamed[word]} and {name}")
    return renamed


def _clean(args: argparse.Namespace) -> None:
    unfinished = [partial for partial in find_partials() if not partial.is_complete]
    for partial in unfinished:
        what = f"{partial.shards} finished shards" + (", rows kept by scan" if partial.rows_kept else "")
        print(f"{partial.source}: {what}, {partial.size / 1e6:.1f} MB ({partial.folder})")
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
