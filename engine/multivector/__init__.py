"""Items that are sets of vectors, such as the words of a text or the patches of an image: likeness and search.

docs/multivector.md compares the measures and says what each costs.
"""

from .index import MultiVectorIndex
from .similarity import Transport, conditional_transport, maxsim
from .summaries import TokenSummarizer

__all__ = ["MultiVectorIndex", "TokenSummarizer", "Transport", "conditional_transport", "maxsim"]
