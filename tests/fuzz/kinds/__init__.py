"""A module for each kind of input."""
