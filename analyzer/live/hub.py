"""All live calls of a process: who may begin, who comes back, what the clock brings, how it ends.

One thread hears (VAD), one judges (rules, coach), the scheduler's recognise, one makes reports and waits for the disk,
and one keeps time: four times a second it ticks every call, and twice a second it has the journals made durable.
Transports come from outside and touch a call through its ``Session`` only.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

from analyzer.errors import AnalyzerError, StoreError
from analyzer.labels import ROLES
from analyzer.live.call import LiveCall
from analyzer.live.intake import Chunk, Intake
from analyzer.live.journal import EventLog, read_head, read_journal
from analyzer.live.judge import Facts
from analyzer.live.messages import CallEvent, WhisperEvent
from analyzer.live.refusal import Refusal
from analyzer.live.scheduler import Scheduler
from analyzer.metadata import check_writable, read_metadata
from analyzer.report import analyze, dump
from analyzer.rules import Pack
from analyzer.runs import LIVE, RunFolder, describe, digest_of, events_path
from analyzer.types import Direction, Role, Span, Transcript, Utterance

log = logging.getLogger(__name__)

RETURN_WITHIN_S = 30.0  # a sender that was cut off may come back within this
LATE_MS = 2_000  # that audio has waited for the ear, above which no other call is accepted
TICK_S = 0.25
SYNC_S = 0.5
LAST_S = 1.0  # a thread gets at least so long to end when the process stops
REMEMBERED = 200  # ended calls that are kept in memory, for the board; of others the run folder tells

MAY_BEGIN = ("new", "asked for")  # of ``RunFolder.why_score``: settings that changed reopen no call

_STAYED_AWAY = {Role(role): f"{name}声道断开后没有恢复，之后的内容未收到" for role, name in ROLES.items()}

WhisperState = Literal["sent", "delivered", "seen"]
WHISPER_STATES: tuple[WhisperState, ...] = get_args(WhisperState)


class Session:
    """One call, for whoever sends its audio or watches it. Made by ``Hub.open``; thread-safe."""

    def __init__(self, hub: Hub, call: LiveCall, intake: Intake, clock: Callable[[], float]) -> None:
        self.call_id = call.facts.call_id
        self.facts = call.facts
        self.events = call.events
        self.started_at = time.time()
        self.is_ending = False
        self.is_over = False
        self._hub, self._call, self._intake, self._clock = hub, call, intake, clock
        self._lock = threading.RLock()
        self._connections = 1
        self._left_at: float | None = None
        self._began = clock()
        self._whispers: dict[str, tuple[str, str, WhisperState]] = {}  # text, sender, how far it got
        self._lost: Counter[str] = Counter()
        self._gone: set[Role] = set()

    # ---- audio

    @property
    def report(self) -> dict[str, Any] | None:
        """Of a call that is over, as the run folder holds it; None if there is none."""
        return self._hub.report(self.call_id) if self.is_over else None

    @property
    def queued_ms(self) -> int:
        """Audio that has come and is not heard yet; a sender that is faster should be made to wait."""
        return self._call.queued_ms

    @property
    def late_ms(self) -> int:
        """How long the oldest audio that is not heard yet has been waiting."""
        return self._call.late_ms

    @property
    def clock_ms(self) -> int:
        """Call time now."""
        with self._lock:
            return self._intake.clock_ms(self._now_ms())

    @property
    def resume_from_ms(self) -> int:
        """From here on a sender goes on."""
        with self._lock:
            return self._intake.acked_ms

    def feed(self, chunk: Chunk) -> int:
        """Place audio; returns the call time up to which all of it has its place. raises Refusal"""
        with self._lock:
            if self.is_ending:
                raise Refusal("call_ended", f"call {self.call_id} has ended; begin another one")
            block = self._intake.add(chunk, self._now_ms())
            if block:
                self._call.hear(block)
            return self._intake.acked_ms

    def leave(self) -> None:
        """A sender is gone without ending the call: it may come back."""
        with self._lock:
            self._connections -= 1
            if self._connections == 0 and not self.is_ending:
                self._left_at = self._clock()
                self._call.add_event(CallEvent, state="disconnected")

    def rejoin(self, roles: Sequence[Role], rate: int, *, sends_again: bool = True) -> None:
        """Another connection sends audio of this call. raises Refusal

        sends_again  it goes on from ``resume_from_ms``; else what was said while nobody sent is lost
        """
        with self._lock:
            if rate != self._intake.rate:
                began_at = f"call {self.call_id} began at {self._intake.rate} Hz"
                raise Refusal("unsupported_rate", f"{began_at}; go on with that")
            if not set(roles) <= set(self.facts.roles):
                raise Refusal("bad_channels", f"call {self.call_id} is of {', '.join(self.facts.roles)}; send those")
            self._connections += 1
            if self._left_at is not None:
                away_ms = None if sends_again else round((self._clock() - self._left_at) * 1000)
                self._left_at = None
                self._intake.resume(roles, self._now_ms(), away_ms)
                self._call.add_event(CallEvent, state="resumed", **self._losses())

    @property
    def has_sender(self) -> bool:
        return self._connections > 0

    @property
    def n_senders(self) -> int:
        return self._connections

    def hang_up(self, roles: Sequence[Role]) -> None:
        """These roles' senders are done and send nothing more, unless they come back: no loss."""
        with self._lock:
            self._intake.end(roles)

    def lose(self, what: str, count: int = 1) -> None:
        """A sender lost audio itself (its device overflowed): counted among the call's losses."""
        with self._lock:
            self._lost[what] += count

    def side_gone(self, roles: Sequence[Role]) -> None:
        """The sender cannot hear these roles, and says so; the call goes on."""
        with self._lock:
            self._gone |= set(roles)
        self._call.add_event(CallEvent, state="disconnected", channels=[role.value for role in roles])

    def side_back(self, roles: Sequence[Role]) -> None:
        with self._lock:
            self._gone -= set(roles)
            losses = self._losses()
        self._call.add_event(CallEvent, state="resumed", channels=[role.value for role in roles], **losses)

    def _blind(self) -> frozenset[Role]:
        """Roles that nothing can be heard of: their device is gone, or they send nothing while another does."""
        return frozenset(self._gone) | frozenset(self._intake.silent_roles)

    def _losses(self) -> dict[str, Any]:
        losses = self._intake.losses
        return {**losses, "lost": {**losses.get("lost", {}), **self._lost}}

    def end(
        self,
        metadata: Mapping[str, Any] | None = None,
        *,
        interrupted: bool = False,
        truncated: bool = False,
        warnings: Sequence[str] = (),
    ) -> None:
        """No more audio; the report follows when all is recognised.

        truncated, warnings  what the sender knows to be missing or damaged
        raises InputError if a value of ``metadata`` is not what its key wants; the call goes on
        """
        check_writable(metadata or {})
        known, _ = read_metadata(metadata or {})
        with self._lock:
            if self.is_ending:
                return
            self.is_ending = True
            if block := self._intake.finish():
                self._call.hear(block)
            self._call.add_event(CallEvent, state="interrupted" if interrupted else "ending", **self._losses())
            cut_off = ("通话中断，中断之后的内容未收到",) if interrupted else ()
            missing = (*self._intake.warnings, *(_STAYED_AWAY[role] for role in sorted(self._gone)), *cut_off)
            is_partial = truncated or interrupted or bool(self._gone) or self._intake.is_damaged
            self._call.end(metadata=known, truncated=is_partial, warnings=(*warnings, *missing))

    # ---- people

    def whisper(self, name: str, text: str, sender: str) -> None:
        """A supervisor's line to the agent's overlay, under an id of its own. raises Refusal"""
        with self._lock:
            if self.is_ending:
                raise Refusal("call_ended", f"call {self.call_id} has ended")
            self._whispers[name] = text, sender, "sent"
            self._call.add_event(WhisperEvent, id=name, text=text, sender=sender, state="sent")

    def whisper_got(self, name: str, state: WhisperState) -> bool:
        """Whether it is known to have got that far, or there is no such whisper."""
        with self._lock:
            _, _, known = self._whispers.get(name, ("", "", "seen"))
            return WHISPER_STATES.index(state) <= WHISPER_STATES.index(known)

    def whisper_is(self, name: str, state: WhisperState) -> None:
        """It got that far; nothing new if that is known already."""
        with self._lock:
            if self.whisper_got(name, state):
                return
            text, sender, _ = self._whispers[name]
            self._whispers[name] = text, sender, state
            if not self.is_over:
                self._call.add_event(WhisperEvent, id=name, text=text, sender=sender, state=state)

    def dismiss(self, nudge: str) -> None:
        with self._lock:
            if not self.is_over:
                self._call.dismiss(nudge)

    # ---- clock

    def tick(self) -> None:
        with self._lock:
            if self.is_ending:
                return
            if block := self._intake.flush(self._now_ms()):
                self._call.hear(block)
            if self._left_at is not None and self._clock() - self._left_at > RETURN_WITHIN_S:
                self.end(interrupted=True)
                return
            self._call.tick(self._intake.clock_ms(self._now_ms()), blind=self._blind())

    def _now_ms(self) -> int:
        return round((self._clock() - self._began) * 1000)


class Hub:
    """raises StoreError if the run folder is in use

    clock   seconds, monotonic: a wall clock that jumps changes nothing
    on_end  told on another thread, when a call is over and its report in the run folder
    """

    def __init__(
        self,
        pack: Pack,
        scheduler: Scheduler,
        run: RunFolder,
        *,
        most_calls: int = 64,
        clock: Callable[[], float] = time.monotonic,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.pack, self.scheduler, self.run = pack, scheduler, run
        self._on_end = on_end
        self._most_calls = most_calls
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()
        self._ears = ThreadPoolExecutor(1, "ear")
        self._judges = ThreadPoolExecutor(1, "judge")
        self._reports = ThreadPoolExecutor(1, "report")  # whatever may take the disk's time
        self._stopping = threading.Event()
        self._is_stopped = False
        self._ended = threading.Condition()
        self._timer = threading.Thread(target=self._keep_time, name="clock", daemon=True)
        self.recovered = self._recover()
        self._timer.start()

    # ---- calls

    def judge_by(self, pack: Pack) -> None:
        """Another pack, for calls that begin from now on. Those that run keep theirs."""
        self.pack = pack

    def open(
        self,
        call_id: str,
        *,
        direction: Direction,
        roles: Sequence[Role],
        rate: int,
        metadata: Mapping[str, Any],
        leg: Role | None = None,
        sends_again: bool = True,
    ) -> Session:
        """A new call, or one whose sender comes back. raises Refusal

        roles        of the call
        leg          the one that this connection sends, others may send the rest; None: it sends them all
        sends_again  a sender that comes back goes on from ``Session.resume_from_ms``, so that nothing is lost
        """
        with self._lock:
            session = self._sessions.get(call_id)
            if session is not None and not session.is_ending:
                if session.has_sender and leg is None:
                    raise Refusal("call_busy", f"another connection is sending call {call_id}; end that one first")
                session.rejoin(roles if leg is None else (leg,), rate, sends_again=sends_again)
                return session
            if session is not None or self.run.why_score(call_id, _input_digest(call_id)) not in MAY_BEGIN:
                raise Refusal("call_ended", f"call {call_id} has ended already; use another call id")
            if self._stopping.is_set():
                raise Refusal("shutting_down", "the server is stopping; try another one or come back later")
            live = self.live
            is_behind = any(session.late_ms > LATE_MS for session in live)  # not: much came at once from one sender
            if len(live) >= self._most_calls or is_behind or not self.scheduler.accepts():
                raise Refusal("overloaded", "too many calls for this server now; try another one or come back later")
            awaited = () if leg is None else tuple(role for role in roles if role is not leg)
            return self._begin(call_id, direction, Intake(rate, tuple(roles), awaited), metadata)

    def _begin(self, call_id: str, direction: Direction, intake: Intake, metadata: Mapping[str, Any]) -> Session:
        check_writable(metadata)
        known, unknown = read_metadata(metadata)
        if unknown:
            log.warning("call %s: unknown metadata %s", call_id, ", ".join(sorted(unknown)))
        recogniser = dict(self.scheduler.recogniser.info)
        facts = Facts(call_id, direction, intake.roles, known, recogniser)
        head = {
            "direction": direction.value,
            "channels": [role.value for role in intake.roles],
            "metadata": dict(known),
            "pack": self.pack.digest,
            "recogniser": recogniser,
        }
        try:
            event_log = EventLog(self.run.path, call_id, head)
        except OSError as error:
            log.error("call %s: its journal cannot be written: %s", call_id, error)
            cure = "try another one or tell its operator"
            raise Refusal("overloaded", f"the server cannot store calls now; {cure}") from None

        def ended(report: dict[str, Any] | None, error: Exception | None) -> None:
            self._finished(session, report, error)

        call = LiveCall(
            facts, self.pack, self.scheduler, event_log,
            ears=self._ears, judges=self._judges, reports=self._reports, on_end=ended,
        )  # fmt: skip
        session = Session(self, call, intake, self._clock)
        self._sessions[call_id] = session
        self._forget_oldest()
        return session

    def _finished(self, session: Session, report: dict[str, Any] | None, error: Exception | None) -> None:
        """On the report thread: the report becomes the run's, then the call is over."""
        if session.is_over:
            return
        try:
            is_recorded = self._record(session.call_id, report, error)
            at_ms = report["duration_ms"] if report is not None else 0
            session.events.add(CallEvent, at_ms, state="ended" if is_recorded else "interrupted")
        except OSError as fault:
            log.error("call %s: its last event is not recorded: %s", session.call_id, fault)
        finally:
            session.is_ending = session.is_over = True
            try:
                session.events.close()
            finally:
                with self._ended:
                    self._ended.notify_all()
                self._on_end()

    def _record(self, call_id: str, report: dict[str, Any] | None, error: Exception | None) -> bool:
        """returns whether the run folder holds the report"""
        try:
            if report is not None:
                self.run.record(call_id, _input_digest(call_id), dump(report) + "\n")
                return True
            self.run.record_failure(call_id, error or RuntimeError("no report"))
        except AnalyzerError as fault:
            log.error(
                "call %s: its report is not recorded: %s; the next start takes it from the journal", call_id, fault
            )
        except Exception:  # whatever it is, the call is over, and those who follow it must be told
            log.exception("call %s: its report is not recorded", call_id)
        return False

    @property
    def live(self) -> list[Session]:
        """Calls that are not over, oldest first."""
        with self._lock:
            return [session for session in self._sessions.values() if not session.is_over]

    @property
    def sessions(self) -> list[Session]:
        """Calls that are live or ended lately, oldest first."""
        with self._lock:
            return list(self._sessions.values())

    def session(self, call_id: str) -> Session | None:
        """A call that is live, or ended lately."""
        with self._lock:
            return self._sessions.get(call_id)

    def report(self, call_id: str) -> dict[str, Any] | None:
        """The report of a call that is over, of this process or an earlier one, whatever its settings were."""
        why = self.run.why_score(call_id, _input_digest(call_id))
        if why is not None and not why.endswith(" changed"):
            return None
        try:
            report: dict[str, Any] = json.loads(self.run.report_text(call_id))
        except StoreError as error:
            log.error("call %s: %s", call_id, error)
            return None
        return report

    def journal(self, call_id: str) -> Path | None:
        """Where the events of a call stand, of this process or an earlier one."""
        path = events_path(self.run.path, call_id)
        return path if path.is_file() else None

    # ---- the end

    def stop(self, *, patience_s: float = 60.0) -> bool:
        """End every call and wait for the reports. returns whether all were made in time

        What is not done by then is left: the next process recovers those calls from their journals.
        """
        if self._is_stopped:
            return not self.live
        deadline = time.monotonic() + patience_s
        with self._lock:  # no call begins unnoticed
            self._stopping.set()
        for session in self.live:
            try:
                session.end(interrupted=True)
            except Exception:
                log.exception("call %s could not be ended", session.call_id)
        with self._ended:
            done = self._ended.wait_for(lambda: not self.live, patience_s)
        for session in self.live:
            log.error("call %s: no report when the time to stop was over", session.call_id)
            self.scheduler.leave(session.call_id)
        self._timer.join(max(LAST_S, deadline - time.monotonic()))
        self._ears.shutdown(wait=done, cancel_futures=not done)
        if not self.scheduler.close(within_s=max(LAST_S, deadline - time.monotonic()) if done else LAST_S):
            log.error("the recogniser did not stop in time")
        self._judges.shutdown(wait=done, cancel_futures=not done)
        self._reports.shutdown(wait=done, cancel_futures=not done)
        self._is_stopped = True
        return done

    # ---- inside

    def _forget_oldest(self) -> None:
        over = [call_id for call_id, session in self._sessions.items() if session.is_over]
        for call_id in over[: max(0, len(over) - REMEMBERED)]:
            del self._sessions[call_id]

    def _keep_time(self) -> None:
        synced = 0.0
        syncing: Future[None] | None = None
        while not self._stopping.wait(TICK_S):
            for session in self.live:
                _do(session, session.tick)
            if self.live and time.monotonic() - synced >= SYNC_S and (syncing is None or syncing.done()):
                synced = time.monotonic()
                syncing = self._reports.submit(self._sync)

    def _sync(self) -> None:
        for session in self.live:
            _do(session, session.events.sync)

    def _recover(self) -> list[str]:
        """Calls that a crash cut off: judged as far as they were heard, marked as interrupted."""
        recovered = []
        folder = self.run.path / LIVE
        for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
            try:
                recovered += self._recover_one(path)
            except Exception as error:
                log.error("%s: its call is not recovered: %s", path, describe(error))
        return recovered

    def _recover_one(self, path: Path) -> list[str]:
        call_id = read_head(path)["call_id"]
        if self.run.why_score(call_id, _input_digest(call_id)) != "new":
            return []  # as nearly all are
        head, entries = read_journal(path)
        report = self._finished_report(entries)
        is_whole = report is not None
        if report is None:
            report = analyze(_as_far_as_heard(head, entries), self.pack)
        self.run.record(call_id, _input_digest(call_id), dump(report) + "\n")
        self.run.forget_scored(call_id)
        _mark_over(path, call_id, entries, report["duration_ms"], state="ended" if is_whole else "interrupted")
        return [call_id]

    def _finished_report(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Of a call that ended, but whose report the disk refused or a crash kept from the run folder."""
        reports = [entry["report"] for entry in entries if entry.get("type") == "scorecard"]
        return next((dict(report) for report in reports if report["pack"]["digest"] == self.pack.digest), None)


def _do(session: Session, work: Callable[[], None]) -> None:
    """One call's trouble keeps the clock from no other."""
    try:
        work()
    except Exception:
        log.exception("call %s: its clock or its disk stumbled; it goes on", session.call_id)


def _input_digest(call_id: str) -> str:
    """A live call has no recording to digest: its id stands for it."""
    return digest_of({"live": call_id})


def _as_far_as_heard(head: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Transcript:
    spoken = [
        Utterance(
            role=Role(entry["role"]),
            span=Span(entry["start_ms"], entry["end_ms"]),
            text=entry["text"],
            confidence=entry["confidence"],
            characters=tuple(Span(*span) for span in entry["chars"]) if entry["chars"] else None,
        )
        for entry in entries
        if entry.get("type") == "utterance"
    ]
    activity: dict[Role, list[Span]] = {}
    for entry in entries:
        for role, start_ms, end_ms in entry.get("heard", {}).get("activity", ()):
            activity.setdefault(Role(role), []).append(Span(start_ms, end_ms))
    until = [entry["heard"]["at_ms"] for entry in entries if "heard" in entry]
    until += [entry["at_ms"] for entry in entries if "at_ms" in entry]
    return Transcript(
        call_id=head["call_id"],
        utterances=tuple(sorted(spoken, key=lambda utterance: (utterance.span, utterance.role))),
        direction=Direction(head["direction"]),
        duration_ms=max(until, default=0),
        metadata=head["metadata"],
        activity={role: tuple(spans) for role, spans in activity.items()},
        truncated=True,
        recogniser=head["recogniser"],
        warnings=("服务中断，通话只保留到中断之前",),
    )


def _mark_over(
    path: Path,
    call_id: str,
    entries: Sequence[Mapping[str, Any]],
    at_ms: int,
    *,
    state: Literal["ended", "interrupted"],
) -> None:
    seq = max((entry.get("seq", 0) for entry in entries), default=0) + 1
    event = CallEvent(call_id=call_id, seq=seq, at_ms=at_ms, state=state)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(content.rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        file.write(event.model_dump_json(by_alias=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
