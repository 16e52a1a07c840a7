"""Words to search by, as a user gives them: one text, or several whose mean is the query."""

from collections.abc import Sequence

from embedstore.errors import QueryError

#: Most texts of a query, and characters of each: text towers take 64 to 256 tokens.
MOST_TEXTS, MOST_CHARACTERS = 1000, 2000
SHOWN_TEXTS, SHOWN_CHARACTERS = 3, 80


def given_texts(texts: str | Sequence[str]) -> tuple[str, ...]:
    """Texts without white space around them, each once.

    Raises:
        QueryError: there is none, or one is empty, too long, or no text.
    """
    given = (texts,) if isinstance(texts, str) else tuple(texts)
    if not given:
        raise QueryError("there is no text to search by; expected words, such as 'dense lymphocytes'")
    for text in given:
        if not isinstance(text, str):
            raise QueryError(f"a {type(text).__name__} is among the texts to search by; expected words")
        if not text.strip():
            raise QueryError("a text to search by is empty; expected words, such as 'dense lymphocytes'")
        if len(text) > MOST_CHARACTERS:
            raise QueryError(
                f"the text '{text[:SHOWN_CHARACTERS]}…' has {len(text):,} characters; expected {MOST_CHARACTERS:,} at "
                "most; describe what the tiles show in a sentence"
            )
        if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
            raise QueryError("a text to search by holds half of a character (a lone surrogate); write it again")
    distinct = tuple(dict.fromkeys(text.strip() for text in given))
    if len(distinct) > MOST_TEXTS:
        raise QueryError(f"there are {len(distinct):,} texts; expected {MOST_TEXTS:,} at most")
    return distinct


def text_title(texts: Sequence[str]) -> str:
    """'text "dense lymphocytes"', or 'the mean of 3 texts ("a", "b", "c")'."""
    shown = [f'"{_short(text)}"' for text in texts[:SHOWN_TEXTS]]
    if len(texts) == 1:
        return f"text {shown[0]}"
    more = ", …" if len(texts) > SHOWN_TEXTS else ""
    return f"the mean of {len(texts):,} texts ({', '.join(shown)}{more})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"
