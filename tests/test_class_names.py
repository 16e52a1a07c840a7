"""Names of classes that people may mean as one."""

import pytest

from embedstore.class_names import alike_note


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["Tumor", "tumor", "stroma"], "'Tumor' and 'tumor'"),
        (["0", "0.0", "1", "1.0"], "'0' and '0.0', '1' and '1.0'"),
        (["dense nuclei", "Dense_nuclei", "dense-nuclei"], "'Dense_nuclei' and 'dense nuclei' and 'dense-nuclei'"),
        (["ОПУХОЛЬ", "Опухоль"], "'ОПУХОЛЬ' and 'Опухоль'"),
    ],
)
def test_classes_that_are_written_in_two_ways_are_told(names: list[str], groups: str):
    (note,) = alike_note(names)
    assert note.startswith(f"these count as different classes: {groups};")


def test_other_classes_are_not():
    assert alike_note(["ER+", "ER-", "ER", "tumor", "tumour", "1", "2", "G1", "", "ER+"]) == ()
