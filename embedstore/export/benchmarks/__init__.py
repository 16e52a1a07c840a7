"""Labels, splits and vectors in the files of benchmarks: Patho-Bench, PathoROB, eva."""

from embedstore.export.benchmarks.labelled_slides import GivenSplit, LabelledSlides, labelled_slides
from embedstore.export.benchmarks.pathorob import write_pathorob
from embedstore.export.benchmarks.slide_benchmarks import write_eva, write_patho_bench

__all__ = ["GivenSplit", "LabelledSlides", "labelled_slides", "write_eva", "write_patho_bench", "write_pathorob"]
