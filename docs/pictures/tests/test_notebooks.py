"""The notebooks run from beginning to end in a plain kernel, as users run them, and are stored without outputs."""

from pathlib import Path

import pytest

pytest.importorskip("nbclient")

import nbformat  # noqa: E402  # after the check that it is installed
from nbclient import NotebookClient  # noqa: E402  # the same

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def run(name: str, folder: Path) -> str:
    """Run a notebook in a folder and return what its cells print."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]  # has no types
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_outputs(path: Path) -> None:
    """What a notebook printed is not in the repository."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # has no types
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


def test_archive(tmp_path: Path) -> None:
    """The notebook over an archive writes its files where it runs."""
    assert "m000 ... m003  4 alike" in run("archive", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "observation.rdb",
        "weather.csv",
        "weather.rdb",
    }


def test_live_store_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook on a live store runs in memory if there is no server; the site is built with one."""
    monkeypatch.delenv("TELSTATE_REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = run("live-store", tmp_path)
    assert "There is no server on this machine: in memory." in printed
    assert "m000 tracks its target" in printed
