"""How many cores torch may use, and what else there is to compute on."""

import sys


def set_threads(threads: int) -> None:
    """Let torch use so many threads on the CPU in this process.

    Ray tells every actor `OMP_NUM_THREADS=1`; a network alone on a machine wants the cores that its readers leave.
    Where no extractor has imported torch, it is not imported for this: that takes 3 CPU-seconds.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def torch_devices() -> list[str]:
    """What torch computes on here: 'cpu' and its threads, and each GPU."""
    import torch

    gpus = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return [f"cpu ({torch.get_num_threads()} threads)", *gpus]
