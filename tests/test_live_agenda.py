"""What the one recogniser does next."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.live.agenda import (
    EARLY_AGE_MS,
    INTERVALS_MS,
    MOST,
    PARTIAL_AGE_MS,
    PARTIALS_SHARE,
    REFUSE_MS,
    SAVED_MS,
    Agenda,
    Job,
    Kind,
)
from analyzer.types import Role


def final(call: str, at: float = 0.0, role: Role = Role.AGENT) -> Job:
    return Job(Kind.FINAL, call, role, None, at)


def partial(call: str, at: float = 0.0, role: Role = Role.AGENT, work: object = None) -> Job:
    return Job(Kind.PARTIAL, call, role, work, at)


def take_all(agenda: Agenda, now_ms: float = 0.0) -> list[list[Job]]:
    batches = []
    while jobs := agenda.take(now_ms):
        agenda.done(jobs)
        batches.append(jobs)
    return batches


def test_finals_come_before_partials_whatever_came_first() -> None:
    agenda = Agenda(workers=1)
    agenda.offer_partial(partial("a"))
    agenda.put_final(final("b", 5))
    assert [jobs[0].kind for jobs in take_all(agenda, 10)] == [Kind.FINAL, Kind.PARTIAL]


def test_a_newer_partial_takes_the_place_of_the_one_that_waits() -> None:
    agenda = Agenda(workers=1)
    agenda.offer_partial(partial("a", work="old"))
    agenda.offer_partial(partial("a", 300, work="new"))
    agenda.offer_partial(partial("a", 300, Role.CUSTOMER, work="other side"))
    assert [job.work for job in agenda.take(400)] == ["new", "other side"]
    assert agenda.counts.shed == 1


def test_a_final_makes_its_channels_partial_needless() -> None:
    agenda = Agenda(workers=1)
    agenda.offer_partial(partial("a"))
    agenda.put_final(final("a", 100))
    assert [[job.kind for job in jobs] for jobs in take_all(agenda, 200)] == [[Kind.FINAL]]


def test_interim_text_that_grew_too_old_is_shed() -> None:
    agenda = Agenda(workers=1)
    agenda.offer_partial(partial("a"))
    agenda.put_early(Job(Kind.EARLY, "a", Role.AGENT, None, 0))
    assert agenda.take(PARTIAL_AGE_MS + 1)[0].kind is Kind.EARLY
    agenda.put_early(Job(Kind.EARLY, "a", Role.AGENT, None, 0))
    assert agenda.take(EARLY_AGE_MS + 1) == []
    assert agenda.counts.shed == 2


def test_a_call_with_much_to_say_does_not_push_the_others_back() -> None:
    agenda = Agenda(workers=1)
    for at in range(40):
        agenda.put_final(final("noisy", at))
    for name in "abc":
        agenda.put_final(final(name, 50))
    first = agenda.take(60)
    assert {job.call for job in first} == {"noisy", "a", "b", "c"}
    assert len(first) == MOST


def test_the_agents_words_come_before_the_customers() -> None:
    agenda = Agenda(workers=8)
    agenda.put_final(final("a", 0, Role.CUSTOMER))
    agenda.put_final(final("b", 5, Role.AGENT))
    assert [job.call for jobs in take_all(agenda, 10) for job in jobs] == ["b", "a"]


def test_what_waits_is_shared_with_the_workers_that_are_idle() -> None:
    agenda = Agenda(workers=2)
    for name in "abcd":
        agenda.put_final(final(name))
    assert len(agenda.take(0)) == 2
    assert len(agenda.take(0)) == 2


def test_interim_work_leaves_a_worker_free_for_finals() -> None:
    agenda = Agenda(workers=2)
    for name in "abcdefgh":
        agenda.offer_partial(partial(name))
    busy = agenda.take(0)
    assert busy
    assert agenda.take(0) == []
    agenda.put_final(final("z"))
    assert agenda.take(0)[0].call == "z"
    agenda.done(busy)


def test_complete_speech_may_have_the_last_worker() -> None:
    agenda = Agenda(workers=2)
    agenda.offer_partial(partial("a"))
    assert [job.kind for job in agenda.take(0)] == [Kind.PARTIAL]
    for call in "bc":
        agenda.put_early(Job(Kind.EARLY, call, Role.AGENT, None, 0))
    assert [job.kind for job in agenda.take(0)] == [Kind.EARLY, Kind.EARLY], "somebody waits for it"


def test_partials_that_take_long_are_done_one_at_a_time() -> None:
    agenda = Agenda(workers=2)
    for at in range(0, 30_000, 1_000):
        for call in "abcd":
            agenda.offer_partial(partial(call, at))
        if jobs := agenda.take(at):
            agenda.done(jobs, 250.0 * len(jobs))
    for call in "abcd":
        agenda.offer_partial(partial(call, 60_000))
    assert len(agenda.take(60_000)) == 1, "a quarter of a second each: what comes meanwhile would wait for them all"


def test_partials_grow_rare_while_finals_wait_and_come_back_when_they_do_not() -> None:
    agenda = Agenda(workers=1)
    now = 0.0
    seen = [agenda.interval_ms(now)]
    for _ in range(12):
        now += 1_100
        agenda.put_final(final("a", now - 900))
        agenda.done(agenda.take(now))
        seen.append(agenda.interval_ms(now))
    assert seen[0] == INTERVALS_MS[0]
    assert seen[-1] is None
    assert sorted(seen, key=lambda interval: interval or 10_000) == seen
    for _ in range(30):
        now += 1_100
        assert agenda.take(now) == []
    assert agenda.interval_ms(now) == INTERVALS_MS[0]


def test_interim_text_takes_no_more_than_its_share_of_the_workers_time() -> None:
    agenda = Agenda(workers=2)
    took, now = 0.0, 0.0
    while now < 60_000:
        now += 100
        agenda.offer_partial(partial("a", now))
        if jobs := agenda.take(now):
            agenda.done(jobs, 750)  # as dear as a window of 30 s
            took += 750
    assert PARTIALS_SHARE * 2 * now * 0.9 <= took <= PARTIALS_SHARE * 2 * now + SAVED_MS + 750


def test_no_call_is_accepted_while_finals_wait_too_long_and_again_once_they_are_served() -> None:
    agenda = Agenda(workers=1)
    assert agenda.accepts(0)
    agenda.put_final(final("a", 0))
    assert not agenda.accepts(REFUSE_MS + 1)
    agenda.done(agenda.take(REFUSE_MS + 1))
    assert agenda.accepts(REFUSE_MS + 2)


def ahead(call: str, at: float = 0.0) -> Job:
    return Job(Kind.AHEAD, call, Role.AGENT, None, at)


def test_a_final_that_is_foreseen_comes_after_finals_and_before_interim_text() -> None:
    agenda = Agenda(workers=1)
    agenda.offer_partial(partial("a"))
    agenda.put_ahead(ahead("b"))
    agenda.put_final(final("c"))
    assert [jobs[0].kind for jobs in take_all(agenda)] == [Kind.FINAL, Kind.AHEAD, Kind.PARTIAL]


def test_what_was_foreseen_of_a_channel_is_forgotten_when_its_speech_goes_on_or_ends() -> None:
    agenda = Agenda(workers=1)
    for overtaken_by in (agenda.put_final, agenda.offer_partial):
        agenda.put_ahead(ahead("a"))
        overtaken_by(final("a") if overtaken_by == agenda.put_final else partial("a"))
        assert Kind.AHEAD not in [jobs[0].kind for jobs in take_all(agenda)]


def test_nothing_is_recognised_ahead_while_finals_wait() -> None:
    agenda = Agenda(workers=1)
    assert agenda.looks_ahead(0)
    agenda.put_final(final("a", 0))
    agenda.take(5_000)
    agenda.put_ahead(ahead("b", 5_000))
    assert not agenda.looks_ahead(5_000)
    assert agenda.take(5_000) == []


def test_a_call_that_leaves_takes_its_work_with_it() -> None:
    agenda = Agenda(workers=1)
    agenda.put_final(final("a"))
    agenda.offer_partial(partial("a", role=Role.CUSTOMER))
    agenda.put_early(Job(Kind.EARLY, "a", Role.AGENT, None, 0))
    agenda.put_ahead(ahead("a"))
    agenda.put_final(final("b"))
    agenda.drop("a")
    assert [job.call for jobs in take_all(agenda) for job in jobs] == ["b"]
    assert agenda.is_idle


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Kind)), st.integers(0, 700)), max_size=120)


@settings(max_examples=80)
@given(STEPS, st.integers(1, 4), st.integers(1, 9))
def test_whatever_comes_every_final_is_served_once_and_in_its_calls_order(
    steps: list[tuple[str, Kind, int]], workers: int, every: int
) -> None:
    agenda = Agenda(workers=workers)
    now, put, served = 0.0, [], []
    for number, (call, kind, wait) in enumerate(steps):
        now += wait
        job = Job(kind, call, Role.AGENT, number, now)
        {
            Kind.FINAL: agenda.put_final,
            Kind.AHEAD: agenda.put_ahead,
            Kind.EARLY: agenda.put_early,
            Kind.PARTIAL: agenda.offer_partial,
        }[kind](job)
        put += [job] if kind is Kind.FINAL else []
        if number % every == 0 and (jobs := agenda.take(now)):
            agenda.done(jobs)
            served += jobs
    served += [job for jobs in take_all(agenda, now) for job in jobs]
    finals = [job for job in served if job.kind is Kind.FINAL]
    assert sorted(finals, key=lambda job: job.work) == put
    for call in "abc":
        own = [job.work for job in finals if job.call == call]
        assert own == sorted(own)
    asked = sum(kind is not Kind.FINAL for _, kind, _ in steps)
    waiting = agenda.waiting[Kind.PARTIAL] + agenda.waiting[Kind.AHEAD]  # while there is time for finals only
    counts = agenda.counts
    assert counts.shed + counts.partials + counts.ahead + counts.early + waiting == asked
