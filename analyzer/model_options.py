"""Which speech model a command uses: its options, the rule of the demo model, and the bars of a download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.errors import ModelError
from analyzer.language import either
from analyzer.terminal import help_text

if TYPE_CHECKING:
    from analyzer.asr import WhisperRecogniser
    from analyzer.audio import Recording
    from analyzer.models import ModelFolder, Progress

DEMO = "demo"
SAMPLES = Path(__file__).resolve().parent.parent / "samples"  # of a checkout; an installed wheel has none
RUNNING_PANEL = either("Running", "运行")


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER",
        show_default=False,
        rich_help_panel=RUNNING_PANEL,
        help=help_text(
            "Speech model, see `analyzer model list`. Only samples/ needs none.",
            "语音识别模型（用 analyzer model list 查看）；samples/ 之外必须指定。",
        ),
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option("--device", rich_help_panel=RUNNING_PANEL, help=help_text("Where to recognise.", "识别所用设备。")),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", rich_help_panel=RUNNING_PANEL, help=help_text("Never use the network.", "绝不访问网络。")
    ),
]


def model_for(asked: str | None, calls: Sequence[Recording]) -> str:
    """The model to use: the demo model only where it understands something, unless it is asked for by name."""
    if asked is not None:
        return asked
    if calls and all(track.path.resolve().is_relative_to(SAMPLES) for call in calls for track in call.tracks):
        return DEMO
    raise ModelError(
        "no --model given, and the bundled demo model understands only the synthetic voices of samples/; choose one "
        "(`analyzer model list`), e.g. --model large-v3-turbo or --model small, or --model demo to try it all the same"
    )


def load_recogniser(
    name: str, device: Device, workers: int | None, *, offline: bool, for_volume: bool = False
) -> WhisperRecogniser:
    """workers: batches computed at once; None leaves it to the engine, which knows the device. for_volume: one at a
    time on a GPU, whatever ``workers`` says: a second one gains little there and takes its memory again; and memory
    for speed (``analyzer.memory``)"""
    from analyzer import memory
    from analyzer.asr import WhisperRecogniser
    from analyzer.asr.engine import choose_device

    if for_volume:
        memory.settle(memory.FAST)
        workers = None if choose_device(device) == "cuda" else workers
    return WhisperRecogniser(resolve_model(name, offline=offline), device=device, workers=workers)


def resolve_model(name: str, *, offline: bool) -> ModelFolder:
    from analyzer.models import resolve

    with download_progress() as progress:
        return resolve(name, offline=offline, progress=progress)


@contextmanager
def download_progress() -> Iterator[Progress]:
    """A bar per file on standard error, shown when the first byte comes."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    columns = *Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn()
    bars = Progress(*columns, console=Console(stderr=True))
    tasks: dict[str, Any] = {}

    def show(file: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()
        if file not in tasks:
            tasks[file] = bars.add_task(file, total=total)
        bars.update(tasks[file], completed=done)

    try:
        yield show
    finally:
        if tasks:
            bars.stop()
