"""The demonstration: a few real documents of several formats, a question, its cited answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pegasus import samples
from pegasus.client import Client
from pegasus.samples import SampleDocument

TAG = "demo"
QUESTION = "Who keeps the spare key of the mountain hut?"

_HANDBOOK = SampleDocument(
    "Hut handbook",
    [
        ("Arrival", [
            "The mountain hut stands at 2,140 metres, two hours on foot above the last bus stop.",
            "The spare key of the hut is kept by Marta Lindqvist at the village bakery, who hands it out until six.",
        ]),
        ("Stove and water", [
            "Light the stove with the dry larch from the shed, never with the painted boards.",
            "Water comes from the spring behind the hut; in winter it freezes and snow has to be melted.",
        ]),
    ],
)  # fmt: skip
_MINUTES = SampleDocument(
    "Minutes of the autumn meeting",
    [
        ("Roof", ["Jonas Weber reported that the northern side of the roof leaks; repairs cost 3,200 euros."]),
        ("Decisions", ["The club decided to close the northern route from November until the end of April.",
                       "Priya Raman takes over the bookings from Jonas Weber."]),
    ],
)  # fmt: skip
_GUIDE = SampleDocument(
    "Field guide: birds above the tree line",
    [
        ("Alpine chough", ["The alpine chough nests in crevices near the hut and follows hikers for crumbs."]),
        ("Ptarmigan", ["The ptarmigan turns white in winter; its feathered feet carry it over soft snow."]),
    ],
)


def demo_files() -> Iterator[tuple[str, bytes]]:
    """Names and contents: made files of three formats, and Pegasus's own documentation where it is at hand."""
    yield "hut-handbook.pdf", samples.make_pdf(_HANDBOOK)
    yield "autumn-meeting.docx", samples.make_docx(_MINUTES)
    yield "birds.html", samples.make_html(_GUIDE)
    root = Path(__file__).parents[2]
    for file in sorted([root / "README.md", *root.glob("docs/**/*.md")]):
        if file.is_file():
            yield file.relative_to(root).as_posix(), file.read_bytes()


def show_demo(client: Client, show: Callable[[str], None]) -> None:
    """Add the documents, wait until they are indexed, ask, and show the answer with its citation."""
    pending, count = [], 0
    for name, content in demo_files():
        answer = client.call(
            "POST",
            "/v1/documents",
            files={"file": (name, content)},
            data={"uri": f"demo:{name}", "tags": [TAG]},
        )
        count += 1
        pending += [answer["job"]["id"]] if answer["job"] else []
    for job_id in pending:
        while client.call("GET", f"/v1/jobs/{job_id}")["state"] in ("queued", "running"):
            time.sleep(0.05)
    show(f"\nAdded {count} sample documents, tagged {TAG!r} (take them out again: pegasus erase --tag {TAG}).")
    answer = client.call("POST", "/v1/ask", json={"question": QUESTION})
    show(f"\nQuestion: {QUESTION}\nAnswer:   {answer['answer']}")
    for citation in answer["citations"]:
        show(f'Citation: {citation["title"]}, characters {citation["start"]}-{citation["end"]}: "{citation["quote"]}"')
    show('\nTry:  .venv/bin/pegasus add PATH...  then  .venv/bin/pegasus ask "your question"\n')
