"""Tests of embedstore.slides."""
