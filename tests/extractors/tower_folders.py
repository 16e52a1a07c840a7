"""Small networks with text towers as folders, made at random: of open_clip, and CLIP and SigLIP of transformers."""

import json
from pathlib import Path
from typing import Any

TILE_PX, DIM, CONTEXT = 32, 24, 16
WORDS = ("red", "blue", "dense", "lymphocytes", "a", "tile", "of", "tissue")
OPEN_CLIP = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": TILE_PX, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
SIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def open_clip_folder(folder: Path, **facts: Any) -> Path:
    """A folder as open_clip saves one, with further facts of the model."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear"}
    written = {"model_cfg": {**OPEN_CLIP, **facts}, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
              folder / "open_clip_model.safetensors")  # fmt: skip
    return folder


def transformers_folder(folder: Path, kind: str) -> Path:
    """A folder as transformers saves `clip` or `siglip`, with a tokenizer that knows WORDS."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: number for number, word in enumerate(("<pad>", "<s>", "</s>", "<unk>", *WORDS))}
    text = {**SIDE, "vocab_size": 64, "max_position_embeddings": CONTEXT}
    vision = {**SIDE, "image_size": TILE_PX, "patch_size": 8}
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if kind == "clip":
            config = transformers.CLIPConfig(text_config={**text, **tokens}, vision_config=vision, projection_dim=DIM)
            model: Any = transformers.CLIPModel(config)
        else:
            text = {**text, "hidden_size": DIM, "projection_size": DIM, **tokens}
            vision = {**vision, "hidden_size": DIM}
            model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder)
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    facts = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    return folder
