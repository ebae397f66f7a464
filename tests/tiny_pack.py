"""A small pack of two rules, for tests that need some pack and not the shipped one."""

from __future__ import annotations

from pathlib import Path

_FILES = {
    "pack.yaml": """\
name: tiny
version: "1"
title: 测试规则包
""",
    "rules/opening/opening.yaml": """\
id: opening
title: 开场白
status: stable
severity: major
clauses: [S000-1.2.2]
why: 先问候再报单位。
kind: require
speaker: agent
window: {first_turns: 3}
elements:
  greeting: {title: 问候, core: true, any_of: [您好], suggestion: 您好}
  company: {title: 单位名称, core: true, any_of: [云岭银行], suggestion: 云岭银行}
message: 开场白缺少{missing}
cases: []
""",
    "rules/forbidden/banned_phrase.yaml": """\
id: banned_phrase
title: 服务禁语
status: stable
severity: major
clauses: [S003-B2.5.2]
why: 不得推诿。
kind: forbid
speaker: agent
any_of: [不关我的事]
message: 坐席使用了服务禁语“{quote}”
suggestion: 我来帮您跟进这件事
cases: []
""",
    "profiles/standard.yaml": """\
name: standard
title: 标准
pass_mark: 85
rules:
  banned_phrase: {max_points: 30, deduct: 10, per: hit}
""",
}


def write_tiny_pack(folder: Path) -> Path:
    """Lay the pack out in ``folder``, for ``--pack`` and ``load_pack``."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
