"""Splits: which labelled rows are trained on, validated on and tested on, by patient."""
