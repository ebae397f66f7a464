"""What travels on the wire, one class per protocol: bytes and text in, events out; no socket, no thread, no clock.

    ``native``       WS /live/{call_id}/audio: a hello, binary frames, end (``analyzer.live.messages``)
    ``twilio``       Media Streams: JSON with base64 μ-law, a message per track
    ``freeswitch``   mod_audio_stream: binary L16, mono or stereo
    ``audiosocket``  Asterisk AudioSocket over TCP

A server reads a message, gives it to ``receive`` and acts on the events: at ``Start`` it opens the call, a chunk it
feeds, at ``End`` it ends the call. A ``Refusal`` (from here or from the hub) it answers with ``refusal`` and hangs up.
"""

from analyzer.live.wire.audiosocket import AudioSocketStream
from analyzer.live.wire.events import Answer, End, Event, Start, Wire
from analyzer.live.wire.freeswitch import FreeSwitchStream
from analyzer.live.wire.native import NativeStream
from analyzer.live.wire.twilio import TwilioStream

__all__ = [
    "Answer",
    "AudioSocketStream",
    "End",
    "Event",
    "FreeSwitchStream",
    "NativeStream",
    "Start",
    "TwilioStream",
    "Wire",
]
