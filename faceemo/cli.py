"""The `faceemo` command."""

import argparse
import sys
from pathlib import Path

from faceemo.console import run
from faceemo.emotions import emotion_name
from faceemo.params import load_params
from faceemo.sources import SOURCES_FILE, Scan, scan, write_sources


def main(arguments: list[str] | None = None) -> int:
    def command() -> int | None:
        args = _parser().parse_args(arguments)  # within run: its help holds Hangul
        return args.command(args)

    return run("faceemo", command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faceemo", description="Emotion from face landmarks: archives of photos to a model."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "scan",
        help="find archives and write data/sources.yaml",
        description="Find the set's source and label archives below DIR and write data/sources.yaml. "
        "Reads central directories only.",
    )
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a folder, or an archive itself")
    command.add_argument(
        "--emotions", nargs="+", metavar="EMOTION", help="only these, in English or Korean: neutral anxious, 중립 불안"
    )
    command.set_defaults(command=_scan)
    return parser


def _scan(args: argparse.Namespace) -> None:
    load_params()
    emotions = tuple(emotion_name(word) for word in args.emotions) if args.emotions else None
    result = scan(args.folders, emotions)
    write_sources(result.sources)
    _print_scan(result)


def _print_scan(result: Scan) -> None:
    width = max(map(len, result.sources))
    print(f"{'id':{width}}  pictures        MB  labels  archive")
    for key, source in result.sources.items():
        megabytes = result.sizes[key] / 1e6
        labels = "yes" if source.labels else "no"
        print(f"{key:{width}}  {source.images:8}  {megabytes:8.1f}  {labels:6}  {source.zip}")
    pictures = sum(source.images for source in result.sources.values())
    print(f"{'together':{width}}  {pictures:8}  {sum(result.sizes.values()) / 1e6:8.1f}")
    for path, reason in result.passed_over:
        print(f"passed over: {path} ({reason})")
    print(f"wrote {SOURCES_FILE.as_posix()}; next: dvc repro")


if __name__ == "__main__":
    sys.exit(main())
