"""The agent's devices: one clock, what vanishes and comes back, what is lost."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.errors import ConfigError, InputError
from analyzer.live import capture
from analyzer.live.capture import Capture, Placement, Source, find_device, list_devices, rates_of
from analyzer.live.intake import Chunk, Intake
from analyzer.types import Role
from tests.fake_sound import FakeSound

BLOCK = 320  # samples: 20 ms
ROOT = Path(__file__).parent.parent
TWO = {"USB Headset": (1, (16_000,)), "Monitor of Speakers": (2, (16_000, 48_000))}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class FakeSession:
    """What a call gets, through the real intake."""

    call_id = "c1"

    def __init__(self, roles: tuple[Role, ...], clock: Clock) -> None:
        self.intake = Intake(16_000, roles)
        self.chunks: list[Chunk] = []
        self.lost: Counter[str] = Counter()
        self.told: list[tuple[str, tuple[Role, ...]]] = []
        self._clock, self._began = clock, clock()
        self._lock = threading.Lock()  # as in a call: every device has a thread

    def feed(self, chunk: Chunk) -> int:
        with self._lock:
            self.chunks.append(chunk)
            self.intake.add(chunk, round((self._clock() - self._began) * 1000))
        return 0

    def lose(self, what: str, count: int = 1) -> None:
        self.lost[what] += count

    def side_gone(self, roles: tuple[Role, ...]) -> None:
        self.told.append(("gone", roles))

    def side_back(self, roles: tuple[Role, ...]) -> None:
        self.told.append(("back", roles))

    def of(self, role: Role) -> list[Chunk]:
        return [chunk for chunk in self.chunks if role in chunk.roles]


class Call:
    """A capture with its call: ``speak`` lets time pass while devices deliver."""

    def __init__(self, sound: FakeSound, sources: list[Source], listed: Callable[[], list[str]] = list) -> None:
        self.sound = sound
        self.clock = Clock()
        self.capture = Capture(sources, sound, clock=self.clock, listed=listed)
        self.capture.start()
        self.session = FakeSession(self.capture.roles, self.clock)
        self.capture.attach(self.session)  # type: ignore[arg-type]
        self._fed = 0

    def speak(self, *names: str, blocks: int = 1, overflow: bool = False) -> None:
        for _ in range(blocks):
            self.clock.now_s += 0.02
            for name in names:
                stream = self.sound.streams[name]
                stream.deliver(np.full(stream.rate // 50 * stream.channels, 100, np.int16), overflow=overflow)
            self._fed += len(names)
            wait_for(lambda: len(self.session.chunks) >= self._fed)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PATIENCE_S", 0.002)
    monkeypatch.setattr(capture, "LOOK_EVERY_S", 0.005)


@pytest.fixture
def begin() -> Iterator[Callable[..., Call]]:
    calls: list[Call] = []

    def begin(*args: Any, **kwargs: Any) -> Call:
        calls.append(Call(*args, **kwargs))
        return calls[-1]

    yield begin
    for call in calls:
        call.capture.stop()


Begin = Callable[..., Call]


def two_devices(sound: FakeSound) -> list[Source]:
    headset, monitor = list_devices(sound)
    return [Source(headset, (Role.AGENT,)), Source(monitor, (Role.CUSTOMER,))]


# ---- one clock


def test_each_device_is_placed_by_its_own_sample_count_from_where_it_began(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", blocks=3)
    call.speak("USB Headset", "Monitor of Speakers", blocks=2)
    agent, customer = call.session.of(Role.AGENT), call.session.of(Role.CUSTOMER)
    assert [chunk.position for chunk in agent] == [0, 320, 640, 960, 1280]
    assert [chunk.position for chunk in customer] == [960, 1280]
    assert all(chunk.samples.shape == (BLOCK, 1) for chunk in call.session.chunks)
    assert (customer[0].samples == 100).all(), "the card's buffer was copied before it was used again"


def test_a_block_that_is_handed_over_late_keeps_its_place() -> None:
    place = Placement()
    block = np.zeros((BLOCK, 1), np.int16)
    arrivals = [BLOCK * (n + 1) + (3_000 if n in (50, 51, 52) else 0) for n in range(200)]
    assert [place.put(block, BLOCK, arrived)[0] for arrived in arrivals] == [BLOCK * n for n in range(200)]


@pytest.mark.parametrize("drift", [-0.002, 0.002])
def test_a_device_whose_crystal_is_off_stays_within_its_bound(drift: float) -> None:
    place = Placement()
    block = np.zeros((BLOCK, 1), np.int16)
    furthest, end = 0.0, 0
    for n in range(1, 50 * 600):
        spoken = n * BLOCK * (1 + drift)  # by the call's clock
        position, samples = place.put(block, BLOCK, round(spoken))
        assert position >= end or not len(samples), "nothing is placed twice"
        end = max(end, position + len(samples))
        furthest = max(furthest, abs(end - spoken))
    assert furthest <= capture.DRIFT + 2 * 16_000 * 0.002 + BLOCK
    expected = 50 * 600 * BLOCK * -drift
    assert place.dropped == pytest.approx(max(0.0, expected), abs=capture.DRIFT + BLOCK)


def test_a_crystal_that_is_off_by_little_is_left_alone() -> None:
    place = Placement()
    block = np.zeros((BLOCK, 1), np.int16)
    for n in range(1, 50 * 600):
        position, samples = place.put(block, BLOCK, round(n * BLOCK * 1.00005))
        assert (position, len(samples)) == ((n - 1) * BLOCK, BLOCK)


def test_what_was_spoken_before_the_call_began_is_no_part_of_it() -> None:
    place = Placement()
    block = np.arange(BLOCK, dtype=np.int16).reshape(-1, 1)
    assert len(place.put(block, BLOCK, -100)[1]) == 0
    position, samples = place.put(block, BLOCK, 220)
    assert (position, samples[0, 0], len(samples)) == (0, 100, 220)
    assert place.dropped == 0, "it was never the call's"


def test_bursts_before_the_call_tell_where_its_first_sample_lies() -> None:
    place = Placement()
    block = np.zeros((BLOCK, 1), np.int16)
    arrivals = [BLOCK * 7 * (n // 7 + 1) - 16_000 for n in range(200)]  # seven at once, when full
    placed = [(position, len(samples)) for position, samples in (place.put(block, BLOCK, at) for at in arrivals)]
    heard = [one for one in placed if one[1]]
    assert heard == [(BLOCK * n, BLOCK) for n in range(len(heard))], "from the call's beginning on, without a gap"
    assert len(heard) == 150
    assert not place.dropped


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-2_000, 4_000)), max_size=150))
def test_whatever_arrives_when_nothing_overlaps_and_nothing_comes_before_the_call(came: list[tuple[int, int]]) -> None:
    place, end, at = Placement(), 0, 0
    for size, late in came:
        at += size
        position, samples = place.put(np.zeros((size, 1), np.int16), size, at + late)
        assert len(samples) == 0 or position >= end >= 0
        end = max(end, position + len(samples))


def test_a_device_at_another_rate_is_brought_to_the_call_s(begin: Begin) -> None:
    sound = FakeSound({"Webcam": (1, (44_100,))})
    call = begin(sound, [Source(list_devices(sound)[0], (Role.AGENT,))])
    for _ in range(100):
        call.clock.now_s += 0.02
        sound.streams["Webcam"].deliver(np.zeros(882, np.int16))
    wait_for(lambda: sum(len(chunk.samples) for chunk in call.session.chunks) >= 100 * BLOCK - 2_000)
    ends = [chunk.position + len(chunk.samples) for chunk in call.session.chunks if chunk.position is not None]
    starts = [chunk.position for chunk in call.session.chunks]
    assert starts[1:] == ends[:-1], "without a gap"


def test_two_people_on_the_two_channels_of_one_device(begin: Begin) -> None:
    sound = FakeSound({"Call Monitor": (2, (16_000,))})
    call = begin(sound, [Source(list_devices(sound)[0], (Role.CUSTOMER, Role.AGENT))])
    call.clock.now_s += 0.02
    sound.streams["Call Monitor"].deliver(np.tile(np.array([7, 9], np.int16), BLOCK))
    wait_for(lambda: call.session.chunks)
    (chunk,) = call.session.chunks
    assert chunk.roles == (Role.CUSTOMER, Role.AGENT)
    assert chunk.samples.tolist() == [[7, 9]] * BLOCK


def test_one_person_on_a_stereo_device_is_heard_from_both_channels(begin: Begin) -> None:
    sound = FakeSound({"Monitor": (2, (16_000,))})
    call = begin(sound, [Source(list_devices(sound)[0], (Role.CUSTOMER,))])
    sound.streams["Monitor"].deliver(np.tile(np.array([100, 300], np.int16), BLOCK))
    call.clock.now_s += 0.02
    sound.streams["Monitor"].deliver(np.tile(np.array([100, 300], np.int16), BLOCK))
    wait_for(lambda: call.session.chunks)
    assert set(call.session.chunks[-1].samples.ravel().tolist()) == {200}


def test_a_call_may_wait_until_every_device_delivers() -> None:
    sound = FakeSound(TWO)
    devices = Capture(two_devices(sound), sound)
    devices.start()
    try:
        sound.streams["USB Headset"].deliver(np.zeros(BLOCK, np.int16))
        assert not devices.wait(within_s=0.01), "the other has not begun"
        sound.streams["Monitor of Speakers"].deliver(np.zeros(2 * BLOCK, np.int16))
        assert devices.wait(within_s=0.01)
    finally:
        devices.stop()


# ---- what vanishes


def test_a_device_that_vanishes_is_told_and_the_other_side_goes_on(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", "Monitor of Speakers", blocks=5)
    sound.unplug("Monitor of Speakers")
    wait_for(lambda: call.session.told)
    assert call.session.told == [("gone", (Role.CUSTOMER,))]
    call.speak("USB Headset", blocks=100)
    assert len(call.session.of(Role.AGENT)) == 105
    assert call.session.intake.losses["gaps"]["customer"], "silence in its place, stated as a gap"
    assert sound.initialised == 1, "the running device is not interrupted while the other is away"


def test_a_device_that_is_back_goes_on_at_its_place_and_the_gap_is_stated(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", "Monitor of Speakers", blocks=5)
    sound.unplug("Monitor of Speakers")
    wait_for(lambda: call.session.told)
    call.speak("USB Headset", blocks=100)
    sound.plugged.add("Monitor of Speakers")
    wait_for(lambda: sound.streams["Monitor of Speakers"].active)
    call.speak("USB Headset", "Monitor of Speakers", blocks=20)
    assert call.session.told == [("gone", (Role.CUSTOMER,)), ("back", (Role.CUSTOMER,))]
    assert call.session.of(Role.CUSTOMER)[5].position == 105 * BLOCK
    assert call.session.intake.losses["gaps"] == {"customer": [(100, 2_100)]}


def test_a_device_whose_stream_opens_is_back_with_its_first_block_only(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", "Monitor of Speakers", blocks=5)
    sound.unplug("Monitor of Speakers")
    wait_for(lambda: call.session.told)
    sound.plugged.add("Monitor of Speakers")
    wait_for(lambda: sound.streams["Monitor of Speakers"].active)
    opened = sound.streams["Monitor of Speakers"]
    call.speak("USB Headset", blocks=200)
    assert call.session.told == [("gone", (Role.CUSTOMER,))], "an open stream is no sound"
    assert sound.streams["Monitor of Speakers"] is opened, "it is waited for"
    call.speak("USB Headset", "Monitor of Speakers")
    wait_for(lambda: call.session.told[1:] == [("back", (Role.CUSTOMER,))])


def test_a_stream_that_opens_and_never_delivers_is_closed_and_the_device_looked_for_again(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", "Monitor of Speakers", blocks=5)
    sound.unplug("Monitor of Speakers")
    wait_for(lambda: call.session.told)
    sound.plugged.add("Monitor of Speakers")
    wait_for(lambda: sound.streams["Monitor of Speakers"].active)
    dead = sound.streams["Monitor of Speakers"]
    call.speak("USB Headset", blocks=260)
    wait_for(lambda: dead.closed and sound.streams["Monitor of Speakers"].active)
    assert call.session.told == [("gone", (Role.CUSTOMER,))]


def test_a_stream_that_is_slow_to_begin_is_not_gone(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", blocks=150)
    call.speak("USB Headset", "Monitor of Speakers")
    assert not call.session.told


def test_a_stream_that_delivers_nothing_for_a_second_counts_as_gone(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", "Monitor of Speakers", blocks=2)
    sound.plugged.discard("Monitor of Speakers")  # its stream says it is active
    call.speak("USB Headset", blocks=49)
    assert not call.session.told
    call.speak("USB Headset", blocks=10)
    wait_for(lambda: call.session.told)
    assert call.session.told == [("gone", (Role.CUSTOMER,))]


def test_a_device_portaudio_does_not_list_any_more_is_found_when_another_process_sees_it(begin: Begin) -> None:
    seen: list[str] = []
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound), lambda: list(seen))
    call.speak("USB Headset", "Monitor of Speakers", blocks=2)
    sound.unplug("Monitor of Speakers")
    sound.devices["Monitor of Speakers (hw:2,0)"] = (2, (16_000,))
    wait_for(lambda: call.session.told)
    sound.plugged.add("Monitor of Speakers (hw:2,0)")
    call.speak("USB Headset", blocks=5)
    assert sound.initialised == 1
    seen.append("Monitor of Speakers (hw:2,0)")  # in another socket
    wait_for(lambda: "Monitor of Speakers (hw:2,0)" in sound.streams)
    assert sound.initialised > 1
    wait_for(lambda: call.session.told[1:] == [("gone", (Role.AGENT,))])  # interrupted, so that the other is found
    wait_for(lambda: sound.streams["USB Headset"].active)
    call.speak("USB Headset", "Monitor of Speakers (hw:2,0)", blocks=3)
    assert sorted(call.session.told[2:]) == [("back", (Role.AGENT,)), ("back", (Role.CUSTOMER,))]


def test_a_device_that_is_listed_and_does_not_open_interrupts_the_others_ever_more_rarely(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound), lambda: ["Monitor of Speakers"])
    call.speak("USB Headset", "Monitor of Speakers", blocks=2)
    sound.unplug("Monitor of Speakers")
    wait_for(lambda: ("gone", (Role.CUSTOMER,)) in call.session.told)
    for _ in range(600):  # half a minute
        wait_for(lambda: sound.streams["USB Headset"].active)
        time.sleep(0.003)
        call.clock.now_s += 0.05
        sound.streams["USB Headset"].deliver(np.full(320, 100, np.int16), overflow=False)
    interruptions = call.session.told.count(("gone", (Role.AGENT,)))
    assert 2 <= interruptions <= 5  # after 0, 2, 6 and 14 s


def test_a_call_can_end_while_its_only_device_is_away(begin: Begin) -> None:
    sound = FakeSound({"USB Headset": (1, (16_000,))})
    call = begin(sound, [Source(list_devices(sound)[0], (Role.AGENT,))])
    call.speak("USB Headset")
    sound.unplug("USB Headset")
    wait_for(lambda: call.session.told)
    began = time.monotonic()
    call.capture.stop()
    assert time.monotonic() - began < 1


# ---- what is lost


def test_overflows_are_counted_and_stated(begin: Begin) -> None:
    sound = FakeSound(TWO)
    call = begin(sound, two_devices(sound))
    call.speak("USB Headset", blocks=3, overflow=True)
    call.speak("USB Headset")
    wait_for(lambda: call.session.lost["overflows"] == 3)
    assert call.capture.warnings == ("声卡缓冲区溢出 3 次，个别字可能缺失",)


def test_samples_that_a_card_lost_leave_a_gap_of_their_length() -> None:
    place = Placement()
    block = np.zeros((BLOCK, 1), np.int16)
    for n in range(1, 151):
        place.put(block, BLOCK, n * BLOCK)
    lost = 5_000
    ends = [sum(place.put(block, BLOCK, lost + n * BLOCK)[:1]) + BLOCK for n in range(151, 301)]
    assert ends[-1] == lost + 300 * BLOCK


def test_a_queue_that_nobody_empties_is_bounded_and_says_so() -> None:
    sound = FakeSound(TWO)
    line = Capture(two_devices(sound), sound)._lines[0]
    line.open(list_devices(sound)[0])

    def deliver(blocks: int) -> None:
        for _ in range(blocks):
            sound.streams["USB Headset"].deliver(np.zeros(BLOCK, np.int16))

    deliver(capture.QUEUED + 50)
    assert line.overflows == 0, "before the call the newest blocks are kept, and none is missed"
    line.begin()
    deliver(7)
    assert line.overflows == 7
    assert line._blocks.qsize() == capture.QUEUED


# ---- devices


def test_devices_are_found_by_number_name_and_part_of_a_name() -> None:
    devices = list_devices(FakeSound(TWO))
    assert [device.is_loopback for device in devices] == [False, True]
    assert find_device(devices, None).name == "USB Headset"
    assert find_device(devices, "1").name == "Monitor of Speakers"
    assert find_device(devices, "headset").name == "USB Headset"
    assert rates_of(FakeSound(TWO), devices[1]) == [16_000, 48_000]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("USB Hedset", "did you mean 'USB Headset'?"),
        ("s", "more than one input device"),
        ("7", "`analyzer devices` lists them"),
    ],
)
def test_a_device_that_cannot_be_told_is_named_with_the_cure(wanted: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        find_device(list_devices(FakeSound(TWO)), wanted)


def test_without_any_device_the_cure_is_given() -> None:
    with pytest.raises(InputError, match="plug in a headset"):
        find_device(list_devices(FakeSound({})), None)


def test_a_device_that_does_not_open_is_named_and_the_others_are_let_go() -> None:
    sound = FakeSound(TWO)
    devices = Capture(two_devices(sound), sound)
    sound.plugged.discard("Monitor of Speakers")
    with pytest.raises(InputError, match="Monitor of Speakers: cannot be opened"):
        devices.start()
    assert sound.streams["USB Headset"].closed


def test_importing_the_package_needs_no_portaudio_and_using_it_says_how_to_get_it() -> None:
    code = (
        "import sys; sys.modules['sounddevice'] = None\n"
        "import analyzer.live.capture as c, analyzer.live_cli\n"
        "try: c.open_sound()\n"
        "except c.ConfigError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "apt-get install libportaudio2" in done.stdout
