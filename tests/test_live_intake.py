"""Whatever the network does to the packets of a call, every sample gets its place, and what is missing is stated."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analyzer.audio import Recording, Resampler, Track, decode
from analyzer.live.intake import Chunk, Intake
from analyzer.live.refusal import Refusal
from analyzer.types import Role

Samples = NDArray[np.int16]

AGENT, CUSTOMER = Role.AGENT, Role.CUSTOMER
BOTH = (AGENT, CUSTOMER)
PACKET_MS = 20


def sound(n_samples: int, n_roles: int = 2) -> Samples:
    return np.random.default_rng(n_samples).integers(-30_000, 30_000, (n_samples, n_roles)).astype(np.int16)


def at_16_khz(samples: Samples, rate: int) -> Samples:
    """One role's samples resampled in one piece."""
    resampler = Resampler(rate, 1)
    whole = (samples / 32_768).astype(np.float32)[:, np.newaxis]
    return np.concatenate([resampler.feed(whole), resampler.finish()])[:, 0]


class Collector:
    """What an intake gave out, per role."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.pieces: dict[Role, list[Samples]] = {role: [] for role in intake.roles}

    def add(self, chunk: Chunk, now_ms: int) -> None:
        self.keep(self.intake.add(chunk, now_ms))

    def flush(self, now_ms: int) -> None:
        self.keep(self.intake.flush(now_ms))

    def keep(self, given: Mapping[Role, Samples]) -> None:
        for role, samples in given.items():
            assert samples.dtype == np.int16
            assert samples.ndim == 1
            self.pieces[role].append(samples)

    def heard(self, role: Role) -> Samples:
        return np.concatenate([np.zeros(0, dtype=np.int16), *self.pieces[role]])

    def finish(self) -> dict[Role, Samples]:
        self.keep(self.intake.finish())
        return {role: self.heard(role) for role in self.pieces}


def packets(samples: Samples, rate: int, roles: Sequence[Role] = BOTH) -> list[Chunk]:
    """Packets of 20 ms that say where they belong."""
    size = rate * PACKET_MS // 1000
    return [Chunk(tuple(roles), samples[at : at + size], at) for at in range(0, len(samples), size)]


def play(chunks: Iterable[Chunk], rate: int = 16_000, roles: Sequence[Role] = BOTH) -> Collector:
    """All at one moment: nothing runs out of patience."""
    collector = Collector(Intake(rate, roles))
    for chunk in chunks:
        collector.add(chunk, 0)
    return collector


# ---- lossless


@given(data=st.data(), rate=st.sampled_from([8_000, 16_000, 44_100, 48_000]), ms=st.integers(1, 1_500))
def test_however_a_call_is_cut_it_is_the_same_bytes(data: st.DataObject, rate: int, ms: int) -> None:
    whole = sound(rate * ms // 1000)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=20).map(sorted))
    collector = play([Chunk(BOTH, piece) for piece in np.split(whole, cuts)], rate)
    for column, samples in enumerate(collector.finish().values()):
        assert np.array_equal(samples, at_16_khz(whole[:, column], rate))
    assert collector.intake.losses == {"gaps": {}, "lost": {}}
    assert collector.intake.warnings == ()


def test_a_stream_is_the_same_bytes_as_its_recording(tmp_path: Path) -> None:
    import wave

    whole = sound(8_000 * 3)
    with wave.open(str(tmp_path / "call.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(whole.astype("<i2").tobytes())
    blocks = list(decode(Recording("call", (Track(tmp_path / "call.wav", BOTH),))))
    streamed = play([Chunk(BOTH, piece) for piece in np.split(whole, range(160, len(whole), 160))], 8_000).finish()
    for role in BOTH:
        assert np.array_equal(streamed[role], np.concatenate([block.channels[role] for block in blocks]))


@given(data=st.data(), n_packets=st.integers(1, 40))
def test_reordered_and_repeated_packets_get_their_places(data: st.DataObject, n_packets: int) -> None:
    whole = sound(n_packets * 160)
    sent = packets(whole, 8_000)
    repeated = data.draw(st.lists(st.sampled_from(sent), max_size=5))
    collector = play(data.draw(st.permutations([*sent, *repeated])), 8_000)
    for column, samples in enumerate(collector.finish().values()):
        assert np.array_equal(samples, at_16_khz(whole[:, column], 8_000))
    assert collector.intake.losses == {"gaps": {}, "lost": {"duplicate": len(repeated)} if repeated else {}}
    assert collector.intake.warnings == ()


@given(delays=st.lists(st.integers(0, 280), min_size=1, max_size=60))
def test_packets_that_are_late_by_less_than_the_patience_are_waited_for(delays: list[int]) -> None:
    whole = sound(len(delays) * 320)
    arrivals = sorted(
        (chunk.position // 16 + delay, index, chunk)
        for index, (chunk, delay) in enumerate(zip(packets(whole, 16_000), delays, strict=True))
        if chunk.position is not None
    )
    collector = Collector(Intake(16_000, BOTH))
    for now_ms, _, chunk in arrivals:
        collector.flush(now_ms)
        collector.add(chunk, now_ms)
    assert np.array_equal(np.stack(list(collector.finish().values()), axis=1), whole)
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


@given(data=st.data(), n_packets=st.integers(1, 30))
def test_each_role_may_send_for_itself(data: st.DataObject, n_packets: int) -> None:
    whole = sound(n_packets * 320)
    legs = [packets(whole[:, column : column + 1], 16_000, (role,)) for column, role in enumerate(BOTH)]
    collector = play(data.draw(st.permutations(legs[0] + legs[1])))
    assert np.array_equal(np.stack(list(collector.finish().values()), axis=1), whole)
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


def test_a_frame_may_cut_a_millisecond() -> None:
    whole = sound(1_000)
    collector = play([Chunk(BOTH, whole[:7]), Chunk(BOTH, whole[7:7]), Chunk(BOTH, whole[7:])])
    assert collector.intake.acked_ms == 62
    assert np.array_equal(collector.finish()[AGENT], whole[:, 0])


# ---- loss


def spans(missing: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers of packets as stretches of call time."""
    found: list[tuple[int, int]] = []
    for index in sorted(missing):
        start_ms, end_ms = index * PACKET_MS, (index + 1) * PACKET_MS
        if found and found[-1][1] == start_ms:
            start_ms = found.pop()[0]
        found.append((start_ms, end_ms))
    return found


@given(data=st.data(), kept=st.lists(st.booleans(), min_size=1, max_size=45), rate=st.sampled_from([8_000, 16_000]))
def test_what_is_lost_is_silence_in_its_place_and_stated_exactly(
    data: st.DataObject, kept: list[bool], rate: int
) -> None:
    kept = [*kept, True]  # what is lost after the last packet nobody can know
    whole = sound(len(kept) * rate * PACKET_MS // 1000)
    sent = packets(whole, rate)
    lost = [index for index, is_kept in enumerate(kept) if not is_kept]
    collector = play(data.draw(st.permutations([sent[i] for i, is_kept in enumerate(kept) if is_kept])), rate)
    expected = whole.copy()
    for index in lost:
        expected[sent[index].position or 0 :][: len(sent[index].samples)] = 0
    for column, samples in enumerate(collector.finish().values()):
        assert np.array_equal(samples, at_16_khz(expected[:, column], rate))
    gaps = {role.value: spans(lost) for role in BOTH} if lost else {}
    assert collector.intake.losses == {"gaps": gaps, "lost": {"missing": len(lost)} if lost else {}}
    assert len(collector.intake.warnings) == (2 if lost else 0)


@given(
    kept=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40),
    delays=st.lists(st.integers(0, 250), min_size=41, max_size=41),
)
def test_each_role_loses_its_own(kept: list[tuple[bool, bool]], delays: list[int]) -> None:
    kept = [*kept, (True, True)]
    whole = sound(len(kept) * 320)
    arrivals, expected = [], whole.copy()
    for column, role in enumerate(BOTH):
        for index, chunk in enumerate(packets(whole[:, column : column + 1], 16_000, (role,))):
            if kept[index][column]:
                arrivals.append((index * PACKET_MS + delays[index], index, column, chunk))
            else:
                expected[index * 320 : index * 320 + 320, column] = 0
    collector = Collector(Intake(16_000, BOTH))
    for now_ms, *_, chunk in sorted(arrivals, key=lambda arrival: arrival[:3]):
        collector.add(chunk, now_ms)
    assert np.array_equal(np.stack(list(collector.finish().values()), axis=1), expected)
    lost = [[index for index, pair in enumerate(kept) if not pair[column]] for column in range(2)]
    stated = collector.intake.losses
    assert stated["gaps"] == {role.value: spans(own) for role, own in zip(BOTH, lost, strict=True) if own}
    assert stated["lost"].get("missing", 0) == len(lost[0]) + len(lost[1])


def test_a_hole_is_waited_for_and_then_filled() -> None:
    first, _, third, *_ = packets(whole := sound(960), 16_000)
    collector = Collector(Intake(16_000, BOTH))
    collector.add(first, 20)
    collector.add(third, 60)
    collector.flush(359)
    assert len(collector.heard(AGENT)) == 320
    assert collector.intake.acked_ms == 20
    collector.flush(360)
    expected = np.concatenate([whole[:320, 0], np.zeros(320), whole[640:, 0]])
    assert np.array_equal(collector.heard(AGENT), expected)
    assert collector.intake.losses == {"gaps": {"agent": [(20, 40)], "customer": [(20, 40)]}, "lost": {"missing": 1}}
    assert collector.intake.warnings == (
        "坐席声道缺失 0.02 秒，已用静音补齐；请检查线路是否丢包",
        "客户声道缺失 0.02 秒，已用静音补齐；请检查线路是否丢包",
    )


def test_a_gap_is_stated_in_the_whole_milliseconds_around_it() -> None:
    collector = play([Chunk((AGENT,), sound(100, 1), at) for at in (0, 107)], roles=(AGENT,))
    collector.finish()
    assert collector.intake.losses == {"gaps": {"agent": [(6, 7)]}, "lost": {"missing": 1}}


def test_a_late_packet_is_dropped_and_counted() -> None:
    first, second, third = packets(sound(960), 16_000)
    collector = Collector(Intake(16_000, BOTH))
    for chunk, now_ms in [(first, 20), (third, 60), (second, 400), (second, 420), (first, 430)]:
        collector.flush(now_ms)
        collector.add(chunk, now_ms)
    assert collector.intake.losses["lost"] == {"duplicate": 1, "late": 2, "missing": 1}
    assert collector.intake.losses["gaps"]["agent"] == [(20, 40)]
    assert len(collector.finish()[AGENT]) == 960


def test_of_a_packet_that_overlaps_only_what_is_new_is_kept() -> None:
    whole = sound(900)
    collector = play([Chunk(BOTH, whole[:500], 0), Chunk(BOTH, whole[300:900], 300)])
    assert np.array_equal(collector.finish()[CUSTOMER], whole[:, 1])
    assert collector.intake.losses["lost"] == {"overlapping": 1}


def test_a_packet_may_fill_several_holes_at_once() -> None:
    whole = sound(1_000)
    collector = play([Chunk(BOTH, whole[at : at + 50], at) for at in (100, 300, 700)] + [Chunk(BOTH, whole, 0)])
    assert np.array_equal(collector.finish()[AGENT], whole[:, 0])


@pytest.mark.parametrize("position", [-1, -(1 << 63), 16_000 * 61, 1 << 40, (1 << 64) - 1])
def test_a_position_that_cannot_be_is_dropped_and_counted_and_allocates_nothing(position: int) -> None:
    intake = Intake(16_000, BOTH)
    intake.add(Chunk(BOTH, sound(320), 0), 0)
    tracemalloc.start()
    assert intake.add(Chunk(BOTH, sound(320), position), 20) == {}
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert intake.losses == {"gaps": {}, "lost": {"implausible": 1}}
    assert intake.warnings == ("有 1 个数据包的时间位置不可信，已丢弃；请检查发送端的时间戳",)
    assert intake.clock_ms(20) == 40


def test_a_long_pause_that_time_explains_is_believed() -> None:
    intake = Intake(8_000, (AGENT,))
    intake.add(Chunk((AGENT,), sound(160, 1), 0), 0)
    intake.add(Chunk((AGENT,), sound(160, 1), 8_000 * 90), 90_000)
    assert intake.losses["lost"] == {}
    assert sum(map(len, intake.flush(90_300).values())) + sum(map(len, intake.finish().values())) > 89 * 16_000
    assert intake.losses["gaps"] == {"agent": [(20, 90_000)]}


def test_not_even_an_hours_silence_makes_a_hole_of_an_hour() -> None:
    intake = Intake(8_000, (AGENT,))
    intake.add(Chunk((AGENT,), sound(160, 1), 0), 0)
    intake.add(Chunk((AGENT,), sound(160, 1), 8_000 * 3_600), 3_600_000)
    assert intake.losses["lost"] == {"implausible": 1}


def test_what_waits_beyond_a_hole_is_bounded() -> None:
    collector = Collector(Intake(16_000, (AGENT,)))
    for index in range(11):
        collector.add(Chunk((AGENT,), sound(16_000, 1), 16_000 * (index + 1)), 0)
    assert len(collector.heard(AGENT)) == 12 * 16_000
    assert collector.intake.losses["gaps"] == {"agent": [(0, 1_000)]}


def test_a_hole_is_waited_for_however_long_the_call_is() -> None:
    collector = Collector(Intake(16_000, (AGENT,)))
    for second in range(12):  # the first half after the second, each time
        collector.add(Chunk((AGENT,), sound(8_000, 1), 16_000 * second + 8_000), second * 1_000)
        collector.add(Chunk((AGENT,), sound(8_000, 1), 16_000 * second), second * 1_000 + 250)
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


def test_crumbs_beyond_holes_are_bounded_in_number() -> None:
    collector = Collector(Intake(16_000, (AGENT,)))
    for index in range(1_200):
        collector.add(Chunk((AGENT,), sound(1, 1), 32 * index + 1), 0)
    assert len(collector.heard(AGENT)) > 32 * 150


def test_the_list_of_gaps_is_bounded_and_the_seconds_stay_exact() -> None:
    collector = play([Chunk((AGENT,), sound(320, 1), index * 640) for index in range(501)], roles=(AGENT,))
    collector.finish()
    gaps = collector.intake.losses["gaps"]["agent"]
    assert len(gaps) == 200
    assert gaps[0][0] == 20
    assert gaps[-1][1] == 500 * 40
    assert all(before[1] < after[0] for before, after in pairwise(gaps))
    assert collector.intake.warnings == ("坐席声道缺失 10.00 秒，已用静音补齐；请检查线路是否丢包",)


# ---- a side that sends nothing


def talk(collector: Collector, role: Role, from_ms: int, to_ms: int, *, positioned: bool = False) -> None:
    """Packets in real time, with the hub's ticks."""
    for at_ms in range(from_ms, to_ms, PACKET_MS):
        position = at_ms * 16 if positioned else None
        collector.add(Chunk((role,), sound(320, 1), position), at_ms + PACKET_MS)
        if at_ms % 240 == 0:
            collector.flush(at_ms + PACKET_MS)


def test_a_side_that_sends_nothing_is_silent_up_to_shortly_before_the_other() -> None:
    collector = Collector(Intake(16_000, BOTH))
    talk(collector, AGENT, 0, 960)
    assert collector.intake.silent_roles == ()
    assert collector.intake.acked_ms == 0
    talk(collector, AGENT, 960, 3_000)
    assert collector.intake.silent_roles == (CUSTOMER,)
    assert collector.intake.acked_ms == 3_000 - 300
    assert not collector.heard(CUSTOMER).any()
    assert collector.intake.losses["gaps"] == {"customer": [(0, 2_700)]}
    assert {role: len(samples) for role, samples in collector.finish().items()} == {AGENT: 48_000, CUSTOMER: 48_000}
    assert collector.intake.losses["gaps"] == {"customer": [(0, 3_000)]}


@pytest.mark.parametrize("positioned", [False, True])
def test_a_side_that_was_silent_comes_back_beside_the_other(positioned: bool) -> None:
    collector = Collector(Intake(16_000, BOTH))
    talk(collector, AGENT, 0, 3_000, positioned=positioned)
    for at_ms in range(3_000, 5_000, PACKET_MS):
        talk(collector, AGENT, at_ms, at_ms + PACKET_MS, positioned=positioned)
        talk(collector, CUSTOMER, at_ms, at_ms + PACKET_MS, positioned=positioned)
    collector.flush(6_000)
    assert collector.intake.silent_roles == ()
    samples = collector.finish()[CUSTOMER]
    assert not samples[: 3_000 * 16].any()
    assert np.count_nonzero(samples) > 1_999 * 16
    assert collector.intake.losses["gaps"] == {"customer": [(0, 3_000)]}


def test_a_leg_that_joins_within_a_second_has_lost_nothing() -> None:
    collector = Collector(Intake(16_000, BOTH))
    talk(collector, AGENT, 0, 700)
    for at_ms in range(700, 1_500, PACKET_MS):
        talk(collector, AGENT, at_ms, at_ms + PACKET_MS)
        talk(collector, CUSTOMER, at_ms, at_ms + PACKET_MS)
    samples = collector.finish()[CUSTOMER]
    assert not samples[: 700 * 16].any()
    assert samples[700 * 16 : 1_500 * 16].any()
    assert collector.intake.warnings == ()


def test_legs_that_begin_together_begin_at_the_same_moment() -> None:
    collector = Collector(Intake(16_000, BOTH))
    collector.add(Chunk((AGENT,), sound(16_000, 1)), 0)
    for index in range(50):
        collector.add(Chunk((CUSTOMER,), sound(320, 1)), 10 + index)
    assert np.array_equal(collector.heard(CUSTOMER), np.tile(sound(320, 1)[:, 0], 50))


def test_a_stalled_leg_that_catches_up_in_a_burst_is_beside_the_other_again() -> None:
    collector = Collector(Intake(16_000, BOTH))
    for at_ms in range(0, 1_000, PACKET_MS):
        talk(collector, AGENT, at_ms, at_ms + PACKET_MS)
        talk(collector, CUSTOMER, at_ms, at_ms + PACKET_MS)
    talk(collector, AGENT, 1_000, 4_000)
    for _ in range(150):  # the three seconds, at once
        collector.add(Chunk((CUSTOMER,), sound(320, 1)), 4_000)
    assert len(collector.heard(CUSTOMER)) <= 4_300 * 16
    for at_ms in range(4_000, 8_000, PACKET_MS):
        talk(collector, AGENT, at_ms, at_ms + PACKET_MS)
        talk(collector, CUSTOMER, at_ms, at_ms + PACKET_MS)
    assert abs(len(collector.heard(CUSTOMER)) - len(collector.heard(AGENT))) <= 320 * 16
    assert collector.intake.losses["lost"]["late"] > 100
    assert collector.intake.losses["gaps"]["customer"][0][0] == 1_000


def test_a_leg_that_came_back_keeps_its_words_when_the_other_stalls_later() -> None:
    collector = Collector(Intake(16_000, BOTH))
    talk(collector, AGENT, 0, 3_000)
    for at_ms in range(3_000, 5_000, PACKET_MS):
        talk(collector, AGENT, at_ms, at_ms + PACKET_MS)
        talk(collector, CUSTOMER, at_ms, at_ms + PACKET_MS)
    talk(collector, CUSTOMER, 5_000, 5_900)
    assert collector.intake.losses["lost"] == {}
    assert len(collector.heard(CUSTOMER)) == 5_900 * 16


def test_when_everybody_pauses_nothing_is_filled_in() -> None:
    collector = Collector(Intake(16_000, BOTH))
    for at_ms in range(0, 400, PACKET_MS):
        talk(collector, AGENT, at_ms, at_ms + PACKET_MS)
        talk(collector, CUSTOMER, at_ms, at_ms + PACKET_MS)
    collector.flush(60_000)
    collector.add(Chunk(BOTH, sound(320)), 60_000)
    assert collector.intake.acked_ms == 420
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


def test_a_leg_that_hung_up_loses_nothing_afterwards() -> None:
    collector = Collector(Intake(16_000, BOTH))
    collector.add(Chunk(BOTH, sound(16_000)), 1_000)
    collector.intake.end([CUSTOMER])
    talk(collector, AGENT, 1_000, 4_000)
    assert collector.intake.acked_ms == 3_700
    assert collector.intake.silent_roles == ()
    assert len(collector.finish()[CUSTOMER]) == 64_000
    assert collector.intake.losses == {"gaps": {}, "lost": {}}
    assert collector.intake.warnings == ()


def test_at_the_end_all_roles_are_of_one_length_and_a_few_packets_less_are_no_loss() -> None:
    collector = Collector(Intake(8_000, BOTH))
    collector.add(Chunk((AGENT,), sound(8_000, 1)), 0)
    collector.add(Chunk((CUSTOMER,), sound(7_840, 1)), 0)
    assert {len(samples) for samples in collector.finish().values()} == {16_000}
    assert collector.intake.warnings == ()


def test_a_role_the_call_does_not_have_is_refused() -> None:
    with pytest.raises(Refusal, match="no customer; begin it with all its channels") as refusal:
        Intake(8_000, (AGENT,)).add(Chunk(BOTH, sound(160)), 0)
    assert refusal.value.code == "bad_channels"


# ---- a sender that comes back


@given(cut=st.integers(0, 50), sent_again=st.booleans())
def test_a_sender_that_was_away_goes_on_where_it_was_acknowledged(cut: int, sent_again: bool) -> None:
    whole = sound(50 * 320)
    collector = Collector(Intake(16_000, BOTH))
    for index, chunk in enumerate(packets(whole, 16_000)[:cut]):
        collector.add(Chunk(BOTH, chunk.samples, chunk.position if sent_again else None), index * PACKET_MS)
    collector.flush(15_000)
    collector.intake.resume(collector.intake.roles, 20_000)
    acked = collector.intake.acked_ms * 16
    assert acked == cut * 320
    again = max(0, acked - 640) if sent_again else acked
    for at in range(again, len(whole), 500):
        collector.add(Chunk(BOTH, whole[at : at + 500], at if sent_again else None), 20_000 + (at - again) // 16)
    assert np.array_equal(np.stack(list(collector.finish().values()), axis=1), whole)
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


def test_a_sender_that_was_away_is_given_its_second_again() -> None:
    collector = play([Chunk(BOTH, sound(320))])
    collector.intake.resume(collector.intake.roles, 20_000)
    for role in BOTH:
        collector.add(Chunk((role,), sound(24_000, 1)), 20_000)
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


def test_what_waited_when_the_line_broke_is_sent_again() -> None:
    first, second, third = packets(whole := sound(960), 16_000)
    collector = play([first, third])
    collector.intake.resume(collector.intake.roles, 10_000)
    for chunk in (second, third):
        collector.add(Chunk(BOTH, chunk.samples), 10_000)
    assert np.array_equal(collector.finish()[AGENT], whole[:, 0])
    assert collector.intake.losses == {"gaps": {}, "lost": {}}


@pytest.mark.parametrize("positions", [False, True])
def test_what_a_sender_does_not_send_again_is_a_gap(positions: bool) -> None:
    """Positions count from the start of a stream, so those of the second begin at 0 again."""
    before, after = sound(16_000), sound(32_000)
    collector = play([Chunk(BOTH, before, 0 if positions else None)])
    collector.add(Chunk((AGENT,), sound(800, 1), 17_600 if positions else None), 1_000)
    waits = 18_400 if positions else 16_800  # where the agent's audio is when the line breaks
    collector.intake.resume(BOTH, 6_000, 5_000)
    collector.add(Chunk(BOTH, after, 0 if positions else None), 6_000)
    begins = waits + 5 * 16_000
    heard = collector.finish()
    assert all(np.array_equal(heard[role][begins:], after[:, index]) for index, role in enumerate(BOTH))
    assert all(len(heard[role]) == begins + len(after) for role in BOTH)
    gaps = collector.intake.losses["gaps"]
    assert (gaps["customer"], gaps["agent"][-1][1]) == ([(1_000, begins // 16)], begins // 16)
    assert collector.intake.is_damaged


def test_a_role_that_is_put_through_later_lost_nothing_before() -> None:
    collector = Collector(Intake(16_000, BOTH, awaited=[CUSTOMER]))
    said = sound(3 * 16_000, 1)
    for at_ms in range(0, 5_000, PACKET_MS):
        collector.add(Chunk((AGENT,), sound(320, 1)), at_ms)
        collector.flush(at_ms)
    assert CUSTOMER in collector.intake.silent_roles
    for at_ms in range(5_000, 8_000, PACKET_MS):
        collector.add(Chunk((AGENT,), sound(320, 1)), at_ms)
        collector.add(Chunk((CUSTOMER,), said[(at_ms - 5_000) * 16 :][:320]), at_ms)
    heard = collector.finish()
    assert len(heard[AGENT]) == len(heard[CUSTOMER]) == 8 * 16_000
    assert not heard[CUSTOMER][: 5 * 16_000].any()
    assert np.array_equal(heard[CUSTOMER][5 * 16_000 :], said[:, 0])
    assert collector.intake.losses == {"gaps": {}, "lost": {}}
    assert not collector.intake.is_damaged


def test_a_role_that_is_never_put_through_is_missing_as_a_whole() -> None:
    collector = Collector(Intake(16_000, BOTH, awaited=[CUSTOMER]))
    for second in range(5):
        collector.add(Chunk((AGENT,), sound(16_000, 1)), second * 1_000)
        collector.flush(second * 1_000 + 500)
    collector.finish()
    assert collector.intake.losses["gaps"] == {"customer": [(0, 5_000)]}
    assert collector.intake.is_damaged
    assert "客户声道缺失 5.00 秒" in collector.intake.warnings[0]


# ---- the clock


def test_the_clock_is_the_audio_or_where_it_would_be() -> None:
    intake = Intake(16_000, BOTH)
    assert intake.clock_ms(5_000) == 0
    intake.add(Chunk(BOTH, sound(16_000)), 6_000)
    assert intake.clock_ms(6_000) == 1_000
    assert intake.clock_ms(6_250) == 1_250
    intake.add(Chunk(BOTH, sound(1_600)), 6_260)  # 160 ms late
    assert intake.clock_ms(6_260) == 1_250
    assert intake.clock_ms(6_500) == 1_340
    assert intake.clock_ms(60_000) == 2_100, "a sender that pauses stops the clock"


operations = st.one_of(
    st.tuples(st.just("raw"), st.integers(0, 5_000), st.sampled_from([BOTH, (AGENT,), (CUSTOMER,)])),
    st.tuples(st.just("near"), st.integers(-3_000, 60_000), st.sampled_from([BOTH, (AGENT,), (CUSTOMER,)])),
    st.tuples(st.just("far"), st.integers(-(1 << 64), 1 << 64), st.just(BOTH)),
    st.tuples(st.just("flush"), st.just(0), st.just(BOTH)),
    st.tuples(st.just("resume"), st.just(0), st.just(BOTH)),
)


Step = tuple[int, tuple[str, int, tuple[Role, ...]]]


@given(steps=st.lists(st.tuples(st.integers(0, 1_500), operations), max_size=40))
def test_nothing_a_sender_does_breaks_the_order_of_time(steps: list[Step]) -> None:
    intake = Intake(16_000, BOTH)
    collector = Collector(intake)
    now_ms = clock_ms = acked_ms = 0
    for wait_ms, (kind, value, roles) in steps:
        now_ms += wait_ms
        if kind == "raw":
            collector.add(Chunk(roles, sound(value, len(roles))), now_ms)
        elif kind == "near":
            collector.add(Chunk(roles, sound(900, len(roles)), acked_ms * 16 + value), now_ms)
        elif kind == "far":
            collector.add(Chunk(roles, sound(100), value), now_ms)
        elif kind == "resume":
            intake.resume(intake.roles, now_ms)
        collector.flush(now_ms)
        assert intake.acked_ms >= acked_ms
        assert intake.acked_ms == min(len(collector.heard(role)) for role in BOTH) // 16
        assert intake.clock_ms(now_ms) >= clock_ms
        acked_ms, clock_ms = intake.acked_ms, intake.clock_ms(now_ms)
    heard = collector.finish()
    assert len(heard[AGENT]) == len(heard[CUSTOMER]), "roles end together"
    for role in BOTH:
        gaps = intake.losses["gaps"].get(role.value, [])
        assert all(before[1] <= after[0] for before, after in pairwise(gaps))
        for start_ms, end_ms in gaps:
            assert not heard[role][start_ms * 16 + 16 : end_ms * 16 - 16].any()


def test_a_leg_that_hung_up_loses_nothing_when_the_other_comes_back() -> None:
    intake = Intake(8000, BOTH)
    intake.add(Chunk(BOTH, sound(800), 0), 0)
    intake.end([CUSTOMER])
    intake.resume([AGENT], 20)
    intake.add(Chunk((AGENT,), sound(16_000, 1), 800), 2_000)
    intake.finish()
    assert intake.losses["gaps"] == {}


@pytest.mark.parametrize("comes_back", ["sends again", "connects again"])
def test_a_leg_that_hung_up_and_came_back_can_lose_audio_again(comes_back: str) -> None:
    intake = Intake(8000, BOTH)
    intake.add(Chunk(BOTH, sound(800), 0), 0)
    intake.end([CUSTOMER])
    if comes_back == "sends again":
        intake.add(Chunk((CUSTOMER,), sound(160, 1), 800), 20)
    else:
        intake.resume(intake.roles, 20)
    intake.add(Chunk((AGENT,), sound(16_000, 1), 800), 2_000)
    intake.finish()
    assert "customer" in intake.losses["gaps"]


def test_a_call_that_ended_keeps_no_resampler() -> None:
    intake = Intake(8_000, BOTH)
    intake.add(Chunk(BOTH, sound(160)), 0)
    before = sum(isinstance(one, Resampler) for one in gc.get_objects())
    intake.finish()
    assert sum(isinstance(one, Resampler) for one in gc.get_objects()) == before - len(BOTH)
    assert intake.acked_ms == 20, "what it knows of the call it still tells"
