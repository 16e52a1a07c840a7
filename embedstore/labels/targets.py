"""Targets: the classes that the labels of a task give to tiles, slides or patients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Conflicts that are described.
EXAMPLES = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """The classes that the labels of a task give to each of n entries: tiles, slides or patients.

    Attributes:
        task: The task.
        classes: The K classes that entries are of.
        targets: (n, K) whether each entry is of each class.
        labelled: (n,) False if no label of these classes is about the entry, or its labels contradict each other.
        split: (n,) int32 index into `split_names`, -1 if the labels give none.
        split_names: Parts of the published split that labels name.
        patient: (n,) int32 index into `patients`, -1 if unknown: the patient that labels name, else the slide's.
        patients: Names of the patients.
        conflicts: How many entries are left out because their labels contradict each other.
        conflict_examples: Descriptions of up to EXAMPLES of them.
        weak: How many entries are labelled by a label of something larger: a tile by that of its slide or patient, a
            slide by that of its patient.
        ignored: How many labels are of other classes than those given.
        missed: Classes that labels name and no entry is of.
    """

    task: str
    classes: tuple[str, ...]
    targets: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    split: NDArray[np.int32]
    split_names: tuple[str, ...]
    patient: NDArray[np.int32]
    patients: tuple[str, ...]
    conflicts: int
    conflict_examples: tuple[str, ...]
    weak: int
    ignored: int
    missed: tuple[str, ...]
