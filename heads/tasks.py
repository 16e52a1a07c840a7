"""What kind of question a task is, and how many columns of logits answer it.

A task of two classes, one a place, has one column: the logit of its second class, as in logistic regression. So has a
task whose places may be of several classes for each of them; only a task of three or more classes is a softmax.
"""


def is_binary(classes: int, multi_label: bool) -> bool:
    """Whether a task has two classes, of which a place is one."""
    return classes == 2 and not multi_label


def is_softmax(classes: int, multi_label: bool) -> bool:
    """Whether a task has three or more classes, of which a place is one."""
    return classes > 2 and not multi_label


def logit_columns(classes: int, multi_label: bool) -> int:
    """Columns of logits that a task has."""
    return 1 if is_binary(classes, multi_label) else classes
