"""Records of heads: there and back through JSON, and those of older versions."""

import json

from embedstore.config import ViewConfig
from heads.config import AugmentConfig
from heads.record import HeadRecord, PolicyChoice, PolicyScore, ViewsUsed
from tests.heads.records import head_record


def through_json(record: HeadRecord) -> HeadRecord:
    return HeadRecord.from_record(json.loads(json.dumps(record.as_record())))


def test_a_record_comes_back_as_it_was():
    choice = PolicyChoice(
        chosen="none", margin=1.0, groups=6,
        tried=(PolicyScore(policy="none", brier=0.2, gain=0.0, error=0.0),
               PolicyScore(policy="views=0.8", brier=0.3, gain=-0.1, error=None)),
    )  # fmt: skip
    record = head_record(folds=3, views=ViewsUsed(config=ViewConfig(count=4), tiles=5), augmentation=choice)
    again = through_json(record)
    assert again.as_record() == record.as_record()
    assert (again.config, again.views, again.augmenter) == (record.config, record.views, record.augmenter)
    assert again.fold_counts == record.fold_counts and again.members == record.members
    assert again.augmentation == choice
    assert again.chosen.parameters == {"c": 0.1, "augment": "none"}


def test_a_record_of_before_augmentation_still_opens():
    """Older records have one augmentation instead of a list, and neither views nor an augmenter."""
    record = head_record(views=None, augmenter=None).as_record()
    assert "views" not in record and "augmenter" not in record
    config = dict(record["config"])
    config.pop("augmenter")
    config.pop("augment_margin")
    old = HeadRecord.from_record({**record, "config": {**config, "augment": {"noise": 0.2}}})
    assert old.config.policies == (AugmentConfig(noise=0.2),) and old.config.augmenter is None
    assert old.config.augment_margin is None and old.augmentation is None
