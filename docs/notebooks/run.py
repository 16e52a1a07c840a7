"""Run the notebooks of this folder and keep what they show: python docs/notebooks/run.py [FOLDER TO WRITE TO]."""

import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat

FOLDER = Path(__file__).parent
TIMEOUT_S = 600  # of a cell


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of its cells, run with `folder` as its working directory.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
    """
    notebook = nbformat.read(path, as_version=4)
    kernel = {"kernel_name": "python3", "resources": {"metadata": {"path": str(folder)}}}
    return nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, **kernel).execute()


def tidy(notebook: nbformat.NotebookNode, folder: str) -> None:
    """Leave out progress bars, times of running, the folder it ran in, and the larger of two forms of a picture."""
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
        for data in (output.get("data", {}) for output in cell.outputs):
            if "image/jpeg" in data:
                data.pop("image/png", None)
            for kind in ("text/plain", "text/html"):
                if kind in data:
                    data[kind] = data[kind].replace(f"{folder}/", "").replace(folder, ".")


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        tidy(notebook, folder)
        out = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER, path.name)
        nbformat.write(notebook, out)
        sys.stderr.write(f"{out.name}: {out.stat().st_size / 1000:.0f} KB\n")


if __name__ == "__main__":
    main()
