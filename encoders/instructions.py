"""What stands before queries and documents, for models that are told what to look for."""

from __future__ import annotations

from collections.abc import Sequence

from engine._validate import show
from engine.exceptions import InvalidArgumentError
from engine.texts import as_texts

__all__ = ["prefixes"]


def prefixes(
    instruction: str | None, query_prefix: str, document_prefix: str, examples: Sequence[tuple[str, str]] = ()
) -> dict[str, str]:
    r"""What stands before the texts of each side.

    Examples
    --------
    >>> prefixes("Find the answer", "", "", [("2 + 2?", "4")])["query"]
    'Instruct: Find the answer\nQuery: 2 + 2?\nResponse: 4\n\nInstruct: Find the answer\nQuery: '
    """
    for name, text in (
        ("instruction", instruction),
        ("query_prefix", query_prefix),
        ("document_prefix", document_prefix),
    ):
        if not isinstance(text, str) and not (name == "instruction" and text is None):
            raise InvalidArgumentError(f"{name} is {show(text)}, expected a str")
    if instruction is not None and query_prefix:
        raise InvalidArgumentError(f"query_prefix is {show(query_prefix)}, expected none beside an instruction")
    before = query_prefix if instruction is None else f"Instruct: {instruction}\nQuery: "
    shown = ""
    for example in examples:
        pair = as_texts(example, "examples")
        if len(pair) != 2:
            raise InvalidArgumentError(f"examples holds {show(example)}, expected pairs of a query and an answer")
        shown += f"{before}{pair[0]}\nResponse: {pair[1]}\n\n"
    return {"query": shown + before, "document": document_prefix}
