"""Ids looked up among sorted ids."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedstore.sorted_ids import positions_in

IDS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)


@given(st.lists(IDS, unique=True), st.lists(IDS), st.booleans())
def test_an_id_is_found_where_it_stands_and_no_other_is(known: list[int], ids: list[int], ascending: bool):
    known = sorted(known) if ascending else known
    among, wanted = np.array(known, np.int64), np.array(ids, np.int64)
    found = positions_in(among, wanted, order=None if ascending else np.argsort(among))
    assert found.tolist() == [known.index(i) if i in known else -1 for i in ids]
