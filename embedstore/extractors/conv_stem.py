"""The convolutional stem of CTransPath, which replaces a Swin Transformer's patch embedding."""

from typing import Any

from torch import Tensor, nn

PATCH_PX = 4  # two convolutions of stride 2


class ConvStem(nn.Module):
    """Two 3×3 convolutions of stride 2 and a 1×1 projection, from pixels to a grid of tokens.

    After CTransPath (Wang et al., Medical Image Analysis 2022); its parameters bear the names of the published file.
    Takes (n, 3, h, w), gives (n, h/4, w/4, embed_dim), the layout of timm's Swin Transformer.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = PATCH_PX,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Any = None,
        **ignored: Any,  # timm hands every patch embedding the same arguments
    ) -> None:
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.img_size, self.patch_size = (height, width), (patch_size, patch_size)
        self.grid_size = (height // PATCH_PX, width // PATCH_PX)
        layers: list[nn.Module] = []
        width = in_chans
        for step in (8, 4):
            layers += [nn.Conv2d(width, embed_dim // step, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(embed_dim // step), nn.ReLU(inplace=True)]
            width = embed_dim // step
        self.proj = nn.Sequential(*layers, nn.Conv2d(width, embed_dim, 1))
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))
