"""Write constraints.txt: one version of each package that the tests need, two where Python or the system decide.

    pip install uv && python .ci/constraints.py            # pins that still fit stay as they are
    python .ci/constraints.py --upgrade                    # the newest of everything
    python .ci/constraints.py --check                      # only show that they install everywhere

Then, and with --check, it resolves faceemo with all its extras under these pins for each Python and system that it is
for, asks pip whether every version has a wheel there that allows this Python, and exits 1 where that fails. Run it
under Python 3.12 or later: pip holds the versions against the Python that runs it too.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
HEADER = """\
# Written by .ci/constraints.py: what the tests run with. torch is pinned on Linux alone and its CUDA packages nowhere:
# a PyTorch that is installed already stays. No version of msvc-runtime is for every Python.
"""
LEFT_OUT = re.compile(r"(nvidia|cuda)-|(triton|msvc-runtime)\b")
LINUX_ONLY = {"torch"}
BOUNDS = "backports-strenum<1.3\n"  # 1.3 is for Python below 3.11, which uv does not heed

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
GLIBC = range(5, 29)
SYSTEMS = {  # as uv names a system, and the tags of wheels for it
    "x86_64-manylinux_2_28": ["manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in GLIBC)],
    "aarch64-manylinux_2_28": ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in GLIBC)],
    "x86_64-pc-windows-msvc": ["win_amd64"],
}
SDIST_ONLY = "antlr4-python3-runtime"  # of dvc
SHOWN = ("mediapipe", "ai-edge-litert", "numpy", "opencv-contrib-python", "opencv-python-headless", "pyarrow", "torch")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if not args.check:
        CONSTRAINTS.write_text(HEADER + "".join(f"{pin}\n" for pin in pins(args.upgrade)), encoding="utf-8")
    return check()


def pins(upgrade: bool) -> list[str]:
    """Requirement lines of one resolution for all Pythons and systems, with a marker only where it tells two apart."""
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(folder) / "resolved.txt"
        if not upgrade:
            resolved.write_bytes(CONSTRAINTS.read_bytes())  # uv keeps what it finds in its output
        bounds = Path(folder) / "bounds.txt"
        bounds.write_text(BOUNDS, encoding="utf-8")
        options = ("--universal", "--python-version", PYTHONS[0], "--constraint", str(bounds))
        resolve(*options, "--output-file", str(resolved), check=True)
        lines = [line for line in resolved.read_text(encoding="utf-8").splitlines() if not LEFT_OUT.match(line)]
    versions = Counter(name_of(line) for line in lines)
    return [shortened(line, versions[name_of(line)]) for line in lines]


def shortened(line: str, versions: int) -> str:
    pin = line.partition(" ; ")[0]
    if name_of(line) in LINUX_ONLY:
        return f"{pin} ; sys_platform == 'linux'"
    return line if versions > 1 else pin


def name_of(line: str) -> str:
    return line.partition("==")[0]


def check() -> int:
    """Resolve for every Python and system under constraints.txt and print what decides; 1 if one fails."""
    failed = 0
    pinned = {line.partition(" ; ")[0] for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()}
    for python in PYTHONS:
        for system in SYSTEMS:
            where = ("--python-version", python, "--python-platform", system)
            done = resolve(*where, "--constraint", str(CONSTRAINTS))
            found = done.stdout.splitlines()
            if not done.returncode:
                done = has_wheels(
                    [pin for pin in found if pin in pinned and name_of(pin) != SDIST_ONLY], python, SYSTEMS[system]
                )
            shown = " ".join(line for line in found if name_of(line) in SHOWN)
            said = f"{len(found)} packages: {shown}" if not done.returncode else f"FAILED: {errors_of(done)}"
            print(f"{python} {system:23} {said}", flush=True)
            failed += done.returncode != 0
    return int(failed > 0)


def errors_of(done: subprocess.CompletedProcess) -> str:
    return " ".join(line for line in done.stderr.splitlines() if not line.startswith("WARNING"))


def has_wheels(pins: list[str], python: str, tags: list[str]) -> subprocess.CompletedProcess:
    """pip, which heeds what Pythons a version allows, on installing these pins there; installs nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pins.txt"
        file.write_text("\n".join(pins), encoding="utf-8")
        platforms = [f"--platform={tag}" for tag in tags]
        where = ["--only-binary=:all:", f"--python-version={python}", *platforms, "--target", folder]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", *where]
        return subprocess.run([*command, "--requirement", str(file)], capture_output=True, text=True, encoding="utf-8")


def resolve(*options: str, check: bool = False) -> subprocess.CompletedProcess:
    command = ["uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--extra", "test"]
    return subprocess.run(
        [*command, *options, "pyproject.toml"], cwd=ROOT, check=check, capture_output=True, text=True, encoding="utf-8"
    )


if __name__ == "__main__":
    sys.exit(main())
