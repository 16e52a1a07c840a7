"""Synthetic H&E-like slides, drawn from a seed: for the demo and for tests, where no real slide is at hand."""

from synthetic_slides.collection import LIST_NAME, write_demo_collection
from synthetic_slides.layout import SlideRecipe
from synthetic_slides.slide import SyntheticSlide, write_slide
from synthetic_slides.stain import StainMix

__all__ = ["LIST_NAME", "SlideRecipe", "StainMix", "SyntheticSlide", "write_demo_collection", "write_slide"]
