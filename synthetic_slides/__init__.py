"""Synthetic H&E- and IHC-like slides, drawn from a seed, for the demo and for tests."""

from synthetic_slides.demo_collection import LIST_NAME, write_demo_collection
from synthetic_slides.layout import SlideRecipe
from synthetic_slides.stain_mix import StainMix
from synthetic_slides.synthetic_slide import SyntheticSlide, write_slide

__all__ = ["LIST_NAME", "SlideRecipe", "StainMix", "SyntheticSlide", "write_demo_collection", "write_slide"]
