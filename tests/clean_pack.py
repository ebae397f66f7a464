"""A small pack nothing is wrong with: two rules, two word lists, a ledger of four clauses. Tests spoil a copy of it."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "pack.yaml": """\
name: clean
version: "1"
title: 示例规则包
allow: [allowed]
""",
    "words/allowed.tsv": """\
# name: allowed
# title: 放行
# source: tests
# licence: Apache-2.0
phrase
不关机
""",
    "words/shirk.tsv": """\
# name: shirk
# title: 推诿
# source: tests
# licence: Apache-2.0
phrase\tcategory\tclauses\tsuggestion
不关我的?事\t推诿\tT1\t我来帮您跟进这件事
你(去)?问别人\t推诿\tT1\t我帮您问一下
""",
    "words/thanks.tsv": """\
# name: thanks
# title: 感谢
# source: tests
# licence: Apache-2.0
phrase
感谢您的来电
谢谢您
""",
    "rules/wording/shirk.yaml": """\
id: shirk
title: 推诿
status: stable
severity: major
clauses: [T1]
why: 不得推诿客户
kind: forbid
any_in: [shirk]
categories: [推诿]
message: 坐席推诿“{quote}”
suggestion: 我来帮您跟进
cases:
  - name: 不关我的事
    clauses: [T1]
    call: |
      坐席: [[不关我的事]]。
  - name: 让客户问别人
    clauses: [T1]
    call: |
      坐席: [[你去问别人]]吧。
  - name: 客户说的不算
    clauses: [T1]
    call: |
      客户: 不关我的事。
      坐席: 我来帮您跟进。
  - name: 不关机不算
    clauses: [T1]
    call: |
      坐席: 手机不关机就可以。
""",
    "rules/closing/thanks.yaml": """\
id: thanks
title: 感谢
status: stable
severity: minor
clauses: [T2]
why: 结束前要感谢客户
kind: require
window: {last_turns: 1}
elements:
  thanks: {title: 感谢, core: true, any_in: [thanks], suggestion: 感谢您的来电}
message: 没有感谢客户
cases:
  - name: 没有感谢
    clauses: [T2]
    call: |
      坐席: 再见。
    expect: {outcome: violation}
  - name: 感谢太早
    clauses: [T2]
    call: |
      坐席: 谢谢您。
      客户: 还有一个问题。
      坐席: 再见。
    expect: {outcome: violation}
  - name: 感谢来电
    clauses: [T2]
    call: |
      坐席: 感谢您的来电，再见。
  - name: 谢谢
    clauses: [T2]
    call: |
      坐席: 谢谢您，再见。
""",
    "profiles/standard.yaml": """\
name: standard
title: 标准
rules:
  shirk: {max_points: 30, deduct: 10, per: hit}
""",
    "profiles/strict.yaml": """\
name: strict
title: 从严
rules:
  shirk: {max_points: 30, veto: true}
  thanks: {options: {window: {last_turns: 2}}}
""",
    "clauses/README.md": "The ledger.\n\nledger items: 4\n",
    "clauses/all.tsv": """\
id\tnorm\tstage\thow\trules\treason
T1\t不得推诿\tbody\trule\tshirk\t
T2\t结束前感谢客户\tclosing\trule\tthanks\t
T3\t感谢可提前一句\tclosing\tprofile option\tthanks\t
T4\t保持微笑\twhole_call\tnot enforced\t\t声音里听不出微笑
""",
}


def write_clean_pack(folder: Path) -> Path:
    """Lay the pack out in ``folder``."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def spoil(folder: Path, name: str, old: str, new: str) -> None:
    """Replace the first ``old`` in one file; it must be there."""
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
