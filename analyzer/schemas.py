"""JSON Schemas of the files rule authors write, made from the very models that read them.

``docs/schemas/`` holds them for editors and other programs; a test keeps the two equal. What a schema cannot say (a
pattern's grammar, a list that exists, windows that make sense) ``analyzer rules lint`` checks besides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from analyzer.catalog import ProfileSpec
from analyzer.rules import KINDS
from analyzer.rules.phrases import PHRASE_COLUMNS, Boundary
from analyzer.types import Severity

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_CLAUSES = r"^$|^\S+([ ,]+\S+)*$"


def rule_schema() -> dict[str, Any]:
    """A rule file: one form per kind of check."""
    forms: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for kind, spec in KINDS.items():
        form = spec.model_json_schema(by_alias=True)
        definitions |= form.pop("$defs", {})
        forms[kind] = form
    return {
        "$schema": _DRAFT,
        "$id": "analyzer.rule/1",
        "title": "Rule file",
        "description": "lexicons/rules/<topic>/<id>.yaml, see docs/rule-files.md",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(KINDS)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{kind}"}} for kind in KINDS
        ],
        "$defs": dict(sorted({**definitions, **forms}.items())),
    }


def words_schema() -> dict[str, Any]:
    """A word list, as its header lines and rows read as JSON: every cell is text, an empty one means the default."""
    text = {"type": "string"}
    cells: dict[str, Any] = {
        **dict.fromkeys(PHRASE_COLUMNS, text),
        "phrase": {"type": "string", "minLength": 1},
        "severity": {"enum": ["", *Severity]},
        "clauses": {"type": "string", "pattern": _CLAUSES},
        "boundary": {"enum": ["", *Boundary]},
        "sound": {"enum": ["", "toneless", "fuzzy", "off"]},
    }
    filled = {"type": "string", "minLength": 1}
    header = {"name": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, "title": filled, "source": filled,
              "licence": filled}  # fmt: skip
    return {
        "$schema": _DRAFT,
        "$id": "analyzer.words/1",
        "title": "Word list",
        "description": "lexicons/words/<name>.tsv, see docs/rule-files.md. header: the lines '# key: value' above the "
        "row of column names; rows: the lines below it, by column.",
        "type": "object",
        "required": ["header", "rows"],
        "additionalProperties": False,
        "properties": {
            "header": {"type": "object", "required": list(header), "properties": header},
            "rows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["phrase"],
                    "additionalProperties": False,
                    "properties": cells,
                },
            },
        },
    }


def profile_schema() -> dict[str, Any]:
    """A profile: pass mark, and points and options by rule."""
    schema = ProfileSpec.model_json_schema(by_alias=True)
    head = {
        "$schema": _DRAFT,
        "$id": "analyzer.profile/1",
        "title": "Profile",
        "description": "lexicons/profiles/<name>.yaml, see docs/rule-files.md",
    }
    return {**schema, **head}


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "rule": rule_schema,
    "words": words_schema,
    "profile": profile_schema,
}


def schema_text(name: str) -> str:
    """The schema ``name`` as the file ``docs/schemas/<name>.schema.json`` holds it."""
    return json.dumps(SCHEMAS[name](), ensure_ascii=False, indent=1) + "\n"
