"""``analyzer live``, ``devices`` and ``serve``: calls followed while they are spoken, and the server with its desk.

Parses, calls and shows; nothing heavy is imported before it is needed. Exit codes as of all commands.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer import __version__
from analyzer.errors import AnalyzerError, ConfigError, InputError, ModelError
from analyzer.language import either
from analyzer.model_options import (
    RUNNING_PANEL,
    Device,
    DeviceOption,
    Model,
    Offline,
    load_recogniser,
    model_for,
)
from analyzer.store_options import (
    DESK_PANEL,
    PacksOption,
    SettingsOption,
    StoreOption,
    desk_settings,
    media_folder,
    open_desk_store,
    packs_folder,
)
from analyzer.terminal import CallDirection, PackOption, ProfileOption, complain, help_text, note
from analyzer.types import Direction, Role

if TYPE_CHECKING:
    from analyzer.audio import Recording
    from analyzer.desk.review_desk import ReviewDesk
    from analyzer.live.capture import Capture, Source
    from analyzer.live.hub import Hub, Session
    from analyzer.live.playing import Player
    from analyzer.rules import Pack
    from analyzer.serve.run import Address, Serving

RATE = 16_000  # Hz: what is fed has been brought to the recogniser's rate
WORKERS = 2  # one for finals, one for interim text
PATIENCE_S = 300.0  # for what is left to recognise at the end; a slow machine in 30 s windows needs some
CALLER_PANEL = either("Call", "通话")
SOUND_PANEL = either("Sound", "声音来源")

live_app = typer.Typer()

Microphone = Annotated[
    str | None,
    typer.Option(
        "--mic",
        metavar="NAME|NUMBER",
        show_default=either("the system's", "系统默认"),
        rich_help_panel=SOUND_PANEL,
        help=help_text("The agent's microphone, see `analyzer devices`.", "坐席的麦克风（用 analyzer devices 查看）。"),
    ),
]
Loopback = Annotated[
    str | None,
    typer.Option(
        "--loopback",
        metavar="NAME|NUMBER",
        show_default=False,
        rich_help_panel=SOUND_PANEL,
        help=help_text(
            "Where the customer is heard: a loopback, or a second device.", "能听到客户的设备：回采设备或第二个输入。"
        ),
    ),
]
DeviceChannels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="LEFT,RIGHT",
        show_default=False,
        rich_help_panel=SOUND_PANEL,
        help=help_text(
            "One stereo device or recording: who is on which channel.", "一个双声道设备或录音：左右声道各是谁。"
        ),
    ),
]
Played = Annotated[
    str | None,
    typer.Option(
        "--file",
        metavar="RECORDING",
        show_default=False,
        rich_help_panel=SOUND_PANEL,
        help=help_text("Play a recording as if it were spoken now.", "把录音当作正在进行的通话来播放。"),
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        "--speed",
        metavar="FACTOR",
        min=0.1,
        max=100,
        rich_help_panel=SOUND_PANEL,
        help=help_text("Of --file: 2 plays twice as fast.", "录音的播放速度，2 为两倍速。"),
    ),
]
CallId = Annotated[
    str | None,
    typer.Option(
        "--call-id",
        metavar="ID",
        show_default=False,
        rich_help_panel=CALLER_PANEL,
        help=help_text(
            "Name of the call; default: the time it begins, or the recording's name.",
            "通话编号；默认取开始时间，播放录音时取文件名。",
        ),
    ),
]
AgentId = Annotated[
    str | None,
    typer.Option(
        "--agent-id",
        metavar="NUMBER",
        show_default=False,
        rich_help_panel=CALLER_PANEL,
        help=help_text("The agent's staff number.", "坐席工号。"),
    ),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        show_default=False,
        rich_help_panel=CALLER_PANEL,
        help=help_text(
            "A call attribute, as in company=云岭银行; may be repeated.", "通话属性，如 company=云岭银行；可多次给出。"
        ),
    ),
]
DirectionOfCall = Annotated[
    CallDirection | None,
    typer.Option(
        "--direction",
        show_default=False,
        rich_help_panel=CALLER_PANEL,
        help=help_text("Who called whom.", "呼叫方向。"),
    ),
]
LiveRun = Annotated[
    Path,
    typer.Option(
        "--run",
        metavar="FOLDER",
        rich_help_panel=RUNNING_PANEL,
        help=help_text("Where reports and journals go.", "报告与日志的存放处。"),
    ),
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help=help_text(
            "A line per event instead of the overlay, as without a terminal.",
            "不显示界面，每个事件输出一行（没有终端时也如此）。",
        ),
    ),
]


# ---- serve

SERVER_PANEL = either("Server", "服务")
SERVE_WORKERS = 4  # at most: batches recognised at once
LEAST_TOKEN = 8  # characters

Host = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        rich_help_panel=SERVER_PANEL,
        help=help_text(
            "Where to listen. With live calls, beyond this machine only with --token.",
            "监听地址；带实时通话时，对外开放须配合 --token。",
        ),
    ),
]
Port = Annotated[
    int,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        rich_help_panel=SERVER_PANEL,
        help=help_text("0 takes a free one.", "0 表示任选空闲端口。"),
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TEXT",
        envvar="ANALYZER_TOKEN",
        show_default=either("random", "随机"),
        rich_help_panel=SERVER_PANEL,
        help=help_text("What every page and stream asks for.", "访问页面和数据流的令牌。"),
    ),
]
MostCalls = Annotated[
    int,
    typer.Option(
        "--calls",
        min=1,
        rich_help_panel=SERVER_PANEL,
        help=help_text("Most calls at once; one more is refused.", "最多同时接入的通话数，超出即拒绝。"),
    ),
]
AudioSocket = Annotated[
    str | None,
    typer.Option(
        "--audiosocket",
        metavar="HOST:PORT",
        show_default=False,
        rich_help_panel=SERVER_PANEL,
        help=help_text("Where Asterisk's AudioSocket connects.", "供 Asterisk AudioSocket 连接的地址。"),
    ),
]
MetricsOpen = Annotated[
    bool,
    typer.Option(
        "--metrics-open",
        rich_help_panel=SERVER_PANEL,
        help=help_text("/metrics without a token.", "/metrics 不要求令牌。"),
    ),
]

NoLive = Annotated[
    bool,
    typer.Option(
        "--no-live",
        rich_help_panel=DESK_PANEL,
        help=help_text("The review desk only: no live calls, no model.", "只开复核台：不接实时通话，不需要模型。"),
    ),
]


@live_app.command(
    help=help_text(
        "The server: the review desk (docs/desk.md), and calls that a telephone system sends (WebSocket, Twilio, "
        "FreeSWITCH, Asterisk) with agents' overlays, the supervisors' page and an API (docs/live.md). "
        "Ctrl-C finishes what was heard.",
        "服务：质检复核台（见 docs/desk.md）；并接收电话系统送来的多路通话（WebSocket、Twilio、FreeSWITCH、Asterisk），"
        "提供坐席浮窗、班长页面与接口（见 docs/live.md）。按 Ctrl-C 后，处理完已听到的内容再退出。",
    )
)
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8765,
    token: Token = None,
    calls: MostCalls = 16,
    audiosocket: AudioSocket = None,
    metrics_open: MetricsOpen = False,
    model: Model = None,
    device: DeviceOption = Device.AUTO,
    offline: Offline = False,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    run: LiveRun = Path("runs/live"),
    no_live: NoLive = False,
    store: StoreOption = None,
    packs: PacksOption = None,
    settings: SettingsOption = None,
) -> None:
    from analyzer.serve import run as server

    given = _checked_token(token)
    if given is None and not no_live and not server.is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines: choose a token with --token or ANALYZER_TOKEN, "
            "or listen on 127.0.0.1"
        )
    serving = server.Serving(
        server.Address(host, port),
        given or server.new_token(),
        most_calls=calls,
        audiosocket=_address(audiosocket) if audiosocket else None,
        metrics_open=metrics_open,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if no_live:
        with _open_desk(store, packs, settings) as review:
            server.serve_desk(serving, review, announce=partial(_announce_desk, review))
        return
    if model is None:
        raise ModelError(
            "no --model given; choose one (`analyzer model list`), e.g. --model large-v3-turbo or --model small, "
            "or --model demo, which understands the synthetic voices of samples/ only; "
            "the review desk alone needs none: --no-live"
        )
    with _open_desk(store, packs, settings) as review:
        _serve(serving, review, model, device, pack, profile, run, offline=offline, shows_token=given is None)


@contextmanager
def _open_desk(store: str | None, packs: Path | None, settings: Path | None) -> Iterator[ReviewDesk]:
    """The desk on its store, with a code for the first admin as long as there is nobody."""
    from analyzer.desk.login import new_setup_code
    from analyzer.desk.review_desk import ReviewDesk
    from analyzer.store.users import count_users

    given = desk_settings(settings)
    opened = open_desk_store(store, settings=given)
    try:
        with opened.reading() as session:
            is_new = count_users(session) == 0
        code = new_setup_code() if is_new else None
        yield ReviewDesk(opened, packs_folder(packs), media_folder(), settings=given, setup_code=code)
    finally:
        opened.close()


def _announce_desk(review: ReviewDesk, address: Address) -> None:
    typer.echo(either(f"review desk: open http://{address}/", f"复核台：请打开 http://{address}/"))
    if review.setup_code is not None:
        url = f"http://{address}/setup?code={review.setup_code}"
        typer.echo(either(f"first start: make the first admin at {url}", f"首次使用：请在 {url} 创建管理员"))
    sys.stdout.flush()


def _serve(
    serving: Serving,
    review: ReviewDesk,
    model: str,
    device: Device,
    pack: str,
    profile: str,
    run: Path,
    *,
    offline: bool,
    shows_token: bool,
) -> None:
    from analyzer import memory
    from analyzer.catalog import load_pack
    from analyzer.desk.rulework import folder_in_force
    from analyzer.serve import run as server

    memory.settle(memory.LEVEL)
    rules = load_pack(folder_in_force(review.packs) if pack == "standard" else pack, profile)
    workers = max(2, min(SERVE_WORKERS, os.cpu_count() or 1))
    recogniser = load_recogniser(model, device, workers, offline=offline)

    def announce(address: Address, recovered: list[str]) -> None:
        query = f"?token={serving.token}" if shows_token else ""
        if recovered:
            count = len(recovered)
            note(either(f"{count} calls of an interrupted run reported", f"上次中断的 {count} 通电话已补出报告"))
        url = f"http://{address}/supervisor{query}"
        typer.echo(either(f"listening; open {url}", f"服务已启动，请打开 {url}"))
        _announce_desk(review, address)

    server.serve(
        serving, rules, recogniser, run, workers=workers, cores_each=max(1, recogniser.plan.threads), profile=profile,
        announce=announce, review=review,
    )  # fmt: skip


def _checked_token(token: str | None) -> str | None:
    """raises ConfigError if nobody could type it, or anybody guess it"""
    if token is None:
        return None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"--token: take {LEAST_TOKEN} or more ASCII characters without blanks")
    return token


def _address(text: str) -> Address:
    """HOST:PORT. raises ConfigError"""
    from analyzer.serve.run import Address

    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) <= 65535):
        raise ConfigError(f"--audiosocket {text!r} is not HOST:PORT, as in 127.0.0.1:9092")
    return Address(host.strip("[]"), int(port))


# ---- devices


@live_app.command(help=help_text("The audio inputs of this machine.", "列出本机的声音输入设备。"))
def devices() -> None:
    from rich.console import Console
    from rich.table import Table

    from analyzer.live.capture import NO_DEVICE, list_devices, open_sound, rates_of

    sound = open_sound()
    found = list_devices(sound)
    if not found:
        raise InputError(NO_DEVICE)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column(either("name", "名称"), overflow="fold")
    table.add_column(either("system", "系统"))
    table.add_column(either("channels", "声道"), justify="right")
    table.add_column(either("rates (Hz)", "采样率 (Hz)"), overflow="fold")
    table.add_column("", overflow="fold")
    for device in found:
        rates = " ".join(map(str, rates_of(sound, device))) or f"{device.rate}"
        marks = [either("default", "默认")] if device.is_default else []
        marks += [either("loopback: the customer", "回采，可听客户")] if device.is_loopback else []
        table.add_row(str(device.index), device.name, device.host, str(device.channels), rates, ", ".join(marks))
    Console().print(table)


# ---- live


@live_app.command(
    help=help_text(
        "Follow one call while it is spoken: hints, checklist, speech rate; at the end its report. Microphone and "
        "loopback of this machine, or a recording played at real speed. x puts a hint away, q or Ctrl-C ends the call.",
        "实时辅导一通电话：提示、应做清单、语速，结束后给出报告。声音来自麦克风与回采设备，或录音。"
        "x 收起提示，q 或 Ctrl-C 结束通话。",
    )
)
def live(
    mic: Microphone = None,
    loopback: Loopback = None,
    channels: DeviceChannels = None,
    file: Played = None,
    speed: Speed = 1.0,
    call_id: CallId = None,
    agent_id: AgentId = None,
    metadata: Metadata = None,
    direction: DirectionOfCall = None,
    model: Model = None,
    device: DeviceOption = Device.AUTO,
    offline: Offline = False,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    run: LiveRun = Path("runs/live"),
    plain: Plain = False,
) -> None:
    if file is not None and (mic is not None or loopback is not None):
        raise ConfigError("--file plays a recording, --mic and --loopback listen to devices; give one or the other")
    facts = _attributes(metadata, agent_id)
    if file is not None:
        caller: _Caller = _Playing(file, channels, speed, call_id, facts, direction)
    else:
        caller = _Listening(mic, loopback, channels, call_id, facts, direction)
    _follow(caller, model, device, pack, profile, run, offline=offline, plain=plain)


def _attributes(metadata: Sequence[str] | None, agent_id: str | None) -> dict[str, Any]:
    """--metadata and --agent-id, typed. raises ConfigError"""
    from analyzer.metadata import read_metadata

    fields = {}
    for text in metadata or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--metadata {text!r} is not KEY=VALUE, as in company=云岭银行")
        fields[key.strip()] = value
    if agent_id is not None:
        fields["agent_id"] = agent_id
    try:
        known, unknown = read_metadata(fields)
    except InputError as error:
        raise ConfigError(f"--metadata: {error}") from None
    for key in unknown:
        note(f"--metadata {key}: no rule of ours knows it (docs/metadata.md); it is kept")
    return known


class _Caller:
    """Where the audio of the call comes from.

    clock  what the hub keeps time by, seconds
    fresh  a call of this name may replace an earlier one
    """

    call_id: str
    direction: Direction
    roles: tuple[Role, ...]
    metadata: Mapping[str, Any]
    recordings: Sequence[Recording] = ()
    clock: Callable[[], float] = staticmethod(time.monotonic)
    speed = 1.0
    fresh = False

    def open(self) -> None:
        """Before the call begins, when all else is ready. raises InputError"""

    def send(self, session: Session, stopping: threading.Event) -> None:
        """Feed the call until it is over or ``stopping`` is set, and end it."""
        raise NotImplementedError

    def close(self) -> None: ...


class _Playing(_Caller):
    """A recording at real speed."""

    fresh = True

    def __init__(
        self,
        file: str,
        channels: str | None,
        speed: float,
        call_id: str | None,
        metadata: Mapping[str, Any],
        direction: CallDirection | None,
    ) -> None:
        from analyzer.live.playing import Player

        recording = _only_recording(file, channels)
        self.recordings = [recording]
        self.call_id = call_id or recording.call_id
        self.direction = Direction(direction) if direction else recording.direction
        self.roles = recording.roles
        self.metadata = {**recording.metadata, **metadata}
        self.speed = speed
        self._player: Player = Player(recording, speed=speed)
        self.clock = self._player.now

    def send(self, session: Session, stopping: threading.Event) -> None:
        self._player.play(session, stopping)


class _Listening(_Caller):
    """The devices of this machine."""

    def __init__(
        self,
        mic: str | None,
        loopback: str | None,
        channels: str | None,
        call_id: str | None,
        metadata: Mapping[str, Any],
        direction: CallDirection | None,
    ) -> None:
        from analyzer.live.capture import Capture, open_sound

        sound = open_sound()
        self._capture: Capture = Capture(_sources(sound, mic, loopback, channels), sound)
        self.call_id = call_id or f"live-{datetime.now():%Y%m%d-%H%M%S}"
        self.direction = Direction(direction) if direction else Direction.UNKNOWN
        self.roles = self._capture.roles
        self.metadata = metadata

    def open(self) -> None:
        self._capture.start()
        self._capture.wait()

    def send(self, session: Session, stopping: threading.Event) -> None:
        self._capture.attach(session)
        while not (stopping.wait(0.2) or session.is_ending):
            pass
        self._capture.stop()
        warnings = self._capture.warnings
        session.end(truncated=bool(warnings), warnings=warnings)

    def close(self) -> None:
        self._capture.stop()


def _only_recording(file: str, channels: str | None) -> Recording:
    """raises InputError, ConfigError"""
    from analyzer.audio import find_recordings, missing_files, parse_layout

    found = find_recordings([file], parse_layout(channels))
    if found.faults:
        raise found.faults[0]
    if len(found.recordings) != 1:
        raise ConfigError(f"--file {file}: {len(found.recordings)} recordings, where one can be played; name one file")
    if faults := missing_files(found.recordings[0]):
        raise faults[0]
    return found.recordings[0]


def _sources(sound: Any, mic: str | None, loopback: str | None, channels: str | None) -> list[Source]:
    """raises ConfigError, InputError"""
    from analyzer.audio import parse_layout
    from analyzer.live.capture import Source, find_device, list_devices

    found = list_devices(sound)
    microphone = find_device(found, mic)
    if channels is not None:
        if loopback is not None:
            raise ConfigError("--channels splits one stereo device, --loopback names a second one; give one of them")
        if microphone.channels < 2:
            raise ConfigError(f"{microphone.name}: one channel, and --channels needs two; use --loopback for the other")
        return [Source(microphone, parse_layout(channels).roles)]
    if loopback is not None:
        other = find_device(found, loopback)
        if other.index == microphone.index:
            raise ConfigError(
                f"--mic and --loopback are both {other.name!r}; two sides need two devices, or --channels"
            )
        return [Source(microphone, (Role.AGENT,)), Source(other, (Role.CUSTOMER,))]
    hint = next((device.name for device in found if device.is_loopback and device is not microphone), None)
    cure = f"--loopback {hint!r}" if hint else "--loopback DEVICE"
    note(either(f"only the agent is heard; {cure} adds the customer", f"只听得到坐席一方；用 {cure} 可听到客户"))
    return [Source(microphone, (Role.AGENT,))]


def _follow(
    caller: _Caller,
    model: str | None,
    device: Device,
    pack: str,
    profile: str,
    run: Path,
    *,
    offline: bool,
    plain: bool,
) -> None:
    from analyzer.catalog import load_pack
    from analyzer.live.hub import Hub
    from analyzer.live.scheduler import Scheduler
    from analyzer.live.warming import warm_up
    from analyzer.runs import RunFolder

    name = model_for(model, caller.recordings)
    rules = load_pack(pack, profile)
    workers = min(WORKERS, os.cpu_count() or 1)
    recogniser = load_recogniser(name, device, workers, offline=offline)
    settings = {"analyzer": __version__, "pack": rules.digest, "profile": profile, "model": dict(recogniser.info)}
    with RunFolder(run, settings, inputs=[caller.call_id], fresh=caller.fresh) as folder:
        warm_up(recogniser, rules)
        scheduler = Scheduler(recogniser, workers=workers)
        hub = Hub(rules, scheduler, folder, most_calls=1, clock=caller.clock)
        patience_s = PATIENCE_S
        try:
            caller.open()  # last: what a device hears before the call begins would be lost
            session = _open_session(hub, caller)
            error = _until_over(hub, session, caller, rules, plain=plain or not sys.stdout.isatty())
        except KeyboardInterrupt:
            patience_s = 0.0  # asked for twice
            raise
        finally:
            caller.close()
            hub.stop(patience_s=patience_s)
        _print_result(session, folder.path, rules)
    if error is not None:
        complain(error)
        raise typer.Exit(error.exit_code)


def _open_session(hub: Hub, caller: _Caller) -> Session:
    from analyzer.live.refusal import Refusal

    try:
        return hub.open(
            caller.call_id,
            direction=caller.direction,
            roles=caller.roles,
            rate=RATE,
            metadata=caller.metadata,
        )
    except Refusal as refusal:
        raise ConfigError(f"{caller.call_id}: {refusal.message}") from None


def _until_over(hub: Hub, session: Session, caller: _Caller, pack: Pack, *, plain: bool) -> AnalyzerError | None:
    """Send and show until the report is there. returns what was wrong with the recording, if anything"""
    from rich.console import Console

    from analyzer.overlay.screen import errors_to, show, tell

    stopping = threading.Event()
    faults: list[AnalyzerError] = []

    def send() -> None:
        try:
            caller.send(session, stopping)
        except AnalyzerError as fault:
            faults.append(fault)
        finally:
            session.end(interrupted=True)  # unless it has been ended as it should be

    sender = threading.Thread(target=send, name="sender", daemon=True)
    log_file = hub.run.path / "live.log"
    with _logged_to(log_file), _gently_stopped(stopping), nullcontext() if plain else errors_to(log_file):
        sender.start()
        if plain:
            tell(session, typer.echo)
        else:
            titles = {rule.id: rule.title for rule in pack.rules}
            show(session, titles, stopping.set, Console(), caller.speed)
        sender.join()
    return faults[0] if faults else None


@contextmanager
def _gently_stopped(stopping: threading.Event) -> Iterator[None]:
    """Ctrl-C and a service manager's stop end the call; a second one ends the program."""

    def stop(number: int, frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """The log of the call beside its journal: the terminal is the agent's."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("analyzer")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def _print_result(session: Session, folder: Path, pack: Pack) -> None:
    from rich.console import Console

    from analyzer.render import element_titles, print_scorecard
    from analyzer.runs import REPORTS, file_stem

    if session.report is None:
        raise ConfigError(f"{session.call_id}: no report could be made; {folder / 'live.log'} says why")
    print_scorecard(session.report, element_titles(pack), Console())
    typer.echo(f"{either('report', '报告')}: {folder / REPORTS / file_stem(session.call_id)}.json", err=True)
