"""Kinds of task, and how many columns of logits each has.

A task of two exclusive classes has one column: the logit of its second class, as in logistic regression. A multi-label
task has such a column for each class. Three or more exclusive classes are a softmax over their columns.
"""


def is_binary(classes: int, multi_label: bool) -> bool:
    """Whether a task has two classes, which exclude each other."""
    return classes == 2 and not multi_label


def is_softmax(classes: int, multi_label: bool) -> bool:
    """Whether a task has three or more classes, which exclude each other."""
    return classes > 2 and not multi_label


def logit_columns(classes: int, multi_label: bool) -> int:
    """Columns of logits that a task has."""
    return 1 if is_binary(classes, multi_label) else classes
