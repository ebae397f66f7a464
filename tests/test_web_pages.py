"""The pages of live coaching, as files: complete, at home, and true to each other. No browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analyzer.live.messages import EVENT
from analyzer.types import Severity
from analyzer.web import CONTENT_SECURITY_POLICY, FOLDER, STATIC, page

PAGES = ("overlay", "supervisor", "call", "token")
SCRIPTS = sorted(STATIC.glob("*.js"))
FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".html", ".js", ".css", ".svg"})
SVG = "http://www.w3.org/2000/svg"  # a name, not an address


class _Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.labels: list[str] = []
        self.inline: list[str] = []
        self._is_script = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._is_script = tag in {"script", "style"}
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given[name] or "" for name in ("src", "href", "action") if name in given]
        self.labels += [value or "" for name, value in attrs if name in {"for", "aria-labelledby"}]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._is_script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False


def imports(script: Path) -> set[Path]:
    """A module and everything it imports."""
    found, waiting = set(), [script]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            names = re.findall(r'^import [^"]*"\./([^"]+)"', one.read_text("utf-8"), re.MULTILINE)
            waiting += [STATIC / name for name in names]
    return found


def scripts_of(name: str) -> set[Path]:
    links = [link for link in _Page(page(name)).links if link.endswith(".js")]
    return {module for link in links for module in imports(FOLDER / link.lstrip("/"))}


@pytest.mark.parametrize("name", PAGES)
def test_every_file_a_page_asks_for_is_in_the_package(name: str) -> None:
    own = [link for link in _Page(page(name)).links if link.startswith("/static/")]
    assert own
    assert [link for link in own if not (FOLDER / link.lstrip("/")).is_file()] == []
    assert [path.name for path in scripts_of(name) if not path.is_file()] == []


def test_no_script_or_style_sheet_lies_idle() -> None:
    used = {module for name in PAGES for module in scripts_of(name)}
    used |= {FOLDER / link.lstrip("/") for name in PAGES for link in _Page(page(name)).links}
    assert [path.name for path in FILES if path.parent == STATIC and path not in used] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_from_outside_is_named(path: Path) -> None:
    text = path.read_text("utf-8").replace(SVG, "")
    assert re.findall(r"(?:https?:|wss?:)?//[\w-]+\.[\w.-]+|@import|url\(", text) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_to_its_own_policy(name: str) -> None:
    assert "default-src 'self'" in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert _Page(page(name)).inline == []


@pytest.mark.parametrize("name", PAGES)
def test_every_id_a_script_asks_for_is_on_its_page_once(name: str) -> None:
    read = _Page(page(name))
    wanted = set(read.labels)
    for script in scripts_of(name):
        text = script.read_text("utf-8")
        wanted |= set(re.findall(r'byId\("([\w-]+)"\)', text))
        listed = re.search(r"Object\.fromEntries\(\s*\[(.*?)\]\.map\(\(id\)", text, re.DOTALL)
        wanted |= set(re.findall(r'"([\w-]+)"', listed[1])) if listed else set()
        wanted |= {"say", "say-now"} if script.name == "announce.js" else set()
    assert wanted - set(read.ids) == set()
    assert len(read.ids) == len(set(read.ids))


def test_the_pages_know_every_type_of_event_and_every_severity() -> None:
    changes = (STATIC / "state.js").read_text("utf-8").split("const CHANGES")[1]
    for kind in EVENT.json_schema()["discriminator"]["mapping"]:
        assert f"\n  {kind}: " in changes, kind
    words = (STATIC / "words.js").read_text("utf-8")
    for severity in Severity:
        assert f"\n  {severity.value}: " in words


@pytest.mark.parametrize(
    "group",
    [
        ("OWED", "owed", "state"),
        ("HINTS", "nudge", "kind"),
        ("WHISPERS", "whisper", "state"),
        ("FINDINGS", "finding", "status"),
    ],
    ids=lambda group: group[0],
)
def test_the_pages_have_a_word_for_every_code(group: tuple[str, str, str]) -> None:
    name, kind, key = group
    schema = EVENT.json_schema()
    model = schema["discriminator"]["mapping"][kind].rsplit("/", 1)[1]
    codes = schema["$defs"][model]["properties"][key]["enum"]
    block = re.search(rf"export const {name} = \{{(.*?)\}};", (STATIC / "words.js").read_text("utf-8"), re.DOTALL)
    assert block is not None
    assert [code for code in codes if not re.search(rf"\b{code}: ", block[1])] == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_chinese_and_says_so(name: str) -> None:
    text = page(name).read_text("utf-8")
    assert '<html lang="zh-CN">' in text
    assert re.search(r"<title>[\u4e00-\u9fff]+</title>", text)
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text


def colours(css: str) -> dict[str, tuple[float, float, float]]:
    """The colours of a block of custom properties, as linear red, green and blue."""
    found = {}
    for name, digits in re.findall(r"--([\w-]+): #([0-9a-f]{3}|[0-9a-f]{6});", css):
        full = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
        parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        found[name] = (red, green, blue)
    return found


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """WCAG 2 contrast ratio."""
    lights = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_ink_can_be_read_on_its_ground(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "base.css").read_text("utf-8"), re.DOTALL)
    colour = colours(blocks[scheme])
    grounds = {name: {"panel", "ground"} for name in ("ink", "soft", "calm", "warn", "alarm")}
    for name in ("calm", "warn", "alarm"):
        grounds[name].add(f"{name}-ground")
        grounds["ink"].add(f"{name}-ground")
        grounds["soft"].add(f"{name}-ground")
    grounds["panel"] = {"calm"}  # the whisper and the main button are written in reverse
    poor = {
        f"{ink} on {ground}": round(contrast(colour[ink], colour[ground]), 2)
        for ink, on in grounds.items()
        for ground in on
        if contrast(colour[ink], colour[ground]) < 4.5
    }
    assert poor == {}
