"""Synthetic H&E-like slides, drawn from a seed: for the demo and for tests, where no real slide is at hand."""

from embedstore.synthetic.collection import LIST_NAME, write_demo_collection
from embedstore.synthetic.layout import SlideRecipe
from embedstore.synthetic.slide import SyntheticSlide, write_slide
from embedstore.synthetic.stain import StainMix

__all__ = ["LIST_NAME", "SlideRecipe", "StainMix", "SyntheticSlide", "write_demo_collection", "write_slide"]
