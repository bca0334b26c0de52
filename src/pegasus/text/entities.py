"""Rules that find the entities and key phrases of a passage: what makes a graph of somebody's notes without a model.

One combined scan cuts the text into tokens and settles what is plain from its spelling (wiki links, tags, addresses,
identifiers); one walk over the capitalised tokens finds names and acronyms, one over all tokens finds key phrases.
Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import compress
from operator import attrgetter
from typing import NamedTuple

from pegasus.text.stopwords import (
    FOREIGN_FUNCTION_WORDS,
    MONTHS_AND_DAYS,
    OPENERS,
    PHRASE_BREAKERS,
    STOP_WORDS,
    VAGUE_ADJECTIVES,
    is_adverb,
)

MAX_SCANNED = 50_000  # characters; a passage has some 1,000, and a whole book passed by mistake must not hold a worker
MAX_WORD = 80  # characters; what is longer is data, not a word
MAX_NAME_WORDS = 6
MAX_PHRASE_WORDS = 4

# What a mention of each kind is worth against the others; see `best`.
WEIGHTS = {"wiki": 10.0, "email": 8.0, "tag": 8.0, "name": 6.0, "acronym": 5.0, "identifier": 4.0, "phrase": 1.0}


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity where it stands: ``text[start:end]`` is the surface, equal ``key`` means the same entity."""

    name: str
    key: str
    kind: str  # one of WEIGHTS
    start: int
    end: int


def find_mentions(text: str, *, limit: int = 12) -> list[Mention]:
    """The ``limit`` best entities of one passage, each key once, in order of position (see `best`)."""
    return best(all_mentions(text), limit=limit)


def best(mentions: Iterable[Mention], *, limit: int) -> list[Mention]:
    """The first mention of each of the ``limit`` highest scoring keys, in order of position.

    Score: the weight of the kind + 1 for every further mention (up to 3) + 0.5 for every further word (up to 3)
    + for phrases, as in RAKE, 0.5 for every time that one of its words stands in another candidate phrase (up to 3).
    Ties go to the earlier.
    """
    firsts: dict[str, Mention] = {}
    counts: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for mention in sorted(mentions, key=attrgetter("start")):
        counts[mention.key] += 1
        known = firsts.get(mention.key)
        if known is None:
            firsts[mention.key] = mention
            if mention.kind == "phrase":
                words.update(mention.key.split(" "))
        elif WEIGHTS[mention.kind] > WEIGHTS[known.kind]:
            firsts[mention.key] = replace(known, kind=mention.kind)

    def score(mention: Mention) -> float:
        parts = mention.key.split(" ")
        total = WEIGHTS[mention.kind] + min(counts[mention.key] - 1, 3) + 0.5 * min(len(parts) - 1, 3)
        if mention.kind == "phrase":
            total += 0.5 * min(sum(words[part] - 1 for part in parts), 3)
        return total

    chosen = sorted(firsts.values(), key=lambda mention: (-score(mention), mention.start))[:limit]
    return sorted(chosen, key=lambda mention: (mention.start, mention.end))


def all_mentions(text: str) -> list[Mention]:
    """Every mention that the rules find, in no order; the same key may come more than once."""
    found: list[Mention] = []
    tokens = _scan(text, found)
    english = _is_english(tokens)
    names, taken = _names(text, tokens, english=english)
    found += names
    if english:  # elsewhere a verb cannot be told from a noun
        found += _phrases(text, tokens, taken)
    return found


def query_keys(question: str, *, limit: int = 24) -> list[str]:
    """The keys by which a question may name entities, likeliest first: what the rules find, then its n-grams.

    People ask in lower case, so every run of 1-3 words without a stop word counts, and so do names with a particle
    between the words ("university of oslo"). Shorter runs come first: they are the ones that a graph has most often.
    """
    keys = dict.fromkeys(mention.key for mention in find_mentions(question, limit=limit))
    tokens = _scan(question, [])
    for size in (1, 2, 3):
        for words in _ngrams(tokens, size):
            if len(keys) >= limit:
                return list(keys)[:limit]
            keys.setdefault(entity_key(words))
            if size == 1:
                keys.setdefault(_singular(entity_key(words)))
    return list(keys)[:limit]


def _ngrams(tokens: list[Token], size: int) -> Iterator[str]:
    """Runs of ``size`` content words; a particle between two of them does not count."""
    stops = (STOP,) if _is_english(tokens) else (STOP, FOREIGN)
    content = [token.shape != LITERAL and token.role not in stops for token in tokens]
    for first in compress(range(len(tokens)), content):
        words, missing = [tokens[first].word], size - 1
        for index in range(first + 1, min(first + 2 * size, len(tokens))):
            if not missing or tokens[index].joint > AMPERSAND:
                break
            if content[index]:
                missing -= 1
            elif tokens[index].lower not in _PARTICLES:
                break
            words.append(tokens[index].word)
        if not missing:
            yield " ".join(words)


def entity_key(name: str) -> str:
    """What makes two spellings one entity: case, white space, hyphens, a possessive, a plural of the last word.

    A single word keeps its plural, for Williams is not William.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name).replace("’", "'")
    key = " ".join(name.casefold().replace("-", " ").split())
    key = key.removesuffix("'s").removesuffix("'")
    return _singular(key) if " " in key else key


def _singular(key: str) -> str:
    if key.endswith("ies") and len(key) > 4 and key[-4] != " ":
        return key[:-3] + "y"
    if key.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return key[:-2]
    if key.endswith("s") and not key.endswith(("ss", "us", "is", "'s", " s")) and len(key) > 3:
        return key[:-1]
    return key


# --- Tokens -----------------------------------------------------------------------------------------------------------


class Token(NamedTuple):
    """A word, or what is taken as one; shape, role and joint are the numbers below."""

    start: int
    end: int
    word: str
    lower: str
    shape: int
    role: int
    joint: int


# Shapes, by spelling. From CAPITAL on, a token can be part of a name.
LOWERCASE, NUMBER, LITERAL, CAPITAL, MIXED, ACRONYM = range(6)
# Roles, by the word lists.
PLAIN, STOP, FOREIGN, BREAKER, VAGUE, OPENER, DATE = range(7)
# Joints: what stands between a token and the one before it.
SPACE, AMPERSAND, PUNCTUATION, SENTENCE = range(4)

_ROLES = {
    **dict.fromkeys(MONTHS_AND_DAYS, DATE),
    **dict.fromkeys(OPENERS, OPENER),
    **dict.fromkeys(VAGUE_ADJECTIVES, VAGUE),
    **dict.fromkeys(PHRASE_BREAKERS - OPENERS - VAGUE_ADJECTIVES, BREAKER),
    **dict.fromkeys(FOREIGN_FUNCTION_WORDS, FOREIGN),
    **dict.fromkeys(STOP_WORDS, STOP),
    "may": STOP,
}

# No quantifier is nested in one that could match the same characters: a token is eaten in one way only, and the
# alternatives that may fail late (wiki link, quotation) are bounded.
_TOKEN = re.compile(
    r"""
      https?://[^\s<>"]+ | www\.[^\s<>"]+
    | \w+(?:[.@'’&+\u0300-\u036f-]\w+)*(?:\(\)|\+\+|\#|[\u0300-\u036f])?
    | \[\[(?P<wiki>[^\[\]\n]{1,120})\]\]
    | (?<![\w\#&/])\#(?P<tag>[^\W\d_][\w/-]{0,49})
    | (?<![\w@.])@(?P<handle>[^\W\d]\w{1,38})
    | ["“«](?=(?P<quoted>\w[^"“”«»\n]{1,78})["”»])
    """,
    re.VERBOSE,
)
_JOINTS = {" ": SPACE, "": PUNCTUATION, ", ": PUNCTUATION, ". ": SENTENCE, "\n\n": SENTENCE, " & ": AMPERSAND}
_SENTENCE_END = re.compile(r"""[.!?…•*]["'”’»)]*\s|\n[^\S\n]*[-–>#|\d]|["“”«»¿¡#>|]$|\.\.\.|:\s*\n""")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])*")
_INITIALS_TAIL = re.compile(r"\.[^\W\d_a-z]$")
# What stands before an apostrophe and is no part of the word (l'Europe, dell'Arte), and what stands after one (Anna's).
_ELISIONS = frozenset("l d qu j n s c m t dell all nell sull un".split())
_SUFFIXES = frozenset("s t ll re ve d m".split())
_COLOUR = re.compile(r"(?=.*\d)[0-9a-f]{3}(?:[0-9a-f]{3})?", re.IGNORECASE)
_COMPOUND = re.compile(r"(?<![^.])(?:[A-Z]+[a-z0-9]+[A-Z]\w*|[a-z0-9]+_\w+)(?![^.])")
_FILE_NAME = re.compile(
    r".+\.(?:py|md|txt|pdf|docx?|xlsx?|pptx?|csv|tsv|json|jsonl|ya?ml|toml|ini|cfg|conf|html?|css|js|ts|tsx|rs|go|c|h"
    r"|cpp|java|kt|rb|sh|sql|xml|svg|png|jpe?g|gif|mp[34]|mov|wav|zip|gz|tar|log|ipynb|epub|odt|eml|ics|bib|tex|db)",
    re.IGNORECASE,
)
_HONORIFICS = frozenset("dr mr mrs ms prof st mt jr sr rev hon lt col gen sgt capt ing mme mlle".split())
_TITLES_OF_PERSONS = frozenset("dr mr mrs ms prof professor mme monsieur madame herr frau señor señora".split())
_NOT_ACRONYMS = frozenset("OK PM AM TODO FIXME TBD NB PS XXX ASAP FYI RSVP ETA AKA KB MB GB TB KG KM".split())
_PRONOUN_ACRONYMS = frozenset(("US", "IT", "WHO"))  # stop words in lower case
_SOFT_BREAK_LINE = 40  # characters; a shorter line ends because its sentence, heading or list item does


def _scan(text: str, found: list[Mention]) -> list[Token]:
    """The tokens of a text; mentions that are plain from their spelling are added to ``found``."""
    tokens: list[Token] = []
    append, role_of, joint_of = tokens.append, _ROLES.get, _JOINTS.get
    after = 0
    previous = ""
    for match in _TOKEN.finditer(text, 0, MAX_SCANNED):
        start, end = match.span()
        if start < after:  # inside a quoted title
            continue
        word = match[0]
        gap = text[after:start]
        joint = joint_of(gap)
        if joint is None:
            joint = _joint(text, after, start)
        if gap == ". " and _abbreviates(previous):
            joint = SPACE
        if word.isalpha() and len(word) <= MAX_WORD:
            if word.islower():
                lower, shape = word, LOWERCASE
            else:
                lower, shape = word.lower(), _shape(word)
            if gap[-1:] == "`" == text[end : end + 1] and len(word) > 2 and role_of(lower) in (None, OPENER):
                found.append(_mention(word, "identifier", start, end))
                shape = LITERAL
        else:
            special = _special(match, found)
            if special is None:
                continue
            start, end, shape = special
            word = text[start:end]
            lower = word.lower()
        append(Token(start, end, word, lower, shape, role_of(lower, PLAIN), joint if tokens else SENTENCE))
        previous, after = word, end
    return tokens


def _mention(surface: str, kind: str, start: int, end: int) -> Mention:
    return Mention(" ".join(surface.split()), entity_key(surface), kind, start, end)


def _is_english(tokens: list[Token]) -> bool:
    """Whether a text has the function words of English prose; a few words of a heading or a question pass."""
    roles = [token.role for token in tokens]
    return roles.count(STOP) >= max(2 * roles.count(FOREIGN), len(roles) // 10 if len(roles) > 12 else 0)


def _joint(text: str, start: int, end: int) -> int:
    """What an unusual gap is; one line break inside a paragraph is a space."""
    gap = text[start : min(end, start + 200)]
    if not gap.isspace():
        return SENTENCE if "\n\n" in gap or _SENTENCE_END.search(gap) else PUNCTUATION
    line_is_long = start >= _SOFT_BREAK_LINE and "\n" not in text[start - _SOFT_BREAK_LINE : start]
    return SPACE if "\n" not in gap or (gap.count("\n") == 1 and line_is_long) else SENTENCE


def _abbreviates(word: str) -> bool:
    """Whether a full stop after the word belongs to it: an initial or a title of a person."""
    return (len(word) == 1 and word.isupper()) or word.lower() in _HONORIFICS or bool(_INITIALS_TAIL.search(word))


def _shape(word: str) -> int:
    """The shape of a word of letters that is not all lower case."""
    if not word[0].isupper():
        return LOWERCASE if word == word.lower() else MIXED  # scripts without case have neither
    if len(word) == 1 or word[1:].islower():
        return CAPITAL
    return ACRONYM if word.isupper() or (word[-1] == "s" and len(word) > 2 and word[:-1].isupper()) else MIXED


def _special(match: re.Match[str], found: list[Mention]) -> tuple[int, int, int] | None:
    """Start, end and shape of a token that is not just letters; None where it turns out to be punctuation."""
    start, end = match.span()
    kind = match.lastgroup
    if kind is None:
        return _odd_word(match[0], start, found)
    content = match[kind].strip()
    if kind == "quoted":
        content = content.rstrip(",.")
        if not _is_title(content):
            return None
        found.append(_mention(content, "name", start + 1, start + 1 + len(content)))
        return start, match.end("quoted") + 1, LITERAL
    if kind == "wiki":
        content = re.split(r"[|#]", content, maxsplit=1)[0].strip()  # [[page#section|label]]
        if entity_key(content):
            found.append(_mention(content, "wiki", start, end))
    elif kind == "handle":
        found.append(_mention(match[0], "tag", start, end))
    elif not _COLOUR.fullmatch(content):
        found.append(Mention(match[0], entity_key(content.replace("_", " ")), "tag", start, end))
    return start, end, LITERAL


def _is_title(quoted: str) -> bool:
    words = quoted.split()
    if not 0 < len(words) <= MAX_NAME_WORDS + 2:
        return False
    if len(words) == 1:
        return len(quoted) > 3 and quoted[0].isupper() and quoted.isalpha() and quoted.lower() not in _ROLES
    small = [word for word in words[1:] if not word[0].isupper() and not word[0].isdigit()]
    return (
        words[0][0].isupper() and len(small) < len(words) - 1 and all(_ROLES.get(w) in (STOP, FOREIGN) for w in small)
    )


def _odd_word(word: str, start: int, found: list[Mention]) -> tuple[int, int, int]:
    """The shape of a token with digits or punctuation in it, less the clitics at its ends (Anna's, l'Europe)."""
    if len(word) > MAX_WORD or word.startswith(("http:", "https:", "www.")):
        return start, start + len(word), LITERAL
    if word.endswith("()"):
        name = word[:-2]
        if len(name) > 1:
            found.append(_mention(name, "identifier", start, start + len(name)))
        return start, start + len(name), LITERAL
    if "'" in word or "’" in word:
        start, word = _without_clitics(start, word)
    kind, shape = _odd_shape(word)
    end = start + len(word)
    if kind:
        found.append(_mention(word, kind, start, end))
        if "." in word and kind == "identifier" and not _FILE_NAME.fullmatch(word):
            found.extend(_parts(word, start))
    return start, end, shape


def _without_clitics(start: int, word: str) -> tuple[int, str]:
    head, _, tail = word.replace("’", "'").rpartition("'")
    if tail.lower() in _SUFFIXES:
        word = word[: len(head)]
    first, _, rest = word.replace("’", "'").partition("'")
    if first in _ELISIONS and rest:
        return start + len(first) + 1, word[len(first) + 1 :]
    return start, word


def _odd_shape(word: str) -> tuple[str | None, int]:
    """The kind of mention that the word is by itself, if any, and its shape as a token."""
    if word.isalpha():
        return None, LOWERCASE if word.islower() else _shape(word)
    if "@" in word:
        return ("email" if _EMAIL.fullmatch(word) else None), LITERAL
    if "." in word:
        return _dotted_shape(word)
    if word[0].isdigit():
        return None, NUMBER
    if "_" in word:
        return ("identifier" if len(word.strip("_")) > 1 else None), LITERAL
    if word[-1] in "+#":
        return ("name" if len(word.rstrip("+#")) == 1 and word[0].isupper() else None), LITERAL
    if "+" in word or ("&" in word and not word.isupper()):
        return None, LITERAL
    if word.isupper():
        return None, ACRONYM
    if word.islower():
        return None, LOWERCASE
    if word[0].isupper() and word.rpartition("-")[2][:1].isupper():
        return None, CAPITAL if "-" in word or word[1:].islower() else MIXED
    return None, LOWERCASE  # also Unix-style, which describes what follows


def _dotted_shape(word: str) -> tuple[str | None, int]:
    if _FILE_NAME.fullmatch(word):
        return "identifier", LITERAL
    if _INITIALS.fullmatch(word):
        return None, ACRONYM if word.isupper() else LOWERCASE
    parts = word.split(".")
    if word[0].isdigit() or not all(part[0].isalpha() or part[0] == "_" for part in parts):
        return None, NUMBER
    if len(parts) == 2 and _ROLES.get(parts[1].lower()) in (STOP, BREAKER) and parts[1][0].isupper():
        return None, LITERAL  # a missing space between two sentences
    return "identifier", LITERAL


def _parts(word: str, start: int) -> Iterator[Mention]:
    """The parts of a dotted path that are identifiers by themselves: the class in ``module.FileFinder.find``."""
    for part in _COMPOUND.finditer(word):
        yield _mention(part[0], "identifier", start + part.start(), start + part.end())


# --- Names ------------------------------------------------------------------------------------------------------------

_PARTICLES = frozenset("of the de van von du del della di da dos das la le el al bin ibn af".split())
_ARTICLES = frozenset("the la le las los der den het".split())
# What people do: after a capitalised word that opens a sentence, one of these makes it a name.
_PERSON_VERBS = frozenset(
    """
    said says asked asks told tells wants wanted thinks thought likes liked loves loved hates suggested suggests agreed
    agrees called calls wrote writes emailed mentioned joined works worked lives lived moved offered promised explained
    recommended recommends invited met sent brought bought gave took knows knew went came left prefers insisted
    announced announces released releases published acquired
    """.split()
)


def _names(text: str, tokens: list[Token], *, english: bool) -> tuple[list[Mention], set[int]]:
    """Names and acronyms, and the indexes of the tokens that are part of one."""
    names: list[Mention] = []
    taken: set[int] = set()
    doubtful: list[int] = []
    done = 0
    for index, token in enumerate(tokens):
        if token.shape < CAPITAL or index < done:
            continue
        stop = _name_end(tokens, index, english=english)
        first = _name_start(tokens, index, stop, english=english)
        done = max(stop, index + 1)
        while stop - first > 1 and tokens[stop - 1].role == BREAKER:  # The Client Sends
            stop -= 1
        if first >= stop:
            continue
        kind = _name_kind(text, tokens, first, stop)
        if kind is None:
            if stop - first == 1 and tokens[first].shape == CAPITAL and tokens[first].role == PLAIN:
                doubtful.append(first)
            continue
        if kind == "acronym":
            names.extend(_expansion(text, tokens, first))
        names.append(_span(text, tokens, first, stop, kind))
        taken.update(range(first, stop))
    known = {name.key for name in names}
    for index in doubtful:
        if entity_key(tokens[index].word) in known:
            names.append(_span(text, tokens, index, index + 1, "name"))
            taken.add(index)
    return names, taken


def _span(text: str, tokens: list[Token], first: int, stop: int, kind: str) -> Mention:
    start, end = tokens[first].start, tokens[stop - 1].end
    surface = text[start:end]
    if kind == "acronym" and surface[-1] == "s":
        return Mention(surface[:-1], entity_key(surface[:-1]), kind, start, end)
    if kind == "name" and surface.isupper() and max(map(len, surface.split())) > 6:
        return Mention(" ".join(surface.title().split()), entity_key(surface), kind, start, end)  # a heading
    return _mention(surface, kind, start, end)


def _name_end(tokens: list[Token], first: int, *, english: bool) -> int:
    """The index after the last token of the capitalised run that starts at ``first``, at most MAX_NAME_WORDS long."""
    end = first + 1
    last = min(len(tokens), first + MAX_NAME_WORDS)
    if tokens[first].role == STOP and tokens[first].shape != ACRONYM:
        return end
    while end < last:
        token = tokens[end]
        if token.joint > AMPERSAND:
            break
        if token.shape >= CAPITAL:
            if token.role == STOP or (token.role == FOREIGN and not english):
                break
            end += 1
        elif token.shape == NUMBER and _is_edition(tokens, end):
            return end + 1
        elif token.lower in _PARTICLES and not (token.lower == "of" and tokens[end - 1].shape == ACRONYM):
            head = end + 1
            if head < last and tokens[head].lower in _ARTICLES and tokens[head].joint == SPACE:
                head += 1
            if head >= last or tokens[head].shape < CAPITAL or tokens[head].joint != SPACE:
                break
            if token.lower == "the" and tokens[head].shape != CAPITAL:
                break  # Alexander the Great, but not: Honour the maxSize
            if tokens[head].start - tokens[head - 1].end > 1:
                break  # more than a space lies before it: an elided article (Luc Moreau de l'Institut Pasteur)
            end = head + 1
        else:
            break
    return end


def _is_edition(tokens: list[Token], index: int) -> bool:
    """Whether a number belongs to the name before it (Apollo 11, Python 3.11), not to what follows (12 apples)."""
    word = tokens[index].word
    if len(word) > 6 or "-" in word:
        return False
    if "." in word or index + 1 == len(tokens):
        return True
    _, _, _, lower, shape, role, joint = tokens[index + 1]
    return joint != SPACE or shape != LOWERCASE or role in (STOP, BREAKER) or is_adverb(lower)


def _name_start(tokens: list[Token], first: int, stop: int, *, english: bool) -> int:
    """Where the name starts: past a title, a weekday or a word that is capital only because it opens the sentence."""
    while first < stop:
        _, _, _, lower, shape, role, joint = tokens[first]
        more = first + 1 < stop and tokens[first + 1].shape >= CAPITAL
        if (
            shape < CAPITAL
            or (role == STOP and shape != ACRONYM)
            or (role == FOREIGN and not english)
            or (more and (lower in _TITLES_OF_PERSONS or (role == DATE and lower.endswith("day"))))
        ):
            first += 1
        elif joint != SENTENCE or shape != CAPITAL or stop - first == 1:
            return first
        elif (
            role == BREAKER
            or is_adverb(lower)
            or lower.endswith(("ing", "ed"))
            or (role == OPENER and tokens[first + 1].role != OPENER)
        ):
            first += 1
        else:
            return first
    return first


def _name_kind(text: str, tokens: list[Token], first: int, stop: int) -> str | None:
    """The kind of the run, or None if it is no name."""
    _, end, word, lower, shape, role, joint = tokens[first]
    if stop - first > 1:
        run = tokens[first:stop]
        if all(token.role == DATE or token.shape == NUMBER for token in run):
            return None
        return "name" if any(len(token.word) > 1 for token in run) else None
    if shape == ACRONYM:
        return "acronym" if _is_acronym(tokens, first) else None
    if shape == MIXED:
        return "name" if word.startswith(("Mc", "Mac")) else "identifier"
    if len(word) < 2 or role in (STOP, FOREIGN, BREAKER, VAGUE, DATE) or lower in _HONORIFICS:
        return None
    if joint != SENTENCE:
        return "name" if role == PLAIN or joint == SPACE else None
    if role != PLAIN or lower.endswith(("ing", "ed", "tion", "ness", "ment")) or is_adverb(lower):
        return None
    return "name" if _opens_as_person(text, tokens, stop, end) else None


def _opens_as_person(text: str, tokens: list[Token], following: int, end: int) -> bool:
    """Whether what follows a capitalised word at the start of a sentence shows that it is a name."""
    if text[end : end + 2] in ("'s", "’s"):
        return True
    if following >= len(tokens):
        return False
    _, _, _, lower, shape, role, joint = tokens[following]
    if joint == SPACE and lower in _PERSON_VERBS:
        return True
    if joint == SPACE and lower == "and" and following + 1 < len(tokens):
        _, _, _, _, shape, role, joint = tokens[following + 1]
        return joint == SPACE and shape == CAPITAL and role == PLAIN
    return joint == PUNCTUATION and shape == CAPITAL and role == PLAIN and text[end : end + 1] == ","


def _is_acronym(tokens: list[Token], index: int) -> bool:
    _, _, word, _, _, role, _ = tokens[index]
    letters = word.rstrip("s")
    if not 2 <= len(letters) <= (7 if letters.isalpha() else 12) or not letters.strip("IVX") or word in _NOT_ACRONYMS:
        return False
    if role != PLAIN and word not in _PRONOUN_ACRONYMS:
        return False
    # Next to other words in capitals it is a heading or a shout, unless it looks like an abbreviation itself.
    around = [tokens[index - 1]] if index and tokens[index].joint == SPACE else []
    around += [near for near in tokens[index + 1 : index + 2] if near.joint == SPACE]
    return not any(near.shape == ACRONYM and near.role in (STOP, BREAKER, OPENER) for near in around)


def _expansion(text: str, tokens: list[Token], index: int) -> Iterator[Mention]:
    """The full name before an acronym in brackets: Optical Character Recognition (OCR)."""
    start, end, word, *_ = tokens[index]
    if text[start - 1 : start] != "(" or text[end : end + 1] != ")":
        return
    letters = [letter for letter in word.rstrip("s").lower() if letter.isalpha()]
    first = index
    while letters and first > 0 and index - first < 2 * len(word):
        first -= 1
        lower, shape, role = tokens[first].lower, tokens[first].shape, tokens[first].role
        if lower[0] == letters[-1]:
            letters.pop()
        elif role != STOP or shape == LITERAL:
            return
        if first + 1 < index and tokens[first + 1].joint > AMPERSAND:
            return
    if not letters and index - first > 1:
        kind = "name" if tokens[first].shape >= CAPITAL else "phrase"
        yield _span(text, tokens, first, index, kind)


# --- Key phrases ------------------------------------------------------------------------------------------------------

# After one of these a word in -ed is an adjective (the weighted fusion), elsewhere it is a verb (she painted the boat).
_BEFORE_ADJECTIVES = frozenset(
    "the a an of for with in this that these those our my your his her its their no any".split()
)
# After one of these a word in -ing is a verb (by removing files).
_BEFORE_GERUNDS = frozenset("by for when while without after before from until".split())
# Verbs and adjectives that are nouns only in front of another one (open file, but: keeps the file open).
_NEVER_LAST = frozenset("open read use call start end relative dependent greater waiting calling missing".split())
# After one of these any word is a verb (they can ski).
_BEFORE_VERBS = frozenset(
    "i you he she we they who will would can could should must may might cannot don didn doesn not let".split()
)


def _phrases(text: str, tokens: list[Token], taken: set[int]) -> Iterator[Mention]:
    """Runs of 2 to MAX_PHRASE_WORDS words, none a stop word, verb, name or number; longer runs lose their head."""
    run: list[int] = []
    for index, token in enumerate(tokens):
        if run and token.joint != SPACE:
            yield from _phrase(text, tokens, run)
            run = []
        role = token.role
        if role in (PLAIN, OPENER) and _can_be_in_phrase(tokens, index, taken, leads=not run):
            run.append(index)
        elif run:
            yield from _phrase(text, tokens, run)
            run = []
    if run:
        yield from _phrase(text, tokens, run)


def _can_be_in_phrase(tokens: list[Token], index: int, taken: set[int], *, leads: bool) -> bool:
    _, _, word, lower, shape, role, joint = tokens[index]
    if shape == ACRONYM:
        return index in taken and index - 1 not in taken and index + 1 not in taken
    if shape == CAPITAL:
        return joint == SENTENCE and index not in taken and not is_adverb(lower)
    if shape != LOWERCASE or len(word) < 3 or is_adverb(lower):
        return False
    before = tokens[index - 1].lower if leads and joint == SPACE else ""
    if lower.endswith("ed") and len(lower) > 4 and not lower.endswith("eed"):
        return before in _BEFORE_ADJECTIVES
    if before == "to" and role == OPENER:
        return False
    return before not in _BEFORE_VERBS and not (lower.endswith("ing") and before in _BEFORE_GERUNDS)


def _phrase(text: str, tokens: list[Token], run: list[int]) -> Iterator[Mention]:
    first, stop = run[0], run[-1] + 1
    opens = tokens[first].joint == SENTENCE or (stop - first > 1 and tokens[first + 1].shape == ACRONYM)
    if opens and tokens[first].role == OPENER:  # an instruction: Book train tickets; ask UBS
        first += 1
    if stop - first > MAX_PHRASE_WORDS:
        first = stop - MAX_PHRASE_WORDS + 1
    while stop - first > 1 and tokens[stop - 1].lower in _NEVER_LAST:
        stop -= 1
    if stop - first > 1 and tokens[first].lower != tokens[stop - 1].lower:
        yield _span(text, tokens, first, stop, "phrase")
