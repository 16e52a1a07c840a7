"""Tests of embedstore.slides.readers."""
