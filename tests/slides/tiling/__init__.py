"""Tests of embedstore.slides.tiling."""
