"""English text that every Python brings along: the help pages of ``pydoc`` on the language."""

import pydoc_data.topics
import re


def load_text(characters=100_000):
    """The first so many characters of the pages, in the order of their names, with plain letters and single spaces."""
    pages = (pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    text = re.sub(r"[^a-zA-Z0-9 .,;:()\n'\"-]", " ", "\n".join(pages))
    return re.sub(r"\n+", "\n", re.sub(r"[ -]+", " ", text))[:characters]
