"""`faceemo` commands, one after another in one process beside the tests': torch is imported once for all."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

LOOP = """
import io, json, os, sys
import faceemo.cli as cli

answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    task = json.loads(line)
    os.chdir(task["folder"])
    with open(task["out"], "wb") as out, open(task["err"], "wb") as err:
        sys.stdout, sys.stderr = io.TextIOWrapper(out, task["encoding"]), io.TextIOWrapper(err, task["encoding"])
        try:
            code = cli.main(task["arguments"])
        except SystemExit as exit:
            code = exit.code
        sys.stdout.flush(), sys.stderr.flush()
    print(code, file=answers, flush=True)
"""


class Done(NamedTuple):
    code: int
    out: bytes
    err: bytes


class Commands:
    """commands("predict", "a.jpg") in the working directory: the exit code, and what stands on stdout and stderr."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def __call__(self, *arguments: str, encoding: str = "utf-8") -> Done:
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            task = {"arguments": arguments, "folder": str(Path.cwd()), "encoding": encoding}
            self._process.stdin.write(json.dumps({**task, "out": str(out), "err": str(err)}) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return Done(code, out.read_bytes(), err.read_bytes())

    def close(self) -> None:
        self._process.stdin.close()
        assert self._process.wait(30) == 0
