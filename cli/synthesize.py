"""`embedstore synthesize`."""

import click

from cli.options import json_option, print_json


class _SizeType(click.ParamType):
    """`WIDTHxHEIGHT` in pixels."""

    name = "WIDTHxHEIGHT"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, cross, height = value.lower().partition("x")
        if not (cross and width.isdecimal() and height.isdecimal()):
            self.fail(f"{value!r} is not a size; expected WIDTHxHEIGHT in pixels, as in 6000x5000", param, ctx)
        return int(width), int(height)


@click.command(epilog="Example:  embedstore synthesize demo/slides --slides 3 --size 6000x5000")
@click.argument("out", type=click.Path(file_okay=False))
@click.option("--slides", default=3, show_default=True, type=click.IntRange(min=1), help="Number of slides.")
@click.option(
    "--size", "size_px", default="6000x5000", show_default=True, type=_SizeType(), help="Size of each slide, pixels."
)
@click.option("--mpp", default=0.5, show_default=True, help="Micrometres per pixel.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed makes the same slides."
)
@json_option
def command(out: str, slides: int, size_px: tuple[int, int], mpp: float, seed: int, as_json: bool) -> None:
    """Make synthetic H&E-like slides in the folder OUT.

    Each is a pyramidal, tiled TIFF with a resolution, which any reader of Aperio's slides opens: glass, stroma,
    glands, dense nuclei, fat, vessels, a pen mark. The ground truth is next to it as GeoJSON, which QuPath opens, and
    slides.csv lists patient, cohort and stain.
    """
    from embedstore import api
    from synthetic_slides import LIST_NAME

    written = api.synthesize_slides(out, slides=slides, size_px=size_px, mpp=mpp, seed=seed)
    if not as_json:
        for slide in written:
            width, height = slide.size_px
            content = f"{slide.recipe.mix.stain}, {slide.glands} glands"
            click.echo(f"{slide.path}  {width} × {height} px at {slide.mpp} µm/px, {content}")
        click.echo(f"list: {written[0].path.parent / LIST_NAME}")
        return
    print_json(
        [
            {
                "path": str(slide.path),
                "truth": str(slide.truth_path),
                "size_px": slide.size_px,
                "mpp": slide.mpp,
                "stain": slide.recipe.mix.stain,
                "glands": slide.glands,
            }
            for slide in written
        ]
    )
