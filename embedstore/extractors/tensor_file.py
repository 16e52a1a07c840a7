"""Files of torch that hold one tensor, as tools write the vectors of a slide; nothing else in such a file is run."""

import re
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError

EXPECTED = "expected a tensor (tiles, dimensions), as torch.save writes it"


def read_tensor(path: Path) -> NDArray[np.generic]:
    """The tensor of a file, which stays on the disk until it is read where the file allows that.

    Returns:
        An array of the tensor's shape and type; bfloat16, which NumPy lacks, becomes float32.
    Raises:
        FeatureFileError: there is no such file, or it is damaged, or holds something else than a tensor.
    """
    import torch

    if not path.is_file():
        raise FeatureFileError(f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch did not write
            try:
                loaded = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
            except (RuntimeError, ValueError) as error:
                if "mmap" not in str(error):  # of files in torch's format before 1.6
                    raise
                with open(path, "rb") as file:
                    loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        unsafe = re.search(r"GLOBAL (\S+)", str(error))
        if unsafe or any(words in str(error) for words in ("TorchScript", "unrecognized function", "Can only")):
            what = f" ({unsafe[1]})" if unsafe else ""
            raise FeatureFileError(
                f"{path} holds Python objects besides a tensor{what}, and reading such could run code; none was read; "
                "where you trust the file, load it with torch yourself, and save the tensor alone"
            ) from error
        raise FeatureFileError(
            f"{path} ({path.stat().st_size:,} bytes) is cut short or damaged; {EXPECTED}; copy it again, or extract "
            "the slide again, then run the same command with --retry-failed"
        ) from error
    if not isinstance(loaded, torch.Tensor):
        kind = type(loaded).__name__
        raise FeatureFileError(f"{path} holds a {kind}, not one tensor; {EXPECTED}")
    try:
        tensor = loaded.detach()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    except Exception as error:  # quantised, sparse, on the meta device
        raise FeatureFileError(f"{path} holds a tensor that is no plain array ({error}); {EXPECTED}") from error


def write_tensor(path: str | Path, values: NDArray[np.float32]) -> None:
    """Write an array as a tensor that `torch.load(weights_only=True)` reads."""
    import torch

    with Path(path).open("wb") as file:  # by the path, torch names the file's parts after its temporary name
        torch.save(torch.from_numpy(values), file)
