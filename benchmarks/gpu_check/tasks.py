"""The steps of each part, in the order in which they are worth having."""

from pathlib import Path

import decoding
import forward
import heads_check
import pipeline
import precision
import races
import torch
import tuning
from report import Step
from sizes import Sizes


def steps_of(part: str, sizes: Sizes, device: torch.device, tiles: Path | None) -> list[Step]:
    """The steps of a part.

    Args:
        tiles: Folder of labelled tiles and weights; random ones without it.
    """
    if part == "own":
        return races.own_steps(sizes, device)
    if part == "pipeline":
        return pipeline.steps(sizes, device)
    if part == "decoding":
        return decoding.steps(sizes, device)
    if part == "forward":
        return [step for model in sizes.models for step in forward.plain_steps(sizes, device, model)]
    if part == "heads":
        return heads_check.head_steps(sizes, device)
    if part == "tuning":
        return tuning.steps(sizes, device, tiles)
    if part == "augmenter":
        return heads_check.augmenter_steps(sizes, device)
    if part == "races":
        return races.steps(sizes, device)
    if part == "precision":
        return precision.steps(sizes, device, tiles)
    if part == "compiled":
        steps = [step for model in sizes.models for step in forward.compiled_steps(sizes, device, model)]
        return [*steps, *precision.compiled_steps(sizes, device, tiles)]
    return [*forward.plain_steps(sizes, device, sizes.huge), *forward.compiled_steps(sizes, device, sizes.huge)]
