import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from faceemo.training.plots import write_history
from faceemo.training.train import Epoch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "exploration.ipynb"


def test_notebook_runs_and_shows_its_figures(tmp_path):
    for part in ("dvc.yaml", "params.yaml", "data/sources.yaml"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    shutil.copytree(ROOT / "data/sample", tmp_path / "data/sample")
    write_history(tmp_path / "plots/history.csv", [Epoch(n, 1 / n, 0.5, 1 / n, 0.5, 0.5) for n in (1, 2, 3)])
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()  # raises on an error
    pictures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 4  # faces, crops, before and after, curves
    assert all(len(output["data"]["image/png"]) > 10_000 for output in pictures)


def test_notebook_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
