"""Reads the exports of chat programs: what was said, as Markdown, a document for each conversation or day of one.

Slack, ChatGPT, WhatsApp and Telegram each have a form of their own; anything else is refused, with what it looks like.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pegasus.errors import PegasusError, Unreadable, UnsupportedFormat
from pegasus.text.formats import decode_text

_HINT = "Pegasus reads exports of Slack, ChatGPT (conversations.json), WhatsApp (.txt) and Telegram (result.json)."
_SLACK_DAY = re.compile(r"^\d{4}-\d\d-\d\d\.json$")
# "31/12/2023, 21:15 - Ann: text" and "[31.12.23, 21:15:03] Ann: text", with the marks of right-to-left text.
_WHATSAPP_LINE = re.compile(
    r"^[\u200e\u200f]?\[?(\d{1,4}[./-]\d{1,2}[./-]\d{1,4}),? "
    r"(\d{1,2}[:.]\d\d(?:[:.]\d\d)?(?:[\s\u202f]?[APap]\.?[Mm]\.?)?)\]?(?: -)? (.*)$"
)
_SLACK_USER = re.compile(r"<@([A-Z0-9]{1,40})(?:\|[^>\n]{0,200})?>")
_SLACK_LINK = re.compile(r"<(https?://[^|>\s]{1,2000})(?:\|([^>\n]{0,500}))?>")


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation, or a day of one; ``key`` is the same in a later export."""

    key: str
    markdown: str


@dataclass(frozen=True, slots=True)
class _Said:
    who: str
    when: str  # "09:15"
    text: str


# The content of a file of the export.
Read = Callable[[str], bytes]


def read_chats(names: Sequence[str], read: Read) -> Iterator[Chat | PegasusError]:
    """Every conversation in an export, whose files have these names; an error for a file that is none.

    Raises ``UnsupportedFormat`` when it is the export of no program that is known.
    """
    if days := [name for name in names if _is_slack_day(name)]:
        yield from _slack(names, days, read)
        return
    for name in names:
        base = PurePosixPath(name).name.lower()
        if base.endswith(".json") and base in ("conversations.json", "result.json"):
            yield from _conversations(_json(name, read(name)), name)
            return
    texts = [name for name in names if name.lower().endswith(".txt")]
    if texts:
        for name in texts:
            yield from _guarded(lambda name=name: _whatsapp(name, read(name)))  # type: ignore[misc]
        return
    others = [name for name in names if name.lower().endswith(".json")]
    if len(others) != 1:
        raise UnsupportedFormat("The folder or archive is no export of a chat program that is known.", hint=_HINT)
    yield from _conversations(_json(others[0], read(others[0])), others[0])


def _guarded(chats: Callable[[], Iterator[Chat]]) -> Iterator[Chat | PegasusError]:
    """A file of another shape than promised is one bad file, and not the end of the rest."""
    try:
        yield from chats()
    except PegasusError as error:
        yield error
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        yield Unreadable(f"A conversation has another form than expected: {type(error).__name__} {error}."[:500])


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(decode_text(content, None))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name!r} is not valid JSON: {error}."[:500], hint="Export it again.") from error


def _conversations(data: Any, name: str) -> Iterator[Chat | PegasusError]:
    if isinstance(data, list) and data and all(isinstance(one, dict) and "mapping" in one for one in data[:5]):
        for conversation in data:
            yield from _guarded(lambda conversation=conversation: _chatgpt(conversation))  # type: ignore[misc]
    elif isinstance(data, dict) and isinstance(data.get("messages"), list):
        yield from _guarded(lambda: _telegram(data))
    elif isinstance(data, dict) and isinstance(data.get("chats"), dict):
        for chat in data["chats"].get("list", []):
            yield from _guarded(lambda chat=chat: _telegram(chat))  # type: ignore[misc]
    else:
        raise UnsupportedFormat(f"{name!r} is no export of a chat program that is known.", hint=_HINT)


def _written(title: str, said: Iterable[_Said]) -> str:
    lines = [f"# {_line(title)}"]
    for one in said:
        # Further lines are indented, so that none of them passes for a heading of the document's.
        text = one.text.strip().replace("\n", "\n    ")
        lines.append(f"**{_line(one.who)}** ({one.when}): {text}" if one.when else f"**{_line(one.who)}**: {text}")
    return "\n\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def _moment(seconds: object) -> datetime:
    return datetime.fromtimestamp(float(str(seconds)), UTC)


def _is_slack_day(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(_SLACK_DAY.match(path.name)) and len(path.parts) >= 2


def _slack(names: Sequence[str], days: Sequence[str], read: Read) -> Iterator[Chat | PegasusError]:
    users_file = next((name for name in names if PurePosixPath(name).name == "users.json"), None)
    users = {}
    for user in _json(users_file, read(users_file)) if users_file else []:
        profile = user.get("profile") or {}
        users[user["id"]] = profile.get("display_name") or user.get("real_name") or user.get("name") or user["id"]
    for name in sorted(days):
        yield from _guarded(lambda name=name: _slack_day(name, read(name), users))  # type: ignore[misc]


def _slack_day(name: str, content: bytes, users: Mapping[str, str]) -> Iterator[Chat]:
    channel, day = PurePosixPath(name).parts[-2], PurePosixPath(name).stem
    said = []
    for message in sorted(_json(name, content), key=lambda message: float(message.get("ts", 0))):
        text = _SLACK_USER.sub(lambda found: f"@{users.get(found[1], found[1])}", str(message.get("text") or ""))
        text = _SLACK_LINK.sub(lambda found: f"[{found[2] or found[1]}]({found[1]})", text)
        files = "".join(f"\n[{file.get('name', 'file')}]" for file in message.get("files") or [])
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") + files
        who = users.get(message.get("user", ""), message.get("username") or message.get("user") or "somebody")
        if text.strip():
            said.append(_Said(who, f"{_moment(message['ts']):%H:%M}", text))
    if said:
        yield Chat(f"{channel}/{day}", _written(f"#{channel}, {day}", said))


def _chatgpt(conversation: Mapping[str, Any]) -> Iterator[Chat]:
    """The branch that was shown last, from its end to its beginning."""
    mapping, said = conversation["mapping"], list[_Said]()
    current = conversation.get("current_node") or next(
        (id_ for id_, node in mapping.items() if not node.get("children")), None
    )
    passed = set()
    while current in mapping and current not in passed:
        passed.add(current)
        node = mapping[current]
        message = node.get("message") or {}
        role = (message.get("author") or {}).get("role")
        parts = (message.get("content") or {}).get("parts") or []
        text = "\n".join(part for part in parts if isinstance(part, str))
        if role in ("user", "assistant") and text.strip():
            when = f"{_moment(message['create_time']):%Y-%m-%d %H:%M}" if message.get("create_time") else ""
            said.append(_Said("I" if role == "user" else "ChatGPT", when, text))
        current = node.get("parent")
    key = str(conversation.get("conversation_id") or conversation.get("id") or conversation["create_time"])
    if said:
        yield Chat(key, _written(str(conversation.get("title") or "Conversation"), reversed(said)))


def _telegram(chat: Mapping[str, Any]) -> Iterator[Chat]:
    title = str(chat.get("name") or "Saved messages")
    days: dict[str, list[_Said]] = defaultdict(list)
    for message in chat["messages"]:
        text = _telegram_text(message.get("text"))
        if message.get("type") == "message" and text.strip():
            day, _, clock = str(message["date"]).partition("T")
            days[day].append(_Said(str(message.get("from") or "somebody"), clock[:5], text))
    for day, said in days.items():
        yield Chat(f"{chat.get('id', title)}/{day}", _written(f"{title}, {day}", said))


def _telegram_text(text: Any) -> str:
    if isinstance(text, list):
        return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in text)
    return str(text or "")


def _whatsapp(name: str, content: bytes) -> Iterator[Chat]:
    title = re.sub(r"(?i)^_chat$|^whatsapp chat (with|-)? *", "", PurePosixPath(name).stem) or "WhatsApp"
    days: dict[str, list[_Said]] = {}
    last: list[_Said] | None = None
    for line in decode_text(content, None).split("\n"):
        found = _WHATSAPP_LINE.match(line)
        if found:
            who, colon, text = found[3].partition(": ")
            last = days.setdefault(found[1], [])
            last.append(_Said(who, _line(found[2]), text) if colon else _Said("WhatsApp", _line(found[2]), found[3]))
        elif last:
            last[-1] = _Said(last[-1].who, last[-1].when, f"{last[-1].text}\n{line}")
    if not days:
        raise UnsupportedFormat(f"{name!r} is no WhatsApp export: no line begins with a date and a name.", hint=_HINT)
    for day, said in days.items():
        # As the export writes it: 1/2 is another day in another country, and the file does not say which.
        yield Chat(f"{title}/{day}", _written(f"{title}, {day}", said))
