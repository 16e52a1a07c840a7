"""Give a device's memory back once an extractor is done with."""

import gc
import sys


def release_memory() -> None:
    """Free what extractors that nothing refers to any more held, on the device too.

    Where no extractor has imported torch, it is not imported for this.
    """
    gc.collect()  # modules and hooks refer to one another
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()  # does nothing where no GPU was used
