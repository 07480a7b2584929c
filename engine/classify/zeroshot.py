"""Zero-shot classification: the class whose name, put into sentences, is nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from .._validate import show
from ..exceptions import InvalidArgumentError
from ..protocols import Encoder
from ..texts import as_texts
from ._sentences import SentenceClassifier
from .templates import IMAGENET_7, as_templates, filled

__all__ = ["ZeroShotClassifier"]

Self = TypeVar("Self", bound="ZeroShotClassifier")


class ZeroShotClassifier(SentenceClassifier):
    """Put each class name into every template, encode the sentences, and predict the class that is nearest to an item.

    Parameters
    ----------
    encoder : Encoder
        Encodes sentences as documents; images and texts that are predicted, as such and as queries. The dims agree.
    templates : sequence of str, default IMAGENET_7
        Each with ``{}`` for the name; `IMAGENET_80` is CLIP's full set, ``["{}"]`` the name alone.
    aggregate : {"mean_embedding", "mean_logit", "max_logit"}, default "mean_embedding"
        The class score is the cosine with the mean of the unit vectors, the mean of the cosines, or the largest cosine.
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
    Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*, ICML 2021
    (arXiv:2103.00020).

    Examples
    --------
    >>> import encoders
    >>> from engine.classify import ZeroShotClassifier
    >>> zero_shot = ZeroShotClassifier(encoders.get("hashing"), templates=["a message about a {}.", "my {}!"])
    >>> zero_shot.fit(["lost card", "bank transfer"]).predict(["I lost my card", "is the transfer done?"]).tolist()
    ['lost card', 'bank transfer']
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        templates: Sequence[str] = IMAGENET_7,
        aggregate: Literal["mean_embedding", "mean_logit", "max_logit"] = "mean_embedding",
        logit_scale: float = 100.0,
    ) -> None:
        self.encoder = encoder
        self.templates = templates
        self.aggregate = aggregate
        self.logit_scale = logit_scale

    def fit(self: Self, class_names: Sequence[str], descriptions: Mapping[str, Sequence[str]] | None = None) -> Self:
        """Encode the classes.

        Parameters
        ----------
        class_names : sequence of str
        descriptions : mapping of class names to sentences, optional
            More sentences of some classes, beside the filled templates.

        Raises
        ------
        InvalidArgumentError
            A template without ``{}``, a name that is empty or given twice, descriptions of an unknown class.
        EncoderMismatchError
            The encoder returns another shape than it says.
        """
        self._check_settings()
        templates = as_templates(self.templates)
        names = as_class_names(class_names)
        more = {} if descriptions is None else descriptions
        if unknown := set(more) - set(names):
            raise InvalidArgumentError(f"descriptions holds {show(unknown.pop())}, expected one of class_names")
        sentences = {name: filled(templates, name) + as_texts(more.get(name, []), "descriptions") for name in names}
        return self._learn(sentences)


def as_class_names(value: Sequence[str], name: str = "class_names") -> list[str]:
    """`value` as a list of different names, none of them blank."""
    names = as_texts(value, name)
    if isinstance(value, str) or not names:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a list of names")
    seen: set[str] = set()
    for i, each in enumerate(names):
        if not each.strip() or each in seen:
            raise InvalidArgumentError(f"{name}[{i}] is {each!r}, expected names that differ and are not blank")
        seen.add(each)
    return names
