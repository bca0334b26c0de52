"""The documentation is in step with the code, its settings file can be used, and its links lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.generate import ROOT, generated, main
from pegasus.settings import Settings, load_settings

RESULTS = {
    "date": "2026-01-31",
    "machine": "a sample",
    "figures": [
        {"bench": "search", "what": "a | b", "value": "7 ms", "goal": "<= 9 ms", "beside": "", "reached": True},
        {"bench": "scale", "what": "memory", "value": "905 MB", "goal": "stated", "beside": "", "reached": None},
        {"bench": "scale", "what": "rate", "value": "0.7", "goal": ">= .85", "beside": "", "reached": False},
    ],
    "plots": {
        "ndcg": {"lexical": [0.7, 0.6, 0.8], "semantic": [0.8, 0.7, 0.9], "hybrid": [0.9, 0.85, 0.95]},
        "memory": [[10_000, 300.0], [20_000, 350.0]],
    },
}
WRITTEN = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES = sorted(page for page in [*WRITTEN, *(ROOT / "docs").rglob("*.md")] if page.is_file())


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "results.json"
    path.write_text(json.dumps(RESULTS))
    return path


@pytest.fixture(scope="module")
def pages(results: Path) -> dict[str, str]:
    return generated(results)


def test_the_pages_in_the_repository_are_those_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_what_was_generated_is_in_step_until_it_or_the_code_changes(
    tmp_path: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs"
    assert main(["--check"], folder, results) == 1
    assert main([], folder, results) == 0
    assert main(["--check"], folder, results) == 0
    (folder / "reference" / "errors.md").write_text("old")
    capsys.readouterr()
    assert main(["--check"], folder, results) == 1
    assert capsys.readouterr().out == "docs/reference/errors.md is out of step with the code. Mend it with: make docs\n"
    assert (folder / "reference" / "errors.md").read_text() == "old"


def test_measurements_are_shown_only_when_there_are_some(tmp_path: Path, pages: dict[str, str]) -> None:
    assert set(pages) - set(generated(tmp_path / "none")) == {"reference/benchmarks.md", "pictures/benchmarks.svg"}
    page = pages["reference/benchmarks.md"]
    assert "make bench BENCH=search" in page
    assert "| a \\| b | 7 ms | <= 9 ms | reached |  |" in page
    assert "| rate | 0.7 | >= .85 | **missed** |  |" in page


def test_no_page_depends_on_the_machine_that_wrote_it(
    results: Path, pages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEGASUS_MAX_UPLOAD_BYTES", "7")
    monkeypatch.setenv("PEGASUS_DATA", "/elsewhere")
    monkeypatch.setenv("COLUMNS", "40")
    assert generated(results) == pages
    for content in pages.values():
        assert str(ROOT) not in content
        assert str(Path.home()) + "/" not in content


def test_pictures_are_drawn_within_their_frame(pages: dict[str, str]) -> None:
    for name in ("pictures/house.svg", "pictures/benchmarks.svg"):
        picture = ElementTree.fromstring(pages[name])
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        texts = picture.findall(".//{http://www.w3.org/2000/svg}text")
        assert texts
        for text in texts:
            assert 0 < float(text.attrib["x"]) < width
            assert 0 < float(text.attrib["y"]) < height


def test_the_house_shows_each_feature_and_each_adapter(pages: dict[str, str]) -> None:
    picture = pages["pictures/house.svg"]
    source = ROOT / "src" / "pegasus"
    features = {path.parent.name for path in source.glob("*/service.py")}
    taken = re.findall(r"from pegasus\.adapters\.(\w+) import", (source / "bootstrap.py").read_text())
    assert features
    assert taken
    for name in {*features, *taken}:
        assert f">{name}</text>" in picture


class TestSettingsFile:
    def lines(self) -> list[str]:
        text = (ROOT / "docs" / "reference" / "settings.env").read_text()
        return re.findall(r"(?m)^# ([A-Z_]+=.*)$", text)

    def test_every_setting_is_in_it(self) -> None:
        names = [line.partition("=")[0] for line in self.lines()]
        fields = Settings.model_fields.items()
        assert names == [field.validation_alias or f"PEGASUS_{name.upper()}" for name, field in fields]

    def test_with_every_line_taken_in_it_says_the_defaults(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        defaults = load_settings()
        file = tmp_path / "settings.env"
        file.write_text("\n".join(self.lines()))
        monkeypatch.setenv("PEGASUS_SETTINGS_FILE", str(file))
        # An empty key or address is none: the client asks whether there is something in it.
        found = {name: None if value == "" else value for name, value in load_settings().model_dump().items()}
        assert found == defaults.model_dump()

    def test_a_line_that_is_changed_changes_its_setting(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "settings.env"
        file.write_text("\n".join(self.lines()).replace("PEGASUS_PORT=8000", "PEGASUS_PORT=8123"))
        monkeypatch.setenv("PEGASUS_SETTINGS_FILE", str(file))
        assert load_settings().port == 8123


def without_code(page: Path) -> str:
    return re.sub(r"(?ms)^(```|~~~).*?^\1\s*$|`[^`\n]*`", "", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The ids that GitHub gives to headings; one that is repeated gets a number."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"(?m)^#{1,6} (.+?)\s*#*$", re.sub(r"(?ms)^```.*?^```\s*$", "", page.read_text("utf-8"))):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", without_code(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, f"{page.relative_to(ROOT)} links to {', '.join(broken)}"
