"""Tests of embedstore.slides.tissue."""
