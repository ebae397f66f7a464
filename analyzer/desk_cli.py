"""``analyzer db``, ``user`` and ``audit``: the review desk's store from the command line. Parses, calls and shows;
nothing heavy is imported before it is needed."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.errors import AnalyzerError, ConfigError, StoreError, worst_exit_code
from analyzer.language import either
from analyzer.store_options import PacksOption, StoreOption, media_folder, open_desk_store, packs_folder
from analyzer.terminal import complain, help_text, note

if TYPE_CHECKING:
    from analyzer.store import Store
    from analyzer.store.archive import Archived
    from analyzer.store.audit import Head

desk_app = typer.Typer()
user_app = typer.Typer(no_args_is_help=True, help=help_text("Who may use the review desk.", "复核台的用户。"))
audit_app = typer.Typer(no_args_is_help=True, help=help_text("The audit log.", "审计日志。"))
db_app = typer.Typer(no_args_is_help=True, help=help_text("The review desk's database.", "复核台数据库。"))
desk_app.add_typer(db_app, name="db")
desk_app.add_typer(user_app, name="user")
desk_app.add_typer(audit_app, name="audit")

# ---- db


@db_app.command("upgrade", help=help_text("Bring the tables to this version.", "把数据表升级到当前版本。"))
def upgrade(store: StoreOption = None) -> None:
    from analyzer.store.database import newest_revision, revision

    opened = open_desk_store(store)
    at = revision(opened.engine)
    opened.close()
    typer.echo(either(f"revision {at} of {newest_revision()}", f"版本 {at}（最新 {newest_revision()}）"))


@db_app.command(
    "import",
    help=help_text(
        "Bring finished calls of run folders into the database; again changes nothing.",
        "把运行文件夹中已完成的通话导入数据库；重复导入不会改变任何内容。",
    ),
)
def import_(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help=help_text("Run folders.", "运行文件夹。"))],
    recordings: Annotated[
        list[str] | None,
        typer.Option(
            "--recordings",
            metavar="RECORDING",
            help=help_text(
                "Where recordings are that a run does not know of; may be repeated.", "录音所在位置（可重复）。"
            ),
        ),
    ] = None,
    copy_recordings: Annotated[
        bool,
        typer.Option(
            "--copy-recordings",
            help=help_text(
                "Copy recordings into the desk's media folder, so that they are heard when the originals are gone.",
                "把录音复制到复核台的媒体文件夹，原件移走后仍可播放。",
            ),
        ),
    ] = False,
    store: StoreOption = None,
    packs: PacksOption = None,
) -> None:
    from analyzer.store.importing import import_runs

    opened = open_desk_store(store)
    codes: list[int] = []
    try:
        for run, result in import_runs(opened, runs, recordings=recordings or (), packs=packs_folder(packs)):
            if isinstance(result, AnalyzerError):
                complain(result)
                codes.append(result.exit_code)
                continue
            for fault in result.faults:
                complain(fault)
                codes.append(fault.exit_code)
            typer.echo(
                either(
                    f"{run}: {result.new} new, {result.replaced} replaced, {result.unchanged} unchanged, "
                    f"{result.kept} kept as reviewed",
                    f"{run}：新增 {result.new}，更新 {result.replaced}，未变 {result.unchanged}，"
                    f"已复核保留 {result.kept}",
                )
            )
        if copy_recordings:
            codes += _copy_recordings(opened)
    finally:
        opened.close()
    if codes:
        raise typer.Exit(worst_exit_code(codes))
    note(either("open the desk with `analyzer serve --no-live`", "用 analyzer serve --no-live 打开复核台"))


def _copy_recordings(opened: Store) -> list[int]:
    """The exit codes of recordings that could not be copied."""
    from analyzer.media import MediaFolder
    from analyzer.store.recordings import copy_recordings

    faults: list[AnalyzerError] = []
    copied = copy_recordings(opened, MediaFolder(media_folder()), on_fault=faults.append)
    for fault in faults:
        complain(fault)
    typer.echo(either(f"{copied} recordings copied", f"已复制录音 {copied} 个"))
    return [fault.exit_code for fault in faults]


@db_app.command(
    "purge",
    help=help_text(
        "Delete calls that are too old; those under appeal, in review or final stay and are listed.",
        "删除超过保存期限的通话；申诉未结、复核中或已终审的保留并列出。",
    ),
)
def purge(
    older_than: Annotated[
        int,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=1,
            help=help_text("Calls that began more days ago than this.", "早于多少天的通话。"),
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help=help_text("Say what would go; delete nothing.", "只列出，不删除。"))
    ] = False,
    recordings_only: Annotated[
        bool,
        typer.Option(
            "--recordings-only",
            help=help_text("Only recordings; findings and reviews stay.", "只删录音，保留质检与复核结果。"),
        ),
    ] = False,
    final_too: Annotated[
        bool,
        typer.Option("--final-too", help=help_text("Also calls whose review is final.", "已终审的通话也删除。")),
    ] = False,
    reports: Annotated[
        bool,
        typer.Option("--reports", help=help_text("Also reports in the run folders.", "同时删除运行文件夹中的报告。")),
    ] = False,
    store: StoreOption = None,
) -> None:
    from datetime import timedelta

    from analyzer.media import MediaFolder
    from analyzer.store import retention

    now = datetime.now(UTC)
    media = MediaFolder(media_folder())
    wanted = retention.Retention(now - timedelta(days=older_than), recordings_only, final_too, reports)
    with closing(open_desk_store(store)) as opened:
        if dry_run:
            result = retention.foresee(opened, media, wanted)
        else:
            result = retention.purge(opened, media, wanted, actor="cli", now=now)
    done = either("would go", "将删除") if dry_run else either("gone", "已删除")
    for name, count in (("calls", result.calls), *((name, n) for name, n in result.rows.items() if name != "calls")):
        if count or name == "calls":
            typer.echo(f"{name}\t{count}\t{done}")
    typer.echo(f"files\t{result.files}\t{done} ({result.bytes / 1e6:.1f} MB)")
    for call_pk, why in result.kept:
        typer.echo(either(f"kept\tcall {call_pk}\t{why}", f"保留\t通话 {call_pk}\t{why}"))


@db_app.command(
    "backup",
    help=help_text(
        "Copy the database into a new file while it is in use.", "在使用中把数据库完整复制到新文件（可随时进行）。"
    ),
)
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=help_text("The new file.", "新文件。"))],
    with_recordings: Annotated[
        bool,
        typer.Option(
            "--with-recordings",
            help=help_text(
                "Also recordings and published packs, into the folder FILE.files beside it.",
                "同时把录音和已发布的规则包复制到旁边的 FILE.files 文件夹。",
            ),
        ),
    ] = False,
    store: StoreOption = None,
    packs: PacksOption = None,
) -> None:
    from analyzer.store.archive import archive_files
    from analyzer.store.backup import back_up

    with closing(open_desk_store(store, upgrade=False)) as opened:
        done = back_up(opened, file, actor="cli")
        typer.echo(
            either(
                f"{done.path}: {done.bytes / 1e6:.1f} MB, checked", f"{done.path}：{done.bytes / 1e6:.1f} MB，已校验"
            )
        )
        if with_recordings:
            _show_archived(archive_files(opened, file, packs_folder(packs), actor="cli"))


@db_app.command(
    "restore-files",
    help=help_text(
        "Bring recordings and packs of a back-up back, after its database was restored (docs/desk.md).",
        "数据库恢复之后，从备份找回录音和规则包（见 docs/desk.md）。",
    ),
)
def restore_files(
    folder: Annotated[
        Path, typer.Argument(metavar="FILE.files", help=help_text("The back-up's folder.", "备份的文件夹。"))
    ],
    store: StoreOption = None,
    packs: PacksOption = None,
) -> None:
    from analyzer.media import MediaFolder
    from analyzer.store import archive

    with closing(open_desk_store(store)) as opened:
        _show_archived(
            archive.restore_files(opened, folder, packs_folder(packs), MediaFolder(media_folder()), actor="cli")
        )


def _show_archived(done: Archived) -> None:
    """Ends with 3 if a recording is missing."""
    for fault in done.missing:
        complain(fault)
    typer.echo(
        either(
            f"{done.folder}: {done.recordings} recordings, {done.packs} packs, {len(done.missing)} missing",
            f"{done.folder}：录音 {done.recordings} 个，规则包 {done.packs} 个，缺失 {len(done.missing)} 个",
        )
    )
    if done.missing:
        raise typer.Exit(worst_exit_code([fault.exit_code for fault in done.missing]))


# ---- user

UserName = Annotated[str, typer.Argument(metavar="NAME", help=help_text("The user name.", "用户名。"))]


class RoleName(StrEnum):
    AGENT = "agent"
    REVIEWER = "reviewer"
    LEAD = "lead"
    ADMIN = "admin"


@user_app.command(
    "add",
    help=help_text(
        "Add a user. The password is asked for, or read from standard input; never an argument.",
        "添加用户。密码在终端输入，或从标准输入读取，不放在命令行里。",
    ),
)
def user_add(
    name: UserName,
    role: Annotated[RoleName, typer.Option("--role", help=help_text("What they may do.", "角色。"))],
    agent_id: Annotated[
        str | None,
        typer.Option(
            "--agent-id", metavar="NUMBER", show_default=False, help=help_text("Whose calls are theirs.", "坐席工号。")
        ),
    ] = None,
    team: Annotated[
        str | None, typer.Option("--team", metavar="NAME", show_default=False, help=help_text("Team.", "班组。"))
    ] = None,
    display_name: Annotated[
        str | None,
        typer.Option(
            "--display-name", metavar="NAME", show_default=False, help=help_text("As others see them.", "姓名。")
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    from sqlalchemy.exc import IntegrityError

    from analyzer.desk.passwords import hash_password
    from analyzer.store import audit, users

    if fault := users.name_fault(name):
        raise ConfigError(f"{name!r}: {fault}")
    if role is RoleName.AGENT and not agent_id:
        raise ConfigError("--role agent needs --agent-id: it says which calls are theirs")
    password_hash = hash_password(_new_password(name, display_name or name))
    with closing(open_desk_store(store)) as opened:
        try:
            with opened.writing() as session:
                user = users.add_user(
                    session, name=name, role=role.value, password_hash=password_hash, at=datetime.now(UTC),
                    display_name=display_name, agent_id=agent_id, team=team,
                )  # fmt: skip
                audit.append(session, "cli", "user.added", f"user:{user.id}", {"role": role.value})
        except IntegrityError:
            raise ConfigError(f"{name!r}: there is such a user already; choose another name") from None
    typer.echo(
        either(f"added {users.plain_name(name)} ({role.value})", f"已添加 {users.plain_name(name)}（{role.value}）")
    )


@user_app.command(
    "passwd",
    help=help_text(
        "Give a user a new password; ends their logins. It is asked for, or read from standard input.",
        "重设用户密码，并退出其全部登录。密码在终端输入，或从标准输入读取。",
    ),
)
def user_passwd(name: UserName, store: StoreOption = None) -> None:
    from analyzer.desk.passwords import hash_password
    from analyzer.store import audit, users

    with closing(open_desk_store(store)) as opened:
        with opened.reading() as session:
            user = users.find_user(session, name)
            names = [user.name, user.display_name] if user else []
        if not names:
            raise ConfigError(f"{name!r}: there is no such user; add one with `analyzer user add`")
        password_hash = hash_password(_new_password(*names))
        with opened.writing() as session:
            if (user := users.find_user(session, name)) is None:
                raise ConfigError(f"{name!r}: there is no such user any more")
            users.set_password(session, user, password_hash)
            audit.append(session, "cli", "password.reset", f"user:{user.id}")
    typer.echo(either(f"the password of {names[0]} is changed", f"已修改 {names[0]} 的密码"))


def _new_password(*names: str) -> str:
    """From the terminal, twice, or the first line of standard input. raises ConfigError for a weak one"""
    from analyzer.desk.passwords import weakness

    if sys.stdin.isatty():
        password: str = typer.prompt(either("Password", "密码"), hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if fault := weakness(password, *names):
        raise ConfigError(f"password: {fault}")
    return password


# ---- audit


@audit_app.command(
    "verify",
    help=help_text(
        "Check that no entry of the audit log was changed or removed; exit 5 and the first broken one otherwise.",
        "校验审计日志未被篡改或删除；否则退出码 5，并指出第一条不符的记录。",
    ),
)
def audit_verify(
    known: Annotated[
        list[str] | None,
        typer.Option(
            "--known",
            metavar="SEQ:HASH",
            help=help_text(
                "What an earlier check printed: must still be in it, so that a cut end is found too. May be repeated.",
                "以前校验时输出的“序号:摘要”，必须仍在日志中，这样也能发现末尾被截断（可重复）。",
            ),
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    from analyzer.store import audit

    heads = [_head(text) for text in known or ()]
    with closing(open_desk_store(store)) as opened, opened.reading() as session:
        found = audit.verify(session, heads)
    if found.broken is not None:
        raise StoreError(f"audit log: entry {found.broken}: {found.why}")
    typer.echo(either(f"{found.entries} entries, all in order", f"共 {found.entries} 条，全部相符"))
    if found.head:
        typer.echo(str(found.head))


def _head(text: str) -> Head:
    from analyzer.store.audit import Head

    seq, colon, digest = text.partition(":")
    if not (colon and seq.isdecimal() and len(digest) == 64):
        raise ConfigError(f"--known {text!r} is not SEQ:HASH, as `analyzer audit verify` prints it")
    return Head(int(seq), digest)
