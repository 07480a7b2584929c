"""Prompt templates of CLIP for ImageNet: each class name is filled in for ``{}``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from ..exceptions import InvalidArgumentError
from ..texts import as_texts

__all__ = ["IMAGENET_7", "IMAGENET_80", "as_templates", "filled"]

# Of the 80, those that a forward selection took: a little better than all 80 for small models.
IMAGENET_7 = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

PICTURES = (
    "a photo", "a bad photo", "a good photo", "a low resolution photo", "a cropped photo", "a bright photo",
    "a dark photo", "a close-up photo", "a black and white photo", "a pixelated photo", "a jpeg corrupted photo",
    "a blurry photo", "a sculpture", "a rendering", "a rendition", "graffiti", "a tattoo", "a drawing", "a painting",
    "a doodle", "a sketch", "art", "itap",
)  # fmt: skip
LOOKS = ("hard to see", "clean", "dirty", "cool", "nice", "weird", "large", "small")
MATERIALS = ("embroidered", "plastic", "origami", "toy", "plushie", "cartoon")

IMAGENET_80 = (
    *(f"{picture} of {article} {{}}." for picture, article in product(PICTURES, ("a", "the"))),
    *(f"a photo of {article} {look} {{}}." for look, article in product(LOOKS, ("a", "the"))),
    *(f"{article} {material} {{}}." for material, article in product(MATERIALS, ("a", "the"))),
    "a {} in a video game.",
    "the {} in a video game.",
    "a photo of many {}.",
    "a photo of my {}.",
    "a photo of one {}.",
    "itap of my {}.",
)


def as_templates(templates: Sequence[str], name: str = "templates") -> list[str]:
    """`templates` as a list of texts that each hold ``{}``; one text counts as a list of one."""
    checked = as_texts(templates, name)
    if not checked:
        raise InvalidArgumentError(f"{name} is empty, expected at least one text such as 'a photo of a {{}}.'")
    for i, template in enumerate(checked):
        if "{}" not in template:
            raise InvalidArgumentError(f"{name}[{i}] is {template!r}, expected a text with {{}} for the class name")
    return checked


def filled(templates: Sequence[str], name: str) -> list[str]:
    """Each of `templates` with `name` in the place of ``{}``."""
    return [template.replace("{}", name) for template in templates]
