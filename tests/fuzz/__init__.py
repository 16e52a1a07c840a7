"""Inputs that others write, changed at random: each ends in the library's own error, or is read.

`python -m tests.fuzz KIND [INPUTS [SEED]]` lists everything else that a kind of input ends in; `make fuzz` tries all
kinds. A kind is a module of `tests/fuzz/kinds` with `KINDS`, a list of `Kind`.
"""
