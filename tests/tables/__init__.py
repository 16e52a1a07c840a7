"""Tests of embedstore.tables."""
