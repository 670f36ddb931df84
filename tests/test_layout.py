"""The house: which package may import from which, and that a wheel holds all of it."""

import ast
import base64
import hashlib
import subprocess
import sys
import zipfile
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "pictures",
    "extraction",
    "features",
    "training",
    "prediction",
    "server",
    "report",
)  # in the order of the flow
APART = {("server", "report"), ("report", "server")}
GROUND = (
    "arguments",
    "params",
    "plainjson",
    "plainyaml",
    "paths",
    "console",
    "emotions",
    "errors",
    "durable",
    "fonts",
    "interrupts",
    "language",
    "outputs",
    "rows",
    "running",
    "status",
)


def modules(root: Path = ROOT) -> dict[str, Path]:
    """The modules of the package by dotted name, but for faceemo's own __init__, which exports lazily."""
    files = {".".join(path.relative_to(root).with_suffix("").parts): path for path in root.glob("faceemo/**/*.py")}
    return {name.removesuffix(".__init__"): path for name, path in files.items() if name != "faceemo.__init__"}


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of faceemo that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name in known and len(name.split(".")) > 1}


def package_of(module: str) -> str:
    """A package, "ground", or "cli", which stands above all."""
    name = module.split(".")[1]
    return name if name in PACKAGES else "ground" if name in GROUND else name


def may_import(importer: str, imported: str) -> bool:
    if importer == "cli" or imported in ("ground", importer):
        return imported != "cli"
    if importer not in PACKAGES or imported not in PACKAGES or (importer, imported) in APART:
        return False
    return PACKAGES.index(imported) < PACKAGES.index(importer)


def wrong_imports(root: Path) -> list[str]:
    known = modules(root)
    return [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in sorted(imports(path, set(known)) - {name})
        if not may_import(package_of(name), package_of(other))
    ]


def test_imports_follow_the_flow():
    assert wrong_imports(ROOT) == []


def test_no_module_imports_itself_over_others():
    known = modules()
    list(TopologicalSorter({name: imports(path, set(known)) for name, path in known.items()}).static_order())


def test_every_module_has_its_room():
    rooms = {package_of(name) for name in modules()}
    assert rooms == {*PACKAGES, "ground", "cli"}


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("pictures/trees", "from faceemo.extraction.worker import Task"),
        ("training/train", "from faceemo.prediction import predict"),
        ("server/app", "import faceemo.report.page"),
        ("errors", "from faceemo.pictures.archive import Archive"),
        ("report/page", "from faceemo.cli import main"),
        ("report/page", "from faceemo import cli"),
    ],
)
def test_an_import_against_the_flow_is_found(tmp_path, module, line):
    for name in {path.relative_to(ROOT).parent for path in modules().values()}:
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for path in modules().values():
        (tmp_path / path.relative_to(ROOT)).write_text("", encoding="utf-8")
    assert wrong_imports(tmp_path) == []
    (tmp_path / f"faceemo/{module}.py").write_text(f"if True:\n    {line.strip()}\n", encoding="utf-8")
    found = wrong_imports(tmp_path)
    assert found and all(one.startswith(f"faceemo.{module.replace('/', '.')} imports faceemo.") for one in found)


def test_package_files_are_empty_but_faceemos_own():
    for path in ROOT.glob("faceemo/*/**/__init__.py"):
        assert path.read_text(encoding="utf-8") == "", path


@pytest.mark.slow
def test_a_wheel_holds_every_package_page_and_template(tmp_path):
    """An editable install hides what a wheel leaves out."""
    command = [
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
        "--wheel-dir",
        tmp_path,
        ROOT,
    ]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("faceemo-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", "faceemo", "stages"], cwd=ROOT, capture_output=True, check=True, encoding="utf-8"
    )
    files = set(listed.stdout.split())
    assert {"faceemo/server/page/index.html", "faceemo/report/report.html", "faceemo/py.typed"} <= files
    assert files <= held


def leaves_encoding_to_the_system(call: ast.Call) -> bool:
    """Whether a call reads or writes text as the system has it: in CP949 on a Korean Windows."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    options = {option.arg for option in call.keywords}
    if "encoding" in options:
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2)
    if name in ("open", "fdopen"):
        modes = [one.value for one in call.args[-1:] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        return any(set(mode) <= set("rwxat+") and mode != "r" for mode in modes)  # archives are opened by "r" too
    return name in ("run", "Popen") and "text" in options


def test_whatever_reads_or_writes_text_says_its_encoding():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in ("faceemo", "stages", "tests", ".ci")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and leaves_encoding_to_the_system(node)
    ]
    assert found == []
    for code in ("path.read_text()", "path.write_text('중립')", "open(path, 'w')", "run(one, text=True)"):
        assert leaves_encoding_to_the_system(ast.parse(code, mode="eval").body), code


@pytest.mark.slow
def test_tests_can_be_collected_where_posix_has_nothing_to_give():
    """Windows has no SIGKILL, no process groups and no fork; what needs them says so test by test."""
    code = (
        "import os, signal, sys, pytest;"
        "[delattr(signal, name) for name in ('SIGKILL', 'SIGHUP', 'SIGUSR1')];"
        "[delattr(os, name) for name in ('killpg', 'fork', 'setsid', 'sched_getaffinity')];"
        "sys.exit(pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', 'tests']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]


def test_an_editable_install_below_a_hangul_folder_starts_on_a_korean_windows(tmp_path):
    """Before 3.12.4 Python reads a .pth in the system's encoding, CP949 there, and dies of one in UTF-8."""
    project = tmp_path / "홍길동" / "졸업 작품"
    for name in (
        "pyproject.toml",
        "hatch_build.py",
        "README.md",
        "LICENSE",
        "faceemo/__init__.py",
        "stages/__init__.py",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes((ROOT / name).read_bytes())
    code = f"import hatchling.build; hatchling.build.build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        (pth,) = (archive.read(name) for name in archive.namelist() if name.endswith(".pth"))
        record = next(archive.read(name) for name in archive.namelist() if name.endswith("RECORD")).decode()
    (line,) = pth.decode("cp949").splitlines()  # ASCII, so any encoding will do
    assert f"{hashlib.sha256(pth).hexdigest()}" == base64.urlsafe_b64decode(record.split("sha256=")[1][:43] + "=").hex()
    done = subprocess.run(
        [sys.executable, "-c", f"{line}; print(ascii(sys.path[-1]))"], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == ascii(str(project))
