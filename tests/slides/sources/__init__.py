"""Tests of embedstore.slides.sources."""
