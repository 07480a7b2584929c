"""Classification by description: each class is several sentences that say how it looks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from .._validate import show
from ..exceptions import InvalidArgumentError
from ..protocols import Encoder
from ..texts import as_texts
from ._sentences import SentenceClassifier
from .templates import as_templates, filled
from .zeroshot import as_class_names

__all__ = ["DescriptionClassifier"]

Self = TypeVar("Self", bound="DescriptionClassifier")


class DescriptionClassifier(SentenceClassifier):
    """Predict the class whose descriptions are nearest, and say which of them decided.

    With ``"mean_embedding"`` this is CuPL, with ``"mean_logit"`` DCLIP; the sentences are yours.

    Parameters
    ----------
    encoder : Encoder
        Encodes sentences as documents; images and texts that are predicted, as such and as queries. The dims agree.
    aggregate : {"mean_embedding", "mean_logit"}, default "mean_embedding"
        The class score is the cosine with the mean of the unit vectors, or the mean of the cosines.
    combine_templates : sequence of str, optional
        Each with ``{}`` for the class name: more sentences of every class.
    fallback_template : str, optional
        The sentence of a class without any; such classes are refused otherwise.
    logit_scale : float, default 100.0
        *Multiplies* the scores before the softmax of `predict_proba`.

    Attributes
    ----------
    classes_ : ndarray of str, shape (n_classes,)
        Sorted.
    class_embeddings_ : ndarray, shape (n_classes, dim), float32
        The vector of each class at unit length.

    References
    ----------
    Pratt et al., *What does a platypus look like? Generating customized prompts for zero-shot image classification*,
    ICCV 2023 (arXiv:2209.03320). Menon & Vondrick, *Visual Classification via Description from Large Language Models*,
    ICLR 2023 (arXiv:2210.07183).

    Examples
    --------
    >>> import encoders
    >>> from engine.classify import DescriptionClassifier
    >>> birds = {
    ...     "robin": ["a small bird with a red breast", "a brown back"],
    ...     "raven": ["a large black bird", "a thick black bill"],
    ... }
    >>> clf = DescriptionClassifier(encoders.get("hashing"), aggregate="mean_logit").fit(birds)
    >>> clf.predict(["it has a black bill", "its breast was red"]).tolist()
    ['raven', 'robin']
    >>> [sentence for sentence, score in clf.explain("it has a black bill", "raven")]
    ['a thick black bill', 'a large black bird']
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        aggregate: Literal["mean_embedding", "mean_logit"] = "mean_embedding",
        combine_templates: Sequence[str] | None = None,
        fallback_template: str | None = None,
        logit_scale: float = 100.0,
    ) -> None:
        self.encoder = encoder
        self.aggregate = aggregate
        self.combine_templates = combine_templates
        self.fallback_template = fallback_template
        self.logit_scale = logit_scale

    def fit(self: Self, descriptions: Mapping[str, Sequence[str]]) -> Self:
        """Encode the descriptions.

        Parameters
        ----------
        descriptions : mapping of class names to sentences

        Raises
        ------
        InvalidArgumentError
            No class, a class without a sentence (see `fallback_template`), a sentence that is blank or no text.
        EncoderMismatchError
            The encoder returns another shape than it says.

        Warns
        -----
        UserWarning
            Classes fell back on the template.
        """
        self._check_settings(("mean_embedding", "mean_logit"))
        if not isinstance(descriptions, Mapping):
            raise InvalidArgumentError(f"descriptions is {show(descriptions)}, expected a mapping of names to texts")
        names = as_class_names(list(descriptions), "descriptions")
        templates = [] if self.combine_templates is None else as_templates(self.combine_templates, "combine_templates")
        sentences = {name: as_sentences(descriptions[name], name) + filled(templates, name) for name in names}
        if empty := [name for name in names if not sentences[name]]:
            if self.fallback_template is None:
                raise InvalidArgumentError(f"descriptions[{empty[0]!r}] is empty, expected some, or fallback_template")
            template = as_templates(self.fallback_template, "fallback_template")
            sentences |= {name: filled(template, name) for name in empty}
            warnings.warn(f"no descriptions of {show(empty)}: they are {template[0]!r} alone", stacklevel=2)
        return self._learn(sentences)


def as_sentences(value: Sequence[str], name: str) -> list[str]:
    """`value` as a list of texts, none of them blank."""
    sentences = as_texts(value, f"descriptions[{name!r}]")
    if blank := [text for text in sentences if not text.strip()]:
        raise InvalidArgumentError(f"descriptions[{name!r}] holds {blank[0]!r}, expected sentences")
    return sentences
